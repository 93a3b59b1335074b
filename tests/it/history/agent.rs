//! The agent's own journal, written by the real program.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{AllowlistDir, MONITOR, Netns, lossy, wait_until};

/// What is printed: also the error while there is no journal yet.
fn history(directory: &str) -> String {
    lossy(&Command::new(MONITOR).args(["history", "--state-dir", directory]).output().unwrap())
}

#[test]
fn the_agent_remembers_its_verdicts_over_a_kill() {
    let netns = Netns::new();
    let allowlist = AllowlistDir::new(&[("global", "^-P ")]);
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("state").to_str().unwrap().to_owned();
    let start = || {
        netns
            .command(MONITOR)
            .args(["--input", allowlist.path(), "--ipv6", "false", "--sink", "none", "--listen", "off"])
            .args(["--state-dir", &directory, "--interval", "1h"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let has = |text: &str| history(&directory).contains(text);
    let mut agent = start();
    wait_until("the first check is recorded", Duration::from_secs(30), || has("Z  compliant\n"));
    netns.sh("iptables -A INPUT -j DROP");
    kill_process(Pid::from_child(&agent), Signal::HUP).unwrap();
    wait_until("the change is recorded", Duration::from_secs(30), || has("compliant -> violations"));
    agent.kill().unwrap();
    agent.wait().unwrap();
    let before = history(&directory);
    let mut agent = start();
    wait_until("the next agent goes on", Duration::from_secs(30), || {
        history(&directory).len() > before.len()
    });
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    assert!(agent.wait().unwrap().success());
    assert!(history(&directory).starts_with(&before));
}

/// Runs the agent until it has checked once, with a state directory that this script prepares in a mount namespace.
fn check_with_state(prepare: &str) -> String {
    let (netns, state) = (Netns::new(), tempfile::tempdir().unwrap());
    let allowlist = AllowlistDir::new(&[("global", "^-P ")]);
    let script = format!("set -e; cd \"$1\"; {prepare}; shift; exec \"$@\"");
    let output = netns
        .command("unshare")
        .args(["--mount", "bash", "-c", &script, "bash", state.path().to_str().unwrap(), MONITOR])
        .args(["--input", allowlist.path(), "--ipv6", "false", "--sink", "none", "--listen", "off"])
        .args(["--state-dir", state.path().join("state").to_str().unwrap(), "--terminate-on-success"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{prepare}: {}", lossy(&output));
    lossy(&output)
}

#[test]
fn a_state_directory_that_cannot_be_used_stops_no_check() {
    for (prepare, expected) in [
        ("touch state", "Not a directory"),
        ("mkdir state; mount -t tmpfs -o ro none state", "Read-only file system"),
        ("mkdir state; mount -t tmpfs -o size=8k none state", "disk I/O error"),
        ("mkdir state; mount -t tmpfs -o size=44k none state", "no room for the journal"),
        ("ln -s /no/such state", "No such file"),
    ] {
        let text = check_with_state(prepare);
        assert_eq!(text.matches("no journal for now").count(), 1, "{prepare}: {text}");
        assert!(text.contains(expected), "{prepare}: {text}");
    }
    let text = check_with_state("mkdir state; echo no database > state/history.db");
    assert_eq!(text.matches("a damaged journal was set aside").count(), 1, "{text}");
}
