//! Credential plugins of a kubeconfig that hang: no check waits for them, and they end with the agent.
//! The whole program with a real kubeconfig; the plugins are scripts, the API server is a fake.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::support::fake::Fake;
use crate::support::live::Agent as Program;
use crate::support::{MONITOR, Netns, lossy, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
/// Sleeps, and leaves its number.
const SLEEP: &str = "echo $$ >> pids; exec sleep 1000";
/// The same in a session of its own, so that no signal to a group reaches it.
const SLEEP_APART: &str = "setsid sh -c 'echo $$ >> pids; exec sleep 1000' & wait";
const TOKEN: &str = r#"echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t"}}'"#;

/// A directory with a plugin, and what it leaves there.
struct Plugin(TempDir);

impl Plugin {
    fn new(script: &str) -> Self {
        let plugin = Self(tempfile::tempdir().unwrap());
        let directory = plugin.0.path().display();
        std::fs::write(plugin.path("plugin"), format!("#!/bin/sh\ncd {directory}\n{script}\n")).unwrap();
        std::fs::set_permissions(plugin.path("plugin"), std::fs::Permissions::from_mode(0o755)).unwrap();
        plugin
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn pids(&self) -> Vec<u32> {
        let pids = std::fs::read_to_string(self.path("pids")).unwrap_or_default();
        pids.lines().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Those that sleep.
    fn alive(&self) -> Vec<u32> {
        let sleeps = |pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x001000\0")
        };
        self.pids().into_iter().filter(sleeps).collect()
    }

    #[track_caller]
    fn wait_until_dead(&self) {
        wait_until("the plugin is gone", LIMIT, || self.alive().is_empty());
    }

    /// An agent whose credentials come from the plugin.
    fn agent<'a>(&self, netns: &'a Netns, server: &str, args: &[&str]) -> Program<'a> {
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "command": self.path("plugin"),
        });
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"exec": exec}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(self.path("kubeconfig"), kubeconfig.to_string()).unwrap();
        let mut command = netns.command(MONITOR);
        command
            .args(["--profile", "base", "--ipv6", "false", "--sink", "kube", "--node-name", "n"])
            .args(args);
        Program::spawn(netns, command.env("KUBECONFIG", self.path("kubeconfig")))
    }
}

fn end(agent: &Program<'_>, signal: Signal) {
    kill_process(Pid::from_raw(agent.pid().cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn a_plugin_that_hangs_stops_no_check_and_ends_with_the_agent() {
    for (script, signal) in [
        (SLEEP, Signal::TERM),
        (SLEEP, Signal::KILL),
        (SLEEP_APART, Signal::TERM),
        (SLEEP_APART, Signal::KILL),
        (SLEEP_APART, Signal::INT),
    ] {
        let (netns, plugin) = (Netns::new(), Plugin::new(script));
        let agent = plugin.agent(&netns, "http://127.0.0.1:1", &[]);
        agent.wait("there is a report", LIMIT, |status| status["verdict"].is_string());
        assert!(agent.get("/healthz").is_some() && agent.get("/readyz").is_some(), "{}", agent.log());
        assert_eq!(plugin.alive().len(), 1, "the plugin hangs meanwhile: {:?}", plugin.pids());
        assert!(agent.log().contains("long in coming"), "{}", agent.log());
        end(&agent, signal);
        plugin.wait_until_dead();
    }
}

#[test]
fn a_plugin_that_takes_its_time_is_waited_for_without_holding_up_checks() {
    let netns = Netns::new();
    let fake = Fake::on(netns.within(|| TcpListener::bind("127.0.0.1:0").unwrap()), &[]);
    let plugin = Plugin::new(&format!("until [ -e go ]; do sleep 0.05; done; {TOKEN}"));
    let agent = plugin.agent(&netns, &fake.address, &[]);
    agent.wait("there is a report", LIMIT, |status| status["verdict"].is_string());
    assert_eq!(fake.label(), None);
    std::fs::write(plugin.path("go"), "").unwrap();
    wait_until("the label is there", LIMIT, || fake.label().is_some());
    assert!(agent.log().contains("the credentials for the API server are there"), "{}", agent.log());
}

#[test]
fn a_plugin_that_hangs_when_its_token_has_run_out_stops_no_check() {
    let netns = Netns::new();
    let fake = Fake::on(netns.within(|| TcpListener::bind("127.0.0.1:0").unwrap()), &[]);
    let expired = TOKEN.replace(r#""token""#, r#""expirationTimestamp": "2020-01-01T00:00:00Z", "token""#);
    let plugin = Plugin::new(&format!("if [ -e hang ]; then {SLEEP}; fi; {expired}"));
    let agent = plugin.agent(&netns, &fake.address, &["--interval", "1"]);
    wait_until("the label is there", LIMIT, || fake.label().is_some());
    std::fs::write(plugin.path("hang"), "").unwrap();
    wait_until("the plugin hangs", LIMIT, || !plugin.alive().is_empty());
    let checked = || agent.status().map(|status| status["checked_at"].to_string());
    for _ in 0..5 {
        let before = checked();
        wait_until("there is another check", LIMIT, || checked() != before);
    }
    assert!(plugin.alive().len() <= 1, "{:?}", plugin.alive());
    end(&agent, Signal::TERM);
    plugin.wait_until_dead();
}

#[test]
fn a_plugin_that_fails_is_an_error_at_the_start_where_the_api_server_was_asked_for() {
    let (netns, plugin) = (Netns::new(), Plugin::new("echo no cloud today >&2; exit 7"));
    let agent = plugin.agent(&netns, "http://127.0.0.1:1", &[]);
    wait_until("the agent says so", LIMIT, || {
        agent.log().contains("reporting to the API server, as --sink kube asks")
    });
    let log = agent.log();
    assert!(log.contains("no cloud today") && log.contains("exit status: 7"), "{log}");
}

/// Runs a script of this plugin's as the agent has it run.
fn guarded(plugin: &Plugin, seconds: u32, args: &[&str]) -> Output {
    // a process of its own, as there is only one plugin at a time for each
    let script = r#""$0" credential-plugin $$ "$@"; exit $?"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, MONITOR, &seconds.to_string(), "--"]).arg(plugin.path("plugin")).args(args);
    command.output().unwrap()
}

#[test]
fn nothing_of_a_plugin_is_left_when_it_is_over() {
    for (script, seconds, code, said) in [
        (SLEEP, 1, 2, "did not end within 1 s and was killed"),
        (SLEEP_APART, 1, 2, "did not end within 1 s and was killed"),
        // ends at once, and leaves a process that holds on to its output
        (
            "setsid sh -c 'echo $$ >> pids; exec sleep 1000' & until [ -e pids ]; do :; done; exit 3",
            60,
            2,
            "exit status: 3",
        ),
        (
            "setsid sh -c 'echo $$ >> pids; exec sleep 1000' & until [ -e pids ]; do :; done; echo token",
            60,
            0,
            "token",
        ),
        ("echo $$ >> pids; yes", 60, 2, "printed more than 1048576 bytes"),
        ("echo $$ >> pids; yes >&2", 1, 2, "did not end within 1 s"),
    ] {
        let plugin = Plugin::new(script);
        let output = guarded(&plugin, seconds, &[]);
        let text = lossy(&output);
        assert_eq!(output.status.code(), Some(code), "{script}: {text:.2000}");
        assert!(text.contains(said), "{script}: {text:.2000}");
        assert!(output.stdout.len() + output.stderr.len() < 100_000, "{script}: {}", text.len());
        assert!(!plugin.pids().is_empty(), "{script}");
        assert_eq!(plugin.alive(), [0; 0], "{script}");
    }
}

#[test]
fn a_plugin_gets_its_arguments_and_environment_as_they_are() {
    let plugin = Plugin::new(r#"printf '%s|' "$@" "$KUBERNETES_EXEC_INFO""#);
    let output = guarded(&plugin, 60, &["-v", "3", "--", "a b", "--interval"]);
    assert_eq!(lossy(&output), "-v|3|--|a b|--interval||");
}

#[test]
fn one_plugin_runs_at_a_time() {
    let plugin = Plugin::new(SLEEP);
    let script = r#"
        "$0" credential-plugin $$ 60 -- "$1" & first=$!
        until [ -e "$2" ]; do sleep 0.01; done
        "$0" credential-plugin $$ 60 -- true; echo "second: $?"
        kill $first; wait $first; echo "first: $?""#;
    let output = Command::new("sh")
        .args(["-c", script, MONITOR])
        .arg(plugin.path("plugin"))
        .arg(plugin.path("pids"))
        .output();
    let text = lossy(&output.unwrap());
    assert!(
        text.contains("`true` was not started: what an earlier call has started is still running"),
        "{text}"
    );
    assert!(text.contains("second: 2\n") && text.contains("first: 2\n"), "{text}");
    assert_eq!(plugin.alive(), [0; 0]);
}
