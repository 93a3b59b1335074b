//! The outcome of one check: what was read, what was not allowed, what was not understood.
//! Is written down here as JSON; the writers for people and other programs are in `cli::output`.

pub mod json;

use std::time::SystemTime;

use super::blocked::Blocked;
use crate::domain::changes::Provenance;
use crate::domain::rules::{Backend, Family, Kind, Problem};
use crate::domain::verdict::Verdict;
use crate::domain::words::numbers::counted;

/// What the lines were made of. Of several saved files with different evidence it is [`Evidence::Text`], the weakest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The rules of the node's kernel.
    Kernel,
    /// A saved dump as it is, whose misprints cannot be seen.
    Text,
    /// A saved text of nft, loaded into a network namespace of its own and read there from the kernel: what the text left out
    /// cannot be seen.
    Namespace,
}

impl Evidence {
    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Text => "text",
            Self::Namespace => "namespace",
        }
    }
}

/// A line that no pattern allows. All its text is untrusted: escape it when shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Who shows the rule.
    pub backend: Backend,
    /// Its family.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its chain, or the set, map or object it declares.
    pub chain: Option<String>,
    /// 1-based number in the chain, as `iptables -D` takes it.
    pub position: Option<u32>,
    /// What the line declares.
    pub kind: Kind,
    /// The line that was judged.
    pub line: Vec<u8>,
    /// An anchored pattern that would allow exactly this line; none where no pattern may.
    pub suggested_pattern: Option<String>,
    /// Since when it stands; none where nobody watched.
    pub provenance: Option<Provenance>,
}

/// How many rules one table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSummary {
    /// Who shows the table.
    pub backend: Backend,
    /// Its family.
    pub family: Family,
    /// Its name.
    pub table: String,
    /// Rules only: no policies, chains or declarations.
    pub rules: u64,
    /// Its violations, also those whose text was not kept and those that are no rules.
    pub unexpected: u64,
    /// Its lines of which nobody can say whether they are allowed, those among them that tell what a set holds.
    pub not_judged: u64,
    /// Elements of plain sets, which are hashed and counted but not judged one by one.
    pub set_elements: u64,
}

/// One whole check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When the check ended.
    pub checked_at: SystemTime,
    /// The node's name.
    pub node: String,
    /// What the lines were made of.
    pub evidence: Evidence,
    /// Every table read, sorted by backend, family and name.
    pub tables: Vec<TableSummary>,
    /// The first violations; `violation_count` has them all.
    pub violations: Vec<Violation>,
    /// All violations, also those whose text was not kept.
    pub violation_count: u64,
    /// SHA-256 over all violating lines in order, lower-case hex; tells two sets of violations apart.
    pub violations_hash: String,
    /// SHA-256 over every line read and every set element, lower-case hex; tells two rule sets apart.
    pub ruleset_hash: String,
    /// What was not read or not understood.
    pub problems: Vec<Problem>,
    /// Rules that an eBPF program blocked; none where nobody asked.
    pub blocked: Option<Blocked>,
}

impl Report {
    /// What the violations are in words: `4 unexpected rules`, or `lines` unless all of them are known to be rules.
    pub fn unexpected(&self) -> String {
        counted(self.violation_count, self.unexpected_noun())
    }

    /// One of them: `unexpected rule` or `unexpected line`.
    pub fn unexpected_noun(&self) -> &'static str {
        let are_rules = self.violations.iter().all(|violation| violation.kind == Kind::Rule);
        let are_all = self.violations.len() as u64 == self.violation_count;
        if are_rules && are_all { "unexpected rule" } else { "unexpected line" }
    }

    /// Violations outrank problems; problems that decide outrank silence.
    pub fn verdict(&self) -> Verdict {
        if self.violation_count > 0 || !self.violations.is_empty() {
            Verdict::Violations
        } else if self.problems.iter().any(|problem| problem.reason.is_decisive()) {
            Verdict::Unknown
        } else {
            Verdict::Compliant
        }
    }
}
