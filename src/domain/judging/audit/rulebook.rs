//! The allowlists of both families, and what they say of a line.
//! Keeps nothing of what it judges.

use std::sync::Arc;

use super::record::Judgement;
use crate::domain::judging::allowlist::{Allowlist, is_of_elements};
use crate::domain::rules::text::hook;
use crate::domain::rules::{Backend, Entry, Family, Kind, Problem};

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

    /// Whether every line is judged as by the other: they share their allowlists.
    pub fn judges_as(&self, other: &Self) -> bool {
        let is_same = |one: &InForce, two: &InForce| {
            one.is_missing == two.is_missing && Arc::ptr_eq(&one.patterns, &two.patterns)
        };
        let is_same_ipv6 = match (&self.ipv6, &other.ipv6) {
            (Ipv6::Checked(one), Ipv6::Checked(two)) => is_same(one, two),
            (Ipv6::Unchecked, Ipv6::Unchecked) | (Ipv6::Excluded, Ipv6::Excluded) => true,
            _ => false,
        };
        is_same(&self.ipv4, &other.ipv4) && is_same_ipv6
    }

    /// The allowlists that may allow a line; none for IPv6 where nobody said what is allowed.
    pub fn judging(&self, backend: Backend, family: Family) -> Vec<&InForce> {
        match (backend, family, &self.ipv6) {
            (Backend::Nftables | Backend::Netfilter, Family::Ip6, Ipv6::Checked(ipv6)) => {
                vec![ipv6, &self.ipv4]
            }
            (_, Family::Ip6, Ipv6::Checked(ipv6)) => vec![ipv6],
            (Backend::Nftables | Backend::Netfilter, ..) | (_, Family::Arp, _) => vec![&self.ipv4],
            (_, Family::Ip6, _) => Vec::new(),
            _ => vec![&self.ipv4],
        }
    }

    /// Whether a line is judged, by whoever asks: check, history and `why`. The content of a set is only where an allowlist
    /// [asks for it](crate::domain::judging::allowlist::Allowlist::judges_elements); functions of the kernel that are known are
    /// not.
    pub fn is_judged(&self, backend: Backend, family: Family, line: &[u8]) -> bool {
        match backend {
            Backend::Nftables | Backend::Netfilter if hook::is_of_known(line) => false,
            Backend::Nftables if is_of_elements(line) => {
                self.judging(backend, family).iter().any(|list| list.patterns.judges_elements(line))
            }
            _ => true,
        }
    }

    /// Judges one line, for whoever asks: check, history and `why`.
    pub fn judge(&self, backend: Backend, family: Family, entry: &Entry<'_>) -> Judgement {
        if !self.is_judged(backend, family, entry.line) {
            return Judgement::Unjudged;
        }
        match (backend, family, &self.ipv6) {
            (Backend::Nftables | Backend::Netfilter, Family::Ip6, Ipv6::Checked(ipv6)) => {
                judge_native(&[ipv6, &self.ipv4], entry)
            }
            // lines of arptables-legacy are native ones, too: no pattern for iptables allows them
            (Backend::Nftables | Backend::Netfilter, ..) | (_, Family::Arp, _) => {
                judge_native(&[&self.ipv4], entry)
            }
            (_, Family::Ip6, Ipv6::Checked(ipv6)) => judge_iptables(ipv6, entry),
            (_, Family::Ip6, _) if entry.kind == Kind::Chain || is_accept_policy(entry) => {
                Judgement::Unjudged
            }
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
