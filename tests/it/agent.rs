//! The agent loop as a process: signals, reloads, what it prints and what it leaves behind.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::support::{AllowlistDir, MONITOR, Netns, wait_until};

/// Far more than anything here takes on a busy machine, and far less than the interval of an agent that has one of hours.
const LIMIT: Duration = Duration::from_secs(60);

/// The agent inside a namespace, its two streams collected by threads.
struct Agent {
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

type Collected = std::sync::Arc<std::sync::Mutex<String>>;

fn collect(mut stream: impl Read + Send + 'static) -> Collected {
    let text = Collected::default();
    let shared = text.clone();
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            shared.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    });
    text
}

impl Agent {
    fn start(netns: &Netns, args: &[&str]) -> Self {
        Self::spawn(netns.command(MONITOR).args(args))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let what = format!("the agent prints {text:?}");
        wait_until(&what, LIMIT, || self.stdout().contains(text) || self.stderr().contains(text));
    }

    #[track_caller]
    fn wait_end(&mut self) -> i32 {
        let mut status = None;
        wait_until("the agent ends", LIMIT, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing changes and the interval is long, so that nothing else makes it check.
#[test]
fn it_checks_again_on_sighup_and_ends_on_sigterm() {
    let netns = Netns::new();
    let mut agent = Agent::start(&netns, &["--profile", "base", "--interval", "24h"]);
    agent.wait_for("COMPLIANT");
    let checks = || agent.stderr().matches(" checked").count();
    wait_until("the first check is logged", LIMIT, || checks() == 1);
    for signals in 1..=3 {
        agent.signal(Signal::HUP);
        wait_until("it has checked once more", LIMIT, || checks() == 1 + signals);
    }
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_end(), 0, "{}", agent.stderr());
}

#[test]
fn it_checks_again_after_the_interval_and_tells_only_news() {
    let netns = Netns::new();
    let agent = Agent::start(&netns, &["--profile", "base", "--interval", "1"]);
    agent.wait_for("nothing new");
    assert_eq!(agent.stdout().matches("COMPLIANT").count(), 1, "{}", agent.stdout());
    netns.sh(
        "nft add table inet x; nft add chain inet x c '{ type filter hook input priority 0; policy drop; }'",
    );
    agent.wait_for("chain inet x c ");
}

#[test]
fn terminate_on_success_waits_for_compliance() {
    let netns = Netns::new();
    netns.sh("iptables-nft -A INPUT -j DROP");
    let args = ["-terminateOnSuccess=true", "-interval", "1", "--profile", "base"];
    let mut agent = Agent::start(&netns, &args);
    agent.wait_for("VIOLATIONS");
    agent.wait_for("checked, nothing new");
    assert!(agent.child.try_wait().unwrap().is_none(), "it must not end while there are violations");
    netns.sh("iptables-nft -F");
    assert_eq!(agent.wait_end(), 0, "{}", agent.stderr());
}

#[test]
fn a_broken_pattern_at_the_start_is_unknown_and_on_a_reload_changes_nothing() {
    let netns = Netns::new();
    netns.sh("iptables-nft -A INPUT -s 10.0.0.1 -j DROP");
    let broken = AllowlistDir::new(&[("filter", "^-P \n^-A INPUT (-s 10\n")]);
    let input = ["--input", broken.path(), "--profile", "base", "--interval", "1h"];
    let agent = Agent::start(&netns, &input);
    agent.wait_for("UNKNOWN");
    agent.wait_for("filter:2:");
    std::fs::write(format!("{}/filter", broken.path()), "^-A INPUT -s 10\n").unwrap();
    agent.signal(Signal::HUP);
    agent.wait_for("COMPLIANT");
    std::fs::write(format!("{}/filter", broken.path()), "^-A INPUT (-s 10\n").unwrap();
    agent.signal(Signal::HUP);
    agent.wait_for("the last good allowlist stays in force");
    // the verdict stays, so that only what is new is printed
    wait_until("the note is printed", LIMIT, || agent.stdout().contains("\n  ? "));
    let printed = agent.stdout();
    let first = printed.lines().filter_map(|line| line.split_whitespace().next());
    let verdicts: Vec<_> =
        first.filter(|word| ["COMPLIANT", "UNKNOWN", "VIOLATIONS"].contains(word)).collect();
    assert_eq!(verdicts, ["UNKNOWN", "COMPLIANT"], "{printed}");
}

#[test]
fn a_missing_allowlist_directory_is_unknown() {
    let netns = Netns::new();
    let agent = Agent::start(&netns, &["--input", "/nonexistent/config"]);
    agent.wait_for("UNKNOWN");
    agent.wait_for("NoAllowlist");
}

#[test]
fn the_older_systems_command_lines_work() {
    let netns = Netns::new();
    let input = AllowlistDir::new(&[("global", "^-P .*\n")]);
    for args in [
        vec!["-v", "3", "-events=true", "-checkMap=true", "-mapPath", "/x", "-logtostderr"],
        vec!["-v", "3", "-events", "-ipv6=false", "-installRoutesForHealthProbeReply"],
        vec!["--v=3", "-alsologtostderr=true", "-input6=/nonexistent"],
    ] {
        let mut agent = Agent::spawn(netns.command(MONITOR).args(args).args([
            "-input",
            input.path(),
            "-interval",
            "300",
            "-terminateOnSuccess",
        ]));
        assert_eq!(agent.wait_end(), 0, "{}", agent.stderr());
    }
    let output = netns.command(MONITOR).arg("-version").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("monitor 0."), "{output:?}");
}

#[test]
fn json_logs_are_one_object_a_line() {
    let netns = Netns::new();
    let mut agent =
        Agent::start(&netns, &["--profile", "base", "--log-format", "json", "--terminate-on-success"]);
    assert_eq!(agent.wait_end(), 0);
    let stderr = agent.stderr();
    let lines: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().any(|line| line["verdict"] == "compliant" && line["rules"] == 0), "{stderr}");
    let report: serde_json::Value = serde_json::from_str(&agent.stdout()).unwrap();
    assert_eq!(report["verdict"], "compliant");
}
