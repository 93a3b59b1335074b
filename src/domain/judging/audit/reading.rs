//! What one read of a part of the node found, by table and chain, and the outcome that all parts together are.
//! A reading never changes: another one is made of it, which shares what stayed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::record::{Judgement, Line, LineCounts, Record, Slot, Text};
use super::rulebook::Rulebook;
use crate::domain::judging::allowlist::suggest;
use crate::domain::judging::report::{TableSummary, Violation};
use crate::domain::rules::{Backend, Entry, Family, Kind, Problem, Reason};
use crate::domain::words::escape::hex;
use crate::domain::words::numbers::counted;

/// Problems of one reason that are told one by one; the rest are counted.
const PROBLEMS_TOLD: usize = 50;

/// What tells a table from every other.
pub type TableKey = (Backend, Family, String);
/// The chains, sets and objects of one table.
pub type Table = BTreeMap<Arc<Slot>, Arc<Record>>;

/// What was not read or not understood: the first of each reason, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(BTreeMap<Reason, (Vec<Problem>, u64)>);

impl Problems {
    /// Adds one.
    pub fn add(&mut self, problem: Problem) {
        let (told, count) = self.0.entry(problem.reason).or_default();
        *count += 1;
        if told.len() < PROBLEMS_TOLD {
            told.push(problem);
        }
    }

    /// Forgets those of these reasons.
    pub fn forget(&mut self, reasons: &[Reason]) {
        self.0.retain(|reason, _| !reasons.contains(reason));
    }

    /// The reasons there are problems of.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.0.keys().copied()
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (&reason, (told, count)) in &other.0 {
            let mine = self.0.entry(reason).or_default();
            mine.1 += count;
            let room = PROBLEMS_TOLD.saturating_sub(mine.0.len());
            mine.0.extend(told.iter().take(room).cloned());
        }
    }

    fn tell(self) -> Vec<Problem> {
        let mut all = Vec::new();
        for (reason, (told, count)) in self.0 {
            let more = count - told.len() as u64;
            all.extend(told);
            if more > 0 {
                all.push(Problem::new(reason, format!("and {more} more of this kind")));
            }
        }
        all
    }
}

/// One part of the node, read and judged.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    tables: BTreeMap<TableKey, Arc<Table>>,
    /// What was not read or not understood.
    pub problems: Problems,
}

impl Reading {
    pub(super) fn new(tables: BTreeMap<TableKey, Arc<Table>>, problems: Problems) -> Self {
        Self { tables, problems }
    }

    /// Every table.
    pub fn tables(&self) -> impl Iterator<Item = (&TableKey, &Table)> {
        self.tables.iter().map(|(key, table)| (key, &**table))
    }

    /// One table.
    pub fn table(&self, key: &TableKey) -> Option<&Table> {
        self.tables.get(key).map(|table| &**table)
    }

    /// Bytes of text it took from the budget.
    pub fn taken(&self) -> usize {
        self.tables.values().flat_map(|table| table.values()).map(|record| record.taken()).sum()
    }

    /// Only the slots that `is_kept` says, and no problem.
    pub fn only(&self, is_kept: impl Fn(&Slot) -> bool) -> Self {
        let part = |table: &Arc<Table>| {
            let kept = table.iter().filter(|(slot, _)| is_kept(slot));
            Arc::new(kept.map(|(slot, record)| (Arc::clone(slot), Arc::clone(record))).collect::<Table>())
        };
        let tables = self.tables.iter().map(|(key, table)| (key.clone(), part(table))).collect();
        Self { tables, problems: Problems::default() }
    }

    /// This reading with the slots of `newer` in the place of its own, and without those `gone`.
    pub fn with(&self, newer: Self, gone: &[(TableKey, Slot)]) -> Self {
        let mut with = self.clone();
        for (key, slot) in gone {
            if let Some(table) = with.tables.get_mut(key) {
                Arc::make_mut(table).remove(slot);
            }
        }
        for (key, slots) in newer.tables {
            let table = Arc::make_mut(with.tables.entry(key).or_default());
            table.extend(slots.iter().map(|(slot, record)| (Arc::clone(slot), Arc::clone(record))));
        }
        with
    }
}

/// The line as an entry.
pub(super) fn entry<'e>(table: &'e str, slot: &'e Slot, line: &Line<'_>, text: &'e [u8]) -> Entry<'e> {
    Entry { kind: line.kind, table, chain: slot.name(), position: line.position, line: text }
}

/// What an audit has found, ready for a report.
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Outcome {
    pub tables: Vec<TableSummary>,
    pub violations: Vec<Violation>,
    pub violation_count: u64,
    pub violations_hash: String,
    pub ruleset_hash: String,
    pub problems: Vec<Problem>,
}

/// What all parts of the node together are, with the text of the first `limit` violations. Two parts may share a table, but no slot
/// of it.
pub fn conclude<'r>(
    book: &Rulebook,
    limit: usize,
    readings: impl IntoIterator<Item = &'r Reading>,
) -> Outcome {
    let mut tables: BTreeMap<&TableKey, Cow<'_, Table>> = BTreeMap::new();
    let mut problems = Problems::default();
    for reading in readings {
        problems.merge(&reading.problems);
        for (key, table) in reading.tables() {
            let part = |(slot, record): (&Arc<Slot>, &Arc<Record>)| (Arc::clone(slot), Arc::clone(record));
            tables
                .entry(key)
                .and_modify(|whole| whole.to_mut().extend(table.iter().map(part)))
                .or_insert(Cow::Borrowed(table));
        }
    }
    let mut sum = Summary::default();
    for (key, table) in tables {
        sum.add(key, &table, limit);
    }
    book.problems.iter().for_each(|problem| problems.add(problem.clone()));
    sum.problems(&mut problems);
    Outcome {
        tables: sum.tables,
        violations: sum.violations,
        violation_count: sum.violation_count,
        violations_hash: hex(&sum.violating.finalize()),
        ruleset_hash: hex(&sum.ruleset.finalize()),
        problems: problems.tell(),
    }
}

#[derive(Default)]
struct Summary {
    tables: Vec<TableSummary>,
    violations: Vec<Violation>,
    violation_count: u64,
    violating: Sha256,
    ruleset: Sha256,
    undecided: Tally,
    unchecked: Tally,
}

#[derive(Default)]
struct Tally {
    count: u64,
    first: Option<String>,
}

impl Tally {
    fn add(&mut self, count: u64, first: impl FnOnce() -> Option<String>) {
        self.count += count;
        if count > 0 && self.first.is_none() {
            self.first = first();
        }
    }

    fn first(&self) -> &str {
        self.first.as_deref().unwrap_or("of many, not kept")
    }
}

impl Summary {
    fn add(&mut self, key: &TableKey, table: &Table, limit: usize) {
        let (backend, family, name) = key;
        self.ruleset.update(format!("{backend} {family} {name}\n"));
        let (mut all, mut not_judged) = (LineCounts::default(), 0);
        for (slot, record) in table {
            let counts = record.counts();
            all.rules += counts.rules;
            all.violations += counts.violations;
            all.set_elements += counts.set_elements;
            not_judged += counts.undecided + counts.unchecked + counts.unjudged;
            self.ruleset.update([slot.group()]);
            self.ruleset.update(slot.name().unwrap_or_default());
            self.ruleset.update(b"\n");
            self.ruleset.update(record.hash());
            if let Some(hash) = record.violating() {
                self.violating.update(hash);
            }
            self.undecided.add(counts.undecided, || first(key, record, Judgement::Undecided));
            self.unchecked.add(counts.unchecked, || first(key, record, Judgement::Unchecked));
        }
        self.violation_count += all.violations;
        if all.violations > 0 {
            // dumps declare every chain before the first rule
            self.tell(key, table, limit, |kind| kind != Kind::Rule);
            self.tell(key, table, limit, |kind| kind == Kind::Rule);
        }
        self.tables.push(TableSummary {
            backend: *backend,
            family: *family,
            table: name.clone(),
            rules: all.rules,
            unexpected: all.violations,
            not_judged,
            set_elements: all.set_elements,
        });
    }

    fn tell(
        &mut self,
        (backend, family, name): &TableKey,
        table: &Table,
        limit: usize,
        is: fn(Kind) -> bool,
    ) {
        for (slot, record) in table.iter().filter(|(_, record)| record.counts().violations > 0) {
            for line in record.lines() {
                if self.violations.len() >= limit {
                    return;
                }
                let (Judgement::Violation, Text::Kept(text), true) =
                    (line.judgement, line.text, is(line.kind))
                else {
                    continue;
                };
                self.violations.push(Violation {
                    backend: *backend,
                    family: *family,
                    table: name.clone(),
                    chain: slot.name().map(str::to_owned),
                    position: line.position,
                    kind: line.kind,
                    line: text.to_vec(),
                    suggested_pattern: suggest(text),
                    provenance: None,
                });
            }
        }
    }

    /// The problems that only the whole picture shows.
    fn problems(&self, problems: &mut Problems) {
        let rules_of = |backend| -> u64 {
            self.tables.iter().filter(|table| table.backend == backend).map(|table| table.rules).sum()
        };
        let (nft, legacy) = (rules_of(Backend::IptablesNft), rules_of(Backend::IptablesLegacy));
        if nft > 0 && legacy > 0 {
            problems.add(Problem::new(
                Reason::MixedBackends,
                format!(
                    "iptables-nft holds {} and iptables-legacy {legacy}: packets pass both",
                    counted(nft, "rule")
                ),
            ));
        }
        let Self { undecided, unchecked, .. } = self;
        if undecided.count > 0 {
            problems.add(Problem::new(
                Reason::InvalidAllowlist,
                format!(
                    "{} lines that no valid pattern allows might be allowed by a broken or missing one; mend \
                     the allowlist. The first: {}",
                    undecided.count,
                    undecided.first()
                ),
            ));
        }
        if unchecked.count > 0 {
            problems.add(Problem::new(
                Reason::IPv6Unchecked,
                format!(
                    "{} IPv6 rules or policies have no allowlist: mount one (--input6), judge them by \
                     profile (--ipv6 true) or leave them out (--ipv6 false). The first: {}",
                    unchecked.count,
                    unchecked.first()
                ),
            ));
        }
    }
}

/// The first line of a record that is judged so, with its place, if its text was kept.
fn first((backend, family, table): &TableKey, record: &Record, judgement: Judgement) -> Option<String> {
    record.lines().find_map(|line| match line.text {
        Text::Kept(text) if line.judgement == judgement => Some(place(*backend, *family, table, text)),
        _ => None,
    })
}

fn place(backend: Backend, family: Family, table: &str, line: &[u8]) -> String {
    format!("{backend} {family} {table}: {}", line.escape_ascii())
}
