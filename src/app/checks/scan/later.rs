//! What named sets hold, kept by table: read by a thread of its own, so that neither another table nor a change waits for a
//! large set.
//!
//! What was read stays in force until it was read again, for one interval. What was never read and is judged is a problem
//! meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::elements::Left;
use super::unit::{Key, Known, Unit, Units};
use super::{Context, ScanOptions};
use crate::app::service::{Fault, Thread};
use crate::domain::changes::Part;
use crate::domain::changes::author::Author;
use crate::domain::changes::diff::Told;
use crate::domain::judging::audit::{Audit, Authors, Reading, Rulebook, TextBudget, compare};
use crate::domain::rules::{Problem, Reason};
use crate::domain::words::error_chain::chain_of;
use crate::host::process::processor_time;

/// Text of elements that is kept, beside that of rules: 250,000 elements of maps.
const TEXT_BYTES: usize = 16 << 20;
/// A check waits so long for what small sets hold, so that it is told together with their rules.
const GRACE: Duration = Duration::from_millis(250);
/// Reading that took longer than the grace is followed by a rest this many times as long.
const REST: u32 = 4;
/// After a read that failed, the next one comes no sooner.
const REPEAT: Duration = Duration::from_secs(1);
/// Tables that the thread has read and nobody took: then it waits.
const TABLES_READ: usize = 64;

/// How long a check waits for what sets hold.
#[derive(Clone, Debug)]
pub enum Patience {
    /// Until all is read.
    Endless,
    /// For small sets only.
    Short {
        /// So long is what was read last in force while it is read again.
        valid: Duration,
        /// Told when something was read.
        came: Arc<Notify>,
    },
}

/// Who is said to have changed which part.
type Owed = BTreeMap<Part, Vec<Arc<Author>>>;

/// What the sets of all tables hold.
#[derive(Debug)]
pub struct Elements {
    patience: Patience,
    /// By [`Key::Elements`].
    tables: BTreeMap<Key, Table>,
    job: Option<Job>,
    /// Nothing is read before.
    rests_until: Option<Instant>,
    /// Whether the tables of the first read are known: the sets of later ones are changes.
    has_begun: bool,
    /// Processor time that the job's thread took and that was not told yet.
    cost: Duration,
}

/// What the sets of one table hold.
#[derive(Debug)]
struct Table {
    /// What is to be read, or was.
    left: Arc<Left>,
    is_due: bool,
    /// Who may have changed it since it was read well last.
    owed: Owed,
    /// As it was read well last, and when that was begun.
    held: Option<(Arc<Unit>, Instant)>,
    /// What the last read came to if it failed.
    failure: Option<Arc<Unit>>,
    /// Whether nobody knows what was there before.
    is_first: bool,
}

/// One table that was read.
#[derive(Debug)]
struct Found {
    left: Arc<Left>,
    begun: Instant,
    unit: Arc<Unit>,
    cost: Duration,
}

/// Tables being read.
#[derive(Debug)]
struct Job {
    /// How many are still to come.
    left: usize,
    found: Receiver<Found>,
    begun: Instant,
    book: Rulebook,
    has_failed: bool,
    thread: Thread<()>,
}

impl Elements {
    /// Nothing was read yet.
    pub const fn new(patience: Patience) -> Self {
        Self {
            patience,
            tables: BTreeMap::new(),
            job: None,
            rests_until: None,
            has_begun: false,
            cost: Duration::ZERO,
        }
    }

    /// Notes what is left of all tables now, and who may have changed them. What was left of them before is not read again.
    pub fn want<'u>(&mut self, units: impl Iterator<Item = &'u Unit>, owed: &Owed, told: &mut Told) {
        let mut gone = std::mem::take(&mut self.tables);
        for left in units.flat_map(|unit| &unit.left) {
            let key = left.key();
            let mut table = gone.remove(&key).unwrap_or_else(|| Table::new(left, !self.has_begun));
            if !Arc::ptr_eq(&table.left, left) {
                table.left = Arc::clone(left);
                table.is_due = true;
            }
            table.owe(owed);
            self.tables.insert(key, table);
        }
        self.has_begun = true;
        let none = Reading::default();
        for mut table in gone.into_values() {
            table.owe(owed);
            if let Some((unit, _)) = &table.held {
                compare(&unit.reading, &none, &Authors::new(&table.owed), told);
            }
        }
    }

    /// Reads what is due, or has it read, and takes what has come; how long that took of processor time.
    pub fn read(&mut self, options: &ScanOptions, book: &Rulebook, told: &mut Told) -> Duration {
        if let Patience::Endless = self.patience {
            self.read_all(options, book, told);
        } else {
            self.start(options, book);
            self.take_until(book, told);
        }
        std::mem::take(&mut self.cost)
    }

    fn read_all(&mut self, options: &ScanOptions, book: &Rulebook, told: &mut Told) {
        let context = Context::new(options);
        let budget = TextBudget::new(TEXT_BYTES);
        for left in self.due() {
            let found = read(&context, book, &budget, left);
            self.take(Found { cost: Duration::ZERO, ..found }, told);
        }
    }

    fn due(&self) -> Vec<Arc<Left>> {
        self.tables.values().filter(|table| table.is_due).map(|table| Arc::clone(&table.left)).collect()
    }

    /// Starts to read what is due, unless something is being read or that was done lately.
    fn start(&mut self, options: &ScanOptions, book: &Rulebook) {
        let Patience::Short { came, .. } = &self.patience else { return };
        let due = self.due();
        if self.job.is_some()
            || due.is_empty()
            || self.rests_until.is_some_and(|until| Instant::now() < until)
        {
            return;
        }
        let kept = self.tables.values().filter(|table| !table.is_due).filter_map(|table| table.held.as_ref());
        let budget =
            TextBudget::new(TEXT_BYTES.saturating_sub(kept.map(|(unit, _)| unit.reading.taken()).sum()));
        let (sender, found) = sync_channel(TABLES_READ);
        let left = due.len();
        let run = {
            let (options, book, came) = (options.clone(), book.clone(), Arc::clone(came));
            move || {
                // also when the thread panics
                let _told = Tell(Arc::clone(&came));
                read_each(&options, &book, &budget, due, &sender, &came);
            }
        };
        match Thread::start("elements", run) {
            Ok(thread) => {
                let (begun, book, has_failed) = (Instant::now(), book.clone(), false);
                self.job = Some(Job { left, found, begun, book, has_failed, thread });
            }
            Err(error) => {
                log::warn!("starting a thread that reads what sets hold: {error}; it is tried again");
                self.rests_until = Some(Instant::now() + REPEAT);
            }
        }
    }

    /// Takes what has come, and waits a moment for what a job that has just begun will find.
    fn take_until(&mut self, book: &Rulebook, told: &mut Told) {
        while let Some(job) = &mut self.job {
            let patience = GRACE.saturating_sub(job.begun.elapsed());
            let found = match job.found.try_recv() {
                Err(TryRecvError::Empty) if patience.is_zero() || job.left == 0 => return,
                Err(TryRecvError::Empty) => job.found.recv_timeout(patience),
                found => found.map_err(|_| RecvTimeoutError::Disconnected),
            };
            match found {
                Ok(found) => {
                    job.left -= 1;
                    job.has_failed |= found.unit.has_failed();
                    // what other allowlists judged stays due
                    if job.book.judges_as(book) {
                        self.take(found, told);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => self.end(book),
            }
            if self.job.as_ref().is_some_and(|job| job.left == 0) {
                self.end(book);
            }
        }
    }

    /// Ends the job, which read all that it should unless its thread died.
    fn end(&mut self, book: &Rulebook) {
        let Some(job) = self.job.take() else { return };
        let took = job.begun.elapsed();
        let rest = if took > GRACE { took * REST } else { Duration::ZERO };
        let fault = job.thread.join().err().or_else(|| (job.left > 0).then_some(Fault::Ended));
        let least = if job.has_failed || fault.is_some() { REPEAT } else { Duration::ZERO };
        self.rests_until = Some(Instant::now() + rest.max(least));
        let Some(fault) = fault else { return };
        for table in self.tables.values_mut().filter(|table| table.is_due) {
            let what = format!("reading {}: {}: a bug", table.left.place(), chain_of(&fault));
            table.failure = Some(Arc::new(problem(book, Problem::new(Reason::KernelRead, what))));
        }
    }

    fn take(&mut self, found: Found, told: &mut Told) {
        let Found { left, begun, unit, cost } = found;
        self.cost += cost;
        let Some(table) = self.tables.get_mut(&left.key()).filter(|table| left.is_of_same(&table.left))
        else {
            return;
        };
        let is_current = Arc::ptr_eq(&left, &table.left);
        if unit.has_failed() {
            table.is_first |= table.held.is_none();
            table.failure = Some(unit);
            return;
        }
        let authors = Authors::new(&table.owed);
        match &table.held {
            Some((former, _)) => compare(&former.reading, &unit.reading, &authors, told),
            None if table.is_first => {}
            None => compare(&Reading::default(), &unit.reading, &authors, told),
        }
        table.held = Some((unit, begun));
        table.failure = None;
        if is_current {
            table.is_due = false;
            table.owed.clear();
        }
    }

    /// What is in force now of what sets hold.
    pub fn standing(&self, book: &Rulebook) -> Units {
        let standing =
            |(key, table): (&Key, &Table)| Some((key.clone(), table.standing(book, &self.patience)?));
        self.tables.iter().filter_map(standing).collect()
    }

    /// Everything that was read well last.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.tables.values().filter_map(|table| table.held.as_ref()).map(|(unit, _)| &**unit)
    }

    /// The tables of which a read was torn.
    pub fn torn(&self) -> Vec<Part> {
        let is_torn = |table: &&Table| table.failure.as_ref().is_some_and(|unit| is_torn(unit));
        self.tables.values().filter(is_torn).map(|table| table.left.part()).collect()
    }

    /// Whether there is something to say of every table.
    pub fn is_whole(&self) -> bool {
        self.tables.values().all(|table| table.held.is_some() || table.failure.is_some())
    }

    /// When something is to be read that is not being read; none if nothing is.
    pub fn next(&self) -> Option<Instant> {
        let is_due = self.job.is_none() && self.tables.values().any(|table| table.is_due);
        is_due.then(|| self.rests_until.unwrap_or_else(Instant::now))
    }

    /// Judges what was read by other allowlists; what cannot be judged without its text is read again.
    pub fn judge_by(&mut self, book: &Rulebook, limit: usize) {
        let budget = TextBudget::new(TEXT_BYTES);
        for table in self.tables.values_mut() {
            let Some((unit, at)) = table.held.take() else { continue };
            match unit.judged_by(book, limit, &budget) {
                Some(unit) => table.held = Some((Arc::new(unit), at)),
                None => (table.is_due, table.is_first) = (true, true),
            }
        }
    }
}

impl Table {
    fn new(left: &Arc<Left>, is_first: bool) -> Self {
        Self { left: Arc::clone(left), is_due: true, owed: Owed::new(), held: None, failure: None, is_first }
    }

    /// Notes who may have changed it.
    fn owe(&mut self, owed: &Owed) {
        for (part, authors) in owed.iter().filter(|(part, _)| self.left.is_of(part)) {
            let known = self.owed.entry(part.clone()).or_default();
            let fresh: Vec<_> = authors.iter().filter(|author| !known.contains(author)).cloned().collect();
            known.extend(fresh);
        }
    }

    fn standing(&self, book: &Rulebook, patience: &Patience) -> Option<Arc<Unit>> {
        let is_valid = |begun: Instant| match patience {
            Patience::Endless => true,
            Patience::Short { valid, .. } => begun.elapsed() <= *valid,
        };
        let held = self.held.as_ref().map(|(unit, _)| unit);
        let is_valid = self.held.as_ref().is_some_and(|(_, begun)| is_valid(*begun));
        // another read may do better
        let may_wait =
            |failure: &Unit| is_valid && is_torn(failure) && matches!(patience, Patience::Short { .. });
        match &self.failure {
            Some(failure) if !may_wait(failure) => Some(over(held, failure)),
            None if self.is_due && !is_valid && self.left.is_judged_by(book) => {
                Some(over(held, &Arc::new(problem(book, self.unread()))))
            }
            _ => held.cloned(),
        }
    }

    fn unread(&self) -> Problem {
        let what = format!("{} is still being read; all rules were judged", self.left.place());
        Problem::new(Reason::ElementsUnread, what)
    }
}

/// What was read well, with the slots of what failed later, and the problems of that.
fn over(held: Option<&Arc<Unit>>, failure: &Arc<Unit>) -> Arc<Unit> {
    let Some(held) = held else { return Arc::clone(failure) };
    let mut reading = held.reading.with(failure.reading.clone(), &[]);
    reading.problems = failure.reading.problems.clone();
    Arc::new(Unit { reading, known: Known::Nothing, left: Vec::new() })
}

fn is_torn(unit: &Unit) -> bool {
    unit.reading.problems.reasons().all(|reason| reason == Reason::TornRead)
}

fn problem(book: &Rulebook, problem: Problem) -> Unit {
    let budget = TextBudget::new(0);
    let mut audit = Audit::new(book, 1, &budget);
    audit.problem(problem);
    Unit { reading: audit.seal(), known: Known::Nothing, left: Vec::new() }
}

/// Tells when it is dropped.
struct Tell(Arc<Notify>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Reads tables one after the other until nobody wants them any more.
fn read_each(
    options: &ScanOptions,
    book: &Rulebook,
    budget: &TextBudget,
    tables: Vec<Arc<Left>>,
    found: &SyncSender<Found>,
    came: &Notify,
) {
    let context = Context::new(options);
    for left in tables {
        if context.deadline().is_cancelled() || found.send(read(&context, book, budget, left)).is_err() {
            return;
        }
        came.notify_one();
    }
}

fn read(context: &Context<'_>, book: &Rulebook, budget: &TextBudget, left: Arc<Left>) -> Found {
    let (begun, cost) = (Instant::now(), processor_time::of_this_thread());
    let unit = left.read(context, Audit::new(book, context.options.limit, budget));
    let cost = processor_time::of_this_thread().saturating_sub(cost);
    Found { left, begun, unit: Arc::new(unit), cost }
}
