//! The kernel's log, to the line.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use iptables_monitor::domain::drops::batch::Batch;
use iptables_monitor::host::logs::kmsg::{Kmsg, KmsgPosition, Start, Status};

use crate::support::Netns;
use crate::support::packets::{counted, flood, kernel_log, send};

const TO: &str = "127.0.0.1:9";
const LIMIT: Duration = Duration::from_secs(30);

/// A namespace that logs and drops UDP packets to port 9.
fn logging(prefix: &str) -> Netns {
    let netns = Netns::new();
    netns.sh(&format!(
        "iptables -t raw -A PREROUTING -p udp --dport 9 -j LOG --log-prefix '{prefix}'
         iptables -t raw -A PREROUTING -p udp --dport 9 -j DROP"
    ));
    netns
}

/// What was read of the log.
#[derive(Debug, Default)]
struct Account {
    matching: Vec<(Vec<u8>, SystemTime)>,
    others: u64,
    lost: u64,
    gaps: u64,
}

impl Account {
    /// Reads on until `done` says so; only lines with `part` in them are kept.
    fn read_until(&mut self, kmsg: &mut Kmsg, part: &str, what: &str, done: impl Fn(&Self, Status) -> bool) {
        let (end, mut batch) = (Instant::now() + LIMIT, Batch::default());
        loop {
            let status =
                kmsg.read(&mut batch, Instant::now() + Duration::from_millis(200)).expect("readable");
            for (line, at) in batch.lines() {
                match memchr::memmem::find(line, part.as_bytes()) {
                    Some(_) => self.matching.push((line.to_vec(), at.expect("a time"))),
                    None => self.others += 1,
                }
            }
            self.lost += batch.lost;
            self.gaps += batch.gaps;
            if done(self, status) {
                return;
            }
            assert!(Instant::now() < end, "still waiting until {what}: {self:?}");
        }
    }

    fn lines(&self) -> Vec<String> {
        self.matching.iter().map(|(line, _)| String::from_utf8_lossy(line).into_owned()).collect()
    }
}

/// A line of user space, which everybody can see in the log by its text.
fn mark(text: &str) {
    fs::write("/dev/kmsg", format!("<4>{text}\n")).expect("a kernel log that root can write to");
}

/// The number of the newest record.
fn newest() -> u64 {
    let mut kmsg = Kmsg::open(Start::Oldest).expect("a kernel log");
    let mut account = Account::default();
    account.read_until(&mut kmsg, "\0", "the log's end", |_, status| status == Status::CaughtUp);
    kmsg.position().expect("at least one record").sequence
}

#[test]
fn a_logged_packet_arrives_with_its_time() {
    let _log = kernel_log();
    let mut kmsg = Kmsg::open(Start::End).expect("a kernel log");
    let netns = logging("kmsg-one: ");
    let before = SystemTime::now();
    send(&netns, TO, b"x");
    let mut account = Account::default();
    account
        .read_until(&mut kmsg, "kmsg-one: ", "the line is there", |account, _| !account.matching.is_empty());
    let (line, at) = &account.matching[0];
    let line = String::from_utf8_lossy(line);
    assert!(line.starts_with("kmsg-one: IN=lo OUT= MAC=") && line.contains(" DPT=9 LEN=9"), "{line}");
    let second = Duration::from_secs(1);
    assert!(*at > before - second && *at < SystemTime::now() + second, "{at:?} {before:?}");
}

#[test]
fn what_user_space_writes_is_not_taken() {
    let _log = kernel_log();
    let mut kmsg = Kmsg::open(Start::End).expect("a kernel log");
    let netns = logging("kmsg-true: ");
    for facility in ["<4>", "<0>", "<8>", ""] {
        fs::write("/dev/kmsg", format!("{facility}kmsg-true: IN=forged OUT= SRC=192.0.2.1\n"))
            .expect("writable");
    }
    send(&netns, TO, b"x");
    let mut account = Account::default();
    account.read_until(&mut kmsg, "kmsg-true: ", "the true line", |account, _| !account.matching.is_empty());
    assert!(
        account.lines().iter().all(|line| line.starts_with("kmsg-true: IN=lo ")),
        "{:?}",
        account.lines()
    );
}

#[test]
fn a_prefix_is_shown_byte_by_byte() {
    let _log = kernel_log();
    let mut kmsg = Kmsg::open(Start::End).expect("a kernel log");
    let netns = logging(r"kmsg-odd é\x41	\: ");
    send(&netns, TO, b"x");
    let mut account = Account::default();
    account.read_until(&mut kmsg, "kmsg-odd", "the line", |account, _| !account.matching.is_empty());
    assert!(account.lines()[0].starts_with("kmsg-odd é\\x41\t\\: IN=lo "), "{:?}", account.lines());
}

#[test]
fn reading_goes_on_where_it_stopped() {
    let _log = kernel_log();
    let netns = logging("kmsg-on: ");
    let mut kmsg = Kmsg::open(Start::End).expect("a kernel log");
    send(&netns, TO, b"one");
    let mut account = Account::default();
    account.read_until(&mut kmsg, "kmsg-on: ", "the first line", |account, _| !account.matching.is_empty());
    let position = kmsg.position().expect("a position");
    drop(kmsg);
    (0..3).for_each(|_| send(&netns, TO, b"two"));
    let mut kmsg = Kmsg::open(Start::After(position)).expect("a kernel log");
    let mut account = Account::default();
    account.read_until(&mut kmsg, "kmsg-on: ", "the log's end", |_, status| status == Status::CaughtUp);
    assert_eq!((account.matching.len(), account.lost, account.gaps), (3, 0, 0), "{:?}", account.lines());
    assert!(account.lines().iter().all(|line| line.contains(" LEN=11")), "{:?}", account.lines());
}

#[test]
fn what_was_overwritten_meanwhile_is_counted_to_the_record() {
    let _log = kernel_log();
    let netns = logging("kmsg-gap: ");
    let before = newest();
    let position = KmsgPosition { boot_id: boot_id(), sequence: before };
    flood(&netns, TO, 5000, 50_000);
    let mut kmsg = Kmsg::open(Start::After(position)).expect("a kernel log");
    let mut account = Account::default();
    account.read_until(&mut kmsg, "kmsg-gap: ", "the log's end", |_, status| status == Status::CaughtUp);
    assert!(account.lost > 0, "5,000 lines fit a kernel's log here: {account:?}");
    let last = kmsg.position().expect("a position").sequence;
    let sent = counted(&netns, "iptables", "kmsg-gap");
    let read = account.matching.len() as u64;
    assert_eq!(sent, 5000);
    assert_eq!(account.gaps, 0);
    let told = read + account.others + account.lost;
    // equal, unless others write to the log too
    assert!(sent <= read + account.lost && told <= last - before, "{sent} sent, {told} told: {account:?}");
}

#[test]
fn the_log_of_another_boot_is_one_gap() {
    let _log = kernel_log();
    mark("kmsg: a record at least");
    let position = KmsgPosition { boot_id: "of another boot".into(), sequence: 3 };
    let mut kmsg = Kmsg::open(Start::After(position)).expect("a kernel log");
    let mut account = Account::default();
    account.read_until(&mut kmsg, "\0", "the log's end", |_, status| status == Status::CaughtUp);
    assert_eq!((account.lost, account.gaps), (0, 1));
    assert_eq!(kmsg.position().expect("a position").boot_id, boot_id());
}

/// As many lines a second as the machine makes, for some seconds, read by a thread that is slower now and then: each is
/// read or counted as lost.
#[test]
fn a_flood_is_accounted_for_to_the_line() {
    let _log = kernel_log();
    let netns = logging("kmsg-flood: ");
    let mut kmsg = Kmsg::open(Start::End).expect("a kernel log");
    send(&netns, TO, b"first");
    let mut first = Account::default();
    first.read_until(&mut kmsg, "kmsg-flood: ", "the first line", |account, _| !account.matching.is_empty());
    let before = kmsg.position().expect("a position").sequence;
    let reader = std::thread::spawn(move || {
        let mut account = Account::default();
        account.read_until(&mut kmsg, "kmsg-flood: ", "the last line", |account, _| {
            account.matching.last().is_some_and(|(line, _)| memchr::memmem::find(line, b" LEN=12").is_some())
        });
        (account, kmsg)
    });
    let took = flood(&netns, TO, 400_000, 130_000);
    // the last line tells the losses before it, and ends the reading; it is sent until it is not lost itself
    while !reader.is_finished() {
        send(&netns, TO, b"last");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (mut account, mut kmsg) = reader.join().expect("the reader does not panic");
    account.read_until(&mut kmsg, "kmsg-flood: ", "the log's end", |_, status| status == Status::CaughtUp);
    let (read, lost) = (account.matching.len() as u64, account.lost);
    let sent = counted(&netns, "iptables", "kmsg-flood") - 1;
    let all = kmsg.position().expect("a position").sequence - before;
    println!("kmsg: {sent} lines in {took:?}: {read} read, {lost} lost, {} of others", account.others);
    assert!(sent > 400_000);
    assert_eq!(account.gaps, 0);
    // equal, unless others write to the log too
    assert!(
        sent <= read + lost && read + account.others + lost <= all,
        "{sent} sent, {read} read, {lost} lost"
    );
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("/proc").trim_end().to_owned()
}
