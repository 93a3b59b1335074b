//! The rules that log, and which of them logged a packet.
//! Reads no line; the builder does.

use std::collections::HashMap;

use super::after::After;
use super::condition::Condition;
use super::facts::{Facts, Hook, Via};
use crate::domain::rules::{Backend, Family};

/// Rules named in an ambiguous answer.
const NAMED: usize = 3;
/// More rules with the same prefix than this are not held against the packet one by one.
const COMPARED: usize = 256;

/// A rule that logs. Its text is untrusted: escape it when shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRule {
    /// Who shows the rule.
    pub backend: Backend,
    /// The family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// 1-based number in the chain.
    pub position: u32,
    /// The line.
    pub line: Vec<u8>,
    /// Where it logs to.
    pub via: Via,
    /// Its prefix.
    pub prefix: Vec<u8>,
    /// What becomes of the packets it logs; none if that was not found out.
    pub after: Option<After>,
    pub(super) hook: Option<Hook>,
    pub(super) conditions: Vec<Condition>,
}

impl LogRule {
    /// Whether this rule may have logged a packet with these facts.
    fn may_have_logged(&self, facts: &Facts<'_>) -> bool {
        let fits_family = facts.family.is_none_or(|family| match self.family {
            Family::Inet => matches!(family, Family::Ip | Family::Ip6),
            Family::Bridge | Family::Netdev => true,
            own => own == family,
        });
        let fits_hook = self.hook.is_none_or(|hook| {
            facts.hook.is_none_or(|seen| seen == hook) && hook.is_possible(facts.in_dev, facts.out_dev)
        });
        fits_family && fits_hook && !self.conditions.iter().any(|condition| condition.excludes(facts))
    }
}

/// Which rule logged a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleMatch<'a> {
    /// This one.
    One(&'a LogRule),
    /// One of several.
    Ambiguous {
        /// How many.
        count: usize,
        /// The first of them.
        first: Vec<&'a LogRule>,
    },
    /// None that was read.
    None,
}

/// The rules that log.
#[derive(Clone, Debug, Default)]
pub struct RuleIndex {
    pub(super) rules: Vec<LogRule>,
    /// By the prefix without blanks around it: log lines lose them.
    pub(super) by_prefix: HashMap<(Via, Vec<u8>), Vec<usize>>,
    pub(super) untold: u64,
}

impl RuleIndex {
    /// Every rule that logs.
    pub fn rules(&self) -> &[LogRule] {
        &self.rules
    }

    /// Rules that log and are not listed, because there were too many.
    pub const fn untold(&self) -> u64 {
        self.untold
    }

    /// The rule that logged a packet.
    pub fn find(&self, facts: &Facts<'_>) -> RuleMatch<'_> {
        let key = (facts.via, facts.prefix.trim_ascii().to_vec());
        let candidates = self.by_prefix.get(&key).map(Vec::as_slice).unwrap_or_default();
        let candidates: Vec<&LogRule> = candidates.iter().filter_map(|&at| self.rules.get(at)).collect();
        let found = match candidates.len() {
            0..=COMPARED => narrowed(&candidates, facts),
            _ => candidates,
        };
        let untold = usize::try_from(self.untold).unwrap_or(usize::MAX);
        match found.as_slice() {
            [] if untold == 0 => RuleMatch::None,
            [rule] if untold == 0 => RuleMatch::One(rule),
            _ => RuleMatch::Ambiguous {
                count: found.len().saturating_add(untold),
                first: found.into_iter().take(NAMED).collect(),
            },
        }
    }
}

/// Those that may have logged the packet; if one has its very prefix, blanks and all, only such.
fn narrowed<'a>(candidates: &[&'a LogRule], facts: &Facts<'_>) -> Vec<&'a LogRule> {
    let fitting = candidates.iter().copied().filter(|rule| rule.may_have_logged(facts));
    let fitting: Vec<_> = fitting.collect();
    let exact: Vec<_> = fitting.iter().copied().filter(|rule| rule.prefix == facts.prefix).collect();
    if exact.is_empty() { fitting } else { exact }
}
