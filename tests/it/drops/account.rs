//! What the agent says became of every line, compared with what was sent, in 30 seconds of each source: real packets,
//! real rules, real files, a real journal. No cluster is told.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::program::{LIMIT, Lines, LogFile, Program, page, tcp, value};
use crate::drops_journal::journald::Journald;
use crate::support::packets::{KernelLog, counted, flood_for, kernel_log, send};
use crate::support::{MONITOR, Netns, wait_until};

const FLOOD: Duration = Duration::from_secs(30);
const PER_SECOND: u64 = 100_000;
/// Far more than the agent takes, and far less than what was sent.
const MEMORY_KIB: u64 = 100 * 1000 * 1000 / 1024;
const TO: &str = "127.0.0.1:9";

/// One flood at a time: each is as fast as the machine.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The agent inside a namespace, which serves its numbers there.
fn agent(netns: &Netns, source: &str, prefix: &str, directory: &Path) -> Program {
    start(netns.command(MONITOR), netns, source, prefix, directory)
}

fn start(mut command: Command, netns: &Netns, source: &str, prefix: &str, directory: &Path) -> Program {
    command.args(["--drops-only", "--sink", "none", "--drops-dns=false", "--drops-source", source]);
    command.args(["--drops-prefix", prefix]).env_remove("KUBECONFIG");
    let program = Program::start(&mut command, directory);
    let is_up = || netns.within(|| std::net::TcpStream::connect("127.0.0.1:9191").is_ok());
    wait_until("it serves its numbers", LIMIT, is_up);
    program
}

fn settled(netns: &Netns, source: &str, what: &str, mut is_it: impl FnMut(&Lines) -> bool) -> Lines {
    // a source that keeps its lines may be far behind when the flood is over
    let end = Instant::now() + LIMIT * 3;
    loop {
        let lines = Lines::within(netns, source);
        lines.add_up();
        if is_it(&lines) {
            return lines;
        }
        assert!(Instant::now() < end, "still waiting until {what}: {lines:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn check_end(mut program: Program, what: &str, lines: &Lines) {
    let peak = program.kib("VmHWM");
    println!("{what}: {lines:?}, {peak} KiB at most");
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    assert_eq!(program.stop(), Some(0), "{}", program.output());
}

/// A thousand lines: the repeats of a kind, broken lines and others'.
fn thousand(kind: u16) -> String {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
    let line = |number: u64| match number % 10 {
        0..4 => format!("{now} n kernel: d: {}\n", tcp("10.0.0.1", "10.0.0.2", kind)),
        4 => format!("{now} n kernel: d: and nothing that the kernel writes\n"),
        _ => format!("{now} n sshd[7]: {number}\n"),
    };
    (0..1000).map(line).collect()
}

const KINDS: usize = 100;

/// Writes for the time of a flood into a log that is rotated by rename; returns how many lines.
fn write_file(log: &LogFile) -> u64 {
    let parts: Vec<_> = (0..KINDS).map(|kind| thousand(kind.try_into().unwrap())).collect();
    let (start, mut sent) = (Instant::now(), 0);
    for part in parts.iter().cycle() {
        if sent % 500_000 == 499_000 {
            // as logrotate's `dateext` with `dateformat -%s`
            let name = format!("kern.log-{}", 1_700_000_000 + sent);
            std::fs::rename(&log.0, log.0.with_file_name(name)).unwrap();
        }
        log.append(part);
        sent += 1000;
        std::thread::sleep(
            Duration::from_nanos(sent * 1_000_000_000 / PER_SECOND).saturating_sub(start.elapsed()),
        );
        if start.elapsed() > FLOOD {
            break;
        }
    }
    sent
}

#[test]
fn a_flood_of_a_file_is_accounted_for_to_the_line() {
    let _turn = turn();
    let (netns, directory) = (Netns::new(), tempfile::tempdir().unwrap());
    let log = LogFile(directory.path().join("kern.log"));
    log.append("");
    let source = format!("file:{}", log.0.display());
    let program = agent(&netns, &source, "d:", directory.path());
    let sent = write_file(&log);
    let started = Instant::now();
    let lines = settled(&netns, &source, "all is read", |lines| lines.of_fate("read") >= sent);
    assert_eq!([lines.of_fate("arrived"), lines.of_fate("lost")], [sent, 0], "{lines:?}");
    let kinds = KINDS as u64;
    assert_eq!(lines.of_fate("reported"), kinds, "{lines:?}");
    assert_eq!(lines.of_fate("folded"), sent * 4 / 10 - kinds, "{lines:?}");
    let rest = ["ignored", "unparsed"].map(|fate| lines.of_fate(fate)).iter().sum::<u64>();
    assert_eq!((rest, lines.of_fate("shed")), (sent * 6 / 10, 0), "{lines:?}");
    check_end(program, &format!("{sent} lines, read {:?} later", started.elapsed()), &lines);
}

#[test]
fn a_flood_of_nflog_is_accounted_for_to_the_packet() {
    let _turn = turn();
    let (netns, directory) = (Netns::new(), tempfile::tempdir().unwrap());
    netns.sh("iptables -t raw -A PREROUTING -p udp --dport 9:19 -j NFLOG --nflog-group 5 --nflog-prefix 'd:'
         iptables -t raw -A PREROUTING -p udp --dport 9:19 -j DROP");
    let program = agent(&netns, "nflog:5", "d:", directory.path());
    // what a rule counts while nobody has the group is in no sequence
    let has_group = || !netns.sh("cat /proc/net/netfilter/nfnetlink_log").is_empty();
    wait_until("the group is taken", LIMIT, has_group);
    send(&netns, "127.0.0.1:10", b"x");
    let is_read = |lines: &Lines| lines.of_fate("read") > 0;
    settled(&netns, "nflog:5", "the group is read", is_read);
    flood_for(&netns, TO, FLOOD, PER_SECOND);
    let sent = || counted(&netns, "iptables", "NFLOG");
    let mut looks = 0;
    let lines = settled(&netns, "nflog:5", "every packet is read or lost", |lines| {
        looks += 1;
        // a loss shows in the number of the next packet, which the kernel may keep for a second
        if looks % 200 == 0 {
            send(&netns, "127.0.0.1:11", b"x");
        }
        lines.of_fate("arrived") >= sent()
    });
    assert_eq!(lines.of_fate("arrived"), sent(), "{lines:?}");
    check_end(program, &format!("{} packets", sent()), &lines);
}

/// Nobody counts what is sent while no program has the group.
#[test]
fn packets_between_two_runs_are_a_gap_of_nflog() {
    let (netns, directory) = (Netns::new(), tempfile::tempdir().unwrap());
    netns.sh("iptables -t raw -A PREROUTING -p udp --dport 9 -j NFLOG --nflog-group 5 --nflog-prefix 'd:'");
    let gaps = || {
        let metrics = netns.within(|| page(9191, "/metrics"));
        value(&metrics, "iptables_monitor_drops_marks_total{mark=\"gap\",source=\"nflog:5\"}")
    };
    for run in 0..2 {
        send(&netns, TO, b"x");
        let mut command = netns.command(MONITOR);
        command.arg("--state-dir").arg(directory.path());
        let mut program = start(command, &netns, "nflog:5", "d:", directory.path());
        let has_group = || !netns.sh("cat /proc/net/netfilter/nfnetlink_log").is_empty();
        wait_until("the group is taken", LIMIT, has_group);
        send(&netns, TO, b"x");
        settled(&netns, "nflog:5", "the packet is read", |lines| lines.of_fate("read") == 1);
        assert_eq!(gaps(), run, "whether an earlier run read it");
        assert_eq!(program.stop(), Some(0), "{}", program.output());
    }
}

/// What an agent reads of the kernel's log, while nobody else who knows of the lock writes to it.
struct Kernel {
    netns: Netns,
    source: String,
    _log: KernelLog,
}

impl Kernel {
    fn new(source: &str) -> Self {
        let (log, netns) = (kernel_log(), Netns::new());
        netns.sh("iptables -t raw -A PREROUTING -p udp --dport 9 -j LOG --log-prefix 'account-flood: '
             iptables -t raw -A PREROUTING -p udp --dport 9 -j DROP");
        Self { netns, source: source.to_owned(), _log: log }
    }

    fn ours(lines: &Lines) -> u64 {
        lines.of_fate("reported") + lines.of_fate("folded") + lines.of_fate("shed")
    }

    fn flood(&self, directory: &Path) {
        let program = agent(&self.netns, &self.source, "account-flood:", directory);
        wait_until("the log is read", LIMIT, || {
            send(&self.netns, TO, b"x");
            Self::ours(&Lines::within(&self.netns, &self.source)) > 0
        });
        let lost = Lines::within(&self.netns, &self.source).of_fate("lost");
        flood_for(&self.netns, TO, FLOOD, PER_SECOND);
        let logged = counted(&self.netns, "iptables", "LOG");
        let started = Instant::now();
        let is_all = |lines: &Lines| Self::ours(lines) + lines.of_fate("lost") - lost >= logged;
        let lines = settled(&self.netns, &self.source, "all is read or lost", is_all);
        // others write to this log too, and theirs may be lost as well
        assert!(Self::ours(&lines) <= logged, "{logged} of {lines:?}");
        assert!(Self::ours(&lines) > logged / 100, "{logged} of {lines:?}");
        assert!(lines.of_fate("lost") - lost <= logged, "{logged} of {lines:?}");
        check_end(program, &format!("{logged} packets, read {:?} later", started.elapsed()), &lines);
    }
}

#[test]
fn a_flood_of_the_kernels_log_is_accounted_for() {
    let (_turn, directory) = (turn(), tempfile::tempdir().unwrap());
    Kernel::new("kmsg").flood(directory.path());
}

#[test]
fn a_flood_of_the_journal_is_accounted_for() {
    let (_turn, directory) = (turn(), tempfile::tempdir().unwrap());
    let journald = Journald::start();
    Kernel::new(&format!("journal:{}", journald.directory().display())).flood(directory.path());
}
