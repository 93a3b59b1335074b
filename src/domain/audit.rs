//! Judges a stream of entries against the allowlists and keeps what a report needs.
//! Keeps no text of what is allowed, and does not know where the entries come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::allowlist::{Allowlist, suggest};
use super::escape::hex;
use super::report::{TableSummary, Violation};
use super::ruleset::{Backend, Entry, Family, Kind, Problem, Reason};

/// Problems of one reason that are told one by one; the rest are counted.
const PROBLEMS_TOLD: usize = 50;
/// Violations whose text is kept unless more are asked for.
pub const DEFAULT_LIMIT: usize = 1000;

/// An allowlist, and whether there is one.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The patterns that could be read.
    pub patterns: Arc<Allowlist>,
    /// The directory is missing: then nothing is certainly forbidden.
    pub is_missing: bool,
}

impl InForce {
    /// Whether a line of this table, or a native line, that no pattern allows is certainly not allowed.
    pub fn is_whole_for(&self, table: Option<&str>) -> bool {
        !self.is_missing && !self.patterns.lacks(table)
    }
}

/// The allowlists of both families, and whether they can be relied on.
#[derive(Clone, Debug)]
pub struct Rulebook {
    /// Patterns for IPv4 and for native nftables rules.
    pub ipv4: InForce,
    /// Patterns for IPv6.
    pub ipv6: Ipv6,
    /// What is wrong with the allowlists: goes into every report.
    pub problems: Vec<Problem>,
}

/// What happens to IPv6 rules.
#[derive(Clone, Debug)]
pub enum Ipv6 {
    /// They are judged by this allowlist.
    Checked(InForce),
    /// Nobody said what is allowed: any rule makes the verdict unknown.
    Unchecked,
    /// They are left out, because someone said so explicitly.
    Excluded,
}

impl Rulebook {
    /// Whether rules of this family are read at all.
    pub fn covers(&self, family: Family) -> bool {
        family != Family::Ip6 || !matches!(self.ipv6, Ipv6::Excluded)
    }

    /// The allowlists that may allow a line; none for IPv6 where nobody said what is allowed.
    pub fn judging(&self, backend: Backend, family: Family) -> Vec<&InForce> {
        match (backend, family, &self.ipv6) {
            (Backend::Nftables, Family::Ip6, Ipv6::Checked(ipv6)) => vec![ipv6, &self.ipv4],
            (_, Family::Ip6, Ipv6::Checked(ipv6)) => vec![ipv6],
            (Backend::Nftables, ..) => vec![&self.ipv4],
            (_, Family::Ip6, _) => Vec::new(),
            _ => vec![&self.ipv4],
        }
    }

    fn judge(&self, backend: Backend, family: Family, entry: &Entry<'_>) -> Judgement {
        match (backend, family, &self.ipv6) {
            (Backend::Nftables, Family::Ip6, Ipv6::Checked(ipv6)) => judge_native(&[ipv6, &self.ipv4], entry),
            (Backend::Nftables, ..) => judge_native(&[&self.ipv4], entry),
            (_, Family::Ip6, Ipv6::Checked(ipv6)) => judge_iptables(ipv6, entry),
            (_, Family::Ip6, _) if entry.kind == Kind::Chain || is_accept_policy(entry) => Judgement::Allowed,
            (_, Family::Ip6, _) => Judgement::Unchecked,
            _ => judge_iptables(&self.ipv4, entry),
        }
    }
}

fn judge_iptables(list: &InForce, entry: &Entry<'_>) -> Judgement {
    let is_allowed = list.patterns.allows(Some(entry.table), entry.line);
    Judgement::of(is_allowed, list.is_whole_for(Some(entry.table)), entry)
}

fn judge_native(lists: &[&InForce], entry: &Entry<'_>) -> Judgement {
    let is_allowed = lists.iter().any(|list| list.patterns.allows_native(entry.line));
    Judgement::of(is_allowed, lists.iter().all(|list| list.is_whole_for(None)), entry)
}

fn is_accept_policy(entry: &Entry<'_>) -> bool {
    entry.kind == Kind::Policy && entry.line.ends_with(b" ACCEPT")
}

fn has_control_byte(line: &[u8]) -> bool {
    line.iter().any(u8::is_ascii_control)
}

enum Judgement {
    Allowed,
    Violation,
    /// A broken pattern, or a missing allowlist, might have allowed it.
    Undecided,
    /// No allowlist speaks about this family.
    Unchecked,
}

impl Judgement {
    fn of(is_allowed: bool, is_whole: bool, entry: &Entry<'_>) -> Self {
        match (is_allowed, is_whole) {
            (true, _) => Self::Allowed,
            (false, true) => Self::Violation,
            // no pattern, broken or not, can allow a control byte
            (false, false) if has_control_byte(entry.line) => Self::Violation,
            (false, false) => Self::Undecided,
        }
    }
}

/// Collects the outcome while entries stream by.
#[derive(Debug)]
pub struct Audit<'a> {
    book: &'a Rulebook,
    limit: usize,
    tables: BTreeMap<TableKey, TableRecord>,
    violations: Vec<Violation>,
    violation_count: u64,
    violation_hashes: BTreeMap<TableKey, Sha256>,
    problems: BTreeMap<Reason, (Vec<Problem>, u64)>,
    undecided: Tally,
    unchecked: Tally,
}

type TableKey = (Backend, Family, String);

#[derive(Debug, Default)]
struct TableRecord {
    rules: u64,
    unexpected: u64,
    set_elements: u64,
    hash: Sha256,
}

#[derive(Debug, Default)]
struct Tally {
    count: u64,
    first: Option<String>,
}

impl Tally {
    fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(what);
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.take().or(other.first);
    }
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

impl<'a> Audit<'a> {
    /// An audit that keeps the text of the first `limit` violations.
    pub fn new(book: &'a Rulebook, limit: usize) -> Self {
        Self {
            book,
            limit,
            tables: BTreeMap::new(),
            violations: Vec::new(),
            violation_count: 0,
            violation_hashes: BTreeMap::new(),
            problems: BTreeMap::new(),
            undecided: Tally::default(),
            unchecked: Tally::default(),
        }
    }

    /// The allowlists this audit judges by.
    pub fn book(&self) -> &'a Rulebook {
        self.book
    }

    /// Notes that a table was read, also when it has no rules.
    pub fn table(&mut self, backend: Backend, family: Family, table: &str) {
        self.record(backend, family, table);
    }

    /// Judges the entries of one table; `printed_as` is the text that misrepresents the entry, if one does.
    pub fn judge(&mut self, backend: Backend, family: Family, entry: &Entry<'_>, printed_as: Option<&[u8]>) {
        let judgement = self.book.judge(backend, family, entry);
        self.count(backend, family, entry);
        match judgement {
            Judgement::Allowed => {}
            Judgement::Violation => self.violation(backend, family, entry, printed_as),
            Judgement::Undecided => self.undecided.add(|| place(backend, family, entry)),
            Judgement::Unchecked => self.unchecked.add(|| place(backend, family, entry)),
        }
    }

    /// Counts an entry whose text must not be judged.
    pub fn count(&mut self, backend: Backend, family: Family, entry: &Entry<'_>) {
        let record = self.record(backend, family, entry.table);
        record.rules += u64::from(entry.kind == Kind::Rule);
        record.hash.update(entry.line);
        record.hash.update(b"\n");
    }

    /// Counts the elements of a plain set.
    pub fn set_elements(&mut self, family: Family, table: &str, count: u64, hash: &[u8]) {
        let record = self.record(Backend::Nftables, family, table);
        record.set_elements += count;
        record.hash.update(hash);
    }

    /// Notes that something was not read or not understood.
    pub fn problem(&mut self, problem: Problem) {
        let (told, count) = self.problems.entry(problem.reason).or_default();
        *count += 1;
        if told.len() < PROBLEMS_TOLD {
            told.push(problem);
        }
    }

    /// Forgets the problems of these reasons.
    pub fn forget(&mut self, reasons: &[Reason]) {
        self.problems.retain(|reason, _| !reasons.contains(reason));
    }

    /// Takes over what another audit by the same allowlists has found.
    pub fn merge(&mut self, other: Audit<'_>) {
        self.tables.extend(other.tables);
        let room = self.limit.saturating_sub(self.violations.len());
        self.violations.extend(other.violations.into_iter().take(room));
        self.violation_count += other.violation_count;
        self.violation_hashes.extend(other.violation_hashes);
        for (reason, (told, count)) in other.problems {
            let mine = self.problems.entry(reason).or_default();
            mine.1 += count;
            mine.0.extend(told);
        }
        self.undecided.merge(other.undecided);
        self.unchecked.merge(other.unchecked);
    }

    /// Ends the audit.
    pub fn finish(mut self) -> Outcome {
        self.conclude();
        let mut ruleset = Sha256::new();
        let mut tables = Vec::with_capacity(self.tables.len());
        for ((backend, family, table), record) in self.tables {
            ruleset.update(format!("{backend} {family} {table}\n"));
            let TableRecord { rules, unexpected, set_elements, hash } = record;
            ruleset.update(hash.finalize());
            tables.push(TableSummary { backend, family, table, rules, unexpected, set_elements });
        }
        let mut violating = Sha256::new();
        for (_, hash) in self.violation_hashes {
            violating.update(hash.finalize());
        }
        Outcome {
            tables,
            violations: self.violations,
            violation_count: self.violation_count,
            violations_hash: hex(&violating.finalize()),
            ruleset_hash: hex(&ruleset.finalize()),
            problems: self.problems.into_iter().flat_map(|(reason, told)| tell(reason, told)).collect(),
        }
    }

    fn record(&mut self, backend: Backend, family: Family, table: &str) -> &mut TableRecord {
        self.tables.entry((backend, family, table.to_owned())).or_default()
    }

    fn violation(&mut self, backend: Backend, family: Family, entry: &Entry<'_>, printed_as: Option<&[u8]>) {
        self.violation_count += 1;
        self.record(backend, family, entry.table).unexpected += 1;
        let hash = self.violation_hashes.entry((backend, family, entry.table.to_owned())).or_default();
        hash.update(entry.line);
        hash.update(b"\n");
        if self.violations.len() < self.limit {
            self.violations.push(Violation {
                backend,
                family,
                table: entry.table.to_owned(),
                chain: entry.chain.map(str::to_owned),
                position: entry.position,
                kind: entry.kind,
                line: entry.line.to_vec(),
                suggested_pattern: suggest(entry.line),
                printed_as: printed_as.map(<[u8]>::to_vec),
                provenance: None,
            });
        }
    }

    /// The problems that only the whole picture shows.
    fn conclude(&mut self) {
        let book = self.book;
        book.problems.iter().for_each(|problem| self.problem(problem.clone()));
        let rules_of = |backend| -> u64 {
            self.tables.iter().filter(|(key, _)| key.0 == backend).map(|(_, record)| record.rules).sum()
        };
        let (nft, legacy) = (rules_of(Backend::IptablesNft), rules_of(Backend::IptablesLegacy));
        if nft > 0 && legacy > 0 {
            self.problem(Problem::new(
                Reason::MixedBackends,
                format!("iptables-nft holds {nft} rules and iptables-legacy {legacy}: packets pass both"),
            ));
        }
        if let Tally { count, first: Some(first) } = std::mem::take(&mut self.undecided) {
            self.problem(Problem::new(
                Reason::InvalidAllowlist,
                format!(
                    "{count} lines that no valid pattern allows might be allowed by a broken or missing one; mend \
                     the allowlist. The first: {first}"
                ),
            ));
        }
        if let Tally { count, first: Some(first) } = std::mem::take(&mut self.unchecked) {
            self.problem(Problem::new(
                Reason::IPv6Unchecked,
                format!(
                    "{count} IPv6 rules or policies have no allowlist: mount one (--input6), judge them by \
                     profile (--ipv6 true) or leave them out (--ipv6 false). The first: {first}"
                ),
            ));
        }
    }
}

fn place(backend: Backend, family: Family, entry: &Entry<'_>) -> String {
    format!("{backend} {family} {}: {}", entry.table, entry.line.escape_ascii())
}

fn tell(reason: Reason, (told, count): (Vec<Problem>, u64)) -> Vec<Problem> {
    let mut told: Vec<_> = told.into_iter().take(PROBLEMS_TOLD).collect();
    let more = count - told.len() as u64;
    if more > 0 {
        told.push(Problem::new(reason, format!("and {more} more of this kind")));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::allowlist::{List, PatternFile};

    fn book() -> Rulebook {
        let file = PatternFile { list: List::Global, origin: "global".into(), text: b"^-P \n".to_vec() };
        let in_force = InForce { patterns: Arc::new(Allowlist::parse(&[file])), is_missing: false };
        Rulebook { ipv4: in_force.clone(), ipv6: Ipv6::Checked(in_force), problems: Vec::new() }
    }

    fn judge(audit: &mut Audit<'_>, table: &str, line: &[u8]) {
        let entry = Entry { kind: Kind::Rule, table, chain: Some("INPUT"), position: None, line };
        audit.judge(Backend::IptablesNft, Family::Ip, &entry, None);
    }

    #[test]
    fn every_table_counts_its_violations_also_beyond_the_limit() {
        let book = book();
        let mut audit = Audit::new(&book, 1);
        for line in [b"-A INPUT -j DROP".as_slice(), b"-A INPUT -j LOG", b"-P INPUT DROP"] {
            judge(&mut audit, "filter", line);
        }
        let mut other = Audit::new(&book, 1);
        judge(&mut other, "nat", b"-A INPUT -j DROP");
        audit.merge(other);
        audit.table(Backend::IptablesNft, Family::Ip6, "filter");
        let outcome = audit.finish();
        let counts: Vec<_> =
            outcome.tables.iter().map(|t| (t.family, t.table.as_str(), t.unexpected)).collect();
        assert_eq!(counts, [(Family::Ip, "filter", 2), (Family::Ip, "nat", 1), (Family::Ip6, "filter", 0)]);
        assert_eq!((outcome.violations.len(), outcome.violation_count), (1, 3));
    }
}
