//! The agent as a whole: the loop of checks, and what each outcome is told to: metrics, pages, the cluster.
//! The terminal is the caller's; nothing here waits for the cluster.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::cluster::{self, NetnsEvidence, Surroundings, connect, local_addresses, prove_netns};
use super::history::Journal;
use super::monitor::{self, Checked, Ending};
use super::scan::dump::chain_of;
use crate::domain::change::ChangeSet;
use crate::domain::report::Report;
use crate::host::routes;
use crate::k8s::client::{ApiServer, ConnectError, Counters};
use crate::telemetry::http::{Pages, Shared, serve};
use crate::telemetry::metrics::Metrics;

/// When the agent ends, what the cluster was not yet told has this long.
const FAREWELL: Duration = Duration::from_millis(1200);
/// The first check waits this long for evidence of the network namespace.
const FIRST_EVIDENCE: Duration = Duration::from_secs(2);

/// Everything the agent is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The loop of checks.
    pub monitor: monitor::Settings,
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
    mut tell: impl FnMut(&Report),
    to_json: impl Fn(&Report) -> Vec<u8>,
) -> Result<Ending, AgentError> {
    let metrics = Metrics::new(&settings.build.0, &settings.build.1);
    let shared = Shared::new(metrics.clone(), settings.build.0.clone(), alive_within(&settings.monitor));
    let (stop, stopped) = watch::channel(false);
    let ended = || {
        let mut stopped = stopped.clone();
        async move { drop(stopped.wait_for(|is_stopped| *is_stopped).await) }
    };
    listen(&settings, &shared, ended).await?;
    if settings.installs_routes {
        install_routes();
    }
    let counters = {
        let (writes, failures, shed) = (metrics.clone(), metrics.clone(), metrics.clone());
        Counters::new(
            move |operation| writes.api_write(operation),
            move |operation, reason| failures.api_failure(operation, reason),
            move |what| shed.shed(what),
        )
    };
    let connection =
        connect(&settings.cluster, settings.surroundings, counters).await.map_err(AgentError::Connect)?;
    let (reports, latest) = watch::channel(None);
    let told = connection
        .api
        .clone()
        .filter(|_| connection.is_sink)
        .map(|api| tokio::spawn(cluster::run(settings.cluster.clone(), api, latest, ended())));
    let evidence = match settings.cluster.needs_netns_evidence(settings.surroundings) {
        true => Some(seek_evidence(&settings.cluster.node, connection.api.clone()).await),
        false => None,
    };
    let journal = Journal::open(settings.state_dir, settings.state_limit_bytes);
    let mut before = None;
    let outcome = |checked: &Checked| {
        metrics.check_done(&checked.report, checked.took);
        metrics.allowlist(checked.patterns, checked.broken);
        checked.dumps.iter().for_each(|&(program, took)| metrics.dump_took(program, took));
        let report = Arc::new(checked.report.clone());
        let (at, after) = (report.checked_at, report.verdict());
        journal.record(&ChangeSet {
            at,
            before: before.replace(after),
            after,
            changes: Vec::new(),
            untold: 0,
        });
        shared.publish(Arc::clone(&report), to_json(&report));
        tell(&report);
        reports.send_replace(Some(report));
    };
    let ending = monitor::run(settings.monitor, evidence, outcome).await;
    stop.send_replace(true);
    if let Some(told) = told {
        let _ = tokio::time::timeout(FAREWELL, told).await;
    }
    journal.close(FAREWELL);
    ending.map_err(AgentError::Check)
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
fn alive_within(monitor: &monitor::Settings) -> Duration {
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
