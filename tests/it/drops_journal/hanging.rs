//! A journalctl that says something, and then nothing, or that leaves a process behind which holds its output.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use iptables_monitor::domain::drops::batch::{Batch, Status};
use iptables_monitor::host::logs::journald::{Journal, JournalError, JournalOptions, Start};

use crate::support::{LeftBehind, lossy};

const MARK: &str = "MONITOR_TEST_HANGING_JOURNALCTL";
const SILENCE: Duration = Duration::from_millis(400);
/// How long one call waits; the silence is the sum of such waits.
const LOOK: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(60);
const ENTRY: &str = r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1700000000000000","_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","MESSAGE":"DROP"}"#;

fn options(is_following: bool) -> JournalOptions {
    JournalOptions { start: Start::Beginning, is_following, silence: SILENCE, ..JournalOptions::default() }
}

/// Reads until there is an error, and says how many lines were read before.
fn read_to_error(journal: &mut Journal) -> (usize, JournalError) {
    let mut batch = Batch::default();
    let (mut lines, end) = (0, Instant::now() + LIMIT);
    loop {
        assert!(Instant::now() < end, "{lines} lines, and no error");
        match journal.read(&mut batch, Instant::now() + LOOK) {
            Ok(status) => assert_eq!(status, Status::CaughtUp),
            Err(error) => return (lines, error),
        }
        lines += batch.lines().count();
    }
}

/// What a test runs in a process of its own, in whose `PATH` journalctl is this script.
fn with_journalctl(directory: &Path, script: &str, test: &str) {
    let fake = directory.join("journalctl");
    std::fs::write(&fake, format!("#!/bin/sh\necho '{ENTRY}'\n{script}\n")).unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("drops_journal::hanging::{test}"), "--nocapture"])
        .env(MARK, "1")
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success() && lossy(&output).contains("done"), "{}", lossy(&output));
}

/// The part of the test below that is within the other process.
#[test]
fn reads_a_journalctl_that_hangs() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    let (lines, error) = read_to_error(&mut Journal::open(options(false), None));
    assert_eq!(lines, 1);
    assert!(matches!(error, JournalError::Silent { waited: SILENCE }), "{error}");
    let text = error.to_string();
    assert!(text.contains("`journalctl` printed nothing for 0.4 s") && text.contains("by hand"), "{text}");

    // one that is followed may be silent for as long as it likes
    let (mut journal, mut batch) = (Journal::open(options(true), None), Batch::default());
    let mut silent = Duration::ZERO;
    while silent < SILENCE * 3 {
        let begun = Instant::now();
        journal.read(&mut batch, begun + LOOK).unwrap();
        silent += begun.elapsed();
    }
    println!("done");
}

#[test]
fn a_journalctl_that_hangs_is_an_error_unless_it_follows() {
    let directory = tempfile::tempdir().unwrap();
    with_journalctl(directory.path(), "exec sleep 1000", "reads_a_journalctl_that_hangs");
}

/// The part of the tests below that is within the other process.
#[test]
fn reads_a_journalctl_that_ends() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    let (lines, error) = read_to_error(&mut Journal::open(options(true), None));
    assert_eq!(lines, 1);
    let JournalError::Ended { status, stderr } = error else { panic!("{error}") };
    assert_eq!((status.code(), stderr.as_str()), (Some(3), "no more"));
    println!("done");
}

#[test]
fn the_end_of_a_journalctl_is_seen_though_a_stray_process_holds_its_streams() {
    for streams in [">/dev/null", "2>/dev/null", ""] {
        let directory = tempfile::tempdir().unwrap();
        let left = directory.path().join("left");
        let script = format!(
            "setsid sh -c 'echo $$ > {left}; exec sleep 120' {streams} &
             until [ -s {left} ]; do sleep 0.01; done
             echo no more >&2; exit 3",
            left = left.display()
        );
        with_journalctl(directory.path(), &script, "reads_a_journalctl_that_ends");
        let left = LeftBehind::wait_for(&left, 1);
        assert!(left.iter().all(LeftBehind::is_alive), "it was waited for: {streams}");
    }
}
