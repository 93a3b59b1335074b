//! The journal of changes: written by a thread of its own, so that no check waits for a disk, and read by whoever asks.
//! Best effort: what it cannot write is counted and said once, and never stops a check.

mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::time::{Duration, Instant, SystemTime};

use crate::app::service::Thread;
use crate::domain::changes::history::{self, Change, Digested, Happening, Key, Moment, Place, Present};
use crate::domain::changes::{ChangeSet, Provenance, What};
use crate::domain::verdict::Verdict;
use crate::host::store::history::HistoryReader;
pub use crate::host::store::history::{MIN_LIMIT_BYTES, Remembered, StoreError};
pub use shared::HistoryCounts;
use shared::{Message, Pace, Shared, lock};

/// The limit of the journal's size unless told otherwise, in bytes.
pub const DEFAULT_LIMIT_BYTES: u64 = 64 << 20;
/// Messages that wait for the disk.
const QUEUE: usize = 16;
/// Lines of one message, and their bytes.
const CHUNK_LINES: usize = 250;
const CHUNK_BYTES: usize = 64 << 10;
/// How long the start waits for an earlier process's journal.
const OPENING: Duration = Duration::from_secs(5);
/// How long a comparison may wait for the disk in all.
const COMPARING: Duration = Duration::from_secs(20);
/// An unchanged node, or changes that are only counted, are noted at most this often,
const ALIVE: Duration = Duration::from_secs(60);
/// and compared as a whole after changes that were only counted at most this often.
const CATCH_UP: Duration = Duration::from_secs(300);
/// Moments that a reader takes at a time.
const PAGE: u32 = 50;

/// The journal.
#[derive(Debug)]
pub struct HistoryStore {
    shared: Arc<Shared>,
    /// To the thread that writes; none where nothing is kept.
    messages: Option<SyncSender<Message>>,
}

impl HistoryStore {
    /// A journal that keeps nothing.
    pub fn none() -> Self {
        Self { shared: Arc::default(), messages: None }
    }

    /// Opens the journal in this directory, with the thread that writes it: that ends once the journal is dropped and what
    /// still waits is written. Waits a few seconds at most for an earlier process. What is wrong with the journal is no
    /// error: it is logged, counted and tried again later.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn open(directory: PathBuf, limit_bytes: u64) -> io::Result<(Self, Thread<()>)> {
        let shared = Arc::new(Shared::default());
        let (messages, received) = mpsc::sync_channel(QUEUE);
        let (opened, is_open) = mpsc::channel();
        let disk = writer::Disk::new(directory, limit_bytes, Arc::clone(&shared));
        let thread = Thread::start("journal", move || disk.run(&received, opened))?;
        let _ = is_open.recv_timeout(OPENING);
        Ok((Self { shared, messages: Some(messages) }, thread))
    }

    /// Remembers what a check found. To be called after every check, also of one that found nothing; never waits.
    pub fn record(&self, set: &ChangeSet) {
        let mut pace = lock(&self.shared.pace);
        let digested = history::digest(set, &mut pace.budget);
        let (message, count) = match digested.and_then(|digested| pace.ripen(digested)) {
            Some(digested) => {
                pace.alive_at = Some(set.at);
                let count = digested.moment.changes.len() as u64;
                (Message::Moment(Box::new(digested)), count)
            }
            None if pace.is_minute_over(set.at) => {
                pace.alive_at = Some(set.at);
                (Message::Alive(set.at, set.after), 0)
            }
            None => return,
        };
        drop(pace);
        if let Some(messages) = &self.messages
            && messages.try_send(message).is_err()
        {
            self.shared.shed(count);
        }
    }

    /// Whether everything that is present should be compared with the journal: at the start, and when changes were only
    /// counted or lost.
    pub fn wants_reconcile(&self, now: SystemTime) -> bool {
        let is_open = self.counts().is_open;
        let pace = lock(&self.shared.pace);
        let is_due =
            pace.compared_at.is_none_or(|at| now.duration_since(at).is_ok_and(|since| since >= CATCH_UP));
        is_open && pace.is_stale && is_due
    }

    /// Notes that the allowlists changed: rules that stayed may be judged otherwise.
    pub fn allowlists_changed(&self) {
        lock(&self.shared.pace).is_stale = true;
    }

    /// Compares everything that is present with the journal: what differs was changed while nobody watched, or was only
    /// counted. **Only for a whole read**: what `present` leaves out counts as gone. May wait for the disk, for seconds
    /// in the worst case, so it is not for an async thread.
    pub fn reconcile<'a>(
        &self,
        at: SystemTime,
        verdict: Verdict,
        present: impl Iterator<Item = Present<'a>>,
    ) {
        let Some(messages) = &self.messages else { return };
        {
            let mut pace = lock(&self.shared.pace);
            pace.compared_at = Some(at);
            pace.alive_at = Some(at);
            pace.is_stale = false;
        }
        let end = Instant::now() + COMPARING;
        let mut is_well = wait_and_send(messages, Message::Begin(at, verdict), end);
        let mut chunks = Chunks { present };
        while is_well && let Some(chunk) = chunks.next() {
            is_well = wait_and_send(messages, Message::Present(chunk), end);
        }
        if !is_well || !wait_and_send(messages, Message::End, end) {
            log::warn!(
                "the journal was not compared with the rules: the disk is too slow; it is tried again later"
            );
            self.shared.shed(chunks.present.count() as u64);
        }
    }

    /// Since when a rule stands that is not allowed, and who brought it, as an earlier process has seen it.
    pub fn first_seen(&self, key: Key) -> Option<Provenance> {
        lock(&self.shared.known).get(&key).cloned()
    }

    /// What was done so far.
    pub fn counts(&self) -> HistoryCounts {
        *lock(&self.shared.counts)
    }
}

impl Pace {
    fn is_minute_over(&self, now: SystemTime) -> bool {
        self.alive_at.is_none_or(|at| now.duration_since(at).is_ok_and(|since| since >= ALIVE))
    }

    /// A moment with nothing but counts waits until another has more to say, or a minute is over.
    fn ripen(&mut self, mut digested: Digested) -> Option<Digested> {
        let moment = &mut digested.moment;
        self.is_stale |= moment.untold > 0;
        moment.untold = moment.untold.saturating_add(std::mem::take(&mut self.untold));
        let is_ripe = !moment.changes.is_empty() || moment.before != Some(moment.after);
        if is_ripe || self.is_minute_over(moment.at) {
            return Some(digested);
        }
        self.untold = moment.untold;
        None
    }
}

/// Waits for room in the queue until then.
fn wait_and_send(messages: &SyncSender<Message>, mut message: Message, end: Instant) -> bool {
    loop {
        message = match messages.try_send(message) {
            Ok(()) => return true,
            Err(TrySendError::Full(message)) if Instant::now() < end => message,
            Err(_) => return false,
        };
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lines as messages.
struct Chunks<I> {
    present: I,
}

impl<'a, I: Iterator<Item = Present<'a>>> Iterator for Chunks<I> {
    type Item = Vec<(Key, Change)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while chunk.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
            let Some(present) = self.present.next() else { break };
            let (line, is_cut) = history::kept(present.line);
            bytes += line.len();
            let Place { backend, family, table, chain } = present.place;
            let change = Change {
                happening: Happening::Changed(What::Added),
                backend,
                family,
                table: table.to_owned(),
                chain: chain.map(str::to_owned),
                kind: present.kind,
                position: None,
                line: Some(line.to_vec()),
                is_cut,
                judged: present.judged,
                authors: Vec::new(),
            };
            chunk.push((Key::of(present.place, present.line), change));
        }
        (!chunk.is_empty()).then_some(chunk)
    }
}

/// Hands over every moment of that time, in order, until `each` says that it is enough.
///
/// # Errors
/// If there is no journal in the directory or it cannot be read.
pub fn read(
    directory: &Path,
    time: &RangeInclusive<SystemTime>,
    mut each: impl FnMut(Moment) -> bool,
) -> Result<(), StoreError> {
    let reader = HistoryReader::open(directory)?;
    let mut last = 0;
    loop {
        let page = reader.moments(time, last, PAGE)?;
        let Some((id, _)) = page.last() else { return Ok(()) };
        last = *id;
        if !page.into_iter().all(|(_, moment)| each(moment)) {
            return Ok(());
        }
    }
}

/// What the journal knows of one line, with up to `count` changes.
///
/// # Errors
/// If there is no journal in the directory or it cannot be read.
pub fn remembered(
    directory: &Path,
    place: Place<'_>,
    line: &[u8],
    count: u32,
) -> Result<Option<Remembered>, StoreError> {
    HistoryReader::open(directory)?.rule(Key::of(place, line), count)
}
