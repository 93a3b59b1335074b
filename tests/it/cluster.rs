//! What the cluster hears: labels, Events and evidence of the network namespace, with a real API server.
//! Makes up reports; that real ones come out of real rules is tested elsewhere.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail by panicking")]

mod day;
mod dropin;
mod faults;
mod kept;
mod plugin;
mod real;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use iptables_monitor::app::cluster::{
    self, ClusterSettings, EventsDetail, LabelTarget, NetnsCheck, Sink, Surroundings,
};
use iptables_monitor::app::ending::Ending;
use iptables_monitor::domain::judging::report::{Evidence, Report, Violation};
use iptables_monitor::domain::rules::{Backend, Family, Kind, Problem, Reason};
use iptables_monitor::k8s::client::{ApiServer, Notice, Observer};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

const KEY: &str = "user-iptables-rules";

fn report(lines: &[&str], problems: &[Reason]) -> Arc<Report> {
    let violation = |line: &&str| Violation {
        backend: Backend::IptablesNft,
        family: Family::Ip,
        table: "filter".into(),
        chain: Some("INPUT".into()),
        position: Some(1),
        kind: Kind::Rule,
        line: line.as_bytes().to_vec(),
        suggested_pattern: None,
        provenance: None,
    };
    Arc::new(Report {
        checked_at: SystemTime::now(),
        node: "n".into(),
        evidence: Evidence::Kernel,
        tables: Vec::new(),
        violations: lines.iter().map(violation).collect(),
        violation_count: lines.len() as u64,
        violations_hash: String::new(),
        ruleset_hash: String::new(),
        problems: problems.iter().map(|reason| Problem::new(*reason, "why")).collect(),
        blocked: None,
    })
}

fn settings(node: &str) -> ClusterSettings {
    ClusterSettings {
        api_server: None,
        sink: Sink::Kube,
        node: node.into(),
        labels: vec![KEY.into()],
        label_target: LabelTarget::CiliumNode,
        report_only: false,
        unknown_on_exit: false,
        events: false,
        events_detail: EventsDetail::Full,
        netns_check: NetnsCheck::Off,
    }
}

/// What was counted, by `write OPERATION` and `failure OPERATION REASON`, and which permissions there are.
#[derive(Clone, Default)]
struct Counted {
    all: Arc<Mutex<BTreeMap<String, usize>>>,
    permissions: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

impl Counted {
    fn observer(&self) -> Observer {
        let counted = self.clone();
        Arc::new(move |notice| match notice {
            Notice::Write(operation) => counted.add(format!("write {}", operation.as_str())),
            Notice::Failure(operation, class) => {
                counted.add(format!("failure {} {}", operation.as_str(), class.as_str()));
            }
            Notice::ShedEvent => counted.add("shed event".to_owned()),
            Notice::Restored(object) => counted.add(format!("restored {}", object.as_str())),
            Notice::Permission(operation, is_granted) => {
                counted.permissions.lock().unwrap().insert(operation.as_str(), is_granted);
            }
        })
    }

    fn add(&self, what: String) {
        *self.all.lock().unwrap().entry(what).or_default() += 1;
    }

    fn of(&self, what: &str) -> usize {
        self.all.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    /// Waits until something has been counted so often: the object shows a change before its answer is counted.
    async fn becomes(&self, what: &str, expected: usize) {
        wait_for(what, async || (self.of(what) >= expected).then_some(())).await;
        assert_eq!(self.of(what), expected, "{what}: {:?}", self.all());
    }

    fn all(&self) -> BTreeMap<String, usize> {
        self.all.lock().unwrap().clone()
    }
}

/// The loops of the agent that talk to the API server.
struct Agent {
    reports: watch::Sender<Option<Arc<Report>>>,
    stop: oneshot::Sender<Ending>,
    task: JoinHandle<()>,
    review: JoinHandle<()>,
}

impl Agent {
    fn start(settings: ClusterSettings, api: ApiServer) -> Self {
        let (reports, receiver) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { stopped.await.unwrap_or(Ending::Stopped) };
        let outside = Surroundings { is_pod: false, has_kubeconfig: true };
        let needed = settings.operations(outside);
        let review = tokio::spawn(cluster::review(api.clone(), settings.node.clone(), needed));
        let task = tokio::spawn(cluster::run(settings, api, receiver, shutdown));
        Self { reports, stop, task, review }
    }

    fn tell(&self, report: &Arc<Report>) {
        self.reports.send_replace(Some(report.clone()));
    }

    /// Ends it and says how long that took.
    async fn stop(self) -> Duration {
        self.end(Ending::Stopped).await
    }

    async fn end(self, ending: Ending) -> Duration {
        let started = tokio::time::Instant::now();
        self.stop.send(ending).unwrap();
        self.task.await.unwrap();
        self.review.abort();
        started.elapsed()
    }
}

/// Lets the loops of the agent take what they were told, as far as they can without an answer of others: all share one
/// thread, and each turn of this one comes after theirs.
async fn let_run() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Waits until `found` finds something.
async fn wait_for<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "still waiting for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
