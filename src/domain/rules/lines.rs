//! What live reading calls: bytes of the kernel in, lines out.
//! Reads no socket and judges nothing.
//!
//! - A rule of a chain of iptables' tables in nf_tables: [`write_rule`]. It is written if some iptables-nft 1.8.7 to 1.8.13
//!   could have written it; if not, its line is a native one, which is not written here.
//! - A legacy table, from one answer of `IPT_SO_GET_INFO` and one of `IPT_SO_GET_ENTRIES`: [`read_legacy`].
//! - What of a legacy table is no state, to tell whether it changed: [`stable`].

use std::ops::Range;

use super::kernel::expressions::{self, Expression, References};
pub use super::kernel::legacy::{Chains, Fault, Hooks, Item, Table, stable};
use super::kernel::names::may_be_chain_name;
use super::kernel::parts::{Part, hides_program};
use super::kernel::rule::{NotIptables, native};
use super::kernel::{Ipsets, legacy};
use super::text;
use super::text::line::Line;
use crate::domain::rules::{Family, Kind};

/// Where a rule of nf_tables stands, and what its text depends on beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The table's family.
    pub family: Family,
    /// The chain's name.
    pub chain: &'a [u8],
    /// Names of ipsets by their index in the kernel.
    pub ipsets: &'a Ipsets,
}

/// Whether a rule was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The line is `-A CHAIN …`.
    Iptables,
    /// The line is untouched: no iptables could have written the rule.
    Native(NotIptables),
}

/// A rule that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleRead {
    /// Whether it was written.
    pub written: Written,
    /// What it names: for the use counts of chains, and for ipsets that must be asked for.
    pub references: References,
}

/// Writes a rule: `expressions` is the value of `NFTA_RULE_EXPRESSIONS`, `userdata` that of `NFTA_RULE_USERDATA`.
pub fn write_rule(
    place: Place<'_>,
    expressions: &[u8],
    userdata: Option<&[u8]>,
    line: &mut Line,
) -> RuleRead {
    let Ok(expressions) = expressions::decode(expressions) else {
        let written = Written::Native(NotIptables::Malformed);
        return RuleRead { written, references: References::default() };
    };
    let written = match write(place, &expressions, userdata, line) {
        Ok(()) => Written::Iptables,
        Err(reason) => Written::Native(reason),
    };
    RuleRead { written, references: expressions::references(&expressions) }
}

fn write(
    place: Place<'_>,
    expressions: &[Expression<'_>],
    userdata: Option<&[u8]>,
    line: &mut Line,
) -> Result<(), NotIptables> {
    let Place { family, chain, ipsets } = place;
    if !matches!(family, Family::Ip | Family::Ip6) {
        return Err(NotIptables::Family);
    }
    if !may_be_chain_name(chain) {
        return Err(NotIptables::Chain);
    }
    if userdata.is_some() {
        return Err(NotIptables::Userdata);
    }
    let rule = native::read(family, expressions)?;
    text::rule::rule(chain, &rule, family, ipsets, line);
    Ok(())
}

/// A line of a legacy table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyLine<'a> {
    /// [`Kind::Policy`], [`Kind::Chain`] or [`Kind::Rule`].
    pub kind: Kind,
    /// The chain; untrusted.
    pub chain: &'a [u8],
    /// The rule's number in its chain, 1-based; none for the chain itself.
    pub position: Option<u32>,
    /// The line.
    pub line: &'a [u8],
}

/// What was found in a legacy table beside its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableRead {
    /// Whether an x_tables part names ipsets, by their index.
    pub names_ipset: bool,
    /// The first rule with an x_tables part that runs a program that nothing shows: its chain and number.
    pub hides_program: Option<(Vec<u8>, u32)>,
}

impl TableRead {
    /// What was found in these chains and in others.
    pub fn and(self, other: Self) -> Self {
        Self {
            names_ipset: self.names_ipset | other.names_ipset,
            hides_program: self.hides_program.or(other.hides_program),
        }
    }
}

/// Hands over every line of a legacy table.
///
/// # Errors
/// If the table's structure is broken, which its text would not say. Lines may have been handed over before.
pub fn read_legacy(
    table: &Table<'_>,
    ipsets: &Ipsets,
    take: impl FnMut(LegacyLine<'_>),
) -> Result<TableRead, Fault> {
    let chains = Chains::of(table)?;
    read_legacy_chains(table, &chains, 0..chains.count(), ipsets, take)
}

/// Hands over every line of some chains: each chain, and behind it its rules. Those of arp are native lines, as of
/// arptables-nft, and a chain that is only jumped to has none.
///
/// # Errors
/// As [`read_legacy`].
pub fn read_legacy_chains(
    table: &Table<'_>,
    chains: &Chains<'_>,
    which: Range<usize>,
    ipsets: &Ipsets,
    mut take: impl FnMut(LegacyLine<'_>),
) -> Result<TableRead, Fault> {
    let mut line = Line::default();
    let mut found = TableRead::default();
    let is_arp = table.family == Family::Arp;
    legacy::read(table, chains, which, |item| {
        line.truncate(0);
        let (kind, chain, position) = match item {
            Item::Policy { chain, policy } if is_arp => {
                text::arp::policy(table.name, chain, policy, &mut line);
                (Kind::Chain, chain.as_bytes(), None)
            }
            Item::Policy { chain, policy } => {
                text::rule::policy(chain, policy, &mut line);
                (Kind::Policy, chain.as_bytes(), None)
            }
            Item::Chain { .. } if is_arp => return,
            Item::Chain { chain } => {
                text::rule::declaration(chain, &mut line);
                (Kind::Chain, chain, None)
            }
            Item::Rule { chain, position, rule } => {
                found.names_ipset |= rule.parts().any(|part| expressions::is_ipset(part.name));
                let hides = |part: &Part<'_>| hides_program(part.name, part.revision.into(), part.info);
                if found.hides_program.is_none() && rule.parts().any(hides) {
                    found.hides_program = Some((chain.to_vec(), position));
                }
                if is_arp {
                    text::arp::rule(table.name, chain, &rule, ipsets, &mut line);
                } else {
                    text::rule::rule(chain, &rule, table.family, ipsets, &mut line);
                }
                (Kind::Rule, chain, Some(position))
            }
        };
        take(LegacyLine { kind, chain, position, line: line.as_bytes() });
    })?;
    Ok(found)
}
