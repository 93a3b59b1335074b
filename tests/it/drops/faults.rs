//! Events about drops while the API server fails: with a fake, as no real one fails on demand.
//! That the Events are right is tested with a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::program::{LIMIT, Lines, LogFile, Program, page, tcp, value};
use crate::support::fake::{Fake, Fault, Seen};
use crate::support::{MONITOR, Netns, wait_until};

const SHED: &str = "iptables_monitor_drops_events_shed_total";

/// A pod's new Events have a limit; kinds are spread over so many pods that none reaches it.
const PODS: u16 = 40;

fn pod_list() -> String {
    let pods: Vec<_> = (0..PODS).map(|number| pod(&format!("web-{number}"), &ip(number))).collect();
    json!({"metadata": {"resourceVersion": "7"}, "items": pods}).to_string()
}

fn pod(name: &str, ip: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "podIP": ip, "startTime": "2026-01-01T00:00:00Z"},
    })
}

fn ip(number: u16) -> String {
    format!("10.0.0.{}", number % PODS + 1)
}

/// The agent, the log it follows and the API server it writes to, all in one namespace.
struct World {
    netns: Netns,
    directory: TempDir,
    log: LogFile,
    fake: Fake,
}

impl World {
    /// The API server answers the first Events with these faults.
    fn new(faults: &[Fault]) -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn source(&self) -> String {
        format!("file:{}", self.log.0.display())
    }

    /// Starts the agent and waits until it knows the pods.
    fn start(&self, queue: u16) -> Program {
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

    fn watches(&self) -> usize {
        self.fake.seen().iter().filter(|seen| seen.path.contains("watch=true")).count()
    }

    /// Logs a drop of each of these kinds: the port tells which.
    fn log(&self, kinds: std::ops::Range<u16>) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        let line = |kind| format!("{now} n kernel: d: {}\n", tcp(&ip(kind), "192.0.2.1", 1000 + kind));
        self.log.append(&kinds.map(line).collect::<String>());
    }

    /// What became of the lines; panics if that does not add up.
    fn lines(&self) -> Lines {
        let lines = Lines::within(&self.netns, &self.source());
        lines.add_up();
        lines
    }

    fn wait_for_lines(&self, count: u64) {
        wait_until("the lines are read", LIMIT, || self.lines().of_fate("read") >= count);
    }

    fn shed(&self) -> u64 {
        value(&self.netns.within(|| page(9191, "/metrics")), SHED)
    }

    fn events(&self, method: &str) -> Vec<Seen> {
        let all = self.fake.seen().into_iter();
        all.filter(|seen| seen.method == method && seen.path.contains("/events")).collect()
    }

    /// The kinds that were told of, each with the names of the Events that did and how many of them were taken.
    fn told(&self) -> BTreeMap<u16, (BTreeSet<String>, usize)> {
        let mut told = BTreeMap::<_, (BTreeSet<_>, _)>::new();
        for seen in self.events("POST") {
            let name = seen.body["metadata"]["name"].as_str().unwrap().to_owned();
            let (names, taken) = told.entry(kind(&seen.body)).or_default();
            names.insert(name);
            *taken += usize::from(seen.is_well);
        }
        told
    }

    fn taken(&self) -> usize {
        self.told().values().filter(|(_, taken)| *taken > 0).count()
    }

    fn wait_for_events(&self, kinds: usize) {
        wait_until("the Events are written", LIMIT * 2, || {
            self.lines();
            self.taken() >= kinds
        });
    }
}

fn kubeconfig(server: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    })
    .to_string()
}

/// `Packet dropped when sending traffic to 192.0.2.1 on port 1007/TCP` is kind 7.
fn kind(event: &Value) -> u16 {
    let message = event["message"].as_str().unwrap();
    let port = message.rsplit(' ').next().unwrap().trim_end_matches("/TCP");
    port.parse::<u16>().unwrap() - 1000
}

fn status(code: u16, header: &'static str) -> Fault {
    Fault::Status(code, header, json!({"kind": "Status", "message": "no"}).to_string())
}

#[test]
fn every_kind_is_told_once_through_refusals_and_an_outage() {
    const WISH: Duration = Duration::from_secs(2);
    let faults = [status(429, "retry-after: 2"), status(500, ""), Fault::Hangup, status(503, "")];
    let world = World::new(&faults);
    let mut program = world.start(100);
    world.log(0..10);
    world.wait_for_events(10);
    let tries = world.events("POST");
    assert!(tries.len() >= 10 + faults.len() && !tries[..faults.len()].iter().any(|seen| seen.is_well));
    assert!(tries[1].at - tries[0].at >= WISH, "{tries:#?}");

    world.fake.leave(&world.netns);
    (0..4).for_each(|_| world.log(10..20));
    world.wait_for_lines(50);
    wait_until("the outage is noticed", LIMIT, || program.output().contains("reason=unreachable"));
    assert_eq!(world.taken(), 10);
    world.fake.come_back(&world.netns);
    world.log(20..30);
    world.wait_for_events(30);
    let (lines, shed) = (world.lines(), world.shed());
    assert_eq!(
        [lines.of_fate("reported"), lines.of_fate("folded"), lines.of_fate("shed"), shed],
        [30, 30, 0, 0]
    );
    for (kind, (names, taken)) in world.told() {
        assert_eq!((names.len(), taken), (1, 1), "{kind}: {names:?}");
    }
    assert_eq!(program.stop(), Some(0), "{}", program.output());
    let raised = world.events("PATCH");
    assert_eq!(raised.len(), 10, "the repeats of each kind are told at the end: {raised:#?}");
    assert!(raised.iter().all(|seen| seen.is_well && seen.body["count"] == 4), "{raised:#?}");
}

#[test]
fn what_finds_no_room_in_an_outage_is_counted() {
    const QUEUE: u16 = 10;
    const KINDS: u16 = 200;
    let world = World::new(&[]);
    let mut program = world.start(QUEUE);
    world.log(0..1);
    world.wait_for_events(1);
    world.fake.leave(&world.netns);
    for first in (1..KINDS).step_by(50) {
        world.log(first..KINDS.min(first + 50));
    }
    world.wait_for_lines(u64::from(KINDS));
    wait_until("all are told or shed", LIMIT, || world.lines().of_fate("reported") == u64::from(KINDS));
    let shed = world.shed();
    // one may be on its way
    let room = u64::from(KINDS - 1 - QUEUE);
    assert!(shed == room || shed == room - 1, "{shed} of {KINDS}");
    world.fake.come_back(&world.netns);
    world.wait_for_events(usize::from(KINDS) - usize::try_from(shed).unwrap());
    assert_eq!(program.stop(), Some(0), "{}", program.output());
    assert_eq!(world.taken() as u64 + shed, u64::from(KINDS), "{:?}", world.told());
}

#[test]
fn a_kill_in_an_outage_leaves_nothing_untold() {
    let world = World::new(&[]);
    let mut program = world.start(100);
    world.log(0..10);
    world.wait_for_events(10);
    let saved = || std::fs::read_to_string(world.path("state/drops.json")).unwrap_or_default();
    let length = std::fs::metadata(&world.log.0).unwrap().len();
    wait_until("its checkpoint is behind them", LIMIT, || saved().contains(&format!("\"offset\":{length},")));
    world.fake.leave(&world.netns);
    world.log(10..30);
    world.wait_for_lines(30);
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    world.fake.come_back(&world.netns);
    let mut again = world.start(100);
    world.wait_for_events(30);
    assert_eq!(again.stop(), Some(0), "{}", again.output());
    let told = world.told();
    assert!(told.keys().copied().eq(0..30), "{told:?}");
    assert!(told.values().all(|(_, taken)| *taken == 1), "{told:?}");
}
