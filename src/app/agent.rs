//! The agent as a whole: the loop of checks, and what each outcome is told to: metrics, pages, the cluster.
//! The terminal is the caller's; nothing here waits for the cluster.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::checks::history::{self, Journal};
use super::checks::run::{self, Checked};
use super::checks::wake::Signals;
use super::checks::watch::{Counters, Failures};
use super::cluster::{self, Surroundings, connect, local_addresses, prove_netns};
use super::drops::service::{self, Service};
use super::ending::Ending;
use super::peers::{Interest, Peers};
use crate::domain::changes::ChangeSet;
use crate::domain::judging::netns::NetnsEvidence;
use crate::domain::judging::report::Report;
use crate::domain::words::error_chain::chain_of;
use crate::host::netlink::routes;
use crate::k8s::client::{ApiServer, ConnectError, Notice, Observer};
use crate::telemetry::http::{Pages, Shared, serve};
use crate::telemetry::live::drops::Followed;
use crate::telemetry::live::{Live, Watching};
use crate::telemetry::metrics::Metrics;

/// When the agent ends, what the cluster was not yet told has this long.
const FAREWELL: Duration = Duration::from_millis(1200);
/// Without checks, the agent says this often that it is alive.
const BEAT: Duration = Duration::from_secs(10);
/// Sets of changes that the page may show.
const RECENT: usize = 20;
/// The first check waits this long for evidence of the network namespace.
const FIRST_EVIDENCE: Duration = Duration::from_secs(2);

/// Everything the agent is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The loop of checks.
    pub monitor: run::Settings,
    /// What the cluster is told.
    pub cluster: cluster::Settings,
    /// Where the environment says this runs.
    pub surroundings: Surroundings,
    /// Where everything is served.
    pub listen: Listen,
    /// Where metrics and probes alone are served.
    pub metrics_listen: Option<SocketAddr>,
    /// Version and commit, for metrics and the page.
    pub build: (String, String),
    /// The directory of the journal; none for no journal.
    pub state_dir: Option<PathBuf>,
    /// The most the journal may take on the disk, in bytes.
    pub state_limit_bytes: u64,
    /// What is followed of drops; none if nothing is.
    pub drops: Option<service::Settings>,
    /// Whether the rules are checked at all.
    pub has_checks: bool,
    /// Whether routes for health probe replies are added at the start.
    pub installs_routes: bool,
}

/// Where the pages are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// Here if possible: nobody asked for this address.
    Preferred(SocketAddr),
    /// Here; anything else is an error.
    Required(SocketAddr),
}

/// Why the agent did not start, or died.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// An address that was asked for cannot be listened on.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What bind(2) said.
        source: io::Error,
    },
    /// No configuration leads to the API server that was asked for.
    #[error("reporting to the API server, as --sink kube asks")]
    Connect(#[source] ConnectError),
    /// Drops cannot be followed.
    #[error("following drops")]
    Drops(#[source] io::Error),
    /// The loop of checks ended by itself.
    #[error("checking this node")]
    Check(#[source] io::Error),
}

/// Runs until a signal, or until the node is compliant if that is all to be found out. `tell` gets each report, and
/// `to_json` makes the bytes of `/status` of it.
///
/// # Errors
/// If an address that was asked for cannot be listened on, no configuration leads to the API server that was asked for,
/// or the loop itself fails.
pub async fn run(
    settings: Settings,
    mut tell: impl FnMut(&Checked),
    to_json: impl Fn(&Report) -> Vec<u8>,
) -> Result<Ending, AgentError> {
    let metrics = Metrics::new(&settings.build.0, &settings.build.1);
    let shared = Shared::new(metrics.clone(), settings.build.0.clone(), alive_within(&settings.monitor));
    let (stop, stopped) = watch::channel(None);
    let ended = || ended(stopped.clone());
    let closed = || {
        let ending = ended();
        async {
            let _ = ending.await;
        }
    };
    listen(&settings, &shared, closed).await?;
    if settings.installs_routes {
        install_routes();
    }
    let connection = connect(&settings.cluster, settings.surroundings, observer(metrics.clone()))
        .await
        .map_err(AgentError::Connect)?;
    let (reports, latest) = watch::channel(None);
    let told = connection.api.clone().filter(|_| connection.is_sink && settings.has_checks).map(|api| {
        let (settings, surroundings) = (settings.cluster.clone(), settings.surroundings);
        tokio::spawn(cluster::run(settings, surroundings, api, latest, ended()))
    });
    let needs_evidence = settings.has_checks && settings.cluster.needs_netns_evidence(settings.surroundings);
    let evidence = match needs_evidence {
        true => Some(seek_evidence(&settings.cluster.node, connection.api.clone()).await),
        false => None,
    };
    let sink = connection.api.clone().filter(|_| connection.is_sink);
    let peers = know_peers(&settings, sink.clone());
    let drops = match settings.drops {
        Some(drops) => {
            let directory = Arc::clone(&peers.directory);
            let service = Service::start(drops, sink, directory, &metrics.drops());
            let service = service.map_err(AgentError::Drops)?;
            shared.show_drops(Followed {
                since: SystemTime::now(),
                is_all: !settings.has_checks,
                recent: Arc::clone(&service.recent),
                sources: service.accounts().to_vec(),
            });
            Some(service)
        }
        None => None,
    };
    let log_rules = drops.as_ref().map(|drops| Arc::clone(&drops.rules));
    let interval = settings.monitor.interval;
    let mut recent = VecDeque::new();
    // without checks there is nothing to remember
    let (directory, limit) = (settings.state_dir.filter(|_| settings.has_checks), settings.state_limit_bytes);
    let journal = tokio::task::spawn_blocking(move || Journal::open(directory, limit)).await;
    let journal = Arc::new(journal.map_err(|error| AgentError::Check(error.into()))?);
    let outcome = |checked: &Checked| {
        let mut checked = checked.clone();
        peers.name(&mut checked.report, &mut checked.changes);
        let checked = &checked;
        metrics.check_done(&checked.report, checked.took);
        metrics.allowlist(checked.patterns, checked.broken);
        checked.dumps.iter().for_each(|&(program, took)| metrics.dump_took(program, took));
        if let Some((counters, failures)) = &checked.heard {
            count_heard(&metrics, *counters, failures);
        }
        remember(&mut recent, checked.changes.clone());
        journal.record(&happened(checked));
        count_journal(&metrics, journal.counts());
        let report = Arc::new(checked.report.clone());
        let live = Live::new(watching(checked.heard.as_ref(), interval), recent.iter().cloned());
        shared.publish(Arc::clone(&report), live, to_json(&report));
        tell(checked);
        reports.send_replace(Some(report));
    };
    let ending = match settings.has_checks {
        true => run::run(settings.monitor, Arc::clone(&journal), log_rules, evidence, outcome).await,
        false => only_drops(&shared).await,
    };
    stop.send_replace(Some(*ending.as_ref().unwrap_or(&Ending::Stopped)));
    let close = move || Arc::into_inner(journal).is_none_or(|journal| journal.close(FAREWELL));
    let closing = tokio::task::spawn_blocking(close);
    let stopping = async {
        if let Some(drops) = drops {
            drops.stop(FAREWELL).await;
        }
    };
    let telling = async {
        if let Some(told) = told {
            let _ = tokio::time::timeout(FAREWELL, told).await;
        }
    };
    tokio::join!(stopping, telling);
    let _ = closing.await;
    ending.map_err(AgentError::Check)
}

/// The directory of peers, kept for as long as this runs by what the API server says, for whoever asks: drops for
/// everybody with an address, checks for the pods that processes ran in.
fn know_peers(settings: &Settings, api: Option<ApiServer>) -> Peers {
    let node = &settings.cluster.node;
    let interest = settings.drops.as_ref().map_or_else(
        || Interest::Names { node: node.clone() },
        |drops| Interest::Addresses {
            pods: drops.pods.clone(),
            label: drops.events.identifier_label.clone(),
        },
    );
    let keep_ended = settings.drops.as_ref().map(|drops| drops.events.expiration);
    let peers = Peers::new(node, keep_ended.unwrap_or_default());
    if let Some(api) = api {
        tokio::spawn(peers.clone().keep(api, interest));
    }
    peers
}

/// Waits for a signal, alive all the time.
async fn only_drops(shared: &Shared) -> io::Result<Ending> {
    let mut signals = Signals::install()?;
    loop {
        shared.beat();
        tokio::select! {
            () = signals.shutdown() => return Ok(Ending::Stopped),
            () = tokio::time::sleep(BEAT) => {}
        }
    }
}

/// How the loop of checks ended, once it has.
async fn ended(mut ending: watch::Receiver<Option<Ending>>) -> Ending {
    ending.wait_for(Option::is_some).await.map_or(None, |ending| *ending).unwrap_or(Ending::Stopped)
}

/// What the journal is to know of a check: also that nothing has changed.
fn happened(checked: &Checked) -> ChangeSet {
    let (at, after) = (checked.report.checked_at, checked.report.verdict());
    let nothing = || ChangeSet { at, before: Some(after), after, changes: Vec::new(), untold: 0 };
    checked.changes.as_deref().cloned().unwrap_or_else(nothing)
}

fn remember(recent: &mut VecDeque<Arc<ChangeSet>>, changes: Option<Arc<ChangeSet>>) {
    recent.extend(changes);
    while recent.len() > RECENT {
        recent.pop_front();
    }
}

/// What the page says of hearing of changes.
fn watching(heard: Option<&(Counters, Failures)>, interval: Duration) -> Watching {
    let failures = heard.map(|(_, failures)| [&failures.nftables, &failures.legacy]);
    let told: Vec<_> = failures.into_iter().flatten().flatten().map(String::as_str).collect();
    Watching { is_on: heard.is_some() && told.is_empty(), interval, detail: told.join("; ") }
}

fn count_journal(metrics: &Metrics, counts: history::Counts) {
    let history::Counts { written, shed, forgotten, failures, set_aside, is_open, bytes } = counts;
    let what = [
        ("written", written),
        ("shed", shed),
        ("forgotten", forgotten),
        ("failures", failures),
        ("set_aside", set_aside),
    ];
    what.into_iter().for_each(|(what, count)| metrics.journal(what, count));
    metrics.journal_size(is_open, bytes);
}

fn count_heard(metrics: &Metrics, counters: Counters, failures: &Failures) {
    metrics.watching("nftables", failures.nftables.is_none());
    metrics.watching("legacy", failures.legacy.is_none());
    for (what, count) in [
        ("transactions", counters.transactions),
        ("losses", counters.losses),
        ("reopened", counters.reopened),
        ("refused", counters.refused),
        ("unattributed", counters.unattributed + counters.authors_left_out),
        ("legacy_polls", counters.legacy_polls),
        ("legacy_fingerprints", counters.legacy_fingerprints),
        ("legacy_failures", counters.legacy_failures),
    ] {
        metrics.heard(what, count);
    }
}

/// Counts what happens to calls of the API server.
fn observer(metrics: Metrics) -> Observer {
    Arc::new(move |notice| match notice {
        Notice::Write(operation) => metrics.api_write(operation.as_str()),
        Notice::Failure(operation, class) => metrics.api_failure(operation.as_str(), class.as_str()),
        Notice::ShedEvent => metrics.shed("event"),
        Notice::Restored(object) => metrics.label_restored(object.as_str()),
        Notice::Permission(operation, is_granted) => {
            metrics.permission(operation.verb.rbac(), operation.resource.as_str(), is_granted);
        }
    })
}

/// Asks the API server for evidence of the network namespace, for as long as it takes; waits for a first answer, so that
/// the first check of a healthy agent is not unknown.
async fn seek_evidence(node: &str, api: Option<ApiServer>) -> watch::Receiver<NetnsEvidence> {
    let (found, mut evidence) = watch::channel(NetnsEvidence::Missing("the Node was not asked yet".into()));
    let node = node.to_owned();
    tokio::spawn(async move { prove_netns(api, &node, local_addresses, found).await });
    let _ = tokio::time::timeout(FIRST_EVIDENCE, evidence.changed()).await;
    evidence
}

/// The loop counts as alive while a check, with every dump at its deadline, may still be under way.
fn alive_within(monitor: &run::Settings) -> Duration {
    monitor.interval + monitor.scan.dump_timeout * 10 + Duration::from_secs(60)
}

async fn listen<F>(settings: &Settings, shared: &Shared, ended: impl Fn() -> F) -> Result<(), AgentError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let everything = match settings.listen {
        Listen::Off => None,
        Listen::Required(address) => Some(bind(address).await?),
        Listen::Preferred(address) => match bind(address).await {
            Ok(listener) => Some(listener),
            Err(error) => {
                let error = chain_of(&error);
                log::warn!("no page and no metrics: {error}; give another address with --listen");
                None
            }
        },
    };
    if let Some(listener) = everything {
        log::info!("the page is at http://{address}/", address = bound(&listener));
        tokio::spawn(serve(listener, Pages::All, shared.clone(), ended()));
    }
    if let Some(address) = settings.metrics_listen {
        let listener = bind(address).await?;
        log::info!("metrics are at http://{address}/metrics", address = bound(&listener));
        tokio::spawn(serve(listener, Pages::MetricsOnly, shared.clone(), ended()));
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, AgentError> {
    TcpListener::bind(address).await.map_err(|source| AgentError::Listen { address, source })
}

fn bound(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
}

fn install_routes() {
    for destination in routes::HEALTH_PROBE {
        match routes::add(destination) {
            Ok(_) => {
                log::info!("replies to health probes of {destination} leave through the loopback device")
            }
            Err(error) => log::warn!("{}", chain_of(&error)),
        }
    }
}
