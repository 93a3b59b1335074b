//! What the threads that listen and the loop have in common.
//! Listens to nothing.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::Notify;

use crate::domain::changes::author::Author;
use crate::domain::changes::carried::News;
use crate::domain::changes::pending::{Pending, Touched};
use crate::domain::judging::audit::Rulebook;

/// Why changes are not heard of; then only the interval finds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Changes to nf_tables.
    pub nftables: Option<String>,
    /// Changes to legacy tables.
    pub legacy: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub transactions: AtomicU64,
    pub losses: AtomicU64,
    pub reopened: AtomicU64,
    pub refused: AtomicU64,
    pub unattributed: AtomicU64,
    pub legacy_polls: AtomicU64,
    pub legacy_fingerprints: AtomicU64,
    pub legacy_failures: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What the threads and the loop have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub pending: Mutex<Pending>,
    pub is_pending: Notify,
    pub counts: Counts,
    pub failures: Mutex<Failures>,
    /// What is heard is judged by these.
    pub book: Mutex<Rulebook>,
    /// Readable for ever once the threads are to end.
    pub stop: OwnedFd,
    pub cancelled: Arc<AtomicBool>,
}

/// Why a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    Readable,
    Late,
    Stopped,
}

impl Shared {
    pub fn new(book: Rulebook) -> io::Result<Self> {
        Ok(Self {
            pending: Mutex::new(Pending::new(RandomState::new().build_hasher().finish())),
            is_pending: Notify::new(),
            counts: Counts::default(),
            failures: Mutex::default(),
            book: Mutex::new(book),
            stop: eventfd(0, EventfdFlags::CLOEXEC)?,
            cancelled: Arc::default(),
        })
    }

    pub fn pending(&self) -> MutexGuard<'_, Pending> {
        lock(&self.pending)
    }

    /// Tells the loop what was touched, and by which transaction; forgets it here.
    pub fn tell(&self, touched: &mut Touched, transaction: Option<(&Arc<Author>, u32)>, news: News) {
        let mut pending = self.pending();
        pending.news.extend(news);
        let is_first = pending.add(touched, transaction.map(|(author, _)| author), Instant::now());
        if let Some((_, generation)) = transaction {
            pending.complete_up_to(generation);
        }
        drop(pending);
        if is_first {
            self.is_pending.notify_one();
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Waits for something to read, for the time to pass, or to be stopped.
    pub fn wait(&self, fd: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Woken {
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
    pub fn works(&self, half: impl FnOnce(&mut Failures) -> &mut Option<String>, failure: Option<String>) {
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
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
