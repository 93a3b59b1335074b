//! Reads and judges this node, and remembers what it read, so that the next check reads only what may have changed.
//! Takes no lock and changes nothing; does not know how anybody learns what may have changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::beside::Beside;
use super::later::{Elements, Patience};
use super::side::Side;
use super::unit::{Attempt, Found, Key, Unit};
use super::{Context, Scan, ScanOptions, legacy, nft};
use crate::domain::changes::carried;
use crate::domain::changes::diff::Told;
use crate::domain::changes::history::{Place, Present};
use crate::domain::changes::{Part, Scope};
use crate::domain::judging::audit::{Audit, Line, Reading, Rulebook, Slot, Text, TextBudget, conclude};
use crate::domain::rules::text::helpers::Helpers;
use crate::domain::rules::{Family, Kind, Problem, Reason};
use crate::host::process::processor_time;

/// Text of allowed rules that is kept, so that a removed one can be told: that of 200,000 rules. Of further ones only
/// the digest is kept. What sets hold is kept beside.
const TEXT_BYTES: usize = 32 << 20;

/// Reads the node again and again.
#[derive(Debug)]
pub struct NodeReader {
    options: ScanOptions,
    book: Option<Rulebook>,
    nft: Side,
    legacy: Side,
    beside: Beside,
    elements: Elements,
    patience: Patience,
}

/// A check that waits for all is repeated this often where the rules changed before what their sets hold was read.
const ATTEMPTS: u32 = 3;

impl NodeReader {
    /// A reader that has read nothing yet, and whose checks wait until all is read.
    pub fn new(options: ScanOptions) -> Self {
        Self::with(options, Patience::Endless)
    }

    /// A reader whose checks do not wait for what large sets hold: `came` tells when some of it was read, and the next check
    /// takes it. What was read last is in force meanwhile, for one interval and at least a minute.
    pub fn for_rules_first(options: ScanOptions, interval: Duration, came: Arc<Notify>) -> Self {
        Self::with(options, Patience::short(interval, came))
    }

    fn with(options: ScanOptions, patience: Patience) -> Self {
        Self {
            options,
            book: None,
            nft: Side::new(nft::read, Key::Inventory),
            legacy: Side::new(legacy::read, Key::LegacyInventory),
            beside: Beside::default(),
            elements: Elements::new(patience.clone()),
            patience,
        }
    }

    /// Reads what may have changed, and judges it with what is kept of the rest.
    ///
    /// [`Scope::Everything`] reads all from scratch. Parts that were torn, or whose read failed, are read again with the
    /// next check, whatever its scope. Other allowlists judge what was kept, without a read. What was torn is part of
    /// the outcome, but is not kept, and its changes are told once it was read whole.
    pub fn check(&mut self, book: &Rulebook, scope: &Scope) -> Scan {
        let mut scan = self.read(book, scope);
        for _ in 1..ATTEMPTS {
            let torn = match self.patience {
                Patience::Endless if !scan.is_torn => self.elements.torn(),
                _ => Vec::new(),
            };
            if torn.is_empty() {
                break;
            }
            let parts = torn.into_iter().map(|part| (part, Vec::new())).collect();
            scan = scan.followed_by(self.read(book, &Scope::Parts(parts)));
        }
        scan
    }

    fn read(&mut self, book: &Rulebook, scope: &Scope) -> Scan {
        let started = processor_time::of_this_thread();
        let is_legacy = |part: &Part| matches!(part, Part::Legacy { .. });
        self.nft.owe(scope, |part| !is_legacy(part));
        self.legacy.owe(scope, is_legacy);
        self.adopt(book);
        let context = Context::new(&self.options);
        let budget = TextBudget::new(TEXT_BYTES.saturating_sub(self.nft.taken() + self.legacy.taken()));
        let (nft, (legacy, legacy_cost)) = std::thread::scope(|threads| {
            let legacy = threads.spawn(|| {
                let found = self.legacy.read(&context, book, &budget);
                (found, processor_time::of_this_thread())
            });
            let nft = self.nft.read(&context, book, &budget);
            (nft, legacy.join().unwrap_or_else(|_| panicked(book, &budget)))
        });
        let mut told = Told::default();
        if self.nft.is_known(&nft) {
            let units = nft.units.values().map(|unit| &**unit);
            self.elements.want(units, self.nft.owed(), &mut told);
        }
        self.nft.settle(&nft, &mut told);
        self.legacy.settle(&legacy, &mut told);
        let is_full = *scope == Scope::Everything;
        let found = nft.units.values().chain(legacy.units.values()).map(|unit| &**unit);
        // what is torn lacks rules that are there
        let helpers = || helpers(found.chain(self.nft.units()).chain(self.legacy.units()));
        self.beside.read(&context, (book, is_full), helpers, &mut told);
        self.elements.read(&self.options, book, &mut told);
        let mut scan = self.conclude(book, &nft, &legacy);
        (scan.changes, scan.untold) = told.finish();
        scan.rules_read = context.rules_read.into_inner();
        let helped = Duration::from_nanos(context.helped.into_inner());
        scan.cost = processor_time::of_this_thread().saturating_sub(started) + legacy_cost + helped;
        scan
    }

    /// Whether something there can change without anybody being told, so that checks of nothing in particular make sense.
    pub const fn is_silent(&self) -> bool {
        self.nft.is_silent() || self.legacy.is_silent()
    }

    /// When a check makes sense though nothing happened, to have read what sets hold.
    pub fn next(&self) -> Option<Instant> {
        self.elements.next()
    }

    /// Whether everything was read once, also what sets hold.
    pub fn is_whole(&self) -> bool {
        self.elements.is_whole()
    }

    /// Whether anything was read yet.
    pub const fn has_read(&self) -> bool {
        self.book.is_some()
    }

    /// Every line that is kept, with its text.
    pub fn present(&self) -> impl Iterator<Item = Present<'_>> {
        self.lines().filter_map(|(place, line)| match line.text {
            Text::Kept(text) => {
                Some(Present { place, kind: line.kind, line: text, judged: line.judgement.judged() })
            }
            Text::Digest(_) => None,
        })
    }

    /// Whether the text of every line is kept.
    pub fn keeps_every_text(&self) -> bool {
        self.lines().all(|(_, line)| matches!(line.text, Text::Kept(_)))
    }

    /// Every line that is kept, and where it stands.
    pub fn lines(&self) -> impl Iterator<Item = (Place<'_>, Line<'_>)> {
        let units = self.nft.units().chain(self.elements.units()).chain(self.legacy.units());
        let units = units.chain(self.beside.units());
        let tables = units.flat_map(|unit| unit.reading.tables());
        tables.flat_map(|((backend, family, table), slots)| {
            slots.iter().flat_map(move |(slot, record)| {
                let place = Place { backend: *backend, family: *family, table, chain: slot.name() };
                record.lines().map(move |line| (place, line))
            })
        })
    }

    /// Whether a line of nf_tables is there as it was read last; none where that was not read well.
    pub fn holds(&self, line: &carried::Line) -> Option<bool> {
        let is_element = line.kind == Kind::Element;
        if !self.nft.is_whole() || is_element && !self.elements.is_read(line.family, &line.table) {
            return None;
        }
        let key = (line.backend, line.family, line.table.clone());
        let slot = Slot::new(line.kind, line.chain.as_deref());
        let records = self.nft.units().chain(self.elements.units());
        let mut records = records.filter_map(|unit| unit.reading.table(&key)?.get(&slot));
        let digest = Text::Kept(&line.line).digest();
        let is_same = |text: Text<'_>| match text {
            Text::Kept(text) => text == line.line,
            Text::Digest(_) => text.digest() == digest,
        };
        Some(records.any(|record| record.lines().any(|found| is_same(found.text))))
    }

    /// Forgets what was read: the next check reads everything, and tells no change.
    pub fn forget(&mut self) {
        *self = Self::with(self.options.clone(), self.patience.clone());
    }

    /// Judges what is kept by these allowlists from now on.
    fn adopt(&mut self, book: &Rulebook) {
        let Some(known) = self.book.replace(book.clone()) else { return };
        if known.judges_as(book) {
            return;
        }
        if Family::ALL.iter().any(|&family| known.covers(family) != book.covers(family)) {
            self.forget();
            self.book = Some(book.clone());
            return;
        }
        let budget = TextBudget::new(TEXT_BYTES);
        self.nft.judge_by(book, self.options.limit, &budget);
        self.legacy.judge_by(book, self.options.limit, &budget);
        self.elements.judge_by(book, self.options.limit);
        self.beside.judge_by(book, self.options.limit);
    }

    fn conclude(&self, book: &Rulebook, nft: &Found, legacy: &Found) -> Scan {
        let budget = TextBudget::new(0);
        let mut audit = Audit::new(book, self.options.limit, &budget);
        legacy::find_unread(&mut audit);
        let unread = audit.seal();
        let elements = self.elements.standing(book);
        let units = nft.units.values().chain(elements.values()).chain(legacy.units.values());
        let beside = self.beside.standing().map(|unit| &unit.reading);
        let readings: Vec<&Reading> =
            units.map(|unit| &unit.reading).chain(beside).chain([&unread]).collect();
        Scan {
            outcome: conclude(book, self.options.limit, readings),
            is_torn: nft.is_torn || legacy.is_torn || self.beside.is_torn(),
            ..Scan::default()
        }
    }
}

/// The helpers that the rules of these units assign, as far as their text was kept.
fn helpers<'u>(units: impl Iterator<Item = &'u Unit>) -> Helpers {
    let mut helpers = Helpers::default();
    for ((backend, family, table), slots) in units.flat_map(|unit| unit.reading.tables()) {
        for line in slots.values().flat_map(|record| record.lines()) {
            if let Text::Kept(text) = line.text
                && let Ok(text) = str::from_utf8(text)
            {
                helpers.add(*backend, (*family, table), text);
            }
        }
    }
    helpers
}

fn panicked(book: &Rulebook, budget: &TextBudget) -> (Found, Duration) {
    let mut attempt = Attempt::new(book, 1, budget);
    let problem = Problem::new(Reason::KernelRead, "reading the legacy tables panicked: a bug");
    attempt.draft(Key::LegacyInventory).audit.problem(problem);
    (attempt.finish(Key::LegacyInventory), Duration::ZERO)
}
