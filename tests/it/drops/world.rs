//! The agent, a log and an API server that is a fake, for what no real one does on demand.
//! Asserts only that lines add up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::program::{LIMIT, Lines, LogFile, Program, page, tcp, value};
use crate::support::fake::{Fake, Fault, Seen};
use crate::support::{MONITOR, Netns, wait_until};

const SHED: &str = "iptables_monitor_drops_events_shed_total";

/// A pod's new Events have a limit; kinds are spread over so many pods that none reaches it.
const PODS: u16 = 40;

/// A pod in a namespace of its own.
pub const TENANT: &str = "10.0.1.1";

fn pod_list() -> String {
    let mut pods: Vec<_> =
        (0..PODS).map(|number| pod("shop", &format!("web-{number}"), &ip(number))).collect();
    pods.push(pod("tenant", "guest", TENANT));
    json!({"metadata": {"resourceVersion": "7"}, "items": pods}).to_string()
}

fn pod(namespace: &str, name: &str, ip: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace, "uid": name},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "podIP": ip, "startTime": "2026-01-01T00:00:00Z"},
    })
}

pub fn ip(number: u16) -> String {
    format!("10.0.0.{}", number % PODS + 1)
}

/// The agent, the log it follows and the API server it writes to, all in one namespace.
pub struct World {
    pub netns: Netns,
    directory: TempDir,
    pub log: LogFile,
    pub fake: Fake,
}

impl World {
    /// The API server answers the first Events with these faults.
    pub fn new(faults: &[Fault]) -> Self {
        let (netns, directory) = (Netns::new(), tempfile::tempdir().unwrap());
        let log = LogFile(directory.path().join("kern.log"));
        log.append("");
        let text = |text: &str| Fault::Text(text.to_owned());
        let fake = Fake::on(netns.within(|| TcpListener::bind("127.0.0.1:6443").unwrap()), faults)
            .watched()
            .always("watch=true", text(""))
            .always("/api/v1/pods?", Fault::Text(pod_list()))
            .always("/api/v1/nodes?", text("{}"))
            .always("/api/v1/services?", text("{}"));
        let world = Self { netns, directory, log, fake };
        std::fs::create_dir(world.path("state")).unwrap();
        std::fs::write(world.path("kubeconfig"), kubeconfig(&world.fake.address)).unwrap();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn source(&self) -> String {
        format!("file:{}", self.log.0.display())
    }

    /// Starts the agent and waits until it knows the pods.
    pub fn start(&self, queue: u16) -> Program {
        let watches = self.watches();
        let mut command = self.netns.command(MONITOR);
        command.args(["--drops-only", "--sink", "kube", "--drops-dns=false", "--drops-prefix", "d:"]);
        command.args(["--node-name", "n", "--drops-source", &self.source()]);
        command.arg("--state-dir").arg(self.path("state")).env("KUBECONFIG", self.path("kubeconfig"));
        command.env("PACKET_DROP_CHANNEL_BUFFER_SIZE", queue.to_string());
        let program = Program::start(&mut command, self.directory.path());
        wait_until("it watches pods", LIMIT, || self.watches() > watches);
        program
    }

    pub fn watches(&self) -> usize {
        self.fake.seen().iter().filter(|seen| seen.path.contains("watch=true")).count()
    }

    /// Logs a drop of each of these kinds: the port tells which.
    pub fn log(&self, kinds: std::ops::Range<u16>) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        let line = |kind| format!("{now} n kernel: d: {}\n", tcp(&ip(kind), "192.0.2.1", 1000 + kind));
        self.log.append(&kinds.map(line).collect::<String>());
    }

    /// Logs a drop from each of these addresses to a port of this pod.
    pub fn log_to_pod(&self, pod: u16, senders: impl Iterator<Item = (String, u16)>) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        let line =
            |(sender, port): (String, u16)| format!("{now} n kernel: d: {}\n", tcp(&sender, &ip(pod), port));
        self.log.append(&senders.map(line).collect::<String>());
    }

    /// What became of the lines; panics if that does not add up.
    pub fn lines(&self) -> Lines {
        let lines = Lines::within(&self.netns, &self.source());
        lines.add_up();
        lines
    }

    pub fn wait_for_lines(&self, count: u64) {
        wait_until("the lines are read", LIMIT, || self.lines().of_fate("read") >= count);
    }

    pub fn shed(&self) -> u64 {
        value(&self.netns.within(|| page(9191, "/metrics")), SHED)
    }

    pub fn events(&self, method: &str) -> Vec<Seen> {
        let all = self.fake.seen().into_iter();
        all.filter(|seen| seen.method == method && seen.path.contains("/events")).collect()
    }

    /// The kinds that were told of, each with the names of the Events that did and how many of them were taken.
    pub fn told(&self) -> BTreeMap<u16, (BTreeSet<String>, usize)> {
        let mut told = BTreeMap::<_, (BTreeSet<_>, _)>::new();
        for seen in self.events("POST") {
            let name = seen.body["metadata"]["name"].as_str().unwrap().to_owned();
            let (names, taken) = told.entry(kind(&seen.body)).or_default();
            names.insert(name);
            *taken += usize::from(seen.is_well);
        }
        told
    }

    pub fn taken(&self) -> usize {
        self.told().values().filter(|(_, taken)| *taken > 0).count()
    }

    pub fn wait_for_events(&self, kinds: usize) {
        wait_until("the Events are written", LIMIT * 2, || {
            self.lines();
            self.taken() >= kinds
        });
    }
}

pub fn kubeconfig(server: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    })
    .to_string()
}

/// `Packet dropped when sending traffic to 192.0.2.1 on port 1007/TCP` is kind 7.
pub fn kind(event: &Value) -> u16 {
    let message = event["message"].as_str().unwrap();
    let port = message.rsplit(' ').next().unwrap().trim_end_matches("/TCP");
    port.parse::<u16>().unwrap() - 1000
}
