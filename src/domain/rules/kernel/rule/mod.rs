//! One model of an iptables rule, whichever backend holds it.
//! Reads no bytes and writes no text.

pub mod made;
pub mod native;
#[cfg(test)]
mod tests;

pub use made::Made;

use super::expressions::{Expression, Log};
use super::head::Head;
use super::parts::Part;

/// What a rule asks and does.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule<'a> {
    /// What it asks of every packet.
    pub head: Condition<'a>,
    /// Its matches, in order.
    pub matches: Vec<Match<'a>>,
    /// Whether iptables-save 1.8.9 prints several of its `-m tcp` or `-m udp` as one, which says something else.
    pub has_merged_ports: bool,
    /// What it does.
    pub action: Action<'a>,
}

impl<'a> Rule<'a> {
    /// The x_tables parts that the kernel has.
    pub fn parts(&self) -> impl Iterator<Item = &Part<'a>> {
        let target = match &self.action {
            Action::Target(part) => Some(part),
            _ => None,
        };
        let matches = self.matches.iter().filter_map(|one| match one {
            Match::Part(part) => Some(part),
            _ => None,
        });
        matches.chain(target)
    }
}

/// The head of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition<'a> {
    /// One that iptables writes.
    Head(Head),
    /// Another one: `struct ipt_ip` or `struct ip6t_ip6`, whole.
    Raw(&'a [u8]),
}

/// A match.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Match<'a> {
    /// The kernel has this x_tables part.
    Part(Part<'a>),
    /// The kernel has native expressions; they ask what this x_tables part asks.
    Made(Made),
    /// Native expressions that iptables writes, and no x_tables part asks the same.
    Native(&'a [Expression<'a>]),
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action<'a> {
    /// It only counts.
    None,
    /// `-j ACCEPT` and the like.
    Verdict(Verdict),
    /// A verdict of the standard target that no option says (`NF_STOLEN`, `NF_STOP`), legacy tables only.
    RawVerdict(i32),
    /// `-j CHAIN`, `-g CHAIN`.
    Chain {
        /// Its name; untrusted.
        name: &'a [u8],
        /// `-g`: the chain's end is the end of this one.
        is_goto: bool,
    },
    /// An x_tables part that the kernel has.
    Target(Part<'a>),
    /// `-j NFLOG`, whose prefix may be longer than that of the x_tables part.
    Log(&'a Log<'a>),
    /// `-j TRACE`
    Trace,
}

/// A verdict that ends the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Verdict {
    Accept,
    Drop,
    Queue,
    Return,
}

impl Verdict {
    /// The word behind `-j`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
            Self::Queue => "QUEUE",
            Self::Return => "RETURN",
        }
    }
}

/// Why a rule is none of iptables: no iptables-nft 1.8.7 to 1.8.13 could have written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[error("{}", self.as_str())]
pub enum NotIptables {
    /// Its attributes do not follow the kernel's format.
    Malformed,
    /// The family is not ip or ip6.
    Family,
    /// iptables could not have made a chain of this name.
    Chain,
    /// It carries user data, such as the comment of a native rule.
    Userdata,
    /// An expression has attributes, registers or modes that iptables never uses.
    Form,
    /// A comparison by an operator that iptables never uses.
    Operator,
    /// Expressions are unknown, repeated, missing or in an order that iptables never writes.
    Order,
    /// A value or mask that iptables never writes.
    Value,
    /// Ports or TCP flags without the protocol they belong to.
    Protocol,
    /// A verdict that iptables never writes.
    Verdict,
    /// A name that iptables never gives.
    Text,
    /// Forms that no single version of iptables writes.
    Version,
}

impl NotIptables {
    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed expressions",
            Self::Family => "not an IPv4 or IPv6 rule",
            Self::Chain => "in a chain that iptables cannot have made",
            Self::Userdata => "carries user data",
            Self::Form => "an expression in a form iptables never uses",
            Self::Operator => "a comparison that iptables never writes",
            Self::Order => "expressions in an order iptables never writes",
            Self::Value => "a value that iptables never writes",
            Self::Protocol => "ports without their protocol",
            Self::Verdict => "a verdict iptables never writes",
            Self::Text => "a name that iptables never gives",
            Self::Version => "forms that no single version of iptables writes",
        }
    }
}
