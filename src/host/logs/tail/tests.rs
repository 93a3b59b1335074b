//! What a program of random steps does not reach: starts, errors, long lines, waiting.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::TailError;
use super::{Start, Tail, TailOptions, TailPosition};
use crate::domain::drops::batch::{Batch, Status};

struct Log {
    directory: tempfile::TempDir,
}

impl Log {
    fn new(text: &str) -> Self {
        let log = Self { directory: tempfile::tempdir().unwrap() };
        fs::write(log.path(), text).unwrap();
        log
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("kern.log")
    }

    fn append(&self, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rotate(&self) {
        fs::rename(self.path(), self.directory.path().join("kern.log.1")).unwrap();
    }

    fn tail(&self, start: Start) -> Tail {
        Tail::open(&self.path(), TailOptions { start, ..TailOptions::default() }, None)
    }
}

/// What is there now.
fn read(tail: &mut Tail) -> (Vec<String>, u64) {
    let (mut batch, mut lines, mut gaps) = (Batch::default(), Vec::new(), 0);
    loop {
        let status = tail.read(&mut batch, Instant::now());
        lines.extend(batch.lines().map(|(line, _)| String::from_utf8_lossy(line).into_owned()));
        gaps += batch.gaps;
        if !matches!(status, Ok(Status::Behind)) {
            return (lines, gaps);
        }
    }
}

#[track_caller]
fn check(tail: &mut Tail, expect: &[&str], gaps: u64) {
    assert_eq!(read(tail), (expect.iter().map(|line| (*line).to_owned()).collect(), gaps));
}

fn error(path: &Path) -> TailError {
    Tail::open(path, TailOptions::default(), None).read(&mut Batch::default(), Instant::now()).unwrap_err()
}

#[test]
fn the_end_is_where_the_file_ended_when_it_was_opened() {
    let log = Log::new("old\nhalf");
    let mut tail = log.tail(Start::End);
    log.append(" line\nnew\n");
    check(&mut tail, &["half line", "new"], 0);
}

#[test]
fn the_end_within_an_endless_line_is_within_it() {
    let log = Log::new(&"x".repeat(100_000));
    let mut tail = log.tail(Start::End);
    log.append(" rest\nnew\n");
    check(&mut tail, &[" rest", "new"], 0);
}

#[test]
fn a_last_line_waits_for_its_end_unless_nothing_will_follow() {
    let log = Log::new("one\ntw");
    let mut tail = log.tail(Start::Beginning);
    check(&mut tail, &["one"], 0);
    let options = TailOptions { start: Start::Beginning, is_following: false, ..TailOptions::default() };
    let mut once = Tail::open(&log.path(), options, None);
    let mut batch = Batch::default();
    assert_eq!(once.read(&mut batch, Instant::now()).unwrap(), Status::Ended);
    assert_eq!(batch.lines().map(|(line, _)| line).collect::<Vec<_>>(), [b"one", &b"tw"[..]]);
    log.append("o\n");
    check(&mut tail, &["two"], 0);
}

#[test]
fn long_lines_are_cut_and_counted_across_a_restart() {
    let log = Log::new("");
    log.append(&format!("{}\nshort\n{}", "a".repeat(50_000), "b".repeat(600_000)));
    let mut tail = log.tail(Start::Beginning);
    let mut batch = Batch::default();
    tail.read(&mut batch, Instant::now()).unwrap();
    let lengths: Vec<_> = batch.lines().map(|(line, _)| line.len()).collect();
    assert_eq!((lengths, batch.cut), (vec![16_384, 5, 16_384], 2));
    let mut again = Tail::open(&log.path(), TailOptions::default(), Some(tail.position()));
    log.append(" rest\nnext\n");
    check(&mut again, &["next"], 0);
    check(&mut tail, &["next"], 0);
}

#[test]
fn more_lines_than_a_batch_takes_are_read_across_a_rotation() {
    let log = Log::new("");
    let lines: Vec<_> = (0..10_000).map(|number| format!("line {number}")).collect();
    log.append(&(lines.join("\n") + "\n"));
    let mut tail = log.tail(Start::Beginning);
    let mut batch = Batch::default();
    assert_eq!(tail.read(&mut batch, Instant::now()).unwrap(), Status::Behind);
    assert_eq!(batch.len(), 4096);
    log.rotate();
    log.append("new\n");
    let mut again = Tail::open(&log.path(), TailOptions::default(), Some(tail.position()));
    for tail in [&mut tail, &mut again] {
        let (rest, gaps) = read(tail);
        assert_eq!((rest.len(), gaps), (10_000 - 4096 + 1, 0));
        assert_eq!((rest[0].as_str(), rest.last().unwrap().as_str()), ("line 4096", "new"));
    }
}

#[test]
fn a_log_that_lost_its_end_in_a_crash_is_not_read_again() {
    let log = Log::new("");
    log.append(&"some line that is long enough\n".repeat(100));
    let mut tail = log.tail(Start::Beginning);
    assert_eq!(read(&mut tail).0.len(), 100);
    let position = tail.position();
    OpenOptions::new().write(true).open(log.path()).unwrap().set_len(2000).unwrap();
    check(&mut tail, &[], 1);
    let mut again = Tail::open(&log.path(), TailOptions::default(), Some(position));
    check(&mut again, &[], 1);
    log.append("new\n");
    check(&mut tail, &["new"], 0);
    check(&mut again, &["new"], 0);
}

#[test]
fn a_log_that_is_truncated_twice_under_its_writer_is_not_taken_for_the_same() {
    let log = Log::new("");
    // its writer goes on at its old offset: what was there is a hole
    let truncate = |line: &str| {
        let file = OpenOptions::new().write(true).open(log.path()).unwrap();
        let size = file.metadata().unwrap().len();
        file.set_len(0).unwrap();
        file.set_len(size).unwrap();
        log.append(line);
    };
    log.append(&"some line that is long enough\n".repeat(100));
    let mut tail = log.tail(Start::Beginning);
    assert_eq!(read(&mut tail).0.len(), 100);
    truncate("one\n");
    check(&mut tail, &["one"], 1);
    log.append("never read\n");
    truncate("two\n");
    check(&mut tail, &["two"], 1);
}

#[test]
fn a_copy_that_ends_before_what_was_read_has_nothing_more() {
    let log = Log::new("");
    log.append(&"some line that is long enough\n".repeat(100));
    let mut tail = log.tail(Start::Beginning);
    assert_eq!(read(&mut tail).0.len(), 100);
    let copy = log.directory.path().join("kern.log.1");
    fs::copy(log.path(), &copy).unwrap();
    log.append("three\n");
    check(&mut tail, &["three"], 0);
    let written = fs::metadata(log.path()).unwrap().modified().unwrap();
    OpenOptions::new().append(true).open(copy).unwrap().set_modified(written).unwrap();
    let position = tail.position();
    fs::write(log.path(), "four\n").unwrap();
    check(&mut tail, &["four"], 1);
    check(&mut Tail::open(&log.path(), TailOptions::default(), Some(position)), &["four"], 1);
}

#[test]
fn a_position_survives_as_json_and_a_forged_one_does_no_harm() {
    let log = Log::new("one\ntwo\n");
    let mut tail = log.tail(Start::Beginning);
    check(&mut tail, &["one", "two"], 0);
    let json = serde_json::to_value(tail.position()).unwrap();
    assert_eq!(serde_json::from_value::<TailPosition>(json.clone()).unwrap(), tail.position());
    for (field, value) in [("offset", u64::MAX), ("offset", 1), ("offset", 0), ("inode", 0)] {
        let mut forged = json.clone();
        forged["at"][field] = value.into();
        for (piece, bytes) in [("head", u64::MAX >> 1), ("trail", u64::MAX >> 1), ("trail", 0)] {
            forged["at"][piece]["bytes"] = bytes.into();
            let position = serde_json::from_value(forged.clone()).unwrap();
            read(&mut Tail::open(&log.path(), TailOptions::default(), Some(position)));
        }
    }
}

#[test]
fn what_cannot_be_read_is_said_and_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("no/such.log");
    assert!(matches!(error(&missing), TailError::Missing { .. }));
    assert!(matches!(error(directory.path()), TailError::NotAFile { .. }));
    let fifo = directory.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(error(&fifo), TailError::NotAFile { .. }));

    let mut tail = Tail::open(&missing, TailOptions::default(), None);
    assert!(tail.read(&mut Batch::default(), Instant::now()).is_err());
    fs::create_dir(missing.parent().unwrap()).unwrap();
    assert!(tail.read(&mut Batch::default(), Instant::now()).is_err());
    fs::write(&missing, "first\n").unwrap();
    check(&mut tail, &["first"], 0);
}

#[test]
fn without_permission_the_file_is_named() {
    let log = Log::new("one\n");
    fs::set_permissions(log.path(), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(log.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = log.path();
    // a thread may have another user than its process
    let denied = std::thread::spawn(move || {
        rustix::thread::set_thread_res_uid(
            rustix::fs::Uid::from_raw(65534),
            rustix::fs::Uid::from_raw(65534),
            rustix::fs::Uid::from_raw(65534),
        )
        .expect("the tests run as root");
        error(&path)
    });
    let denied = denied.join().unwrap();
    assert!(matches!(denied, TailError::Denied { .. }), "{denied}");
    assert!(denied.to_string().contains("kern.log"), "{denied}");
}

#[test]
fn a_symlink_is_followed_to_the_file_and_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (link, target) = (directory.path().join("current"), directory.path().join("day"));
    fs::create_dir(&target).unwrap();
    fs::write(target.join("monday.log"), "one\n").unwrap();
    symlink(target.join("monday.log"), &link).unwrap();
    let mut tail = Tail::open(&link, TailOptions { start: Start::Beginning, ..TailOptions::default() }, None);
    check(&mut tail, &["one"], 0);
    fs::write(target.join("tuesday.log"), "two\n").unwrap();
    fs::remove_file(&link).unwrap();
    symlink(target.join("tuesday.log"), &link).unwrap();
    check(&mut tail, &["two"], 0);
}

#[test]
fn a_read_waits_for_a_line_and_no_longer() {
    let log = Log::new("");
    let mut tail = log.tail(Start::End);
    let path = log.path();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        fs::write(path, "line\n").unwrap();
    });
    let (mut batch, deadline) = (Batch::default(), Instant::now() + Duration::from_secs(120));
    let status = tail.read(&mut batch, deadline).unwrap();
    assert_eq!((status, batch.len()), (Status::CaughtUp, 1));
    assert!(Instant::now() < deadline, "it waited for more");
    writer.join().unwrap();
    assert_eq!(tail.read(&mut batch, Instant::now() + Duration::from_millis(50)).unwrap(), Status::CaughtUp);
    assert!(batch.is_empty());
}
