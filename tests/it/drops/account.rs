//! What the agent says became of every line, compared with what was sent: real packets, real rules, real files.
//! No cluster is told.

use std::path::Path;

use super::program::{LIMIT, Lines, LogFile, Program, tcp};
use crate::support::packets::{counted, flood, kernel_log, send};
use crate::support::{MONITOR, Netns, wait_until};

/// The agent inside a namespace, which serves its numbers there.
fn agent(netns: &Netns, source: &str, prefix: &str, directory: &Path) -> Program {
    let mut command = netns.command(MONITOR);
    command.args(["--drops-only", "--sink", "none", "--drops-dns=false", "--drops-source", source]);
    command.args(["--drops-prefix", prefix]).env_remove("KUBECONFIG");
    let program = Program::start(&mut command, directory);
    let is_up = || netns.within(|| std::net::TcpStream::connect("127.0.0.1:9191").is_ok());
    wait_until("it serves its numbers", LIMIT, is_up);
    program
}

fn settled(netns: &Netns, source: &str, what: &str, mut is_it: impl FnMut(&Lines) -> bool) -> Lines {
    let mut lines = Lines::default();
    wait_until(what, LIMIT, || {
        lines = Lines::within(netns, source);
        lines.add_up();
        is_it(&lines)
    });
    lines
}

const SENT: u64 = 100_000;
/// Far more than the agent takes, and far less than what was sent.
const MEMORY_KIB: u64 = 64 * 1024;

#[test]
fn a_file_is_accounted_for_to_the_line() {
    let (netns, directory) = (Netns::new(), tempfile::tempdir().unwrap());
    let log = LogFile(directory.path().join("kern.log"));
    log.append("");
    let source = format!("file:{}", log.0.display());
    let mut program = agent(&netns, &source, "d:", directory.path());
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
    for part in 0..100 {
        let lines = (0..SENT / 100).map(|number| match number % 10 {
            // 100 kinds, their repeats, a broken line and others'
            0..4 => format!("{now} n kernel: d: {}\n", tcp("10.0.0.1", "10.0.0.2", part)),
            4 => format!("{now} n kernel: d: and nothing that the kernel writes\n"),
            _ => format!("{now} n sshd[7]: {number}\n"),
        });
        log.append(&lines.collect::<String>());
    }
    let lines = settled(&netns, &source, "all is read", |lines| lines.of_fate("read") >= SENT);
    assert_eq!([lines.of_fate("arrived"), lines.of_fate("lost")], [SENT, 0], "{lines:?}");
    assert_eq!(lines.of_fate("reported"), 100, "{lines:?}");
    assert_eq!(lines.of_fate("folded"), SENT * 4 / 10 - 100, "{lines:?}");
    let rest = ["ignored", "unparsed"].map(|fate| lines.of_fate(fate)).iter().sum::<u64>();
    assert_eq!((rest, lines.of_fate("shed")), (SENT * 6 / 10, 0), "{lines:?}");
    assert!(program.kib("VmHWM") < MEMORY_KIB, "{} KiB", program.kib("VmHWM"));
    assert_eq!(program.stop(), Some(0), "{}", program.output());
}

#[test]
fn a_flood_of_nflog_is_accounted_for_to_the_packet() {
    let (netns, directory) = (Netns::new(), tempfile::tempdir().unwrap());
    netns.sh("iptables -t raw -A PREROUTING -p udp --dport 9:19 -j NFLOG --nflog-group 5 --nflog-prefix 'd:'
         iptables -t raw -A PREROUTING -p udp --dport 9:19 -j DROP");
    let mut program = agent(&netns, "nflog:5", "d:", directory.path());
    wait_until("the group is read", LIMIT, || {
        send(&netns, "127.0.0.1:10", b"x");
        Lines::within(&netns, "nflog:5").of_fate("read") > 0
    });
    let took = flood(&netns, "127.0.0.1:9", SENT, 100_000);
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
    println!("{SENT} packets in {took:?}: {lines:?}, {} KiB", program.kib("VmHWM"));
    assert!(program.kib("VmHWM") < MEMORY_KIB, "{} KiB", program.kib("VmHWM"));
    assert_eq!(program.stop(), Some(0), "{}", program.output());
}

#[test]
fn a_flood_of_the_kernels_log_is_accounted_for() {
    let _log = kernel_log();
    let (netns, directory) = (Netns::new(), tempfile::tempdir().unwrap());
    netns.sh("iptables -t raw -A PREROUTING -p udp --dport 9 -j LOG --log-prefix 'account-kmsg: '
         iptables -t raw -A PREROUTING -p udp --dport 9 -j DROP");
    let mut program = agent(&netns, "kmsg", "account-kmsg:", directory.path());
    wait_until("the log is read", LIMIT, || {
        send(&netns, "127.0.0.1:9", b"x");
        Lines::within(&netns, "kmsg").of_fate("reported") > 0
    });
    let before = Lines::within(&netns, "kmsg");
    let others = before.of_fate("ignored") + before.of_fate("lost");
    let took = flood(&netns, "127.0.0.1:9", SENT / 2, 100_000);
    let logged = counted(&netns, "iptables", "LOG");
    // others write to this log too
    let is_all = |lines: &Lines| lines.of_fate("arrived") >= others + logged;
    let lines = settled(&netns, "kmsg", "all is read or lost", is_all);
    assert!(lines.of_fate("arrived") < others + logged + 1000, "{lines:?}");
    assert!(lines.of_fate("read") > 1000, "{lines:?}");
    println!("{logged} packets in {took:?}: {lines:?}, {} KiB", program.kib("VmHWM"));
    assert!(program.kib("VmHWM") < MEMORY_KIB, "{} KiB", program.kib("VmHWM"));
    assert_eq!(program.stop(), Some(0), "{}", program.output());
}
