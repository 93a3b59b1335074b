//! One of the two sides of the node, nf_tables or the legacy tables: what was read of it last, and what is owed.
//! Judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::Context;
use super::unit::{Attempt, Found, Key, Units, Wanted};
use crate::domain::changes::author::Author;
use crate::domain::changes::diff::Told;
use crate::domain::changes::pending::add_author;
use crate::domain::changes::{Part, Scope};
use crate::domain::judging::audit::{Authors, Reading, Rulebook, TextBudget, compare};

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
    /// What can change without anybody being told: it is read each time.
    silent: Vec<Part>,
}

impl Side {
    /// A side of which nothing was read yet.
    pub fn new(read: Read, key: Key) -> Self {
        let (failed, owed) = (BTreeSet::new(), BTreeMap::new());
        Self { read, key, kept: None, failed, owes_everything: true, owed, silent: Vec::new() }
    }

    /// Notes what may have changed.
    pub fn owe(&mut self, scope: &Scope, is_ours: impl Fn(&Part) -> bool) {
        match scope {
            Scope::Everything => self.owes_everything = true,
            Scope::Parts(parts) => {
                for (part, authors) in parts.iter().filter(|(part, _)| is_ours(part)) {
                    let known = self.owed.entry(part.clone()).or_default();
                    for author in authors {
                        add_author(known, author);
                    }
                }
            }
        }
        if self.owed.len() > PARTS_OWED {
            self.owed.clear();
            self.owes_everything = true;
        }
    }

    /// Whether it has to be read now and then though nobody says that it changed.
    pub const fn is_silent(&self) -> bool {
        !self.silent.is_empty()
    }

    /// Every unit as it was read well last.
    pub fn units(&self) -> impl Iterator<Item = &super::unit::Unit> {
        self.kept.iter().flat_map(BTreeMap::values).map(|unit| &**unit)
    }

    /// What may have changed since it was read last, and who is said to have changed it.
    pub const fn owed(&self) -> &BTreeMap<Part, Vec<Arc<Author>>> {
        &self.owed
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
        let parts: Vec<&Part> = self.owed.keys().chain(&self.silent).collect();
        let kept = self.kept.as_ref().filter(|_| !self.owes_everything);
        if let Some(kept) = kept.filter(|_| parts.is_empty() && self.failed.is_empty()) {
            return Found { units: kept.clone(), ..Found::default() };
        }
        let wanted = Wanted { kept, failed: &self.failed, parts: &parts };
        let started = Instant::now();
        for left in (0..ATTEMPTS).rev() {
            let mut attempt = Attempt::new(book, context.options.limit, budget);
            attempt.is_repeated = left > 0;
            (self.read)(context, &wanted, &mut attempt);
            let is_late =
                started.elapsed() >= context.options.dump_timeout || context.deadline().is_cancelled();
            if !attempt.is_torn || left == 0 || is_late {
                return attempt.finish(self.key.clone());
            }
            attempt.discard();
        }
        Found::default()
    }

    /// Whether everything was read well last.
    pub fn is_whole(&self) -> bool {
        self.kept.is_some() && self.failed.is_empty()
    }

    /// Whether it is known what there is, though a unit may have failed.
    pub fn is_known(&self, found: &Found) -> bool {
        !found.is_torn && !found.has_failed(&self.key)
    }

    /// Tells what is other than it was, and keeps what was found, unless it is torn or failed.
    pub fn settle(&mut self, found: &Found, told: &mut Told) {
        if !self.is_known(found) {
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
        self.failed = found.units.keys().filter(|key| found.has_failed(key)).cloned().collect();
        self.owed.clear();
        self.silent.clone_from(&found.silent);
        self.owes_everything = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::checks::scan::{Hooks, ScanOptions};
    use crate::domain::changes::RuleChange;
    use crate::domain::judging::allowlist::Allowlist;
    use crate::domain::judging::audit::{InForce, Ipv6};
    use crate::domain::rules::{Backend, Entry, Family, Kind, Problem, Reason};

    /// Stands for the node: one table for each part that is wanted, whose name says what happens to it.
    fn read(_: &Context<'_>, wanted: &Wanted<'_>, attempt: &mut Attempt<'_>) {
        if let Some(kept) = wanted.kept {
            kept.iter().for_each(|(key, unit)| attempt.keep(key.clone(), Arc::clone(unit)));
        }
        for part in wanted.parts {
            let Part::NftChain { family, table, chain } = part else { continue };
            let chain = String::from_utf8_lossy(chain);
            attempt.is_torn |= chain.starts_with("torn");
            let draft = attempt.draft(Key::Native(*family, table.clone()));
            if chain.starts_with("failed") {
                draft.audit.problem(Problem::new(Reason::KernelRead, "as asked"));
            }
            let entry = Entry {
                kind: Kind::Rule,
                table: &String::from_utf8_lossy(table),
                chain: Some("c"),
                position: None,
                line: chain.as_bytes(),
            };
            draft.audit.count(Backend::Nftables, *family, &entry);
        }
    }

    struct Test {
        side: Side,
        book: Rulebook,
    }

    impl Test {
        fn new() -> Self {
            let in_force = InForce { patterns: Arc::new(Allowlist::parse(&[])), is_missing: false };
            let book = Rulebook { ipv4: in_force, ipv6: Ipv6::Unchecked, problems: Vec::new() };
            let mut test = Self { side: Side::new(read, Key::Inventory), book };
            test.check(&Scope::Everything);
            test
        }

        /// The changes that a check tells, and whether it was torn.
        fn check(&mut self, scope: &Scope) -> (Vec<RuleChange>, bool) {
            let options = ScanOptions {
                dump_timeout: std::time::Duration::from_secs(60),
                nftables: true,
                hooks: Hooks::Unread,
                limit: 9,
                cancelled: Arc::default(),
            };
            let context = Context::new(&options);
            self.side.owe(scope, |_| true);
            let found = self.side.read(&context, &self.book, &TextBudget::new(999));
            let mut told = Told::default();
            self.side.settle(&found, &mut told);
            (told.finish().0, found.is_torn)
        }

        fn owed(&self) -> usize {
            self.side.owed.len()
        }
    }

    fn chain(table: &str, chain: &str) -> Scope {
        let part = Part::NftChain { family: Family::Ip, table: table.into(), chain: chain.into() };
        Scope::Parts([(part, Vec::new())].into())
    }

    fn nothing() -> Scope {
        Scope::Parts(BTreeMap::new())
    }

    #[test]
    fn what_was_read_well_is_owed_no_longer() {
        let mut test = Test::new();
        assert_eq!(test.check(&chain("t", "a")).0.len(), 1);
        assert_eq!((test.owed(), test.check(&nothing()).0.len()), (0, 0));
        assert_eq!(test.check(&chain("t", "b")).0.len(), 2, "one line for another");
    }

    #[test]
    fn what_was_torn_stays_owed_and_is_not_kept() {
        let mut test = Test::new();
        test.check(&chain("t", "a"));
        let (changes, is_torn) = test.check(&chain("t", "torn"));
        assert!(is_torn && changes.is_empty());
        assert_eq!(test.owed(), 1);
        assert!(test.check(&nothing()).1, "read again unasked");
        let kept = test.side.kept.as_ref().unwrap();
        assert!(kept.values().all(|unit| unit.reading.problems.reasons().next().is_none()));
    }

    #[test]
    fn a_unit_that_failed_is_read_again_and_its_changes_are_told_later() {
        let mut test = Test::new();
        test.check(&chain("t", "a"));
        assert_eq!(test.check(&chain("t", "failed")).0, []);
        assert!(test.side.failed.contains(&Key::Native(Family::Ip, b"t".to_vec())));
        let changes = test.check(&chain("t", "b")).0;
        assert_eq!(changes.len(), 2, "against what was read well last: {changes:?}");
        assert!(test.side.failed.is_empty());
        test.check(&chain("new", "failed"));
        assert_eq!(test.check(&chain("new", "a")).0, [], "nobody knows what was there before");
    }

    #[test]
    fn too_many_parts_are_everything() {
        let mut test = Test::new();
        for number in 0..=PARTS_OWED {
            test.side.owe(&chain("t", &number.to_string()), |_| true);
        }
        assert!(test.side.owes_everything && test.side.owed.is_empty());
    }
}
