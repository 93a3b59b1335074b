//! The whole program in the place of kube-iptables-tailer: its name, its arguments, its variables, its permissions.
//! Only the log lines are made up.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::Cluster;
use super::program::{LIMIT, Lines, LogFile, Program, free_port, icmp, page, tcp, value};
use crate::support::{MONITOR, lossy};

/// What the older system's own ClusterRole grants.
fn permissions() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ])
}

fn command(directory: &TempDir) -> Command {
    let name = directory.path().join("kube-iptables-tailer");
    if !name.exists() {
        symlink(MONITOR, &name).unwrap();
    }
    let mut command = Command::new(name);
    command.args(["--log_dir=/x", "--v=4"]);
    command
}

/// Its time layout, `2006-01-02T15:04:05.000000-07:00`, so many minutes ago and two hours east.
fn stamp(minutes_ago: i64) -> String {
    let zone = TimeZone::fixed(Offset::from_hours(2).unwrap());
    let at = Timestamp::now().checked_sub(minutes_ago.minutes()).unwrap().to_zoned(zone);
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()
}

/// A node whose log the program follows.
struct Node {
    cluster: Cluster,
    directory: TempDir,
    log: LogFile,
    port: u16,
    program: Program,
}

impl Node {
    async fn start(namespace: &'static str, variables: &[(&str, &str)]) -> Self {
        let cluster = Cluster::new(namespace, &permissions()).await;
        let directory = tempfile::tempdir().unwrap();
        let log = LogFile(directory.path().join("iptables.log"));
        let port = free_port();
        let mut command = command(&directory);
        command
            .env("IPTABLES_LOG_PATH", &log.0)
            .env("IPTABLES_LOG_PREFIX", "calico-drop:")
            .env("METRICS_SERVER_PORT", port.to_string())
            .env("KUBECONFIG", cluster.kubeconfig(directory.path()))
            .envs(variables.iter().copied());
        let program = Program::start(&mut command, directory.path());
        Self { cluster, directory, log, port, program }
    }

    /// Waits until pods have names: those of the probe's drops, one kind after the other.
    async fn probe(&self, ip: &str, line: impl Fn(String) -> String) {
        let namespace = format!("{}-probe", self.cluster.namespace);
        self.cluster.add_namespace(&namespace).await;
        self.cluster.pod(&format!("{namespace}/probe"), &[ip], false).await;
        for port in 1..60 {
            self.log.append(&line(tcp(ip, "192.0.2.1", port)));
            let end = Instant::now() + Duration::from_secs(1);
            while Instant::now() < end {
                if !self.cluster.events(&namespace).await.is_empty() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        panic!("no Event of the probe\n{}", self.program.output());
    }

    fn metrics(&self) -> String {
        page(self.port, "/metrics")
    }

    fn lines(&self) -> Lines {
        Lines::of(&self.metrics(), &format!("file:{}", self.log.0.display()))
    }

    async fn wait(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let end = Instant::now() + LIMIT;
        while !is_so().await {
            let events = self.cluster.events(self.cluster.namespace).await;
            let messages: Vec<_> = events.iter().map(|event| &event["message"]).collect();
            assert!(
                Instant::now() < end,
                "still waiting for {what}\n{messages:?}\n{:?}\n{}",
                self.lines(),
                self.program.output()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn wait_for_fate(&self, fate: &str, count: u64) {
        self.wait(&format!("{count} {fate}"), async || self.lines().of_fate(fate) >= count).await;
        assert_eq!(self.lines().of_fate(fate), count, "{:?}", self.lines());
    }

    /// Waits for the Event with this message about this pod.
    async fn event(&self, pod: &str, message: &str) -> Value {
        let mut found = Value::Null;
        self.wait(&format!("{pod}: {message}"), async || {
            let is_it = |event: &Value| event["involvedObject"]["name"] == pod && event["message"] == message;
            found =
                self.cluster.events(self.cluster.namespace).await.into_iter().find(is_it).unwrap_or_default();
            !found.is_null()
        })
        .await;
        found
    }
}

#[tokio::test]
async fn its_variables_its_events_and_its_metric() {
    let mut node = Node::start("tailer", &[]).await;
    let line = |text: String| format!("{} worker-1 kernel: [12345.678901] calico-drop: {text}\n", stamp(0));
    node.cluster.pod("web", &["10.21.0.5"], false).await;
    node.cluster.pod("db", &["10.21.0.6"], false).await;
    node.probe("10.21.0.9", line).await;
    let series = r#"packet_drops_count{dst="tailer",src="tailer"}"#;
    assert_eq!(value(&node.metrics(), series), 0);

    node.log.append(&line(tcp("10.21.0.5", "10.21.0.6", 5432)));
    let sending = "Packet dropped when sending traffic to tailer (10.21.0.6) on port 5432/TCP";
    let event = node.event("web", sending).await;
    assert_eq!(event["type"], "Warning", "{event}");
    assert_eq!((&event["reason"], &event["count"]), (&json!("PacketDrop"), &json!(1)), "{event}");
    assert_eq!(event["source"]["component"], "kube-iptables-tailer");
    assert_eq!(event["involvedObject"]["kind"], "Pod");
    let receiving = "Packet dropped when receiving traffic from tailer (10.21.0.5) on port 5432/TCP";
    node.event("db", receiving).await;
    assert_eq!(value(&node.metrics(), series), 1);

    node.log.append(&line(tcp("10.21.0.5", "10.21.0.6", 5432)).repeat(3));
    node.wait_for_fate("folded", 3).await;
    assert_eq!(value(&node.metrics(), series), 1, "a repeat is counted");
    node.log.append(&line(tcp("10.21.0.5", "10.21.0.6", 5433)));
    node.event("web", "Packet dropped when sending traffic to tailer (10.21.0.6) on port 5433/TCP").await;
    assert_eq!(value(&node.metrics(), series), 2);
    node.log.append(&line(icmp("10.21.0.6", "10.21.0.5")));
    node.event("db", "Packet dropped when sending traffic to tailer (10.21.0.5) by ICMP type 8").await;

    let ignored = node.lines().of_fate("ignored");
    let old =
        format!("{} worker-1 kernel: calico-drop: {}\n", stamp(11), tcp("10.21.0.5", "10.21.0.6", 7001));
    let others = line(tcp("10.21.0.5", "10.21.0.6", 7002)).replace("calico-drop:", "calico-drop:x")
        + "2026 sshd[1]: Accepted publickey for admin\n";
    node.log.append(&(old + &others));
    node.wait_for_fate("ignored", ignored + 3).await;

    let rotated = |number| LogFile(node.directory.path().join(format!("iptables.log.{number}")));
    std::fs::rename(&node.log.0, rotated(1).0).unwrap();
    rotated(1).append(&line(tcp("10.21.0.5", "10.21.0.6", 6001)));
    node.log.append(&line(tcp("10.21.0.5", "10.21.0.6", 6002)));
    node.event("db", "Packet dropped when receiving traffic from tailer (10.21.0.5) on port 6001/TCP").await;
    node.event("db", "Packet dropped when receiving traffic from tailer (10.21.0.5) on port 6002/TCP").await;
    std::fs::rename(rotated(1).0, rotated(2).0).unwrap();
    std::fs::copy(&node.log.0, rotated(1).0).unwrap();
    std::fs::File::options().write(true).truncate(true).open(&node.log.0).unwrap();
    node.log.append(&line(tcp("10.21.0.5", "10.21.0.6", 6003)));
    node.event("db", "Packet dropped when receiving traffic from tailer (10.21.0.5) on port 6003/TCP").await;
    let written = [2, 1].map(|number| std::fs::read_to_string(rotated(number).0).unwrap()).concat();
    // the first of the probe may still wait for its pod's name
    node.wait_for_fate("read", written.lines().count() as u64 + 1).await;
    node.lines().add_up();

    assert_eq!(node.program.stop(), Some(0), "{}", node.program.output());
    assert_eq!(node.event("web", sending).await["count"], 4, "the repeats are told at the end");
    let events = node.cluster.events("tailer").await;
    assert!(
        events.iter().all(|event| !event["message"].as_str().unwrap().contains("on port 700")),
        "{events:?}"
    );
    assert_eq!(events.len(), 2 * 6, "two sides of six kinds");
}

#[tokio::test]
async fn lines_of_rfc_3164_a_prefix_like_a_key_and_names_of_ones_own() {
    let node = Node::start(
        "tailer-3164",
        &[
            ("IPTABLES_LOG_PREFIX", "INPUT-DROP:"),
            ("PACKET_DROP_LOG_TIME_LAYOUT", "Jan _2 15:04:05"),
            ("POD_IDENTIFIER", "name_with_namespace"),
            ("KUBE_EVENT_DISPLAY_REASON", "Blocked"),
            ("KUBE_EVENT_SOURCE_COMPONENT_NAME", "firewall"),
            ("TZ", "UTC"),
        ],
    )
    .await;
    let at = |minutes_ago: i64| {
        let at = Timestamp::now().checked_sub(minutes_ago.minutes()).unwrap().to_zoned(TimeZone::UTC);
        at.strftime("%b %e %H:%M:%S").to_string()
    };
    let line = |text: String| format!("{} worker-1 kernel: [1.5] INPUT-DROP: {text}\n", at(0));
    node.cluster.pod("web", &["10.22.0.5", "2001:db8:22::5"], false).await;
    node.cluster.pod("db", &["10.22.0.6"], false).await;
    node.probe("10.22.0.9", line).await;
    let ignored = node.lines().of_fate("ignored");
    let text = tcp("10.22.0.5", "10.22.0.6", 7001);
    node.log.append(&format!("{} worker-1 kernel: [1.5] INPUT-DROP: {text}\n", at(11)));
    node.wait_for_fate("ignored", ignored + 1).await;
    node.log.append(&line(tcp("10.22.0.5", "10.22.0.6", 80)));
    node.log.append(&line(tcp(
        "2001:0db8:0022:0000:0000:0000:0000:0005",
        "2001:0db8:0000:0000:0000:0000:0000:0001",
        443,
    )));
    let event = node
        .event("web", "Packet dropped when sending traffic to tailer-3164/db (10.22.0.6) on port 80/TCP")
        .await;
    assert_eq!((&event["reason"], &event["source"]["component"]), (&json!("Blocked"), &json!("firewall")));
    node.event("db", "Packet dropped when receiving traffic from tailer-3164/web (10.22.0.5) on port 80/TCP")
        .await;
    node.event("web", "Packet dropped when sending traffic to 2001:db8::1 on port 443/TCP").await;
    let metrics = node.metrics();
    let series = r#"packet_drops_count{dst="tailer-3164/db",src="tailer-3164/web"}"#;
    assert_eq!(value(&metrics, series), 1, "{metrics}");
    node.lines().add_up();
}

#[test]
fn a_value_of_no_use_is_refused_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("METRICS_SERVER_PORT", "http"),
        ("PACKET_DROP_CHANNEL_BUFFER_SIZE", "none"),
        ("PACKET_DROP_EXPIRATION_MINUTES", "ten"),
        ("REPEATED_EVENTS_INTERVAL_MINUTES", "-2"),
        ("WATCH_LOGS_INTERVAL_SECONDS", "5s"),
        ("POD_IDENTIFIER", "uid"),
        ("LOG_LEVEL", "loud"),
        ("IPTABLES_LOG_PATH", "iptables.log"),
        ("PACKET_DROP_LOG_TIME_LAYOUT", "%Y-%m-%d"),
        ("POD_IDENTIFIER_LABEL", ""),
    ] {
        let mut command = command(&directory);
        command.env("IPTABLES_LOG_PATH", "/nonexistent/log").env("IPTABLES_LOG_PREFIX", "x:");
        if name == "POD_IDENTIFIER_LABEL" {
            command.env("POD_IDENTIFIER", "label");
        }
        let output = command.env(name, text).env_remove("KUBECONFIG").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {}", lossy(&output));
        assert!(lossy(&output).contains(name), "{name}: {}", lossy(&output));
    }
    let output = command(&directory).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", lossy(&output));
    assert!(lossy(&output).contains("IPTABLES_LOG_PATH"), "{}", lossy(&output));
}
