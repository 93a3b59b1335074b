//! What the checks and the thread that writes have in common.
//! Writes nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::domain::changes::Provenance;
use crate::domain::changes::history::budget::Budget;
use crate::domain::changes::history::{Change, Digested, Key};
use crate::domain::verdict::Verdict;

/// Changes of allowed rules that are told one by one: so many at once, and then so many a second.
pub(super) const BURST: u32 = 500;
pub(super) const PER_SECOND: f64 = 0.1;

/// What the journal has done since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryCounts {
    /// Changes that were written.
    pub written: u64,
    /// Changes, or lines of a comparison, that were not written: the queue or the disk was full, or broken.
    pub shed: u64,
    /// Old entries that were dropped to stay within the limit.
    pub forgotten: u64,
    /// Failed attempts to open or to write.
    pub failures: u64,
    /// Damaged files that were set aside.
    pub set_aside: u64,
    /// Whether the file is open; if not, the log says why.
    pub is_open: bool,
    /// The size of the database, in bytes; 0 while it is not open.
    pub bytes: u64,
}

/// What the threads share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub counts: Mutex<HistoryCounts>,
    pub known: Mutex<HashMap<Key, Provenance>>,
    pub pace: Mutex<Pace>,
}

/// What was written when.
#[derive(Debug)]
pub(super) struct Pace {
    pub budget: Budget,
    pub alive_at: Option<SystemTime>,
    /// Whether the journal may lack changes.
    pub is_stale: bool,
    pub compared_at: Option<SystemTime>,
    /// Changes that were counted and are not written yet.
    pub untold: u64,
}

impl Default for Pace {
    fn default() -> Self {
        let budget = Budget::new(BURST, PER_SECOND);
        Self { budget, alive_at: None, is_stale: true, compared_at: None, untold: 0 }
    }
}

#[derive(Debug)]
pub(super) enum Message {
    Moment(Box<Digested>),
    Alive(SystemTime, Verdict),
    Begin(SystemTime, Verdict),
    Present(Vec<(Key, Change)>),
    End,
}

impl Shared {
    pub fn shed(&self, count: u64) {
        lock(&self.counts).shed += count;
        lock(&self.pace).is_stale = true;
    }
}

/// A thread that panicked has left nothing half done here.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
