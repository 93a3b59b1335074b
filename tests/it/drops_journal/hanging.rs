//! A journalctl that says something, and then nothing.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use iptables_monitor::domain::drops::batch::{Batch, Status};
use iptables_monitor::host::logs::journald::{Journal, JournalError, Options, Start};

use crate::support::lossy;

const MARK: &str = "MONITOR_TEST_HANGING_JOURNALCTL";
const SILENCE: Duration = Duration::from_millis(400);
const ENTRY: &str = r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1700000000000000","_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","MESSAGE":"DROP"}"#;

fn options(is_following: bool) -> Options {
    Options { start: Start::Beginning, is_following, silence: SILENCE, ..Options::default() }
}

/// What the test below runs in a process of its own, in whose `PATH` journalctl is another.
#[test]
fn reads_a_journalctl_that_hangs() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    let look = Duration::from_millis(50);
    let mut batch = Batch::default();
    let mut journal = Journal::open(options(false), None);
    let (mut lines, end) = (0, Instant::now() + Duration::from_secs(60));
    let error = loop {
        assert!(Instant::now() < end, "{lines} lines, and no error");
        match journal.read(&mut batch, Instant::now() + look) {
            Ok(status) => assert_eq!(status, Status::CaughtUp),
            Err(error) => break error,
        }
        lines += batch.lines().count();
    };
    assert_eq!(lines, 1);
    assert!(matches!(error, JournalError::Silent { waited: SILENCE }), "{error}");
    let text = error.to_string();
    assert!(text.contains("`journalctl` printed nothing for 0.4 s") && text.contains("by hand"), "{text}");

    // one that is followed may be silent for as long as it likes
    let mut journal = Journal::open(options(true), None);
    let end = Instant::now() + SILENCE * 3;
    while Instant::now() < end {
        journal.read(&mut batch, Instant::now() + look).unwrap();
    }
    println!("done");
}

#[test]
fn a_journalctl_that_hangs_is_an_error_unless_it_follows() {
    let directory = tempfile::tempdir().unwrap();
    let fake = directory.path().join("journalctl");
    std::fs::write(&fake, format!("#!/bin/sh\necho '{ENTRY}'\nexec sleep 1000\n")).unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "drops_journal::hanging::reads_a_journalctl_that_hangs", "--nocapture"])
        .env(MARK, "1")
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success() && lossy(&output).contains("done"), "{}", lossy(&output));
}
