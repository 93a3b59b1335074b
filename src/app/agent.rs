//! The agent as a whole: the list of its services, and what each check is told to: metrics, pages, the cluster.
//! Waits for a signal or the first end of a service, and ends them all. The terminal is the caller's.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::checks::history::{self, HistoryStore};
use super::checks::run::{self, Checked};
use super::checks::watch::{Counters, Failures};
use super::cluster::{self, Reports, Surroundings, connect, local_addresses, prove_netns};
use super::drops::service::{self as drops, Drops};
use super::ending::Ending;
use super::peers::{Interest, Peers};
use super::service::{self, Service, ServiceError, Shutdown};
use crate::domain::changes::ChangeSet;
use crate::domain::judging::netns::NetnsEvidence;
use crate::domain::judging::report::Report;
use crate::domain::peers::Directory;
use crate::domain::words::error_chain::chain_of;
use crate::host::netlink::routes;
use crate::k8s::client::{ApiServer, ConnectError, Notice, Observer};
use crate::telemetry::http::{Pages, Shared, serve};
use crate::telemetry::live::drops::Followed;
use crate::telemetry::live::{Live, Watching};
use crate::telemetry::metrics::Metrics;

/// When the agent ends, what the cluster was not yet told has this long.
const FAREWELL: Duration = Duration::from_millis(1200);
/// All services have this long then: each has said by itself what it could not do in time.
const LAST: Duration = Duration::from_millis(1300);
/// The service that the others tell of.
const CHECKS: &str = "checks";
/// Without checks, the agent says this often that it is alive.
const BEAT: Duration = Duration::from_secs(10);
/// Sets of changes that the page may show.
const RECENT: usize = 20;
/// The first check waits this long for evidence of the network namespace.
const FIRST_EVIDENCE: Duration = Duration::from_secs(2);

/// Everything the agent is told at its start.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// The loop of checks.
    pub monitor: run::CheckSettings,
    /// What the cluster is told.
    pub cluster: cluster::ClusterSettings,
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
    pub drops: Option<drops::DropSettings>,
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
    /// The signals that ask for the end cannot be heard.
    #[error("asking to hear of SIGTERM and SIGINT")]
    Signals(#[source] io::Error),
    /// A service has ended unasked.
    #[error(transparent)]
    Service(ServiceError),
}

/// Runs until a signal, until the node is compliant if that is all to be found out, or until a service dies. `tell` gets
/// each outcome.
///
/// # Errors
/// If an address that was asked for cannot be listened on, no configuration leads to the API server that was asked for,
/// or a service has ended and nobody asked it to.
pub async fn run(
    settings: AgentSettings,
    mut tell: impl FnMut(&Checked) + Send + 'static,
) -> Result<Ending, AgentError> {
    let metrics = Metrics::new(&settings.build.0, &settings.build.1);
    let shared = Shared::new(metrics.clone(), settings.build.0.clone(), alive_within(&settings.monitor));
    let mut services = listen(&settings, &shared).await?;
    if settings.installs_routes {
        install_routes();
    }
    let connection = connect(&settings.cluster, settings.surroundings, observer(metrics.clone()))
        .await
        .map_err(AgentError::Connect)?;
    services.extend(connection.finding.map(|finding| Service::errand("credentials", finding)));
    let sink = connection.api.clone().filter(|_| connection.is_sink);
    let (reports, latest) = watch::channel(None);
    let peers = know_peers(&settings, sink.clone(), &mut services);
    if let Some(api) = sink.clone().filter(|_| settings.has_checks) {
        let cluster = &settings.cluster;
        services.push(tell_cluster(cluster.clone(), api.clone(), latest));
        let needed = cluster.operations(settings.surroundings);
        let review = cluster::review(api, cluster.node.clone(), needed);
        services.push(Service::endless("permissions", review));
    }
    let mut evidence = None;
    if settings.has_checks && settings.cluster.needs_netns_evidence(settings.surroundings) {
        let (service, found) = seek_evidence(&settings.cluster.node, connection.api).await;
        services.push(service);
        evidence = Some(found);
    }
    let mut log_rules = None;
    if let Some(drops) = settings.drops {
        let drops = follow(drops, sink, Arc::clone(&peers.directory), &metrics, &mut services)?;
        shared.show_drops(Followed {
            since: SystemTime::now(),
            is_all: !settings.has_checks,
            recent: drops.recent,
            sources: drops.accounts,
        });
        log_rules = Some(drops.rules);
    }
    let mut journal = Arc::new(HistoryStore::none());
    // without checks there is nothing to remember
    if let Some(directory) = settings.state_dir.filter(|_| settings.has_checks) {
        journal = keep_journal(directory, settings.state_limit_bytes, &mut services).await;
    }
    let mut shutdown = Shutdown::install().map_err(AgentError::Signals)?;
    services.push(match settings.has_checks {
        true => {
            let interval = settings.monitor.interval;
            let kept = Arc::clone(&journal);
            let mut outlets =
                Outlets { metrics, shared, reports, journal, peers, interval, recent: VecDeque::new() };
            let outcome = move |checked: &Checked| publish(&mut outlets, checked, &mut tell);
            Service::start(CHECKS, |mut stopping| async move {
                let stop = async { stopping.wait().await };
                run::run(settings.monitor, kept, log_rules, evidence, outcome, stop).await
            })
        }
        false => Service::endless("heartbeat", beat(shared)),
    });
    let ended = tokio::select! {
        () = shutdown.wait() => Ok(Ending::Stopped),
        ended = service::first_end(&mut services) => ended,
    };
    let ending = *ended.as_ref().unwrap_or(&Ending::Stopped);
    // what a check has found is for the others to tell and to keep
    let (first, rest) = services.into_iter().partition(|service| service.name() == CHECKS);
    service::stop(first, ending, LAST).await;
    service::stop(rest, ending, LAST).await;
    ended.map_err(AgentError::Service)
}

/// The directory of peers, kept for as long as this runs by what the API server says, for whoever asks: drops for
/// everybody with an address, checks for the pods that processes ran in.
fn know_peers(settings: &AgentSettings, api: Option<ApiServer>, services: &mut Vec<Service>) -> Peers {
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
        services.push(Service::endless("peers", peers.clone().keep(api, interest)));
    }
    peers
}

/// Without checks, this says that the agent is alive.
async fn beat(shared: Shared) {
    loop {
        shared.beat();
        tokio::time::sleep(BEAT).await;
    }
}

/// Tells the cluster of each report.
fn tell_cluster(settings: cluster::ClusterSettings, api: ApiServer, latest: Reports) -> Service {
    Service::start("cluster", |mut stopping| async move {
        cluster::run(settings, api, latest, async move { stopping.wait().await }).await;
        Ok(Ending::Stopped)
    })
}

/// Follows drops.
fn follow(
    settings: drops::DropSettings,
    api: Option<ApiServer>,
    directory: Arc<RwLock<Directory>>,
    metrics: &Metrics,
    services: &mut Vec<Service>,
) -> Result<Drops, AgentError> {
    let started = drops::start(settings, api, directory, &metrics.drops(), FAREWELL);
    let (service, drops) = started.map_err(AgentError::Drops)?;
    services.push(service);
    Ok(drops)
}

/// Keeps the journal until the checks have ended; where that cannot be, there is none.
async fn keep_journal(
    directory: PathBuf,
    limit_bytes: u64,
    services: &mut Vec<Service>,
) -> Arc<HistoryStore> {
    let opened = tokio::task::spawn_blocking(move || HistoryStore::open(directory, limit_bytes)).await;
    let opened = opened.unwrap_or_else(|error| Err(error.into()));
    let (journal, thread) = match opened {
        Ok((journal, thread)) => (Arc::new(journal), thread),
        Err(error) => {
            log::warn!(error:%; "no journal: its thread cannot be started");
            return Arc::new(HistoryStore::none());
        }
    };
    let kept = Arc::clone(&journal);
    services.push(Service::start("journal", |mut stopping| async move {
        let ending = tokio::select! {
            ending = stopping.wait() => ending,
            fault = thread.ended() => return Err(fault),
        };
        // nobody else has it any more, so that the thread writes what still waits, and ends
        drop(kept);
        thread.ended().await;
        thread.join().map(|()| ending)
    }));
    journal
}

/// Where each outcome goes.
struct Outlets {
    metrics: Metrics,
    shared: Shared,
    reports: watch::Sender<Option<Arc<Report>>>,
    journal: Arc<HistoryStore>,
    peers: Peers,
    interval: Duration,
    /// Changes that the page may show.
    recent: VecDeque<Arc<ChangeSet>>,
}

/// Hands the outcome of a check to everybody, to the cluster last.
fn publish(outlets: &mut Outlets, checked: &Checked, tell: &mut impl FnMut(&Checked)) {
    let Outlets { metrics, shared, reports, journal, peers, interval, recent } = outlets;
    let mut checked = checked.clone();
    peers.name(&mut checked.report, &mut checked.changes);
    let checked = &checked;
    metrics.check_done(&checked.report, checked.took);
    metrics.allowlist(checked.patterns, checked.broken);
    metrics.between(checked.between);
    if let Some((counters, failures)) = &checked.heard {
        count_heard(metrics, *counters, failures);
    }
    if let Some(changes) = &checked.changes {
        metrics.changed(changes);
    }
    remember(recent, checked.changes.clone());
    journal.record(&happened(checked));
    count_journal(metrics, journal.counts());
    let report = Arc::new(checked.report.clone());
    let live = Live::new(watching(checked.heard.as_ref(), *interval), recent.iter().cloned());
    shared.publish(Arc::clone(&report), live);
    tell(checked);
    reports.send_replace(Some(report));
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

fn count_journal(metrics: &Metrics, counts: history::HistoryCounts) {
    let history::HistoryCounts { written, shed, forgotten, failures, set_aside, is_open, bytes } = counts;
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
async fn seek_evidence(node: &str, api: Option<ApiServer>) -> (Service, watch::Receiver<NetnsEvidence>) {
    let (found, mut evidence) = watch::channel(NetnsEvidence::Missing("the Node was not asked yet".into()));
    let node = node.to_owned();
    // what is proven stays proven
    let service = Service::errand("netns evidence", async move {
        prove_netns(api, &node, local_addresses, found).await;
    });
    let _ = tokio::time::timeout(FIRST_EVIDENCE, evidence.changed()).await;
    (service, evidence)
}

/// The loop counts as alive while a check, with every table at its deadline, may still be under way.
fn alive_within(monitor: &run::CheckSettings) -> Duration {
    monitor.interval + monitor.scan.dump_timeout * 10 + Duration::from_secs(60)
}

/// Serves the pages where that was asked for.
async fn listen(settings: &AgentSettings, shared: &Shared) -> Result<Vec<Service>, AgentError> {
    let mut services = Vec::new();
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
        services.push(Service::endless("page", serve(listener, Pages::All, shared.clone())));
    }
    if let Some(address) = settings.metrics_listen {
        let listener = bind(address).await?;
        log::info!("metrics are at http://{address}/metrics", address = bound(&listener));
        services.push(Service::endless("metrics", serve(listener, Pages::MetricsOnly, shared.clone())));
    }
    Ok(services)
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
