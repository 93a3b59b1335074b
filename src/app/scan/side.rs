//! One of the two sides of the node, nf_tables or the legacy tables: what was read of it last, and what is owed.
//! Judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::Context;
use super::unit::{Attempt, Found, Key, Units, Wanted};
use crate::domain::audit::{Authors, Reading, Rulebook, TextBudget, compare};
use crate::domain::author::Author;
use crate::domain::change::{Part, Scope, Told};

/// A torn read is repeated this often, and while the dump time-out allows.
const ATTEMPTS: u32 = 3;
/// More parts than this are not remembered one by one.
const PARTS_OWED: usize = 10_000;

/// Reads what is wanted once.
pub type Read = for<'a> fn(&Context<'_>, &Wanted<'_>, &mut Attempt<'a>);

/// What a side is and what is kept of it.
#[derive(Debug)]
pub struct Side {
    read: Read,
    /// Where a problem of the whole side is told.
    key: Key,
    /// Every unit as it was read well last; none before the first read.
    kept: Option<Units>,
    /// Units whose last read failed.
    failed: BTreeSet<Key>,
    /// Everything is to be read, whatever the parts say.
    owes_everything: bool,
    /// What may have changed since it was read last, and who is said to have changed it.
    owed: BTreeMap<Part, Vec<Arc<Author>>>,
}

impl Side {
    /// A side of which nothing was read yet.
    pub fn new(read: Read, key: Key) -> Self {
        let (failed, owed) = (BTreeSet::new(), BTreeMap::new());
        Self { read, key, kept: None, failed, owes_everything: true, owed }
    }

    /// Notes what may have changed.
    pub fn owe(&mut self, scope: &Scope, is_ours: impl Fn(&Part) -> bool) {
        match scope {
            Scope::Everything => self.owes_everything = true,
            Scope::Parts(parts) => {
                for (part, authors) in parts.iter().filter(|(part, _)| is_ours(part)) {
                    let known = self.owed.entry(part.clone()).or_default();
                    let fresh: Vec<_> =
                        authors.iter().filter(|author| !known.contains(author)).cloned().collect();
                    known.extend(fresh);
                }
            }
        }
        if self.owed.len() > PARTS_OWED {
            self.owed.clear();
            self.owes_everything = true;
        }
    }

    /// Bytes of text that stay kept whatever is read next.
    pub fn taken(&self) -> usize {
        let kept = self.kept.iter().filter(|_| !self.owes_everything).flat_map(BTreeMap::values);
        kept.map(|unit| unit.reading.taken()).sum()
    }

    /// Judges what is kept by other allowlists; what cannot be judged without its text is read again.
    pub fn judge_by(&mut self, book: &Rulebook, limit: usize, budget: &TextBudget) {
        let Some(kept) = self.kept.as_mut().filter(|_| !self.owes_everything) else { return };
        let judged: Option<Units> = kept
            .iter()
            .map(|(key, unit)| Some((key.clone(), Arc::new(unit.judged_by(book, limit, budget)?))))
            .collect();
        match judged {
            Some(judged) => *kept = judged,
            None => self.owes_everything = true,
        }
    }

    /// Reads what is owed, again if the rules changed meanwhile, a few times. A unit that nobody touched stays.
    pub fn read(&self, context: &Context<'_>, book: &Rulebook, budget: &TextBudget) -> Found {
        let parts: Vec<&Part> = self.owed.keys().collect();
        let kept = self.kept.as_ref().filter(|_| !self.owes_everything);
        if let Some(kept) = kept.filter(|_| parts.is_empty() && self.failed.is_empty()) {
            return Found { units: kept.clone(), ..Found::default() };
        }
        let wanted = Wanted { kept, failed: &self.failed, parts: &parts };
        let started = Instant::now();
        let mut dumps = Vec::new();
        for left in (0..ATTEMPTS).rev() {
            let mut attempt = Attempt::new(book, context.options.limit, budget);
            (self.read)(context, &wanted, &mut attempt);
            let is_late =
                started.elapsed() >= context.options.dump_timeout || context.deadline().is_cancelled();
            if !attempt.is_torn || left == 0 || is_late {
                let mut found = attempt.finish(self.key.clone());
                found.dumps.extend(dumps);
                return found;
            }
            dumps.extend(attempt.discard());
        }
        Found::default()
    }

    /// Tells what is other than it was, and keeps what was found, unless it is torn or failed.
    pub fn settle(&mut self, found: &Found, told: &mut Told) {
        let has_failed = |key: &Key| found.units.get(key).is_some_and(|unit| unit.has_failed());
        if found.is_torn || has_failed(&self.key) {
            return;
        }
        let authors = Authors::new(&self.owed);
        let none = Reading::default();
        let is_first = self.kept.is_none();
        let kept = self.kept.get_or_insert_default();
        for (key, unit) in found.units.iter().filter(|(_, unit)| !unit.has_failed()) {
            let former = kept.insert(key.clone(), Arc::clone(unit));
            match former {
                Some(former) => compare(&former.reading, &unit.reading, &authors, told),
                None if is_first || self.failed.contains(key) => {}
                None => compare(&none, &unit.reading, &authors, told),
            }
        }
        kept.retain(|key, unit| {
            let is_there = found.units.contains_key(key);
            if !is_there {
                compare(&unit.reading, &none, &authors, told);
            }
            is_there
        });
        self.failed = found.units.keys().filter(|key| has_failed(key)).cloned().collect();
        self.owed.clear();
        self.owes_everything = false;
    }
}
