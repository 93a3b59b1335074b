//! Hears of changes to this node's rules as they are made: two threads that tell the loop of checks what to read again.
//! What was heard is a reason to look and never the truth; but what a transaction of nf_tables brought that no pattern
//! allows is remembered, so that the loop knows of it even if it is gone by the next look.
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
mod shared;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::scan::ScanOptions;
use crate::app::service::{Fault, Thread, first_of};
use crate::domain::changes::debounce::Pace;
use crate::domain::changes::pending::Heard;
use crate::domain::judging::audit::Rulebook;
use crate::host::xtables;
pub use shared::Failures;
use shared::{Shared, lock};

/// How changes are heard of.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// Room for messages of the kernel that were not looked at yet. It takes 33 MB to hear of 50,000 rules at once.
    pub receive_buffer_bytes: usize,
    /// The lock file of iptables-legacy.
    pub lock: PathBuf,
}

impl Default for WatchSettings {
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

/// The threads that listen. They end when this is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    threads: Vec<Thread<()>>,
}

/// Starts to listen in the network namespace of the calling thread. Whatever changes after this returns is heard of, and
/// what nf_tables says of it is judged by `book` when it is heard.
///
/// Takes a while where legacy tables are large (0.3 s for 99,000 rules), and calls no async code.
///
/// # Errors
/// If no thread or eventfd can be had. Where the kernel does not tell of changes, [`Watch::failures`] says so.
pub fn start(settings: WatchSettings, scan: ScanOptions, book: Rulebook) -> io::Result<Watch> {
    let shared = Arc::new(Shared::new(book)?);
    let mut watch = Watch { shared: Arc::clone(&shared), threads: Vec::new() };
    let nftables = nftables::Listener::start(Arc::clone(&shared), settings.receive_buffer_bytes, scan);
    let legacy = legacy::Poller::start(shared, &settings.lock);
    watch.threads.push(Thread::start("watch-nftables", move || nftables.run())?);
    watch.threads.push(Thread::start("watch-legacy", move || legacy.run())?);
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
                Some(moment) => tokio::select! {
                    () = tokio::time::sleep_until(moment.into()) => {}
                    () = self.shared.is_pending.notified() => {}
                },
            }
        }
    }

    /// Waits until a thread has ended, which none does before this is dropped. Loses nothing when it is dropped.
    pub async fn ended(&self) -> Fault {
        let mut ends: Vec<_> = self.threads.iter().map(|thread| Box::pin(thread.ended())).collect();
        first_of(&mut ends).await.1
    }

    /// What was heard to have changed. To be called before a read begins, a full one too: that has then seen it all.
    pub fn take(&self) -> Option<Heard> {
        self.shared.pending().take()
    }

    /// Judges what is heard from now on by these allowlists.
    pub fn judge_by(&self, book: &Rulebook) {
        lock(&self.shared.book).clone_from(book);
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
