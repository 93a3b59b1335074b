//! Saved journals in every form that systemd writes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use iptables_monitor::domain::drops::batch::{Batch, Status};
use iptables_monitor::host::logs::journald::{Journal, JournalError, JournalOptions, Start};

use crate::support::{MONITOR, lossy, wait_until};

const FIRST: u64 = 1_700_000_000_000_000;

/// An entry in the export format.
fn entry(number: u64, message: &[u8], fields: &str) -> Vec<u8> {
    let time = FIRST + number * 1_000_000;
    let mut bytes = format!(
        "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={:032x}\n{fields}",
        number * 1_000_000,
        // a boot every 100 entries
        number / 100 + 1
    )
    .into_bytes();
    bytes.extend(b"MESSAGE\n");
    bytes.extend((message.len() as u64).to_le_bytes());
    bytes.extend(message);
    bytes.extend(b"\n\n");
    bytes
}

const KERNEL: &str = "_TRANSPORT=kernel\nSYSLOG_IDENTIFIER=kernel\nSYSLOG_FACILITY=0\n";

/// So many lines of the kernel: `drop 0 IN=eth0`, `drop 1 IN=eth0`, ...
pub fn entries(count: u64) -> Vec<u8> {
    (0..count).flat_map(|number| entry(number, format!("drop {number} IN=eth0").as_bytes(), KERNEL)).collect()
}

/// An entry of the kernel with the time now.
pub fn entry_now(message: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    format!(
        "__REALTIME_TIMESTAMP={now}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={:032x}\n{KERNEL}MESSAGE={message}\n\n",
        now - u128::from(FIRST),
        1
    )
}

/// Makes a journal in a directory, of what its standard input says.
pub fn writer(directory: &Path) -> Command {
    fs::create_dir_all(directory).unwrap();
    let mut command = Command::new("/lib/systemd/systemd-journal-remote");
    command.arg(format!("--output={}", directory.join("saved.journal").display())).arg("-");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Makes a journal in a directory.
pub fn write(directory: &Path, environment: &[(&str, &str)], entries: &[u8]) {
    let mut child = writer(directory)
        .envs(environment.iter().copied())
        .spawn()
        .expect("systemd-journal-remote: make test-tools");
    child.stdin.take().unwrap().write_all(entries).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", lossy(&output));
}

struct Read {
    lines: Vec<(Vec<u8>, SystemTime)>,
    lost: u64,
    gaps: u64,
    cut: u64,
}

/// Reads a saved journal to its end.
fn read(directory: &Path, options: JournalOptions) -> Read {
    let options = JournalOptions { directory: Some(directory.into()), is_following: false, ..options };
    let mut journal = Journal::open(options, None);
    let mut read = Read { lines: Vec::new(), lost: 0, gaps: 0, cut: 0 };
    let (mut batch, deadline) = (Batch::default(), Instant::now() + Duration::from_secs(60));
    loop {
        assert!(Instant::now() < deadline);
        let status = journal.read(&mut batch, deadline).unwrap();
        read.lines.extend(batch.lines().map(|(line, at)| (line.to_vec(), at.unwrap())));
        read.lost += batch.lost;
        read.gaps += batch.gaps;
        read.cut += batch.cut;
        if status == Status::Ended {
            return read;
        }
    }
}

fn from_the_beginning() -> JournalOptions {
    JournalOptions { start: Start::Beginning, ..JournalOptions::default() }
}

#[test]
fn every_form_of_journal_is_read_whole() {
    for (compact, keyed, compress) in
        [("0", "0", "0"), ("0", "1", "1"), ("1", "1", "0"), ("1", "0", "1"), ("1", "1", "1")]
    {
        let directory = tempfile::tempdir().unwrap();
        let environment = [
            ("SYSTEMD_JOURNAL_COMPACT", compact),
            ("SYSTEMD_JOURNAL_KEYED_HASH", keyed),
            ("SYSTEMD_JOURNAL_COMPRESS", compress),
        ];
        // 1 KiB of repetition: compressed where that is on
        let long = |number: u64| format!("drop {number} {}", "IN=eth0 ".repeat(128));
        let all =
            (0..5000).flat_map(|number| entry(number, long(number).as_bytes(), KERNEL)).collect::<Vec<_>>();
        write(directory.path(), &environment, &all);
        let read = read(directory.path(), from_the_beginning());
        let expected = (0..5000).map(long).map(String::into_bytes);
        assert!(
            read.lines.iter().map(|(line, _)| line.clone()).eq(expected),
            "{environment:?}: {}",
            read.lines.len()
        );
        assert_eq!((read.lost, read.gaps, read.cut), (0, 0, 0));
        let last = SystemTime::UNIX_EPOCH + Duration::from_micros(FIRST + 4999 * 1_000_000);
        assert_eq!(read.lines.last().unwrap().1, last);
    }
}

#[test]
fn messages_of_every_kind_are_read_and_losses_counted() {
    let directory = tempfile::tempdir().unwrap();
    let missed = "_TRANSPORT=driver\nMESSAGE_ID=e9bf28e6e834481bb6f48f548ad13606\n";
    let entries = [
        entry(0, b"drop \xff\xfe IN=eth0", KERNEL),
        entry(1, &b"x".repeat(100_000), KERNEL),
        entry(2, &b"\xff".repeat(200_000), KERNEL),
        entry(3, b"Missed 17 kernel messages", missed),
        entry(4, b"Missed 18 kernel messages", &missed.replace("driver", "journal")),
        entry(5, b"two\nlines", KERNEL),
        entry(6, b"forged", "_TRANSPORT=syslog\nSYSLOG_IDENTIFIER=kernel\n"),
        entry(7, b"last", &format!("{KERNEL}_SOURCE_MONOTONIC_TIMESTAMP=5500000\n")),
    ];
    write(directory.path(), &[], &entries.concat());
    let strict = read(directory.path(), from_the_beginning());
    let lines: Vec<_> = strict.lines.iter().map(|(line, _)| line.as_slice()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        (lines[0], lines[2], lines[3]),
        (&b"drop \xff\xfe IN=eth0"[..], &b"two\nlines"[..], &b"last"[..])
    );
    assert_eq!(lines[1].len(), 16 * 1024);
    // 17, and the one whose JSON is longer than any line of the kernel could make it
    assert_eq!((strict.lost, strict.gaps, strict.cut), (18, 0, 1));
    let logged = SystemTime::UNIX_EPOCH + Duration::from_micros(FIRST + 5_500_000);
    assert_eq!(strict.lines[3].1, logged);

    let trusting = JournalOptions { trusts_identifier: true, ..from_the_beginning() };
    assert_eq!(read(directory.path(), trusting).lines.len(), 5);
    let since = SystemTime::UNIX_EPOCH + Duration::from_micros(FIRST + 6_000_000);
    let late = JournalOptions { start: Start::Since(since), ..JournalOptions::default() };
    assert_eq!(read(directory.path(), late).lines.len(), 1);
}

#[test]
fn a_journal_without_files_is_an_error_and_one_without_packets_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let options =
        JournalOptions { directory: Some(empty.clone()), is_following: false, ..from_the_beginning() };
    let read =
        Journal::open(options, None).read(&mut Batch::default(), Instant::now() + Duration::from_secs(60));
    assert!(matches!(read, Err(JournalError::NoFiles { .. })), "{read:?}");

    let drops = |journal: &Path| {
        let source = format!("journal:{}", journal.display());
        Command::new(MONITOR).args(["drops", "--source", &source]).stdin(Stdio::null()).output().unwrap()
    };
    let output = drops(&empty);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{}", lossy(&output));
    let expected = format!("there are no journal files in \"{}\"", empty.display());
    assert!(lossy(&output).contains(&expected), "{}", lossy(&output));

    let others = directory.path().join("others");
    write(&others, &[], &entry(1, b"hello", "_TRANSPORT=syslog\nSYSLOG_IDENTIFIER=x\n"));
    let output = drops(&others);
    assert!(
        output.status.success() && output.stdout.starts_with(b"no packet was logged\n"),
        "{}",
        lossy(&output)
    );
}

#[test]
fn a_journal_can_be_read_again_when_something_was_read() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("journal");
    let log = directory.path().join("log");
    // the real one, counted
    let (calls, counting) = (directory.path().join("calls"), directory.path().join("journalctl"));
    let script = format!("#!/bin/sh\necho >>{}\nexec /usr/bin/journalctl \"$@\"\n", calls.display());
    fs::write(&counting, script).unwrap();
    fs::set_permissions(&counting, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let source = format!("journal:{}", missing.display());
    let mut child = Command::new(MONITOR)
        .args(["drops", "--follow", "--since", "1h", "--source", &source])
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(&log).unwrap();
    let limit = Duration::from_secs(60);
    wait_until("it has tried more than once", limit, || fs::read(&calls).is_ok_and(|calls| calls.len() > 2));
    let count = |text: &str| said().matches(text).count();
    assert_eq!((count("cannot be read"), count("can be read again")), (1, 0), "{}", said());
    write(&missing, &[], &entries(3));
    wait_until("it says that it reads again", limit, || said().contains("can be read again"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((count("cannot be read"), count("can be read again")), (1, 1), "{}", said());
}
