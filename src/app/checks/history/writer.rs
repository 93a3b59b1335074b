//! The thread that writes the journal: opens it, sets a damaged one aside, makes room, and tries again after a failure.
//! Each kind of trouble is one log line until it is over.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use super::shared::{BURST, Message, Shared, lock};
use crate::domain::changes::history::budget::Budget;
use crate::domain::words::error_chain::chain_of;
use crate::host::store::history::{Reconciliation, Store, StoreError};

/// From a failure to the next attempt: the first time, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Changes that one transaction takes at most, but for those of one moment.
const BATCH: u64 = 1000;

/// The file, and how well it does.
pub(super) struct Disk {
    directory: PathBuf,
    limit_bytes: u64,
    shared: Arc<Shared>,
    store: Option<Store>,
    reconciliation: Option<Reconciliation>,
    /// Whether this process has compared everything before.
    is_reconciled: bool,
    trouble: Option<Trouble>,
}

/// What does not work, and when it is tried again.
struct Trouble {
    text: String,
    again: Instant,
    pause: Duration,
}

impl Disk {
    pub(super) fn new(directory: PathBuf, limit_bytes: u64, shared: Arc<Shared>) -> Self {
        Self {
            directory,
            limit_bytes,
            shared,
            store: None,
            reconciliation: None,
            is_reconciled: false,
            trouble: None,
        }
    }

    /// Writes until nobody sends any more.
    pub(super) fn run(mut self, messages: &Receiver<Message>, opened: Sender<()>) {
        self.open();
        drop(opened);
        while let Ok(first) = messages.recv() {
            let mut changes = lines_of(&first);
            let mut waiting = vec![first];
            // what came while the disk was busy is one transaction
            while changes < BATCH
                && let Ok(message) = messages.try_recv()
            {
                changes += lines_of(&message);
                waiting.push(message);
            }
            let are_moments = |one: &Message, next: &Message| {
                matches!((one, next), (Message::Moment(_), Message::Moment(_)))
            };
            waiting.chunk_by(are_moments).for_each(|messages| self.take(messages));
        }
    }

    fn take(&mut self, messages: &[Message]) {
        self.ensure_open();
        if self.store.is_none() || !self.write(messages) {
            self.shared.shed(messages.iter().map(lines_of).sum());
        }
    }

    fn ensure_open(&mut self) {
        let is_lost = |store: &Store| self.reconciliation.is_none() && !store.is_in_place();
        if self.store.as_ref().is_some_and(is_lost) {
            log::warn!(path:% = self.directory.display(); "the journal was removed or replaced: it is opened again");
            self.close();
        }
        if self.store.is_none() && self.trouble.as_ref().is_none_or(|trouble| trouble.again <= Instant::now())
        {
            self.open();
        }
    }

    fn open(&mut self) {
        let opened = self.open_or_replace().and_then(|store| Ok((store.known()?, store)));
        match opened {
            Ok((known, store)) => {
                *lock(&self.shared.known) = known;
                self.opened(store);
                if self.trouble.take().is_some() {
                    log::info!(path:% = self.directory.display(); "the journal works again");
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn opened(&mut self, store: Store) {
        let mut counts = lock(&self.shared.counts);
        (counts.is_open, counts.bytes) = (true, store.usage_bytes());
        if store.is_shared() {
            let path = self.directory.display();
            log::warn!(path:%; "another process writes this journal too: changes are recorded more than once");
        }
        self.store = Some(store);
    }

    fn open_or_replace(&self) -> Result<Store, StoreError> {
        match Store::open(&self.directory, self.limit_bytes) {
            Err(error) if error.is_damage() => {
                self.set_aside(&error)?;
                Store::open(&self.directory, self.limit_bytes)
            }
            other => other,
        }
    }

    fn set_aside(&self, why: &StoreError) -> Result<(), StoreError> {
        let aside = Store::set_aside(&self.directory)?;
        lock(&self.shared.counts).set_aside += 1;
        log::warn!(error = chain_of(why), path:% = aside.display(); "a damaged journal was set aside; a new one begins");
        Ok(())
    }

    /// Whether it was written; if not, the trouble is told.
    fn write(&mut self, messages: &[Message]) -> bool {
        let result = match self.attempt(messages) {
            Err(StoreError::Full { .. }) => self.make_room().and_then(|()| self.attempt(messages)),
            Err(error) if error.is_damage() => self.start_anew(&error).and_then(|()| self.attempt(messages)),
            other => other,
        };
        let result = result.and_then(|()| self.tidy());
        if let Err(error) = &result {
            self.fail(error);
        }
        result.is_ok()
    }

    /// Does what one message says, or writes several moments.
    fn attempt(&mut self, messages: &[Message]) -> Result<(), StoreError> {
        let (Some(store), Some(message)) = (&mut self.store, messages.first()) else { return Ok(()) };
        let is_piece = matches!(message, Message::Present(_) | Message::End);
        if !is_piece && self.reconciliation.take().is_some() {
            store.abandon_reconciliation()?;
            lock(&self.shared.pace).is_stale = true;
        }
        match message {
            Message::Moment(_) => {
                let moments = messages.iter().filter_map(|message| match message {
                    Message::Moment(digested) => Some(&**digested),
                    _ => None,
                });
                store.append(moments)?;
                lock(&self.shared.counts).written += messages.iter().map(lines_of).sum::<u64>();
            }
            Message::Alive(at, verdict) => store.alive(*at, *verdict)?,
            Message::Begin(at, verdict) => {
                let (is_first, budget) = (!self.is_reconciled, Budget::new(BURST, 0.0));
                self.reconciliation = Some(store.begin_reconciliation(*at, *verdict, is_first, budget)?);
            }
            Message::Present(lines) => {
                let Some(mut reconciliation) = self.reconciliation.take() else { return Ok(()) };
                let result = store.reconcile(&mut reconciliation, lines);
                if result.is_err() {
                    lock(&self.shared.pace).is_stale = true;
                    store.abandon_reconciliation()?;
                    return result;
                }
                self.reconciliation = Some(reconciliation);
            }
            Message::End => {
                let Some(reconciliation) = self.reconciliation.take() else { return Ok(()) };
                let moment = store.end_reconciliation(reconciliation)?;
                self.is_reconciled = true;
                if let Some(moment) = moment {
                    lock(&self.shared.counts).written += moment.changes.len() as u64;
                }
            }
        }
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        let forgotten = store.forget()?;
        lock(&self.shared.counts).forgotten += forgotten;
        Ok(())
    }

    fn start_anew(&mut self, why: &StoreError) -> Result<(), StoreError> {
        self.close();
        self.set_aside(why)?;
        self.opened(Store::open(&self.directory, self.limit_bytes)?);
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        let forgotten = if store.is_idle() { store.make_room()? } else { 0 };
        let mut counts = lock(&self.shared.counts);
        counts.forgotten += forgotten;
        counts.bytes = store.usage_bytes();
        Ok(())
    }

    /// Closes the file; what it lacks then is to be compared at once.
    fn close(&mut self) {
        self.store = None;
        self.reconciliation = None;
        {
            let mut counts = lock(&self.shared.counts);
            (counts.is_open, counts.bytes) = (false, 0);
        }
        let mut pace = lock(&self.shared.pace);
        pace.is_stale = true;
        pace.compared_at = None;
    }

    fn fail(&mut self, error: &StoreError) {
        self.close();
        lock(&self.shared.counts).failures += 1;
        let text = chain_of(error);
        let pause = match &self.trouble {
            Some(trouble) => (trouble.pause * 2).min(RETRY.1),
            None => RETRY.0,
        };
        if self.trouble.as_ref().is_none_or(|trouble| trouble.text != text) {
            let path = self.directory.display();
            log::warn!(error = text.as_str(), path:%; "no journal for now; the checks go on and it is tried again");
        }
        self.trouble = Some(Trouble { text, again: Instant::now() + pause, pause });
    }
}

/// Changes, or lines, that are lost with this message.
fn lines_of(message: &Message) -> u64 {
    match message {
        Message::Moment(digested) => digested.moment.changes.len() as u64,
        Message::Present(lines) => lines.len() as u64,
        Message::Alive(..) | Message::Begin(..) | Message::End => 0,
    }
}
