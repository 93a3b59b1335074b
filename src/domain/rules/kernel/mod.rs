//! For which rules of the kernel the text of iptables-nft-save may be trusted: those it could have written itself.
//! Judges no rule, and says nothing of what an untrusted rule does.
//!
//! nf_tables rules that other programs add to iptables' tables are printed with conditions missing, changed or negated,
//! and without any error. So a rule's expressions must follow a closed grammar ([`classify`]), and its table and chain
//! must be in force where iptables puts them ([`check_table`], [`check_chain`]). Verified against iptables 1.8.9 for the
//! families ip and ip6; other versions of iptables write and read some forms differently.
//!
//! A program with raw netlink access can write any form; what it writes inside the grammar means what its text says.

mod action;
pub mod attributes;
mod chains;
mod entries;
mod expression;
pub mod expressions;
mod grammar;
pub mod head;
pub mod layout;
pub mod legacy;
mod limit;
pub mod names;
pub mod parts;
pub mod rule;
mod state;
mod xt;

use std::collections::BTreeMap;

pub use action::{ActionHash, action_of_text};
pub use chains::{
    Chain, ChainFault, ChainShape, Hook, Policy, Table, TableFault, check_chain, check_table, is_chain_name,
};
pub use entries::{Entries, Hooks, Misprint, check_entries};
pub use state::clear_state;
pub use xt::is_set_name;

use super::Family;

/// Names of ipsets by their index in the kernel.
pub type Ipsets = BTreeMap<u16, Vec<u8>>;

/// Whether the printed text of a rule says what the rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// iptables-nft writes this rule, and prints it as it is.
    Iptables {
        /// What the printed line must show after `-j` or `-g`.
        action: ActionHash,
    },
    /// The text may say anything.
    Untrusted {
        /// Why.
        reason: Untrusted,
        /// Whether it has an x_tables part, which no native tool can show in full.
        has_xt: bool,
    },
}

/// Why a rule's text may say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[error("{}", self.as_str())]
pub enum Untrusted {
    /// Its attributes do not follow the kernel's format.
    Malformed,
    /// The family is not ip or ip6.
    Family,
    /// It carries user data, such as the comment of a native rule.
    Userdata,
    /// It has an expression that iptables never uses.
    UnknownExpression,
    /// An expression has attributes, registers or modes that iptables never uses.
    ExpressionForm,
    /// A comparison by an operator that the text does not show.
    Operator,
    /// Expressions are repeated, missing or in an order that iptables never writes.
    Order,
    /// A value or mask that is printed as another one.
    Value,
    /// Ports or TCP flags without the protocol they belong to.
    Protocol,
    /// Several `-m tcp` or `-m udp`, which are printed as one.
    Merged,
    /// A verdict that iptables never writes.
    Verdict,
    /// A name or text that is printed ambiguously.
    Text,
    /// An x_tables extension, or a revision of one, whose printing was not verified.
    UnknownExtension,
    /// An x_tables extension with a value of which the text shows nothing, or something else.
    ExtensionValue,
}

impl Untrusted {
    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed expressions",
            Self::Family => "not an IPv4 or IPv6 rule",
            Self::Userdata => "carries user data",
            Self::UnknownExpression => "an expression iptables never uses",
            Self::ExpressionForm => "an expression in a form iptables never uses",
            Self::Operator => "a comparison that iptables cannot print",
            Self::Order => "expressions in an order iptables never writes",
            Self::Value => "a value that iptables prints as another",
            Self::Protocol => "ports without their protocol",
            Self::Merged => "several port matches that iptables prints as one",
            Self::Verdict => "a verdict iptables never writes",
            Self::Text => "a name or text that is printed ambiguously",
            Self::UnknownExtension => "an extension whose printing was not verified",
            Self::ExtensionValue => "an extension with values that are not printed",
        }
    }
}

/// How many jumps and gotos a rule has.
///
/// A dump leaves out, without an error, a rule that does not fit one message (32 KiB; some fifteen `-m u32` are enough)
/// and every rule behind it in its chain. The kernel's own count tells: over all chains of a table, the sum of
/// [`Chain::uses`] is the number of rules, plus that of their jumps, plus that of verdict-map elements that jump.
/// While a transaction is under way or only checked (`nft -c`), the count may be higher for a moment.
pub fn jumps(expressions: &[u8]) -> u32 {
    expression::Expressions::new(expressions).jumps()
}

/// Whether a rule's text shows names of ipsets, which are not in the rule: each must be a [`is_set_name`].
pub fn has_ipset(expressions: &[u8]) -> bool {
    expression::Expressions::new(expressions).has_ipset()
}

/// Whether iptables-nft could have written this rule: `expressions` is the value of `NFTA_RULE_EXPRESSIONS`,
/// `userdata` that of `NFTA_RULE_USERDATA`.
pub fn classify(family: Family, userdata: Option<&[u8]>, expressions: &[u8]) -> Shape {
    let parsed = match (family, userdata) {
        (Family::Ip | Family::Ip6, None) => grammar::parse(family, expressions),
        (Family::Ip | Family::Ip6, Some(_)) => Err(Untrusted::Userdata),
        _ => Err(Untrusted::Family),
    };
    match parsed {
        Ok(action) => Shape::Iptables { action },
        Err(reason) => {
            Shape::Untrusted { reason, has_xt: expression::Expressions::new(expressions).has_xt() }
        }
    }
}
