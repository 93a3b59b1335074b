//! Which rule logged a packet: an index of the rules that log, by where they log to and their prefix.
//! Says so when several may have; never guesses. What becomes of the packet is read from the rules behind it.
//!
//! Rules of other network namespaces (containers with a firewall of their own) are not among the lines, and their
//! packets may be in the same log: a match is the one rule of *this* firewall that may have logged the packet.

mod builder;
mod condition;
pub(super) mod statement;

use std::collections::HashMap;
use std::net::IpAddr;

pub use builder::Builder;
use condition::Condition;

use crate::domain::rules::{Backend, Family};

/// Rules named in an ambiguous answer.
const NAMED: usize = 3;
/// More rules with the same prefix than this are not held against the packet one by one.
const COMPARED: usize = 256;

/// How a packet reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// As a line of the kernel's log.
    Log,
    /// As a message of this NFLOG group.
    Nflog(u16),
}

/// Where a rule stands in the path of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

impl Hook {
    /// The hook with this `NF_INET_*` number, as NFLOG has it; only IPv4, IPv6 and bridges number them so.
    pub const fn from_number(family: Family, number: u8) -> Option<Self> {
        match (family, number) {
            (Family::Arp | Family::Netdev, _) => None,
            (_, 0) => Some(Self::Prerouting),
            (_, 1) => Some(Self::Input),
            (_, 2) => Some(Self::Forward),
            (_, 3) => Some(Self::Output),
            (_, 4) => Some(Self::Postrouting),
            _ => None,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "PREROUTING" | "prerouting" => Self::Prerouting,
            "INPUT" | "input" => Self::Input,
            "FORWARD" | "forward" => Self::Forward,
            "OUTPUT" | "output" => Self::Output,
            "POSTROUTING" | "postrouting" => Self::Postrouting,
            _ => return None,
        })
    }

    /// Whether a packet with these devices can be here; what is not known is possible.
    fn is_possible(self, in_dev: Option<&[u8]>, out_dev: Option<&[u8]>) -> bool {
        let has = |dev: Option<&[u8]>| dev.is_none_or(|name| !name.is_empty());
        let lacks = |dev: Option<&[u8]>| dev.is_none_or(<[u8]>::is_empty);
        match self {
            Self::Prerouting | Self::Input => has(in_dev) && lacks(out_dev),
            Self::Forward => has(in_dev) && has(out_dev),
            Self::Output => lacks(in_dev) && has(out_dev),
            Self::Postrouting => has(out_dev),
        }
    }
}

/// What is known of a logged packet. What is not known excludes no rule.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// How it came.
    pub via: Via,
    /// The text before `IN=`, or NFLOG's prefix.
    pub prefix: &'a [u8],
    /// `Ip`, `Ip6`, `Arp` or `Bridge`.
    pub family: Option<Family>,
    /// The hook, as NFLOG tells it.
    pub hook: Option<Hook>,
    /// Where it came in; empty if it certainly came from this node.
    pub in_dev: Option<&'a [u8]>,
    /// Where it goes out; empty if it certainly does not yet.
    pub out_dev: Option<&'a [u8]>,
    /// Its source.
    pub source: Option<IpAddr>,
    /// Its destination.
    pub destination: Option<IpAddr>,
    /// Its protocol's number.
    pub protocol: Option<u8>,
    /// Its source port.
    pub source_port: Option<u16>,
    /// Its destination port.
    pub destination_port: Option<u16>,
}

impl<'a> Facts<'a> {
    /// A packet of which only this is known.
    pub const fn new(via: Via, prefix: &'a [u8]) -> Self {
        Self {
            via,
            prefix,
            family: None,
            hook: None,
            in_dev: None,
            out_dev: None,
            source: None,
            destination: None,
            protocol: None,
            source_port: None,
            destination_port: None,
        }
    }
}

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It is discarded without a word.
    Drop,
    /// It is discarded, and its sender is told.
    Reject,
    /// The chain that jumped here goes on.
    Return,
    /// This chain decides.
    Elsewhere(String),
}

impl Verdict {
    /// The word for it; another chain's is `jump`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Return => "return",
            Self::Elsewhere(_) => "jump",
        }
    }
}

/// Who decides about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The rule that logs it.
    Itself,
    /// The rule with this number in the same chain.
    Rule(u32),
    /// The chain's policy.
    Policy,
    /// Nobody here: the chain ends.
    End,
}

/// What becomes of a packet after it was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// What happens to it.
    pub verdict: Verdict,
    /// Who says so.
    pub by: By,
    /// No rule between may have decided otherwise.
    pub is_certain: bool,
}

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
    hook: Option<Hook>,
    conditions: Vec<Condition>,
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
    rules: Vec<LogRule>,
    /// By the prefix without blanks around it: log lines lose them.
    by_prefix: HashMap<(Via, Vec<u8>), Vec<usize>>,
    untold: u64,
}

impl RuleIndex {
    /// An index to be fed with the lines of a scan.
    pub fn builder() -> Builder {
        Builder::default()
    }

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

#[cfg(test)]
mod tests;
