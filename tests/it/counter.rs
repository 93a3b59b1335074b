//! The counter of blocked rules: a real map, pinned in a bpf file system of the test's own, and the agent that reads it.
//! Needs bpftool; without it these tests fail.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use iptables_monitor::app::checks::blocked::DEFAULT_MAP;
use iptables_monitor::host::bpf_map::{CounterError, read_counter};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::support::fake::Fake;
use super::support::{MONITOR, Netns, lossy, wait_until};

const LIMIT: Duration = Duration::from_secs(20);

/// A bpf file system in a mount namespace and a network namespace that live as long as this value.
struct BpfFs {
    netns: Netns,
    holder: Child,
    directory: tempfile::TempDir,
}

impl BpfFs {
    fn new() -> Self {
        let (netns, directory) = (Netns::new(), tempfile::tempdir().unwrap());
        let script = format!("mount -t bpf bpf {}; echo ready; read gone", directory.path().display());
        let mut holder = netns
            .command("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-ec", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready)
            .expect("mount(8) of a bpf file system");
        Self { netns, holder, directory }
    }

    /// A command that runs in both namespaces.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("-t").arg(self.holder.id().to_string()).args(["-m", "-n", "--", program]);
        command
    }

    /// The path of a pinned map inside.
    fn pin(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    /// The same from outside.
    fn outside(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(self.pin(name).trim_start_matches('/'))
    }

    fn bpftool(&self, arguments: &str) {
        let output = self.command("bpftool").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "bpftool (package bpftool) {arguments}: {}", lossy(&output));
    }

    fn create(&self, name: &str, kind: &str, sizes: &str) {
        self.bpftool(&format!("map create {} type {kind} {sizes} entries 1 name {name}", self.pin(name)));
    }

    fn set(&self, name: &str, count: u64) {
        let bytes: Vec<_> = count.to_ne_bytes().iter().map(u8::to_string).collect();
        self.bpftool(&format!("map update pinned {} key 0 0 0 0 value {}", self.pin(name), bytes.join(" ")));
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

const COUNTER: &str = "key 4 value 8";

#[test]
fn a_pinned_counter_is_read() {
    let maps = BpfFs::new();
    maps.create("counter", "array", COUNTER);
    let first = read_counter(&maps.outside("counter")).unwrap();
    assert_eq!(first.count, 0);
    for count in [1, 0x0102_0304_0506_0708, u64::MAX] {
        maps.set("counter", count);
        let reading = read_counter(&maps.outside("counter")).unwrap();
        assert_eq!((reading.count, reading.map_id), (count, first.map_id));
    }
    maps.create("other", "array", COUNTER);
    assert_ne!(read_counter(&maps.outside("other")).unwrap().map_id, first.map_id);
}

#[test]
fn a_counter_for_each_cpu_is_added_up() {
    let maps = BpfFs::new();
    maps.create("counter", "percpu_array", COUNTER);
    // bpftool sets the value of every CPU that may ever be there
    maps.set("counter", 7);
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    let last: u64 = possible.trim().rsplit(['-', ',']).next().unwrap().parse().unwrap();
    assert_eq!(read_counter(&maps.outside("counter")).unwrap().count, 7 * (last + 1));
}

#[test]
fn what_is_no_counter_is_refused_with_its_reason() {
    let maps = BpfFs::new();
    maps.create("hash", "hash", COUNTER);
    maps.create("narrow", "array", "key 4 value 4");
    maps.create("wide", "array", "key 4 value 16");
    let refusal = |name: &str| read_counter(&maps.outside(name)).expect_err(name);
    assert!(matches!(refusal("hash"), CounterError::Type { .. }));
    assert!(matches!(refusal("narrow"), CounterError::Size { key: 4, value: 4, .. }));
    assert!(matches!(refusal("wide"), CounterError::Size { key: 4, value: 16, .. }));
    assert!(matches!(refusal("missing"), CounterError::Open { .. }));
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(read_counter(file.path()), Err(CounterError::Open { .. })));
    assert!(matches!(read_counter(Path::new("a\0b")), Err(CounterError::Open { .. })));
    for name in ["hash", "narrow", "missing"] {
        let said = refusal(name).to_string();
        assert!(said.contains(&maps.pin(name)), "{said}");
    }
}

/// The agent in both namespaces, its API server, and what it prints.
struct Agent<'a> {
    maps: &'a BpfFs,
    child: Child,
    printed: tempfile::NamedTempFile,
    _config: tempfile::NamedTempFile,
}

impl<'a> Agent<'a> {
    fn start(maps: &'a BpfFs, api: &Fake) -> Self {
        let config = tempfile::NamedTempFile::new().unwrap();
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
            "clusters": [{"name": "c", "cluster": {"server": api.address}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(config.path(), text.to_string()).unwrap();
        let printed = tempfile::NamedTempFile::new().unwrap();
        // one description: each stream writes where the other ended
        let out = printed.reopen().unwrap();
        let err = out.try_clone().unwrap();
        // with root's name and the capability of the DaemonSet
        let mut command = maps.command("setpriv");
        command.args(["--bounding-set=-all,+net_admin", "--inh-caps=-all", "--", MONITOR]);
        command.args(["-checkMap=true", "-mapPath", &maps.pin("counter"), "-events=true", "--sink", "kube"]);
        command.args(["--profile", "base", "--interval", "200ms", "--netns-check", "off"]);
        command.env("NODE_NAME", "n").env("KUBECONFIG", config.path());
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn().unwrap();
        let agent = Self { maps, child, printed, _config: config };
        agent.wait_for_checks(3);
        agent
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.printed.path()).unwrap()
    }

    /// What the agent answers on its loopback device; nothing while it does not listen.
    fn get(&self, path: &str) -> String {
        let url = format!("http://127.0.0.1:9191{path}");
        let output = self.maps.command("curl").args(["-s", "--noproxy", "*", &url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("iptables_monitor_{name} ")));
        line.and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    fn wait_for_checks(&self, more: u64) {
        let goal = self.metric("checks_total") + more;
        let what = format!("{goal} checks are done; it says:\n{}", self.log());
        wait_until(&what, LIMIT, || self.metric("checks_total") >= goal);
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// What the Events about blocked rules said, without their time.
fn told(api: &Fake) -> Vec<String> {
    let seen = api.seen();
    let events = seen.iter().filter(|seen| seen.method == "POST" && seen.path.contains("/events"));
    let blocked = events.filter(|seen| seen.body["reason"] == "BlockedIPTablesRule");
    blocked
        .map(|seen| {
            assert_eq!(seen.body["type"], "Warning");
            let note = seen.body["note"].as_str().unwrap();
            note.split_once(" since 20").expect(note).0.to_owned()
        })
        .collect()
}

/// Waits until the Events say this, and makes sure that further checks add nothing.
fn expect(agent: &Agent, api: &Fake, expected: &[&str]) {
    wait_until(&format!("the Events are {expected:?}; it says:\n{}", agent.log()), LIMIT, || {
        told(api) == expected
    });
    agent.wait_for_checks(3);
    assert_eq!(told(api), expected);
}

#[test]
fn each_increase_is_one_event_and_nothing_else_is() {
    let maps = BpfFs::new();
    let api = Fake::on(maps.netns.within(|| TcpListener::bind("127.0.0.1:0").unwrap()), &[]);
    maps.create("counter", "array", COUNTER);
    maps.set("counter", 500);
    let agent = Agent::start(&maps, &api);
    expect(&agent, &api, &[]);

    maps.set("counter", 503);
    expect(&agent, &api, &["3 rules were blocked"]);
    let status: serde_json::Value = serde_json::from_str(&agent.get("/status")).unwrap();
    assert_eq!(
        (&status["blocked_rules"]["count"], &status["blocked_rules"]["counter"]),
        (&3.into(), &503.into())
    );
    assert!(agent.get("/").contains("3 rules were blocked"), "{}", agent.get("/"));

    // a read that fails says nothing of the rules; what came meanwhile is told when the same map is back
    maps.bpftool(&format!("map pin pinned {} {}", maps.pin("counter"), maps.pin("kept")));
    assert!(maps.command("rm").arg(maps.pin("counter")).status().unwrap().success());
    wait_until("it cannot be read", LIMIT, || agent.metric("blocked_read_errors_total") > 0);
    maps.set("kept", 504);
    agent.wait_for_checks(3);
    assert_eq!(told(&api), ["3 rules were blocked"]);
    maps.bpftool(&format!("map pin pinned {} {}", maps.pin("kept"), maps.pin("counter")));
    expect(&agent, &api, &["3 rules were blocked", "1 rule was blocked"]);
    let log = agent.log();
    assert_eq!(log.matches("blocked rules are not counted").count(), 1, "{log}");

    // another map in its place, and one that was set back, begin again
    maps.create("next", "array", COUNTER);
    maps.set("next", 900);
    assert!(maps.command("mv").args([maps.pin("next"), maps.pin("counter")]).status().unwrap().success());
    agent.wait_for_checks(3);
    maps.set("counter", 9);
    agent.wait_for_checks(3);
    maps.set("counter", 11);
    expect(&agent, &api, &["3 rules were blocked", "1 rule was blocked", "2 rules were blocked"]);
    assert_eq!(agent.metric("blocked_rules_total"), 6);
    drop(agent);

    let told_before = told(&api);
    let agent = Agent::start(&maps, &api);
    assert_eq!((told(&api), agent.metric("blocked_rules_total")), (told_before, 0));
}

#[test]
fn the_documented_mount_is_where_the_agent_looks() {
    let text = include_str!("../../config-samples/README.md");
    let (_, rest) = text.rsplit_once("```yaml\n").unwrap();
    let (patch, _) = rest.split_once("```").unwrap();
    let patch: serde_json::Value = serde_saphyr::from_str(patch).unwrap();
    let pod = &patch["spec"]["template"]["spec"];
    let (mount, volume) = (&pod["containers"][0]["volumeMounts"][0], &pod["volumes"][0]);
    assert_eq!(mount["name"], volume["name"]);
    let directory = Path::new(DEFAULT_MAP).parent().and_then(Path::to_str);
    assert_eq!(mount["mountPath"].as_str(), directory);
}

#[test]
fn without_the_flag_nothing_is_read_and_nothing_shown() {
    let netns = Netns::new();
    let output = netns
        .command("timeout")
        .args(["20", MONITOR, "--map-path", "/nonexistent", "--profile", "base", "--terminate-on-success"])
        .args(["--log-format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", lossy(&output));
    assert!(!lossy(&output).contains("blocked"), "{}", lossy(&output));
}
