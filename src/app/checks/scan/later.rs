//! What named sets hold, kept by table: read by threads of its own, so that neither another table nor a change waits for a
//! large set.
//!
//! What was read stays in force until it was read again, for one interval and at least a minute. What was never read and is
//! judged is a problem meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::elements::Left;
use super::lane::{Found, Lane, Progress, read};
use super::unit::{Key, Known, Unit, Units};
use super::{Context, ScanOptions};
use crate::domain::changes::Part;
use crate::domain::changes::author::Author;
use crate::domain::changes::diff::Told;
use crate::domain::changes::pending::add_author;
use crate::domain::judging::audit::{Audit, Authors, Reading, Rulebook, Slot, TextBudget, compare};
use crate::domain::rules::{Family, Problem, Reason};
use crate::domain::words::error_chain::chain_of;

/// Text of elements that is kept, beside that of rules: 250,000 elements of maps.
const TEXT_BYTES: usize = 16 << 20;
/// A check waits so long for what small sets hold, so that it is told together with their rules. What takes longer is read
/// in a lane of its own.
const GRACE: Duration = Duration::from_millis(250);
/// Reading a table that took longer than the grace is followed by a rest this many times as long.
const REST: u32 = 4;
/// After a read that failed, the next one comes no sooner.
const REPEAT: Duration = Duration::from_secs(1);
/// What was read stays in force for at least so long while it is read again.
const VALID: Duration = Duration::from_secs(60);

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

impl Patience {
    /// For small sets only, in an agent with this interval.
    pub fn short(interval: Duration, came: Arc<Notify>) -> Self {
        Self::Short { valid: interval.max(VALID), came }
    }
}

/// Who is said to have changed which part.
type Owed = BTreeMap<Part, Vec<Arc<Author>>>;

/// What the sets of all tables hold.
#[derive(Debug)]
pub struct Elements {
    patience: Patience,
    /// By [`Key::Elements`].
    tables: BTreeMap<Key, Table>,
    /// Tables that are read quickly, as far as anybody knows; a check waits for them a moment.
    quick: Lane,
    slow: Lane,
    /// Whether the tables of the first read are known: the sets of later ones are changes.
    has_begun: bool,
}

/// What the sets of one table hold.
#[derive(Debug)]
struct Table {
    /// What is to be read, or was.
    left: Arc<Left>,
    /// Since when it is to be read; none if it was.
    due: Option<Instant>,
    /// It is not read before.
    rests_until: Option<Instant>,
    /// How long the last read took.
    took: Duration,
    /// Who may have changed it since it was read well last.
    owed: Owed,
    /// As it was read well last, and when that was begun.
    held: Option<(Arc<Unit>, Instant)>,
    /// What the last read came to if it failed.
    failure: Option<Arc<Unit>>,
    /// Whether nobody knows what was there before.
    is_first: bool,
}

impl Elements {
    /// Nothing was read yet.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            tables: BTreeMap::new(),
            quick: Lane::default(),
            slow: Lane::default(),
            has_begun: false,
        }
    }

    /// Notes what is left of all tables now, and who may have changed them. What was left of them before is not read again.
    pub fn want<'u>(&mut self, units: impl Iterator<Item = &'u Unit>, owed: &Owed, told: &mut Told) {
        let now = Instant::now();
        let mut gone = std::mem::take(&mut self.tables);
        for left in units.flat_map(|unit| &unit.left) {
            let key = left.key();
            let mut table = match gone.remove(&key) {
                None => Table::new(left, !self.has_begun, now),
                Some(table) if !table.left.is_of_same(left) => table.made_anew(left, owed, now, told),
                Some(table) => table,
            };
            if !Arc::ptr_eq(&table.left, left) {
                table.left = Arc::clone(left);
                table.due.get_or_insert(now);
            }
            table.owe(owed);
            self.tables.insert(key, table);
        }
        self.has_begun = true;
        gone.into_values().for_each(|table| table.end(owed, told));
    }

    /// Reads what is due, or has it read, and takes what has come.
    pub fn read(&mut self, options: &ScanOptions, book: &Rulebook, told: &mut Told) {
        match self.patience.clone() {
            Patience::Endless => self.read_all(options, book, told),
            Patience::Short { came, .. } => {
                self.take_all(book, told, false);
                self.start(options, book, &came);
                self.take_all(book, told, true);
            }
        }
    }

    fn read_all(&mut self, options: &ScanOptions, book: &Rulebook, told: &mut Told) {
        let context = Context::new(options);
        let budget = TextBudget::new(TEXT_BYTES);
        let due = self.tables.values().filter(|table| table.due.is_some());
        for left in due.map(|table| Arc::clone(&table.left)).collect::<Vec<_>>() {
            self.take(read(&context, book, &budget, left), told);
        }
    }

    /// Starts to read what is due and does not rest.
    fn start(&mut self, options: &ScanOptions, book: &Rulebook, came: &Arc<Notify>) {
        let now = Instant::now();
        let (mut quick, mut slow) = (Vec::new(), Vec::new());
        for table in self.tables.values().filter(|table| table.is_startable(now)) {
            let lane = if table.is_slow() { &mut slow } else { &mut quick };
            lane.push(Arc::clone(&table.left));
        }
        let kept = self.tables.values().filter(|table| table.due.is_none());
        let kept: usize =
            kept.filter_map(|table| table.held.as_ref()).map(|(unit, _)| unit.reading.taken()).sum();
        for (lane, tables) in [(&mut self.quick, quick), (&mut self.slow, slow)] {
            if !lane.is_busy() && !tables.is_empty() {
                let budget = TextBudget::new(TEXT_BYTES.saturating_sub(kept) / 2);
                if let Err(error) = lane.start(options, book, budget, tables, came) {
                    log::warn!(
                        "starting a thread that reads what sets hold: {error}; it is tried again at the next check"
                    );
                }
            }
        }
    }

    /// Takes what has come, and waits a moment for what small sets hold if that was just begun.
    fn take_all(&mut self, book: &Rulebook, told: &mut Told, waits: bool) {
        let patience = if waits { GRACE } else { Duration::ZERO };
        loop {
            let mut progress = self.quick.next(patience);
            if matches!(progress, Progress::Nothing) {
                progress = self.slow.next(Duration::ZERO);
            }
            match progress {
                Progress::Nothing => return,
                // what other allowlists judged stays due
                Progress::Found(found, by) => {
                    if by.judges_as(book) {
                        self.take(*found, told);
                    }
                }
                Progress::Died(fault) => {
                    for table in self.tables.values_mut().filter(|table| table.due.is_some()) {
                        let what = format!("reading {}: {}: a bug", table.left.place(), chain_of(&fault));
                        table.failure = Some(Arc::new(problem(book, Problem::new(Reason::KernelRead, what))));
                        table.rests_until = Some(Instant::now() + REPEAT);
                    }
                }
            }
        }
    }

    fn take(&mut self, found: Found, told: &mut Told) {
        let Found { left, begun, unit, omitted, took } = found;
        let Some(table) = self.tables.get_mut(&left.key()).filter(|table| left.is_of_same(&table.left))
        else {
            return;
        };
        let rest = match (took > GRACE, unit.has_failed()) {
            (true, _) => took * REST,
            (false, true) => REPEAT,
            (false, false) => Duration::ZERO,
        };
        table.took = took;
        table.rests_until = Some(Instant::now() + rest);
        if unit.has_failed() {
            table.is_first |= table.held.is_none();
            table.failure = Some(unit);
            return;
        }
        let authors = Authors::new(&table.owed);
        let unit = match &table.held {
            Some((former, _)) => {
                let unit = with_omitted(unit, former, &omitted);
                compare(&former.reading, &unit.reading, &authors, told);
                unit
            }
            None if table.is_first => unit,
            None => {
                compare(&Reading::default(), &unit.reading, &authors, told);
                unit
            }
        };
        table.held = Some((unit, begun));
        table.failure = None;
        if Arc::ptr_eq(&left, &table.left) {
            table.due = None;
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

    /// Whether what the sets of a table hold is as it was read last, as far as anybody knows.
    pub fn is_read(&self, family: Family, table: &str) -> bool {
        let is_here = |key: &Key| matches!(key, Key::Elements(of, name) if *of == family && String::from_utf8_lossy(name) == table);
        !self.tables.iter().any(|(key, table)| is_here(key) && table.due.is_some())
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

    /// When something is to be read that is not being read; none if nothing is. While a lane is busy its end is told.
    pub fn next(&self) -> Option<Instant> {
        let is_free = |table: &Table| !if table.is_slow() { &self.slow } else { &self.quick }.is_busy();
        let due = self.tables.values().filter(|table| table.due.is_some() && is_free(table));
        due.map(|table| table.rests_until.unwrap_or_else(Instant::now)).min()
    }

    /// Judges what was read by other allowlists; what cannot be judged without its text is read again.
    pub fn judge_by(&mut self, book: &Rulebook, limit: usize) {
        let budget = TextBudget::new(TEXT_BYTES);
        for table in self.tables.values_mut() {
            // what was not judged before may be now
            table.failure = None;
            let Some((unit, begun)) = table.held.take() else { continue };
            match unit.judged_by(book, limit, &budget) {
                Some(unit) => table.held = Some((Arc::new(unit), begun)),
                None => {
                    table.due.get_or_insert_with(Instant::now);
                    (table.rests_until, table.is_first) = (None, true);
                }
            }
        }
    }
}

impl Table {
    fn new(left: &Arc<Left>, is_first: bool, now: Instant) -> Self {
        Self {
            left: Arc::clone(left),
            due: Some(now),
            rests_until: None,
            took: Duration::ZERO,
            owed: Owed::new(),
            held: None,
            failure: None,
            is_first,
        }
    }

    /// Another table of this name, or with other sets: nothing that was read of the former says anything of it.
    fn made_anew(self, left: &Arc<Left>, owed: &Owed, now: Instant, told: &mut Told) -> Self {
        let Self { rests_until, took, .. } = self;
        self.end(owed, told);
        Self { rests_until, took, ..Self::new(left, false, now) }
    }

    fn end(mut self, owed: &Owed, told: &mut Told) {
        self.owe(owed);
        if let Some((unit, _)) = &self.held {
            compare(&unit.reading, &Reading::default(), &Authors::new(&self.owed), told);
        }
    }

    /// Notes who may have changed it.
    fn owe(&mut self, owed: &Owed) {
        for (part, authors) in owed.iter().filter(|(part, _)| self.left.is_of(part)) {
            let known = self.owed.entry(part.clone()).or_default();
            for author in authors {
                add_author(known, author);
            }
        }
    }

    fn is_slow(&self) -> bool {
        self.took > GRACE
    }

    fn is_startable(&self, now: Instant) -> bool {
        self.due.is_some() && self.rests_until.is_none_or(|until| until <= now)
    }

    /// Whether what was read last is still in force while it is read again.
    fn is_valid(&self, patience: &Patience) -> bool {
        match (&self.held, self.due, patience) {
            (Some((_, begun)), Some(due), Patience::Short { valid, .. }) => {
                due.max(*begun).elapsed() <= *valid
            }
            (held, ..) => held.is_some(),
        }
    }

    fn standing(&self, book: &Rulebook, patience: &Patience) -> Option<Arc<Unit>> {
        let held = self.held.as_ref().map(|(unit, _)| unit);
        let is_valid = self.is_valid(patience);
        // another read may do better
        let may_wait =
            |failure: &Unit| is_valid && is_torn(failure) && matches!(patience, Patience::Short { .. });
        let with = |newer: &Arc<Unit>| held.map_or_else(|| Arc::clone(newer), |held| over(held, newer));
        match &self.failure {
            Some(failure) if !may_wait(failure) => Some(with(failure)),
            None if self.due.is_some() && !is_valid && self.left.is_judged_by(book) => {
                Some(with(&Arc::new(problem(book, self.unread()))))
            }
            _ => held.cloned(),
        }
    }

    fn unread(&self) -> Problem {
        let what = format!("{} is still being read; all rules were judged", self.left.place());
        Problem::new(Reason::ElementsUnread, what)
    }
}

/// What was read, and of the sets that were left out what was read before.
fn with_omitted(unit: Arc<Unit>, former: &Unit, omitted: &[String]) -> Arc<Unit> {
    if omitted.is_empty() {
        return unit;
    }
    let is_omitted =
        |slot: &Slot| slot.name().is_some_and(|name| omitted.iter().any(|omitted| omitted == name));
    let reading = unit.reading.with(former.reading.only(is_omitted), &[]);
    Arc::new(Unit { reading, known: Known::Nothing, left: Vec::new() })
}

/// What was read well, with the slots of what was read later, and the problems of that.
fn over(held: &Unit, newer: &Unit) -> Arc<Unit> {
    let mut reading = held.reading.with(newer.reading.clone(), &[]);
    reading.problems = newer.reading.problems.clone();
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
