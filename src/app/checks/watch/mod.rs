//! Hears of changes to this node's rules as they are made: two threads that tell the loop of checks what to read again.
//! Reads no rule and judges none; what was heard is a reason to look and never the truth.
//!
//! # Why a scope is complete
//! [`start`] subscribes before it returns, and the first full read comes after it. From then on every transaction of
//! nf_tables is heard with all it touches, or its absence is noticed: generations are consecutive, and the kernel says
//! when it had to leave messages out. Whatever is noticed so makes the scope [`Scope::Everything`], with a new
//! subscription opened before that is said. [`Watch::take`] is called before a read begins; what is heard during the read
//! counts towards the next. Of legacy tables the sizes are compared twice a second and the contents, without counters, at
//! a slower pace; both were first taken before [`start`] returned.
//!
//! # What only the full check at the interval finds
//! What the kernel changes without a transaction: elements that packets add to sets or that expire; ebtables-legacy; ipsets; other versions of the programs; and a chain that is renamed
//! over raw netlink with a flag that says it is new, where other rules jump to it: a reader that lists a table's chains
//! sees that from their handles.
//!
//! [`Scope::Everything`]: crate::domain::changes::Scope::Everything

mod attribution;
pub mod fingerprint;
mod legacy;
mod nftables;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::Notify;

use crate::domain::changes::author::Author;
use crate::domain::changes::debounce::Pace;
use crate::domain::changes::pending::{Heard, Pending, Touched};
use crate::host::xtables;

/// How changes are heard of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Room for messages of the kernel that were not looked at yet. It takes 33 MB to hear of 50,000 rules at once.
    pub receive_buffer_bytes: usize,
    /// The lock file of iptables-legacy.
    pub lock: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self { receive_buffer_bytes: 32 << 20, lock: PathBuf::from(xtables::lock::PATH) }
    }
}

/// What has happened since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transactions of nf_tables that were heard of.
    pub transactions: u64,
    /// Times that changes may have been missed, so that everything was to be read.
    pub losses: u64,
    /// Subscriptions opened after the first.
    pub reopened: u64,
    /// Attempts to subscribe that failed.
    pub refused: u64,
    /// Transactions whose process was not looked at because there were too many.
    pub unattributed: u64,
    /// Authors that were left out of a scope because one part had too many.
    pub authors_left_out: u64,
    /// Times that the sizes of legacy tables were compared.
    pub legacy_polls: u64,
    /// Times that their contents were compared.
    pub legacy_fingerprints: u64,
    /// Times that legacy tables could not be looked at.
    pub legacy_failures: u64,
}

/// Why changes are not heard of; then only the interval finds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Changes to nf_tables.
    pub nftables: Option<String>,
    /// Changes to legacy tables.
    pub legacy: Option<String>,
}

/// The threads that listen. They end when this is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts to listen in the network namespace of the calling thread. Whatever changes after this returns is heard of.
///
/// Takes a while where legacy tables are large (0.3 s for 99,000 rules), and calls no async code.
///
/// # Errors
/// If no thread or eventfd can be had. Where the kernel does not tell of changes, [`Watch::failures`] says so.
pub fn start(settings: Settings) -> io::Result<Watch> {
    let shared = Arc::new(Shared::new()?);
    let mut watch = Watch { shared: Arc::clone(&shared), threads: Vec::new() };
    let nftables = nftables::Listener::start(Arc::clone(&shared), settings.receive_buffer_bytes);
    let legacy = legacy::Poller::start(shared, &settings.lock);
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(work)
    };
    watch.threads.push(spawn("watch-nftables", Box::new(move || nftables.run()))?);
    watch.threads.push(spawn("watch-legacy", Box::new(move || legacy.run()))?);
    Ok(watch)
}

impl Watch {
    /// Waits until there is something to read again and it is time for that. Loses nothing when it is dropped.
    pub async fn ready(&self, pace: Pace) {
        loop {
            let due = self.shared.pending().due(pace);
            match due {
                None => self.shared.is_pending.notified().await,
                Some(moment) if moment <= Instant::now() => return,
                Some(moment) => tokio::time::sleep_until(moment.into()).await,
            }
        }
    }

    /// What was heard to have changed. To be called before a read begins, a full one too: that has then seen it all.
    pub fn take(&self) -> Option<Heard> {
        self.shared.pending().take()
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        let counts = &self.shared.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            transactions: read(&counts.transactions),
            losses: read(&counts.losses),
            reopened: read(&counts.reopened),
            refused: read(&counts.refused),
            unattributed: read(&counts.unattributed),
            authors_left_out: self.shared.pending().authors_left_out,
            legacy_polls: read(&counts.legacy_polls),
            legacy_fingerprints: read(&counts.legacy_fingerprints),
            legacy_failures: read(&counts.legacy_failures),
        }
    }

    /// What does not work now.
    pub fn failures(&self) -> Failures {
        lock(&self.shared.failures).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
        let _ = rustix::io::write(&self.shared.stop, &1u64.to_ne_bytes());
        for thread in self.threads.drain(..) {
            // a thread that panicked has ended too
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    transactions: AtomicU64,
    losses: AtomicU64,
    reopened: AtomicU64,
    refused: AtomicU64,
    unattributed: AtomicU64,
    legacy_polls: AtomicU64,
    legacy_fingerprints: AtomicU64,
    legacy_failures: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What the threads and the loop have in common.
#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    is_pending: Notify,
    counts: Counts,
    failures: Mutex<Failures>,
    /// Readable for ever once the threads are to end.
    stop: OwnedFd,
    cancelled: Arc<AtomicBool>,
}

/// Why a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    Readable,
    Late,
    Stopped,
}

impl Shared {
    fn new() -> io::Result<Self> {
        Ok(Self {
            pending: Mutex::default(),
            is_pending: Notify::new(),
            counts: Counts::default(),
            failures: Mutex::default(),
            stop: eventfd(0, EventfdFlags::CLOEXEC)?,
            cancelled: Arc::default(),
        })
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        lock(&self.pending)
    }

    /// Tells the loop what was touched, and by which transaction; forgets it here.
    fn tell(&self, touched: &mut Touched, transaction: Option<(&Arc<Author>, u32)>) {
        let mut pending = self.pending();
        let is_first = pending.add(touched, transaction.map(|(author, _)| author), Instant::now());
        if let Some((_, generation)) = transaction {
            pending.complete_up_to(generation);
        }
        drop(pending);
        if is_first {
            self.is_pending.notify_one();
        }
    }

    fn is_stopped(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Waits for something to read, for the time to pass, or to be stopped.
    fn wait(&self, fd: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Woken {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let stop = self.stop.as_fd();
        let mut fds = [
            PollFd::from_borrowed_fd(stop, PollFlags::IN),
            PollFd::from_borrowed_fd(fd.unwrap_or(stop), PollFlags::IN),
        ];
        let ended = poll(&mut fds, timeout.as_ref());
        match ended {
            _ if self.is_stopped() => Woken::Stopped,
            Ok(0) => Woken::Late,
            // also an interrupted wait: whoever reads finds nothing, and waits again
            _ => Woken::Readable,
        }
    }

    /// Remembers that something does not work, or works again, and says so once.
    fn works(&self, half: impl FnOnce(&mut Failures) -> &mut Option<String>, failure: Option<String>) {
        let mut failures = lock(&self.failures);
        let known = half(&mut failures);
        match (&known, &failure) {
            (None, Some(failure)) => {
                log::warn!("changes are not heard of as they are made, only at the interval: {failure}");
            }
            (Some(_), None) => log::info!("changes are heard of as they are made again"),
            _ => {}
        }
        *known = failure;
    }
}

/// No thread leaves what it shares half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
