//! The agent's service that follows drops: sources, the folding and Events.
//! Never delays a check, and a check never delays it. Somebody else keeps the directory.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime};

use super::events;
use super::folding::{Arrival, Folding, Knowledge};
use super::followers::{self, Followers};
use super::queue::Queue;
use super::settings::EventSettings;
use crate::app::ending::Ending;
use crate::app::service::{self, Fault, Service, Stopping, Thread};
use crate::domain::drops::accounting::Accounting;
use crate::domain::drops::recent::Recent;
use crate::domain::drops::rules::RuleIndex;
use crate::domain::peers::Directory;
use crate::domain::words::error_chain::chain_of;
use crate::host::net::reverse_dns::ReverseDns;
use crate::k8s::client::ApiServer;
use crate::k8s::pods::PodScope;
use crate::telemetry::drops::DropMetrics;

/// Folding looks at what is due at least this often.
const LOOK: Duration = Duration::from_secs(1);

/// What the agent is told about drops.
#[derive(Clone, Debug)]
pub struct DropSettings {
    /// What is followed.
    pub followers: followers::FollowSettings,
    /// How drops are told.
    pub events: EventSettings,
    /// Which pods are known by name.
    pub pods: PodScope,
    /// Whether other addresses are looked up.
    pub has_dns: bool,
    /// Whether somebody keeps [`Drops::rules`] up to date.
    pub reads_rules: bool,
    /// The node's name.
    pub node: String,
}

/// What is followed, for whoever shows it or knows something of it.
#[derive(Debug)]
pub struct Drops {
    /// The counters of each source, by its name.
    pub accounts: Vec<(String, Arc<Accounting>)>,
    /// What was seen lately.
    pub recent: Arc<Mutex<Recent>>,
    /// The rules that log; whoever reads the rules keeps them up to date.
    pub rules: Arc<RwLock<RuleIndex>>,
}

/// Starts the service; without an API server, nobody is told and pods have no names. When it ends, what was read is told,
/// as far as that is done within `farewell`.
///
/// # Errors
/// If no thread can be had, or the checkpoints cannot be read.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn start(
    settings: DropSettings,
    api: Option<ApiServer>,
    directory: Arc<RwLock<Directory>>,
    metrics: &DropMetrics,
    farewell: Duration,
) -> io::Result<(Service, Drops)> {
    let (followers, arrivals) = Followers::start(&settings.followers)?;
    for (name, accounting) in &followers.accounts {
        metrics.add_source(name, Arc::clone(accounting));
    }
    let knowledge = Knowledge {
        directory,
        is_watched: api.is_some(),
        dns: settings.has_dns.then(ReverseDns::start).transpose()?.map(Arc::new),
        rules: Arc::default(),
        reads_rules: settings.reads_rules,
    };
    let (recent, rules) = (Arc::<Mutex<Recent>>::default(), Arc::clone(&knowledge.rules));
    let queue = api.is_some().then(|| Queue::new(settings.events.queue));
    let folding =
        Folding::new(settings.events.clone(), knowledge, queue.clone(), Arc::clone(&recent), metrics.clone());
    let folding = Thread::start("folding", move || work(folding, &arrivals))?;
    let accounts = followers.accounts.clone();
    let writing = api.zip(queue).map(|(api, queue)| {
        let (settings, node, metrics) = (settings.events, settings.node, metrics.clone());
        Service::start("events of drops", |stopping| async {
            events::run(api, queue, settings, node, metrics, stopping).await;
            Ok(Ending::Stopped)
        })
    });
    let parts = Parts { followers, folding, writing: writing.into_iter().collect() };
    let service = Service::start("drops", |stopping| run(parts, stopping, farewell));
    Ok((service, Drops { accounts, recent, rules }))
}

/// What runs.
struct Parts {
    followers: Followers,
    folding: Thread<()>,
    /// One service, or none.
    writing: Vec<Service>,
}

async fn run(mut parts: Parts, mut stopping: Stopping, farewell: Duration) -> Result<Ending, Fault> {
    let ended = tokio::select! {
        ending = stopping.wait() => Ok(ending),
        fault = parts.followers.ended() => Err(fault),
        // the folding comes to its end once no follower is left: then one of them is the cause
        fault = parts.folding.ended() => match fault.is_mere_end() {
            true => Err(parts.followers.ended().await),
            false => Err(fault),
        },
        Err(error) = service::first_end(&mut parts.writing) => Err(error.fault.of(error.name)),
    };
    let ending = *ended.as_ref().unwrap_or(&Ending::Stopped);
    parts.followers.stop();
    if tokio::time::timeout(farewell, end(parts, ending, farewell)).await.is_err() {
        log::warn!("the last drops were not told in time; their log lines are read again after a restart");
    }
    ended
}

/// Ends it all: what was read is told.
async fn end(parts: Parts, ending: Ending, farewell: Duration) {
    let Parts { followers, folding, writing } = parts;
    // the folding ends once no follower is left
    folding.ended().await;
    service::stop(writing, ending, farewell).await;
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || followers.join()).await {
        log::warn!("{}", chain_of(&error));
    }
}

fn work(mut folding: Folding, arrivals: &Receiver<Vec<Arrival>>) {
    let mut due = None;
    loop {
        let now = Instant::now();
        let pause = due.map_or(LOOK, |due: Instant| due.saturating_duration_since(now)).min(LOOK);
        match arrivals.recv_timeout(pause) {
            Ok(batch) => {
                let (now, wall) = (Instant::now(), SystemTime::now());
                batch.into_iter().for_each(|arrival| folding.arrive(arrival, now, wall));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        due = folding.tick(Instant::now(), SystemTime::now());
    }
    folding.close(Instant::now(), SystemTime::now());
}
