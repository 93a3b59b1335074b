//! The agent's half that follows drops: sources, the desk and Events.
//! Never delays a check, and a check never delays it. Somebody else keeps the directory.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::desk::{Arrival, Desk, Knowledge};
use super::events;
use super::followers::{self, Followers};
use super::queue::Queue;
use super::settings::EventSettings;
use crate::domain::drops::accounting::Accounting;
use crate::domain::drops::recent::Recent;
use crate::domain::drops::rules::RuleIndex;
use crate::domain::peers::Directory;
use crate::domain::words::error_chain::chain_of;
use crate::host::net::reverse_dns::ReverseDns;
use crate::k8s::client::ApiServer;
use crate::k8s::pods::PodScope;
use crate::telemetry::drops::DropMetrics;

/// The desk looks at what is due at least this often.
const LOOK: Duration = Duration::from_secs(1);

/// What the agent is told about drops.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is followed.
    pub followers: followers::Settings,
    /// How drops are told.
    pub events: EventSettings,
    /// Which pods are known by name.
    pub pods: PodScope,
    /// Whether other addresses are looked up.
    pub has_dns: bool,
    /// Whether somebody keeps [`Service::rules`] up to date.
    pub reads_rules: bool,
    /// The node's name.
    pub node: String,
}

/// What runs.
#[derive(Debug)]
pub struct Service {
    followers: Followers,
    desk: std::thread::JoinHandle<()>,
    events: Option<(watch::Sender<bool>, JoinHandle<()>)>,
    /// What was seen lately.
    pub recent: Arc<Mutex<Recent>>,
    /// The rules that log; whoever reads the rules keeps them up to date.
    pub rules: Arc<RwLock<RuleIndex>>,
}

impl Service {
    /// Starts everything; without an API server, nobody is told.
    ///
    /// # Errors
    /// If no thread can be had, or the checkpoints cannot be read.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        settings: Settings,
        api: Option<ApiServer>,
        directory: Arc<RwLock<Directory>>,
        metrics: &DropMetrics,
    ) -> io::Result<Self> {
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
        let desk = Desk::new(
            settings.events.clone(),
            knowledge,
            queue.clone(),
            Arc::clone(&recent),
            metrics.clone(),
        );
        let desk = std::thread::Builder::new().name("desk".into()).spawn(move || work(desk, &arrivals))?;
        let mut events = None;
        if let (Some(api), Some(queue)) = (api, queue) {
            let (stop, stopped) = watch::channel(false);
            let writing = events::run(api, queue, settings.events, settings.node, metrics.clone(), stopped);
            events = Some((stop, tokio::spawn(writing)));
        }
        Ok(Self { followers, desk, events, recent, rules })
    }

    /// The counters of each source, by its name.
    pub fn accounts(&self) -> &[(String, Arc<Accounting>)] {
        &self.followers.accounts
    }

    /// Ends it: what was read is told, as far as that is done in time.
    pub async fn stop(self, within: Duration) {
        let Self { followers, desk, events, .. } = self;
        followers.stop();
        let ending = async {
            // the desk ends once no follower is left
            let _ = tokio::task::spawn_blocking(move || desk.join()).await;
            if let Some((stop, writing)) = events {
                stop.send_replace(true);
                let _ = writing.await;
            }
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || followers.join()).await {
                log::warn!("{}", chain_of(&error));
            }
        };
        if tokio::time::timeout(within, ending).await.is_err() {
            log::warn!(
                "the last drops were not told in time; their log lines are read again after a restart"
            );
        }
    }
}

fn work(mut desk: Desk, arrivals: &Receiver<Vec<Arrival>>) {
    let mut due = None;
    loop {
        let now = Instant::now();
        let pause = due.map_or(LOOK, |due: Instant| due.saturating_duration_since(now)).min(LOOK);
        match arrivals.recv_timeout(pause) {
            Ok(batch) => {
                let (now, wall) = (Instant::now(), SystemTime::now());
                batch.into_iter().for_each(|arrival| desk.arrive(arrival, now, wall));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        due = desk.tick(Instant::now(), SystemTime::now());
    }
    desk.close(Instant::now(), SystemTime::now());
}
