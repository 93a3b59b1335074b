//! Judges a stream of entries against the allowlists and keeps what a report, and a comparison with the next, need.
//! Does not know where the entries come from, nor when they were read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::domain::rules::{Backend, Entry, Family, Kind, Problem, Reason};

mod changes;
mod reading;
mod record;
mod rulebook;

pub use changes::{Authors, compare};
use reading::entry;
pub use reading::{Outcome, Problems, Reading, Table, TableKey, conclude};
use record::{Filling, Keep};
pub use record::{Judgement, Line, LineCounts, Record, Slot, Text};
pub use rulebook::{InForce, Ipv6, Rulebook};

/// Violations whose text is kept unless more are asked for.
pub const DEFAULT_LIMIT: usize = 1000;

/// How many bytes of lines that are allowed may still be kept; shared by the audits of one check.
#[derive(Debug)]
pub struct TextBudget(AtomicUsize);

impl TextBudget {
    /// A budget of this many bytes.
    pub const fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// Takes so much, if it is there.
    pub fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    /// Gives back what a reading took that is no longer kept.
    pub fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Reading {
    /// The same lines judged by other allowlists; none if the text of one was not kept.
    pub fn judged_by(&self, book: &Rulebook, limit: usize, budget: &TextBudget) -> Option<Self> {
        let mut audit = Audit::new(book, limit, budget);
        for ((backend, family, table), slots) in self.tables() {
            audit.table(*backend, *family, table);
            for (slot, record) in slots {
                for line in record.lines() {
                    let Text::Kept(text) = line.text else { return None };
                    let entry = entry(table, slot, &line, text);
                    audit.judge(*backend, *family, &entry);
                    audit.filling(*backend, *family, &entry).counts.set_elements =
                        record.counts().set_elements;
                }
            }
        }
        audit.problems = self.problems.clone();
        Some(audit.seal())
    }
}

/// Judges entries while they stream by, and keeps them by table and chain.
#[derive(Debug)]
pub struct Audit<'a> {
    book: &'a Rulebook,
    limit: u64,
    budget: &'a TextBudget,
    tables: Vec<(TableKey, Slots)>,
    /// The table and slot of the entry before.
    last: (usize, usize),
    /// Violations, undecided and unchecked lines so far.
    told: [u64; 3],
    problems: Problems,
}

/// The slots of one table, in the order they came.
#[derive(Debug, Default)]
struct Slots {
    index: HashMap<Arc<Slot>, usize>,
    filling: Vec<(Arc<Slot>, Filling)>,
}

impl Slots {
    fn find(&mut self, kind: Kind, name: Option<&str>) -> usize {
        let slot = Slot::new(kind, name);
        if let Some(&index) = self.index.get(&slot) {
            return index;
        }
        let slot = Arc::new(slot);
        self.index.insert(Arc::clone(&slot), self.filling.len());
        self.filling.push((slot, Filling::default()));
        self.filling.len() - 1
    }

    /// Adds the slots of another audit; false if one was there already.
    fn absorb(&mut self, other: Self) -> bool {
        let mut are_others = true;
        for (slot, filling) in other.filling {
            are_others &= self.index.insert(Arc::clone(&slot), self.filling.len()).is_none();
            self.filling.push((slot, filling));
        }
        are_others
    }
}

impl<'a> Audit<'a> {
    /// An audit that keeps text while the budget lasts, and beyond it that of the first `limit` lines not allowed.
    pub fn new(book: &'a Rulebook, limit: usize, budget: &'a TextBudget) -> Self {
        Self {
            book,
            limit: limit.max(1) as u64,
            budget,
            tables: Vec::new(),
            last: (0, 0),
            told: [0; 3],
            problems: Problems::default(),
        }
    }

    /// Notes that a table was read, also when it has no rules.
    pub fn table(&mut self, backend: Backend, family: Family, table: &str) {
        self.find_table(backend, family, table);
    }

    /// Judges the entries of one table.
    pub fn judge(&mut self, backend: Backend, family: Family, entry: &Entry<'_>) {
        let judgement = self.book.judge(backend, family, entry);
        self.add(backend, family, entry, judgement);
    }

    /// Counts an entry whose text must not be judged.
    pub fn count(&mut self, backend: Backend, family: Family, entry: &Entry<'_>) {
        self.add(backend, family, entry, Judgement::Unjudged);
    }

    /// Judges the content of a set that is no map if an allowlist asks for that; else it is counted, so that a change of it
    /// is told. `line` is [`contents::line`](crate::domain::rules::text::native::contents::line).
    pub fn set_elements(&mut self, family: Family, table: &str, set: &str, line: &[u8], count: u64) {
        let entry = Entry { kind: Kind::Element, table, chain: Some(set), position: None, line };
        self.judge(Backend::Nftables, family, &entry);
        self.filling(Backend::Nftables, family, &entry).counts.set_elements += count;
    }

    /// Notes that something was not read or not understood.
    pub fn problem(&mut self, problem: Problem) {
        self.problems.add(problem);
    }

    /// An audit by the same allowlists that has read nothing yet.
    pub fn fresh(&self) -> Self {
        Self::new(self.book, usize::try_from(self.limit).unwrap_or(usize::MAX), self.budget)
    }

    /// Takes over what another audit read: other chains of the same tables, or other tables.
    pub fn absorb(&mut self, other: Self) {
        for ((backend, family, table), slots) in other.tables {
            let at = self.find_table(backend, family, &table);
            if let Some((_, mine)) = self.tables.get_mut(at)
                && !mine.absorb(slots)
            {
                let what =
                    format!("two readers read one chain of table {family} {}: a bug", table.escape_default());
                self.problem(Problem::new(Reason::KernelRead, what));
            }
        }
        self.told.iter_mut().zip(other.told).for_each(|(mine, told)| *mine += told);
        self.problems.merge(&other.problems);
    }

    /// Whether there was no problem so far.
    pub fn is_without_problem(&self) -> bool {
        self.problems.reasons().next().is_none()
    }

    /// Forgets the problems of these reasons.
    pub fn forget(&mut self, reasons: &[Reason]) {
        self.problems.forget(reasons);
    }

    /// What was read, judged.
    pub fn seal(self) -> Reading {
        let seal = |slots: Slots| -> Table {
            slots.filling.into_iter().map(|(slot, filling)| (slot, Arc::new(filling.seal()))).collect()
        };
        let tables = self.tables.into_iter().map(|(key, slots)| (key, Arc::new(seal(slots)))).collect();
        Reading::new(tables, self.problems)
    }

    fn add(&mut self, backend: Backend, family: Family, entry: &Entry<'_>, judgement: Judgement) {
        let keep = self.keep(entry.line.len(), judgement);
        self.filling(backend, family, entry).push(entry, judgement, keep);
    }

    fn keep(&mut self, bytes: usize, judgement: Judgement) -> Keep {
        let [violations, undecided, unchecked] = &mut self.told;
        let told = match judgement {
            Judgement::Allowed | Judgement::Unjudged => None,
            Judgement::Violation => Some(violations),
            Judgement::Undecided => Some(undecided),
            Judgement::Unchecked => Some(unchecked),
        };
        let is_among_first = told.is_some_and(|told| {
            *told += 1;
            *told <= self.limit
        });
        match (self.budget.take(bytes), is_among_first) {
            (true, _) => Keep::Within,
            (false, true) => Keep::Beyond,
            (false, false) => Keep::Digest,
        }
    }

    fn find_table(&mut self, backend: Backend, family: Family, table: &str) -> usize {
        let is = |(key, _): &(TableKey, Slots)| (key.0, key.1, key.2.as_str()) == (backend, family, table);
        let (last, _) = self.last;
        if self.tables.get(last).is_some_and(is) {
            return last;
        }
        self.tables.iter().position(is).unwrap_or_else(|| {
            self.tables.push(((backend, family, table.to_owned()), Slots::default()));
            self.tables.len() - 1
        })
    }

    #[allow(clippy::indexing_slicing, reason = "both indices were just found")]
    fn filling(&mut self, backend: Backend, family: Family, entry: &Entry<'_>) -> &mut Filling {
        let at = self.find_table(backend, family, entry.table);
        let slots = &mut self.tables[at].1;
        let is_last = self.last.0 == at
            && slots.filling.get(self.last.1).is_some_and(|(slot, _)| slot.is(entry.kind, entry.chain));
        let index = if is_last { self.last.1 } else { slots.find(entry.kind, entry.chain) };
        self.last = (at, index);
        &mut slots.filling[index].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::changes::judged::Judged;
    use crate::domain::judging::allowlist::{Allowlist, List, PatternFile};

    fn book() -> Rulebook {
        let file = PatternFile { list: List::Global, origin: "global".into(), text: b"^-P \n".to_vec() };
        let in_force = InForce { patterns: Arc::new(Allowlist::parse(&[file])), is_missing: false };
        Rulebook { ipv4: in_force.clone(), ipv6: Ipv6::Checked(in_force), problems: Vec::new() }
    }

    fn judge(audit: &mut Audit<'_>, table: &str, line: &[u8]) {
        let chain = line.split(|&byte| byte == b' ').nth(1).map(|name| str::from_utf8(name).unwrap());
        let kind = if line.starts_with(b"-A") { Kind::Rule } else { Kind::Policy };
        let entry = Entry { kind, table, chain, position: None, line };
        audit.judge(Backend::IptablesNft, Family::Ip, &entry);
    }

    #[test]
    fn an_audit_takes_over_the_chains_of_another() {
        let (book, budget) = (book(), TextBudget::new(1 << 20));
        let lines: [&[u8]; 4] = [b"-P INPUT ACCEPT", b"-A INPUT -j X", b"-P OUTPUT DROP", b"-A OUTPUT -j Y"];
        let of = |lines: &[&[u8]]| {
            let mut audit = Audit::new(&book, 9, &budget);
            lines.iter().for_each(|line| judge(&mut audit, "filter", line));
            audit
        };
        let conclusion = |audit: Audit<'_>| conclude(&book, 9, [&audit.seal()]);
        let mut halves = of(&lines[..2]);
        halves.absorb(of(&lines[2..]));
        assert!(halves.is_without_problem());
        assert_eq!(conclusion(halves), conclusion(of(&lines)));
        let mut twice = of(&lines);
        twice.absorb(of(&lines[..1]));
        assert!(!twice.is_without_problem(), "a chain is nobody's but one reader's");
    }

    fn read(book: &Rulebook, bytes: usize, table: &str, lines: &[&[u8]]) -> Reading {
        let budget = TextBudget::new(bytes);
        let mut audit = Audit::new(book, 1, &budget);
        lines.iter().for_each(|line| judge(&mut audit, table, line));
        audit.seal()
    }

    #[test]
    fn every_table_counts_its_violations_also_beyond_the_limit() {
        let book = book();
        let filter = read(&book, 0, "filter", &[b"-A INPUT -j DROP", b"-A INPUT -j LOG", b"-P INPUT DROP"]);
        let nat = read(&book, 0, "nat", &[b"-A INPUT -j DROP"]);
        let budget = TextBudget::new(0);
        let mut empty = Audit::new(&book, 1, &budget);
        empty.table(Backend::IptablesNft, Family::Ip6, "filter");
        let outcome = conclude(&book, 1, &[filter, nat, empty.seal()]);
        let counts: Vec<_> =
            outcome.tables.iter().map(|t| (t.family, t.table.as_str(), t.unexpected)).collect();
        assert_eq!(counts, [(Family::Ip, "filter", 2), (Family::Ip, "nat", 1), (Family::Ip6, "filter", 0)]);
        assert_eq!((outcome.violations.len(), outcome.violation_count), (1, 3));
    }

    #[test]
    fn the_order_of_a_dump_makes_no_difference() {
        let book = book();
        let lines: [&[u8]; 5] = [b"-P INPUT ACCEPT", b"-N X", b"-N B", b"-A INPUT -j X", b"-A X -j DROP"];
        let one = conclude(&book, 9, [&read(&book, 99, "filter", &lines)]);
        let shuffled: [&[u8]; 5] = [lines[2], lines[1], lines[4], lines[0], lines[3]];
        let other = conclude(&book, 9, [&read(&book, 99, "filter", &shuffled)]);
        assert_eq!(one, other);
        let told: Vec<_> = one.violations.iter().map(|violation| violation.line.as_slice()).collect();
        assert_eq!(
            told,
            [b"-N B", b"-N X", lines[3], lines[4]],
            "declarations first, built-in chains before others"
        );
    }

    #[test]
    fn hashes_tell_lines_and_places_apart_and_do_not_depend_on_the_budget() {
        let book = book();
        let hash = |bytes, lines: &[&[u8]]| {
            let outcome = conclude(&book, 9, [&read(&book, bytes, "filter", lines)]);
            (outcome.ruleset_hash, outcome.violations_hash)
        };
        let lines: [&[u8]; 2] = [b"-A INPUT -j DROP", b"-A OUTPUT -j DROP"];
        assert_eq!(hash(0, &lines), hash(999, &lines));
        assert_ne!(hash(0, &lines), hash(0, &lines[..1]));
        assert_ne!(hash(0, &[b"-A A -j B", b"-A A -j C"]), hash(0, &[b"-A A -j C", b"-A A -j B"]));
    }

    #[test]
    fn another_allowlist_judges_what_was_kept() {
        let (book, mut none) = (book(), book());
        none.ipv4.patterns = Arc::new(Allowlist::parse(&[]));
        let reading = read(&none, 99, "filter", &[b"-P INPUT ACCEPT", b"-A INPUT -j DROP"]);
        assert_eq!(conclude(&none, 9, [&reading]).violation_count, 2);
        let again = reading.judged_by(&book, 9, &TextBudget::new(99)).unwrap();
        assert_eq!(conclude(&book, 9, [&again]).violation_count, 1);
        assert!(
            read(&book, 3, "filter", &[b"-P INPUT ACCEPT"])
                .judged_by(&none, 9, &TextBudget::new(9))
                .is_none()
        );
    }

    #[test]
    fn the_content_of_a_set_is_judged_where_a_pattern_asks_for_it() {
        let book = |patterns: &str| {
            let file =
                PatternFile { list: List::Nftables, origin: "n".into(), text: patterns.as_bytes().to_vec() };
            let in_force = InForce { patterns: Arc::new(Allowlist::parse(&[file])), is_missing: false };
            Rulebook { ipv4: in_force, ipv6: Ipv6::Unchecked, problems: Vec::new() }
        };
        let budget = TextBudget::new(999);
        let [no, yes, other] = ["", "^elements inet t s 1 ", "^elements inet t s 2 "].map(book);
        let read = |book: &Rulebook| {
            let mut audit = Audit::new(book, 9, &budget);
            audit.set_elements(Family::Inet, "t", "s", b"elements inet t s 1 sha256 00", 1);
            audit.seal()
        };
        let told = |book: &Rulebook, reading: &Reading| {
            let outcome = conclude(book, 9, [reading]);
            (outcome.violation_count, outcome.tables[0].set_elements)
        };
        for (book, violations) in [(&no, 0), (&yes, 0), (&other, 1)] {
            assert_eq!(told(book, &read(book)), (violations, 1));
            for earlier in [&no, &yes, &other] {
                let again = read(earlier).judged_by(book, 9, &budget).unwrap();
                assert_eq!(told(book, &again), (violations, 1), "as when it is read anew");
            }
        }
        let judgements = [&no, &yes, &other].map(|book| {
            let reading = read(book);
            let (_, slots) = reading.tables().next().unwrap();
            slots.iter().next().unwrap().1.lines().next().unwrap().judgement
        });
        assert_eq!(judgements, [Judgement::Unjudged, Judgement::Allowed, Judgement::Violation]);
        let words = judgements.map(Judgement::judged);
        assert_eq!(words, [Judged::NotJudged, Judged::Allowed, Judged::Unexpected]);
    }

    #[test]
    fn a_reading_takes_over_what_is_newer_and_loses_what_is_gone() {
        let book = book();
        let whole = read(&book, 999, "filter", &[b"-N A", b"-A A -j DROP", b"-N B", b"-N C"]);
        let newer = read(&book, 999, "filter", &[b"-N A", b"-A A -j LOG", b"-N D"]);
        let key = (Backend::IptablesNft, Family::Ip, "filter".to_owned());
        let merged = whole.with(newer, &[(key, Slot::chain("B"))]);
        let expected = read(&book, 999, "filter", &[b"-N A", b"-N C", b"-N D", b"-A A -j LOG"]);
        assert_eq!(conclude(&book, 9, [&merged]), conclude(&book, 9, [&expected]));
        assert_eq!(merged.taken(), expected.taken());
    }
}
