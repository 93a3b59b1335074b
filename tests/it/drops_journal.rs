//! The journal as real programs write it: systemd-journald with the kernel's LOG lines, and systemd-journal-remote.

mod hanging;
pub mod journald;
pub mod saved;

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use iptables_monitor::domain::drops::batch::{Batch, Status};
use iptables_monitor::host::logs::journald::{Journal, JournalError, JournalOptions, JournalPosition, Start};

use crate::support::packets::{KernelLog, kernel_log};
use crate::support::{Netns, wait_until};
use journald::Journald;

const LIMIT: Duration = Duration::from_secs(60);

/// What was read so far of the lines with a prefix of ours; the kernel's log has others too.
struct Seen {
    prefix: String,
    lines: Vec<(String, SystemTime)>,
    lost: u64,
    gaps: u64,
    errors: Vec<JournalError>,
}

impl Seen {
    fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into(), lines: Vec::new(), lost: 0, gaps: 0, errors: Vec::new() }
    }

    fn read(&mut self, journal: &mut Journal) -> Option<Status> {
        let mut batch = Batch::default();
        let status = journal.read(&mut batch, Instant::now() + Duration::from_millis(50));
        self.lost += batch.lost;
        self.gaps += batch.gaps;
        for (line, at) in batch.lines() {
            let line = String::from_utf8_lossy(line);
            if line.contains(&self.prefix) {
                self.lines.push((line.into_owned(), at.unwrap()));
            }
        }
        status.map_err(|error| self.errors.push(error)).ok()
    }

    #[track_caller]
    fn wait(&mut self, journal: &mut Journal, lines: usize) {
        wait_until("the lines are read", LIMIT, || {
            self.read(journal);
            self.lines.len() >= lines
        });
        assert_eq!(self.lines.len(), lines, "{:?}", self.lines);
    }

    fn ports(&self) -> Vec<u16> {
        let port = |line: &str| line.split("DPT=").nth(1)?.split(' ').next()?.parse().ok();
        self.lines.iter().map(|(line, _)| port(line).unwrap()).collect()
    }
}

/// A namespace that logs what is sent within it, and the kernel's log for itself.
struct Packets(Netns, #[allow(dead_code, reason = "held, not read")] KernelLog);

impl Packets {
    fn new(prefix: &str) -> Self {
        let log = kernel_log();
        let netns = Netns::new();
        netns.sh(&format!("iptables -A OUTPUT -p udp -j LOG --log-prefix '{prefix}: '"));
        Self(netns, log)
    }

    fn send(&self, ports: impl Iterator<Item = u16> + Send) {
        self.0.within(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            // nobody listens: the next call says so
            ports.for_each(|port| drop(socket.send_to(b"x", ("127.0.0.1", port))));
        });
    }
}

fn prefix(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

fn options(journald: &Journald) -> JournalOptions {
    JournalOptions {
        directory: Some(journald.directory()),
        start: Start::Beginning,
        ..JournalOptions::default()
    }
}

#[test]
fn packets_that_the_kernel_logs_arrive_with_its_time_and_across_restarts() {
    let prefix = prefix("logged");
    let (journald, packets) = (Journald::start(), Packets::new(&prefix));
    let (mut journal, mut seen) = (Journal::open(options(&journald), None), Seen::new(&prefix));
    let begun = SystemTime::now();
    packets.send(1000..1100);
    seen.wait(&mut journal, 100);
    let position = journal.position();
    let json = serde_json::to_string(&position).unwrap();
    drop(journal);
    packets.send(1100..1150);
    let position: JournalPosition = serde_json::from_str(&json).unwrap();
    let mut journal = Journal::open(options(&journald), Some(position));
    packets.send(1150..1200);
    seen.wait(&mut journal, 200);
    assert!(seen.ports().into_iter().eq(1000..1200));
    assert_eq!((seen.gaps, seen.errors.len()), (0, 0), "{:?}", seen.errors);
    // the kernel's clock and the wall's are a little apart
    let slack = Duration::from_secs(10);
    assert!(seen.lines.iter().all(|(_, at)| *at > begun - slack && *at < SystemTime::now() + slack));
}

#[test]
fn only_the_kernel_is_believed_unless_told_otherwise() {
    let prefix = prefix("forged");
    let (journald, packets) = (Journald::start(), Packets::new(&prefix));
    let trusting = JournalOptions { trusts_identifier: true, ..options(&journald) };
    let (mut strict, mut trusting) = (Journal::open(options(&journald), None), Journal::open(trusting, None));
    journald.sh(&format!("logger -u /run/systemd/journal/dev-log -t kernel '{prefix}: syslog DPT=1 '"));
    journald.sh(&format!(
        "printf 'SYSLOG_IDENTIFIER=kernel\\n_TRANSPORT=kernel\\nMESSAGE={prefix}: native DPT=2 \\n' | logger --journald"
    ));
    // journald takes the first word for a name
    fs::write("/dev/kmsg", format!("<4>kernel: {prefix}: kmsg DPT=3 \n")).unwrap();
    wait_until("journald has the forged lines", LIMIT, || journald.count(&prefix) == 3);
    packets.send(1000..1001);
    let mut seen = Seen::new(&prefix);
    seen.wait(&mut strict, 1);
    assert_eq!(seen.ports(), [1000]);
    let mut seen = Seen::new(&prefix);
    seen.wait(&mut trusting, 4);
    let mut ports = seen.ports();
    ports.sort_unstable();
    assert_eq!(ports, [1, 2, 3, 1000]);
}

#[test]
fn what_was_vacuumed_before_it_was_read_is_a_gap() {
    let prefix = prefix("vacuumed");
    let (journald, packets) = (Journald::start(), Packets::new(&prefix));
    let (mut journal, mut seen) = (Journal::open(options(&journald), None), Seen::new(&prefix));
    packets.send(1000..1010);
    seen.wait(&mut journal, 10);
    // rotation alone loses nothing, neither to one that runs nor to one that comes later
    let position = journal.position();
    journald.sh("journalctl --rotate");
    packets.send(1010..1020);
    seen.wait(&mut journal, 20);
    drop(journal);
    let mut journal = Journal::open(options(&journald), Some(position.clone()));
    let mut again = Seen::new(&prefix);
    again.wait(&mut journal, 10);
    assert!(again.ports().into_iter().eq(1010..1020));
    assert_eq!((seen.gaps, again.gaps), (0, 0));

    journald.sh("journalctl --rotate");
    packets.send(1020..1030);
    wait_until("journald has them", LIMIT, || journald.count(&prefix) == 30);
    journald.remove_archived();
    let mut journal = Journal::open(options(&journald), Some(position));
    let mut late = Seen::new(&prefix);
    late.wait(&mut journal, 10);
    assert!(late.ports().into_iter().eq(1020..1030));
    assert_eq!(late.gaps, 1);
}

#[test]
fn what_journald_missed_of_the_kernel_is_counted() {
    const SENT: u16 = 20_000;
    let prefix = prefix("missed");
    let (journald, packets) = (Journald::start(), Packets::new(&prefix));
    let (mut journal, mut seen) = (Journal::open(options(&journald), None), Seen::new(&prefix));
    packets.send(1..2);
    seen.wait(&mut journal, 1);
    journald.signal("STOP");
    packets.send(2..=SENT);
    journald.signal("CONT");
    wait_until("the last line is read", LIMIT, || {
        seen.read(&mut journal);
        seen.ports().last() == Some(&SENT)
    });
    assert!(seen.lost > 0);
    // others log too while this runs, so more may be lost than was ours
    assert!(seen.lines.len() as u64 + seen.lost >= u64::from(SENT), "{} + {}", seen.lines.len(), seen.lost);
    assert!(seen.ports().is_sorted_by(|a, b| a < b));
}

#[test]
fn journalctl_is_started_again_and_dies_with_its_reader() {
    let prefix = prefix("killed");
    let (journald, packets) = (Journald::start(), Packets::new(&prefix));
    let (mut journal, mut seen) = (Journal::open(options(&journald), None), Seen::new(&prefix));
    for round in 0..3 {
        packets.send(1000 + round * 10..1010 + round * 10);
        seen.wait(&mut journal, usize::from(round + 1) * 10);
        let running = journald.readers();
        assert_eq!(running.len(), 1);
        journald::kill(running[0]);
        wait_until("its end is said", LIMIT, || {
            seen.read(&mut journal);
            seen.errors.len() > usize::from(round)
        });
    }
    packets.send(1030..1040);
    seen.wait(&mut journal, 40);
    assert!(seen.ports().into_iter().eq(1000..1040));
    assert_eq!((seen.gaps, seen.errors.len()), (0, 3), "{:?}", seen.errors);
    assert!(seen.errors.iter().all(|error| error.to_string().contains("signal: 9")), "{:?}", seen.errors);
    drop(journal);
    assert!(journald.readers().is_empty());
}

#[test]
fn a_journal_that_is_not_there_is_said_once_and_read_when_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("journal");
    let options = JournalOptions {
        directory: Some(missing.clone()),
        start: Start::Beginning,
        ..JournalOptions::default()
    };
    let (mut journal, mut seen) = (Journal::open(options, None), Seen::new("drop"));
    wait_until("an error", LIMIT, || {
        seen.read(&mut journal);
        !seen.errors.is_empty()
    });
    let error = seen.errors[0].to_string();
    assert!(error.contains("journalctl") && error.contains("No such file or directory"), "{error}");
    saved::write(&missing, &[], &saved::entries(3));
    seen.wait(&mut journal, 3);
    let cursor = Some("no cursor at all".to_owned());
    let position = JournalPosition { cursor, since_us: journal.position().since_us };
    let options = JournalOptions { directory: Some(missing), ..JournalOptions::default() };
    let (mut journal, mut seen) = (Journal::open(options, Some(position)), Seen::new("drop"));
    // the last one again: at least once
    seen.wait(&mut journal, 1);
    assert_eq!(seen.gaps, 1);
}
