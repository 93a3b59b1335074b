//! The units that are read and kept one by one, and one that is being read.
//! Reads nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::elements::Left;
use crate::domain::changes::Part;
use crate::domain::judging::audit::{Audit, Reading, Rulebook, TextBudget};
use crate::domain::rules::shadow::Shadow;
use crate::domain::rules::{Family, Problem, Reason};
use crate::host::xtables::Info;

/// What can be read without the rest. Problems are told in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The list of nf_tables tables, and whatever belongs to no single one.
    Inventory,
    /// The tables that iptables-nft manages in a family.
    Iptables(Family),
    /// A native table, without what its sets hold.
    Native(Family, Vec<u8>),
    /// What the named sets of a table hold.
    Elements(Family, Vec<u8>),
    /// Whatever belongs to no single legacy table.
    LegacyInventory,
    /// A legacy table that is loaded.
    Legacy(Family, String),
    /// What is called at netfilter hooks beside rules.
    Hooks,
    /// The expectations of connection tracking.
    Expectations,
}

/// One unit as it was read.
#[derive(Debug)]
pub struct Unit {
    /// Its lines and problems.
    pub reading: Reading,
    /// What the kernel held then.
    pub known: Known,
    /// What its tables' sets leave to be read.
    pub left: Vec<Arc<Left>>,
}

/// What the kernel held of a unit, to see whether it still does.
#[derive(Clone, Debug, Default)]
pub enum Known {
    /// Not known: it is as it was until somebody says otherwise.
    #[default]
    Nothing,
    /// What the chains held.
    Chains(Shadow),
    /// The table's number.
    Handle(u64),
    /// The table's sizes.
    Legacy(Info),
}

impl Unit {
    /// The same lines judged by other allowlists; none if the text of one was not kept.
    pub fn judged_by(&self, book: &Rulebook, limit: usize, budget: &TextBudget) -> Option<Self> {
        let reading = self.reading.judged_by(book, limit, budget)?;
        Some(Self { reading, known: self.known.clone(), left: self.left.clone() })
    }

    /// Whether reading it failed in a way that the next read may not.
    pub fn has_failed(&self) -> bool {
        self.reading.problems.reasons().any(|reason| {
            !matches!(
                reason,
                Reason::TableInactive
                    | Reason::BrokenTable
                    | Reason::UnrenderedRule
                    | Reason::HooksUnlisted
                    | Reason::HooksUnread
            )
        })
    }
}

/// Units by key.
pub type Units = BTreeMap<Key, Arc<Unit>>;

/// What is to be read.
#[derive(Clone, Copy)]
pub struct Wanted<'k> {
    /// The units as they were read well last; none if everything is to be read.
    pub kept: Option<&'k Units>,
    /// Those whose last read failed.
    pub failed: &'k BTreeSet<Key>,
    /// The parts that may have changed since.
    pub parts: &'k [&'k Part],
}

impl<'k> Wanted<'k> {
    /// The unit of this key, if it need not be read from scratch.
    pub fn kept(&self, key: &Key) -> Option<&'k Arc<Unit>> {
        self.kept.and_then(|kept| kept.get(key)).filter(|_| !self.failed.contains(key))
    }
}

/// A unit that is being read.
pub struct Draft<'a> {
    pub audit: Audit<'a>,
    pub known: Known,
    pub left: Vec<Arc<Left>>,
}

impl<'a> Draft<'a> {
    pub fn new(book: &'a Rulebook, limit: usize, budget: &'a TextBudget) -> Self {
        let audit = Audit::new(book, limit, budget);
        Self { audit, known: Known::Nothing, left: Vec::new() }
    }
}

/// One try to read what is wanted.
pub struct Attempt<'a> {
    pub book: &'a Rulebook,
    pub limit: usize,
    pub budget: &'a TextBudget,
    pub is_torn: bool,
    /// Whether it may end early once it is torn: another follows.
    pub is_repeated: bool,
    /// Parts that can change without anybody being told.
    pub silent: Vec<Part>,
    drafts: BTreeMap<Key, Draft<'a>>,
    units: Units,
    /// Bytes that units to be replaced had taken from the budget.
    freed: usize,
}

impl<'a> Attempt<'a> {
    pub fn new(book: &'a Rulebook, limit: usize, budget: &'a TextBudget) -> Self {
        let (drafts, units) = (BTreeMap::new(), Units::new());
        Self {
            book,
            limit,
            budget,
            is_torn: false,
            is_repeated: false,
            silent: Vec::new(),
            drafts,
            units,
            freed: 0,
        }
    }

    /// The unit that is read under this key.
    pub fn draft(&mut self, key: Key) -> &mut Draft<'a> {
        let (book, limit, budget) = (self.book, self.limit, self.budget);
        self.drafts.entry(key).or_insert_with(|| Draft::new(book, limit, budget))
    }

    /// Takes a unit that was read elsewhere.
    pub fn add(&mut self, key: Key, draft: Draft<'a>) {
        self.drafts.insert(key, draft);
    }

    /// A unit that needs no reading, or was made out of the one that was kept.
    pub fn keep(&mut self, key: Key, unit: Arc<Unit>) {
        self.units.insert(key, unit);
    }

    /// The unit of this key will be read from scratch: its text need not be kept any longer.
    pub fn replace(&mut self, wanted: &Wanted<'_>, key: &Key) {
        if let Some(unit) = wanted.kept.and_then(|kept| kept.get(key)) {
            let taken = unit.reading.taken();
            self.freed += taken;
            self.budget.give_back(taken);
        }
    }

    /// Undoes what this attempt did to the budget.
    pub fn discard(self) {
        for draft in self.drafts.into_values() {
            self.budget.give_back(draft.audit.seal().taken());
        }
        self.budget.take(self.freed);
    }

    /// Ends the last attempt: where it is torn, under this key a problem says so.
    pub fn finish(mut self, key: Key) -> Found {
        if self.is_torn {
            self.drafts.values_mut().for_each(|draft| draft.audit.forget(&[Reason::CountMismatch]));
            self.draft(key).audit.problem(Problem::new(
                Reason::TornRead,
                "the rules changed during every read of them; only the violations shown are certain",
            ));
        }
        let Self { units, is_torn, silent, .. } = self;
        let mut found = Found { units, is_torn, silent };
        for (key, Draft { audit, known, left }) in self.drafts {
            found.units.insert(key, Arc::new(Unit { reading: audit.seal(), known, left }));
        }
        found
    }
}

/// What was found, the units that needed no reading too.
#[derive(Debug, Default)]
pub struct Found {
    pub units: Units,
    pub is_torn: bool,
    /// Parts that can change without anybody being told.
    pub silent: Vec<Part>,
}

impl Found {
    /// Whether reading the unit of this key failed in a way that the next read may not.
    pub fn has_failed(&self, key: &Key) -> bool {
        self.units.get(key).is_some_and(|unit| unit.has_failed())
    }
}
