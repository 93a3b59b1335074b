//! What one reading has that an earlier one of the same part has not, line by line.
//! Does not ask whether a change is good.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::reading::{Reading, Table, TableKey};
use super::record::{Line, Record, Slot, Text};
use crate::domain::changes::author::Author;
use crate::domain::changes::diff::{Edit, Told, edits};
use crate::domain::changes::{Part, RuleChange};
use crate::domain::rules::{Backend, Family};

/// Who is said to have changed which part; names as reports show them.
#[derive(Debug, Default)]
pub struct Authors(HashMap<Place, Vec<Arc<Author>>>);

#[derive(Debug, PartialEq, Eq, Hash)]
enum Place {
    Legacy(Family, String),
    Table(Family, String),
    Chain(Family, String, String),
}

impl Authors {
    /// The authors of these parts.
    pub fn new(parts: &BTreeMap<Part, Vec<Arc<Author>>>) -> Self {
        let lossy = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let place = |part: &Part| match part {
            Part::Legacy { family, table } => Place::Legacy(*family, table.clone()),
            Part::NftTable { family, table } => Place::Table(*family, lossy(table)),
            Part::NftChain { family, table, chain } => Place::Chain(*family, lossy(table), lossy(chain)),
        };
        let named = parts.iter().filter(|(_, authors)| !authors.is_empty());
        Self(named.map(|(part, authors)| (place(part), authors.clone())).collect())
    }

    /// Those of the chain, or of its table where nobody is known to have changed the chain itself.
    fn of(&self, (backend, family, table): &TableKey, slot: &Slot) -> Vec<Arc<Author>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let chain = slot.name().filter(|_| slot.is_chain());
        let places = match (backend, chain) {
            (Backend::IptablesLegacy, _) => [Some(Place::Legacy(*family, table.clone())), None],
            (_, chain) => [
                chain.map(|chain| Place::Chain(*family, table.clone(), chain.to_owned())),
                Some(Place::Table(*family, table.clone())),
            ],
        };
        places.iter().flatten().find_map(|place| self.0.get(place)).cloned().unwrap_or_default()
    }
}

/// Tells every line that was added, removed or moved from one reading to the other.
pub fn compare(before: &Reading, after: &Reading, authors: &Authors, told: &mut Told) {
    let none = Table::new();
    let keys: BTreeSet<&TableKey> = before.tables().chain(after.tables()).map(|(key, _)| key).collect();
    for key in keys {
        let (before, after) = (before.table(key).unwrap_or(&none), after.table(key).unwrap_or(&none));
        if std::ptr::eq(before, after) {
            continue;
        }
        compare_table(key, before, after, authors, told);
    }
}

/// Walks both tables, which are sorted alike, side by side.
fn compare_table(key: &TableKey, before: &Table, after: &Table, authors: &Authors, told: &mut Told) {
    let (mut former, mut later) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (former.peek(), later.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((one, _)), Some((other, _))) if Arc::ptr_eq(one, other) => Ordering::Equal,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let one = if order.is_le() { former.next() } else { None };
        let other = if order.is_ge() { later.next() } else { None };
        let (one_record, other_record) = (one.map(|(_, record)| record), other.map(|(_, record)| record));
        let is_same = one_record.zip(other_record).is_some_and(|(one, other)| one.hash() == other.hash());
        if let Some((slot, _)) = one.or(other).filter(|_| !is_same) {
            let records = (one_record.map(|record| &**record), other_record.map(|record| &**record));
            compare_slot(key, slot, records, authors, told);
        }
    }
}

fn compare_slot(
    key: &TableKey,
    slot: &Slot,
    (before, after): (Option<&Record>, Option<&Record>),
    authors: &Authors,
    told: &mut Told,
) {
    let before: Vec<_> = before.into_iter().flat_map(Record::lines).collect();
    let after: Vec<_> = after.into_iter().flat_map(Record::lines).collect();
    let authors = authors.of(key, slot);
    for edit in differences(&before, &after) {
        let line = match edit {
            Edit::Removed(at) => before.get(at),
            Edit::Added(at) | Edit::Moved(at) => after.get(at),
        };
        let Some(line) = line else { continue };
        told.add(line.judgement.judged(), || change(key, slot, edit, line, &authors));
    }
}

/// Compares by text where every text is kept, else by digest.
fn differences(before: &[Line<'_>], after: &[Line<'_>]) -> Vec<Edit> {
    let is_text = |line: &Line<'_>| matches!(line.text, Text::Kept(_));
    if before.iter().all(is_text) && after.iter().all(is_text) {
        return edits(&texts(before), &texts(after));
    }
    let digests = |lines: &[Line<'_>]| lines.iter().map(|line| line.text.digest()).collect::<Vec<_>>();
    edits(&digests(before), &digests(after))
}

fn texts<'l>(lines: &[Line<'l>]) -> Vec<Text<'l>> {
    lines.iter().map(|line| line.text).collect()
}

fn change(
    (backend, family, table): &TableKey,
    slot: &Slot,
    edit: Edit,
    line: &Line<'_>,
    authors: &[Arc<Author>],
) -> RuleChange {
    RuleChange {
        what: edit.what(),
        backend: *backend,
        family: *family,
        table: table.clone(),
        chain: slot.name().map(str::to_owned),
        kind: line.kind,
        position: line.position,
        line: match line.text {
            Text::Kept(text) => text.to_vec(),
            Text::Digest(_) => Vec::new(),
        },
        judged: line.judgement.judged(),
        authors: authors.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::changes::What;
    use crate::domain::judging::allowlist::Allowlist;
    use crate::domain::judging::audit::rulebook::{InForce, Ipv6, Rulebook};
    use crate::domain::judging::audit::{Audit, TextBudget};
    use crate::domain::rules::{Entry, Kind};

    fn read(bytes: usize, lines: &[(&str, &str)]) -> Reading {
        let none = InForce { patterns: Arc::new(Allowlist::parse(&[])), is_missing: false };
        let book = Rulebook { ipv4: none, ipv6: Ipv6::Unchecked, problems: Vec::new() };
        let budget = TextBudget::new(bytes);
        let mut audit = Audit::new(&book, 1, &budget);
        for (chain, line) in lines {
            let entry = Entry {
                kind: Kind::Rule,
                table: "filter",
                chain: Some(chain),
                position: None,
                line: line.as_bytes(),
            };
            audit.count(Backend::IptablesNft, Family::Ip, &entry);
        }
        let line = format!("elements ip filter s {} sha256 00", lines.len());
        audit.set_elements(Family::Ip, "filter", "s", line.as_bytes(), lines.len() as u64);
        audit.seal()
    }

    fn told(before: &Reading, after: &Reading, parts: &BTreeMap<Part, Vec<Arc<Author>>>) -> Vec<RuleChange> {
        let mut told = Told::default();
        compare(before, after, &Authors::new(parts), &mut told);
        told.finish().0
    }

    fn shown(changes: &[RuleChange]) -> Vec<(What, &str, &str)> {
        let text =
            |change: &RuleChange| str::from_utf8(&change.line).map(str::to_owned).unwrap().leak() as &str;
        changes
            .iter()
            .map(|change| (change.what, change.chain.as_deref().unwrap_or(""), text(change)))
            .collect()
    }

    #[test]
    fn every_changed_line_is_told_with_who_changed_its_chain() {
        let author = Arc::new(Author {
            pid: 7,
            name: "x".into(),
            executable: None,
            command_line: None,
            parents: Vec::new(),
            container: None,
            pod: None,
        });
        let chain = Part::NftChain { family: Family::Ip, table: b"filter".into(), chain: b"A".into() };
        let table = Part::NftTable { family: Family::Ip, table: b"filter".into() };
        let parts = [(chain, vec![Arc::clone(&author)]), (table, Vec::new())].into();
        let before = read(99, &[("A", "1"), ("A", "2"), ("B", "3")]);
        let after = read(99, &[("A", "2"), ("A", "1"), ("C", "4")]);
        let changes = told(&before, &after, &parts);
        assert_eq!(
            shown(&changes),
            [(What::Moved, "A", "2"), (What::Removed, "B", "3"), (What::Added, "C", "4")]
        );
        let authors: Vec<_> = changes.iter().map(|change| change.authors.len()).collect();
        assert_eq!(authors, [1, 0, 0]);
        assert_eq!(told(&before, &before.clone(), &parts), []);
    }

    #[test]
    fn lines_whose_text_was_not_kept_are_told_without_it() {
        let changes =
            told(&read(0, &[("A", "1"), ("A", "2")]), &read(0, &[("A", "2"), ("A", "5")]), &[].into());
        assert_eq!(shown(&changes), [(What::Removed, "A", ""), (What::Added, "A", "")]);
        let mixed = told(&read(0, &[("A", "1")]), &read(99, &[("A", "1"), ("A", "2")]), &[].into());
        assert_eq!(shown(&mixed)[0], (What::Added, "A", "2"));
    }

    #[test]
    fn other_elements_of_a_set_are_told_as_its_line() {
        let changes = told(&read(99, &[]), &read(99, &[("A", "1")]), &[].into());
        let kinds: Vec<_> = changes.iter().map(|change| (change.what, change.kind)).collect();
        assert_eq!(
            kinds,
            [(What::Added, Kind::Rule), (What::Removed, Kind::Element), (What::Added, Kind::Element)]
        );
    }
}
