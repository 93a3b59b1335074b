//! The whole program in the place of the older system: its flags, its environment, its permissions, a real API server.
//! The rules are those of a namespace; a relay leads from its loopback device to the API server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::real::{older_rules, rule};
use super::*;
use crate::support::apiserver::{Api, Server};
use crate::support::live::write_kubeconfig;
use crate::support::{AllowlistDir, MONITOR, Netns};

/// Far more than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The agent inside a namespace, connected to the API server with one account.
struct Node {
    netns: Netns,
    admin: Api,
    name: &'static str,
    files: tempfile::TempDir,
    agent: Option<Child>,
}

impl Node {
    async fn new(name: &'static str, rules: &Value) -> Self {
        let server = tokio::task::spawn_blocking(Server::shared).await.unwrap();
        let admin = server.admin();
        admin.node(name, "192.0.2.10").await;
        admin.cilium_node(name).await;
        let token = admin.account(name, rules).await;
        let netns = Netns::new();
        let files = tempfile::tempdir().unwrap();
        write_kubeconfig(&netns, server, &token, &files.path().join("kubeconfig"));
        Self { netns, admin, name, files, agent: None }
    }

    fn start(&mut self, args: &[&str]) {
        let log = std::fs::File::create(self.files.path().join("log")).unwrap();
        let child = self
            .netns
            .command(MONITOR)
            .args(args)
            .env("NODE_NAME", self.name)
            .env("KUBECONFIG", self.files.path().join("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(child);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("log")).unwrap()
    }

    async fn wait_for_label(&self, value: &str) {
        let path = format!("/apis/cilium.io/v2/ciliumnodes/{}", self.name);
        wait_for(&format!("the label is {value}"), async || {
            let labels = self.admin.get(&path).await["metadata"]["labels"].clone();
            (labels[KEY] == value).then_some(())
        })
        .await;
    }

    /// The reasons of the Events in the namespace `default`.
    async fn reasons(&self) -> Vec<String> {
        let path =
            format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{}", self.name);
        let events = self.admin.get(&path).await["items"].clone();
        let events = events.as_array().unwrap().iter();
        events.map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }

    /// What the agent answers on its loopback device.
    fn get(&self, path: &str) -> String {
        self.netns.within(|| {
            let mut stream = TcpStream::connect("127.0.0.1:9191").unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
    }

    fn stop(&mut self) {
        let mut agent = self.agent.take().unwrap();
        let pid = rustix::process::Pid::from_child(&agent);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        crate::support::wait_until("the agent ends", LIMIT, || agent.try_wait().unwrap().is_some());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

#[tokio::test]
async fn the_older_systems_command_line_and_permissions_do_what_they_did() {
    let mut node = Node::new("drop-in", &older_rules()).await;
    let input = AllowlistDir::new(&[
        ("global", "^-P .*\n^-N .*\n"),
        ("filter", "-A INPUT -p udp -m udp --dport 68\n"),
    ]);
    node.netns.sh(
        "iptables-nft -A INPUT -p udp --dport 68 -j ACCEPT; iptables-nft -A INPUT -p tcp --dport 22 -j DROP",
    );
    node.start(&["-v", "3", "-events=true", "-checkMap=true", "-input", input.path(), "-interval", "1"]);
    node.wait_for_label("true").await;
    let reasons =
        wait_for("an Event", async || Some(node.reasons().await).filter(|found| !found.is_empty())).await;
    assert_eq!(reasons, ["UnexpectedIPTablesRules"], "{}", node.log());

    assert!(node.get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(node.get("/readyz").starts_with("HTTP/1.1 200"));
    assert!(node.get("/metrics").contains("iptables_monitor_verdict{verdict=\"violations\"} 1"));
    assert!(node.get("/").contains("--dport 22 -j DROP"));
    let status = node.get("/status");
    let status: Value = serde_json::from_str(status.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&status["verdict"], &status["node"]), (&"violations".into(), &"drop-in".into()));

    let missing =
        "RBAC does not grant `get` on ciliumnodes.cilium.io, `watch` on ciliumnodes.cilium.io; everything";
    wait_for(missing, async || node.log().contains(missing).then_some(())).await;
    let unnamed = "processes in pods show the pod's UID";
    wait_for(unnamed, async || node.log().contains(unnamed).then_some(())).await;
    assert!(!node.get("/metrics").contains("list_pods"), "what is not granted is not tried");
    let metrics = node.get("/metrics");
    for (resource, verb, value) in
        [("ciliumnodes.cilium.io", "patch", 1), ("ciliumnodes.cilium.io", "watch", 0), ("nodes", "get", 1)]
    {
        let line = format!("iptables_monitor_permission{{resource=\"{resource}\",verb=\"{verb}\"}} {value}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }

    node.netns.sh("iptables-nft -D INPUT 2");
    node.wait_for_label("false").await;
    wait_for("the recovery", async || {
        node.reasons().await.contains(&"IPTablesRulesCompliant".to_owned()).then_some(())
    })
    .await;
    node.stop();
}

#[tokio::test]
async fn a_gate_ends_when_the_node_is_compliant_and_the_label_says_so() {
    let mut node = Node::new("gate", &older_rules()).await;
    let input = AllowlistDir::new(&[("global", "^-P .*\n^-N .*\n")]);
    node.netns.sh("iptables-nft -A INPUT -p tcp --dport 22 -j DROP");
    node.start(&[
        "-v",
        "3",
        "-events=true",
        "-terminateOnSuccess=true",
        "-input",
        input.path(),
        "-interval",
        "1",
    ]);
    node.wait_for_label("true").await;
    node.netns.sh("iptables-nft -F");
    node.wait_for_label("false").await;
    let mut agent = node.agent.take().unwrap();
    crate::support::wait_until("the gate opens", LIMIT, || agent.try_wait().unwrap().is_some());
    assert_eq!(agent.wait().unwrap().code(), Some(0), "{}", node.log());
}

#[tokio::test]
async fn who_leaves_says_that_nothing_is_known_any_more_and_who_comes_back_checks() {
    let rules = json!([rule("cilium.io", "ciliumnodes", &["get", "patch", "watch"])]);
    let mut node = Node::new("leaver", &rules).await;
    let input = AllowlistDir::new(&[("global", "^-P .*\n^-N .*\n")]);
    let args = ["--netns-check=off", "--unknown-on-exit", "--input", input.path(), "--interval", "300"];
    for _ in 0..2 {
        node.start(&args);
        node.wait_for_label("false").await;
        node.stop();
        node.wait_for_label("unknown").await;
    }
    node.start(&args);
    node.wait_for_label("false").await;
    let path = "/apis/cilium.io/v2/ciliumnodes/leaver";
    node.admin.call("PATCH", path, &json!({"metadata": {"labels": {KEY: "true"}}})).await;
    node.wait_for_label("false").await;
    let restores = "iptables_monitor_label_restores_total{object=\"ciliumnode\"} 1";
    wait_for(restores, async || node.get("/metrics").contains(restores).then_some(())).await;
    node.stop();
}

#[test]
fn a_port_in_use_is_fatal_only_if_it_was_asked_for() {
    let netns = Netns::new();
    let _taken = netns.within(|| TcpListener::bind("127.0.0.1:9191").unwrap());
    let run = |args: &[&str]| {
        let mut command: Command = netns.command(MONITOR);
        command.args(["--profile", "base", "--terminate-on-success"]).args(args).output().unwrap()
    };
    assert_eq!(run(&[]).status.code(), Some(0));
    let output = run(&["--listen", "127.0.0.1:9191"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("listening on 127.0.0.1:9191"), "{output:?}");
    assert_eq!(run(&["--listen", "off"]).status.code(), Some(0));
}
