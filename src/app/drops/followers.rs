//! The threads that follow all sources, and the one queue into which they put what they read.
//! Looks at no packet.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::folding::Arrival;
use super::follow::{Follower, SharedCheckpoints};
use super::positions::Positions;
use super::source::{How, SourceError, SourceSpec};
use crate::app::service::{Fault, Thread, first_of};
use crate::domain::drops::accounting::Accounting;
use crate::domain::drops::kernel_log::LogParser;
use crate::domain::words::error_chain::chain_of;
use crate::domain::words::escape;
use crate::host::files::checkpoint::Checkpoints;

/// Batches that wait to be looked at. A file and the journal wait for room, the kernel's log has a buffer of its own, and
/// packets of NFLOG are shed.
const QUEUE: usize = 64;
/// The file of checkpoints is written at most this often, and at the end.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// What is followed.
#[derive(Clone, Debug)]
pub struct FollowSettings {
    /// The sources.
    pub sources: Vec<SourceSpec>,
    /// How they are read.
    pub how: How,
    /// What reads their lines.
    pub parser: Arc<LogParser>,
    /// The file of checkpoints; none if a restart begins anew.
    pub checkpoints: Option<PathBuf>,
    /// Seconds that local time is ahead of UTC, for lines without a zone.
    pub utc_offset_seconds: i32,
}

/// A follower that has ended, how, and what of its lines was not delivered by then.
type Ended = (Follower, Positions<Value>, Result<(), SourceError>);

/// Why sources were not followed to their end.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// A source cannot be read.
    #[error(transparent)]
    Source(SourceError),
    /// A thread is no more.
    #[error("following the sources")]
    Thread(#[source] Fault),
}

/// The threads. They end when told to, or at the end of sources that are not followed.
#[derive(Debug)]
pub struct Followers {
    is_stopped: Arc<AtomicBool>,
    threads: Vec<Thread<Ended>>,
    checkpoints: Option<SharedCheckpoints>,
    /// The counters of each source, by its name.
    pub accounts: Vec<(String, Arc<Accounting>)>,
}

impl Followers {
    /// Starts a thread for each source. The queue ends when all threads have.
    ///
    /// # Errors
    /// If no thread can be had, or there are checkpoints that cannot be read: to begin anew would lose what is between.
    pub fn start(settings: &FollowSettings) -> io::Result<(Self, Receiver<Vec<Arrival>>)> {
        let checkpoints = settings.checkpoints.as_deref().map(open_checkpoints).transpose()?;
        let (sender, arrivals) = sync_channel(QUEUE);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let mut followers = Self {
            is_stopped: Arc::clone(&is_stopped),
            threads: Vec::new(),
            checkpoints,
            accounts: Vec::new(),
        };
        for spec in SourceSpec::distinct(&settings.sources) {
            let can_wait = !matches!(spec, SourceSpec::Nflog(_));
            let accounting = Arc::new(Accounting::default());
            followers.accounts.push((spec.to_string(), Arc::clone(&accounting)));
            let follower = Follower {
                spec,
                how: settings.how,
                parser: Arc::clone(&settings.parser),
                accounting,
                checkpoints: followers.checkpoints.clone(),
                utc_offset_seconds: settings.utc_offset_seconds,
                has_warned: AtomicBool::new(false),
            };
            let (sender, is_stopped) = (sender.clone(), Arc::clone(&is_stopped));
            let thread = Thread::start("drops", move || {
                let mut positions = Positions::default();
                let deliver = &mut |batch| send(&sender, batch, can_wait);
                let result = follower.run(&mut positions, &is_stopped, deliver);
                (follower, positions, result)
            })?;
            followers.threads.push(thread);
        }
        Ok((followers, arrivals))
    }

    /// Tells the threads to end; they do within a fraction of a second.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Waits until a thread has ended, which none does before it is told to where sources are followed; for ever where there
    /// is no source. Loses nothing when it is dropped.
    pub async fn ended(&self) -> Fault {
        let following = |name: &str| format!("following {}", escape::name(name));
        let ends = self.threads.iter().zip(&self.accounts);
        let ends = ends.map(|(thread, (name, _))| async { thread.ended().await.of(following(name)) });
        let mut ends: Vec<_> = ends.map(Box::pin).collect();
        first_of(&mut ends).await.1
    }

    /// Waits for the threads, and keeps the last checkpoints.
    ///
    /// # Errors
    /// What ended a source that is not followed, or a thread before its time.
    pub fn join(self) -> Result<(), FollowError> {
        let results = self.threads.into_iter().map(|thread| {
            let (follower, mut positions, result) = thread.join().map_err(FollowError::Thread)?;
            follower.save(&mut positions);
            result.map_err(FollowError::Source)
        });
        let results: Vec<_> = results.collect();
        if let Some(checkpoints) = self.checkpoints
            && let Err(error) = checkpoints.lock().unwrap_or_else(PoisonError::into_inner).write()
        {
            log::warn!("{}", chain_of(&error));
        }
        results.into_iter().collect()
    }
}

/// Returns how many lines were refused.
fn send(sender: &SyncSender<Vec<Arrival>>, batch: Vec<Arrival>, can_wait: bool) -> u64 {
    let lines =
        |batch: &[Arrival]| batch.iter().map(|arrival| u64::from(arrival.logged.packet.repeated)).sum();
    if can_wait {
        return sender.send(batch).map_or_else(|refused| lines(&refused.0), |()| 0);
    }
    match sender.try_send(batch) {
        Ok(()) => 0,
        Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => lines(&batch),
    }
}

fn open_checkpoints(path: &std::path::Path) -> io::Result<SharedCheckpoints> {
    let opened = Checkpoints::open(path, CHECKPOINT_INTERVAL);
    let (checkpoints, remark) = opened.map_err(|error| io::Error::other(chain_of(&error)))?;
    if let Some(remark) = remark {
        log::warn!("{}", chain_of(&remark));
    }
    Ok(Arc::new(Mutex::new(checkpoints)))
}
