//! Since when each unexpected line stands and who is said to have brought it, from check to check.
//! Bounded by the violations that are kept; asks for no time and reads nothing.

use std::collections::HashMap;
use std::time::SystemTime;

use super::report::Violation;
use crate::domain::changes::{Provenance, RuleChange, What};
use crate::domain::rules::{Backend, Family};

/// A line by its place: two equal lines of one chain came together, as far as anybody can tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Who shows it.
    pub backend: Backend,
    /// Its family.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its chain.
    pub chain: Option<String>,
    /// The line.
    pub line: Vec<u8>,
}

impl Key {
    fn of(violation: &Violation) -> Self {
        Self {
            backend: violation.backend,
            family: violation.family,
            table: violation.table.clone(),
            chain: violation.chain.clone(),
            line: violation.line.clone(),
        }
    }

    fn is_of(&self, change: &RuleChange) -> bool {
        self.line == change.line
            && self.chain == change.chain
            && self.table == change.table
            && (self.backend, self.family) == (change.backend, change.family)
    }
}

/// What is known of the violations of the last check.
#[derive(Debug, Default)]
pub struct Provenances {
    known: HashMap<Key, Provenance>,
    is_begun: bool,
}

impl Provenances {
    /// Adds to each violation what is known of it. `changes` are those that this check found, and `remembered` says what
    /// an earlier process knew of a line.
    pub fn note(
        &mut self,
        violations: &mut [Violation],
        changes: &[RuleChange],
        now: SystemTime,
        remembered: impl Fn(&Key) -> Option<Provenance>,
    ) {
        let mut known = HashMap::with_capacity(violations.len());
        for violation in violations {
            let key = Key::of(violation);
            let provenance =
                self.known.remove(&key).or_else(|| known.get(&key).cloned()).unwrap_or_else(|| {
                    let added = changes.iter().find(|change| change.what == What::Added && key.is_of(change));
                    let is_new = self.is_begun && added.is_some();
                    let earlier = if is_new { None } else { remembered(&key) };
                    earlier.unwrap_or_else(|| Provenance {
                        first_seen: now,
                        is_older: !self.is_begun,
                        authors: added.map(|change| change.authors.clone()).unwrap_or_default(),
                    })
                });
            violation.provenance = Some(provenance.clone());
            known.insert(key, provenance);
        }
        self.known = known;
        self.is_begun = true;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::changes::author::Author;
    use crate::domain::changes::judged::Judged;
    use crate::domain::rules::Kind;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn violation(line: &str) -> Violation {
        Violation {
            backend: Backend::IptablesNft,
            family: Family::Ip,
            table: "filter".into(),
            chain: Some("INPUT".into()),
            position: Some(1),
            kind: Kind::Rule,
            line: line.into(),
            suggested_pattern: None,
            provenance: None,
        }
    }

    fn added(line: &str, by: &str) -> RuleChange {
        RuleChange {
            what: What::Added,
            backend: Backend::IptablesNft,
            family: Family::Ip,
            table: "filter".into(),
            chain: Some("INPUT".into()),
            kind: Kind::Rule,
            position: Some(1),
            line: line.into(),
            judged: Judged::Unexpected,
            authors: vec![Arc::new(Author::named(7, by.as_bytes()))],
        }
    }

    fn after(
        known: &mut Provenances,
        lines: &[&str],
        changes: &[RuleChange],
        seconds: u64,
    ) -> Vec<(u64, bool, usize)> {
        let mut violations: Vec<_> = lines.iter().map(|line| violation(line)).collect();
        known.note(&mut violations, changes, at(seconds), |key| {
            (key.line == b"remembered").then(|| Provenance {
                first_seen: at(1),
                is_older: false,
                authors: Vec::new(),
            })
        });
        let shown = |violation: &Violation| {
            let provenance = violation.provenance.as_ref().unwrap();
            let since = provenance.first_seen.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            (since, provenance.is_older, provenance.authors.len())
        };
        violations.iter().map(shown).collect()
    }

    #[test]
    fn a_violation_keeps_its_beginning_until_it_is_gone() {
        let mut known = Provenances::default();
        assert_eq!(after(&mut known, &["a", "remembered"], &[], 10), [(10, true, 0), (1, false, 0)]);
        let brought = [added("b", "iptables")];
        assert_eq!(
            after(&mut known, &["a", "b", "b"], &brought, 20),
            [(10, true, 0), (20, false, 1), (20, false, 1)]
        );
        assert_eq!(after(&mut known, &["b"], &[], 30), [(20, false, 1)]);
        // gone and come again
        assert_eq!(after(&mut known, &["a"], &[added("a", "nft")], 40), [(40, false, 1)]);
        // new although nobody saw it come, as after another allowlist
        assert_eq!(after(&mut known, &["c"], &[], 50), [(50, false, 0)]);
    }

    #[test]
    fn what_an_earlier_process_knew_does_not_hide_that_a_line_came_again() {
        let mut known = Provenances::default();
        after(&mut known, &[], &[], 10);
        assert_eq!(after(&mut known, &["remembered"], &[added("remembered", "sh")], 20), [(20, false, 1)]);
    }
}
