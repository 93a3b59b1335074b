//! Which tables and chains iptables-nft could have made, and whether they are in force.
//! Looks at no rule.
//!
//! *Source*: priorities from `enum nf_ip_hook_priorities` in `include/uapi/linux/netfilter_ipv4.h` (the IPv6 ones
//! in `netfilter_ipv6.h` are equal), hooks from `enum nf_inet_hooks` in `include/uapi/linux/netfilter.h`.

use std::fmt;

use super::names::may_be_chain_name;
use super::rule::Verdict;
use crate::domain::rules::{Family, IPTABLES_TABLES};

/// A table as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The address family.
    pub family: Family,
    /// The name; bytes, since the kernel takes any.
    pub name: Vec<u8>,
    /// `NFT_TABLE_F_*` bits.
    pub flags: u32,
    /// The netlink port of the process that owns it.
    pub owner: Option<u32>,
    /// The kernel's number for it.
    pub handle: u64,
    /// How many chains, sets, objects and flowtables it holds.
    pub uses: u32,
}

/// A chain as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The address family.
    pub family: Family,
    /// The table it is in.
    pub table: Vec<u8>,
    /// The name; bytes, since the kernel takes any.
    pub name: Vec<u8>,
    /// The kernel's number for it.
    pub handle: u64,
    /// Where a base chain is attached; none for a chain that is only jumped to.
    pub hook: Option<Hook>,
    /// `filter`, `nat` or `route`; base chains only.
    pub chain_type: Option<Vec<u8>>,
    /// The verdict at its end (`NF_DROP` 0, `NF_ACCEPT` 1); base chains only.
    pub policy: Option<u32>,
    /// `NFT_CHAIN_*` bits.
    pub flags: u32,
    /// How many rules it holds plus how many rules and set elements jump to it; see [`super::expressions::References`].
    pub uses: u32,
}

/// Where a base chain is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `NF_INET_*` (or the family's own) hook number.
    pub hooknum: u32,
    /// Lower runs earlier.
    pub priority: i32,
    /// The devices of a netdev or inet ingress chain.
    pub devices: Vec<Vec<u8>>,
}

/// Why the text of a whole table says less than is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableFault {
    /// Not one of iptables' tables, so no iptables tool prints it.
    NotIptables,
    /// `flags dormant`: loaded, printed and not in force.
    Dormant,
    /// A process owns it and takes it away when it ends.
    Owned,
    /// It has a flag this program does not know.
    UnknownFlags,
}

impl TableFault {
    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotIptables => "not an iptables table",
            Self::Dormant => "dormant",
            Self::Owned => "owned by a process",
            Self::UnknownFlags => "unknown table flags",
        }
    }
}

impl fmt::Display for TableFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `NFT_TABLE_F_DORMANT`, *Source*: `enum nft_table_flags` in `include/uapi/linux/netfilter/nf_tables.h`.
const TABLE_DORMANT: u32 = 1;
/// `NFT_TABLE_F_OWNER` and `NFT_TABLE_F_PERSIST`, same source.
const TABLE_OWNED: u32 = 2 | 4;

/// Whether iptables-nft-save's text of this table is the text of a table in force.
///
/// # Errors
/// If it is another table, switched off, or owned.
pub fn check_table(family: Family, name: &[u8], flags: u32, has_owner: bool) -> Result<(), TableFault> {
    let is_known = IPTABLES_TABLES.iter().any(|table| table.as_bytes() == name);
    if !matches!(family, Family::Ip | Family::Ip6) || !is_known {
        Err(TableFault::NotIptables)
    } else if flags & TABLE_DORMANT != 0 {
        Err(TableFault::Dormant)
    } else if has_owner || flags & TABLE_OWNED != 0 {
        Err(TableFault::Owned)
    } else if flags != 0 {
        Err(TableFault::UnknownFlags)
    } else {
        Ok(())
    }
}

/// Why a chain is none that iptables-nft could have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainFault {
    /// A base chain whose hook, priority or type is not the one of its name in this table.
    ForeignHook,
    /// Named like a built-in chain, but attached to no hook: printed as if it were in force.
    Detached,
    /// A name iptables refuses, or prints ambiguously.
    Name,
    /// A flag, device or policy that iptables never sets.
    UnknownFlags,
}

impl ChainFault {
    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForeignHook => "hook, priority or type is not that of an iptables chain",
            Self::Detached => "built-in name without a hook",
            Self::Name => "name that iptables cannot have",
            Self::UnknownFlags => "flags, devices or policy that iptables never sets",
        }
    }
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a chain of an iptables table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainShape {
    /// One of the table's own chains, attached where it belongs.
    Builtin {
        /// What ends it, as the text must say too.
        policy: Verdict,
    },
    /// A chain that is only jumped to.
    User,
    /// Neither: what iptables-nft-save prints of it, if anything, is not what is in force.
    Foreign(ChainFault),
}

/// `NFT_CHAIN_BASE`, *Source*: `enum nft_chain_flags` in `include/uapi/linux/netfilter/nf_tables.h`.
const CHAIN_BASE: u32 = 1;

/// What this chain of the iptables table `table` is.
pub fn check_chain(family: Family, table: &[u8], chain: &Chain) -> ChainShape {
    match expected(family, table, &chain.name) {
        Some(place) => builtin(place, chain),
        None if chain.hook.is_some() || chain.chain_type.is_some() => {
            ChainShape::Foreign(ChainFault::ForeignHook)
        }
        None if chain.flags != 0 || chain.policy.is_some() => ChainShape::Foreign(ChainFault::UnknownFlags),
        None if !may_be_chain_name(&chain.name) => ChainShape::Foreign(ChainFault::Name),
        None => ChainShape::User,
    }
}

fn builtin((chain_type, hooknum, priority): Place, chain: &Chain) -> ChainShape {
    let Some(hook) = &chain.hook else {
        return ChainShape::Foreign(ChainFault::Detached);
    };
    let is_right = hook.hooknum == hooknum
        && hook.priority == priority
        && chain.chain_type.as_deref() == Some(chain_type.as_bytes());
    match chain.policy {
        _ if !is_right => ChainShape::Foreign(ChainFault::ForeignHook),
        _ if chain.flags & !CHAIN_BASE != 0 || !hook.devices.is_empty() => {
            ChainShape::Foreign(ChainFault::UnknownFlags)
        }
        Some(0) => ChainShape::Builtin { policy: Verdict::Drop },
        Some(1) => ChainShape::Builtin { policy: Verdict::Accept },
        _ => ChainShape::Foreign(ChainFault::UnknownFlags),
    }
}

/// Chain type, hook number, priority.
type Place = (&'static str, u32, i32);

const PREROUTING: u32 = 0;
const LOCAL_IN: u32 = 1;
const FORWARD: u32 = 2;
const LOCAL_OUT: u32 = 3;
const POSTROUTING: u32 = 4;

/// iptables-nft writes 150 here, although the kernel's `NF_IP_PRI_SECURITY` is 50.
const SECURITY_PRIORITY: i32 = 150;

/// Where iptables-nft attaches the built-in chain of this name, if the table has one.
fn expected(family: Family, table: &[u8], chain: &[u8]) -> Option<Place> {
    if !matches!(family, Family::Ip | Family::Ip6) {
        return None;
    }
    let hooknum = match chain {
        b"PREROUTING" => PREROUTING,
        b"INPUT" => LOCAL_IN,
        b"FORWARD" => FORWARD,
        b"OUTPUT" => LOCAL_OUT,
        b"POSTROUTING" => POSTROUTING,
        _ => return None,
    };
    match (table, hooknum) {
        (b"raw", PREROUTING | LOCAL_OUT) => Some(("filter", hooknum, -300)),
        (b"mangle", LOCAL_OUT) => Some(("route", hooknum, -150)),
        (b"mangle", _) => Some(("filter", hooknum, -150)),
        (b"nat", PREROUTING | LOCAL_OUT) => Some(("nat", hooknum, -100)),
        (b"nat", LOCAL_IN | POSTROUTING) => Some(("nat", hooknum, 100)),
        (b"filter", LOCAL_IN | FORWARD | LOCAL_OUT) => Some(("filter", hooknum, 0)),
        (b"security", LOCAL_IN | FORWARD | LOCAL_OUT) => Some(("filter", hooknum, SECURITY_PRIORITY)),
        _ => None,
    }
}
