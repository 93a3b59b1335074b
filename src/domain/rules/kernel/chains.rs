//! Which tables and chains iptables-nft could have made, and whether they are in force.
//! Looks at no rule.
//!
//! *Source*: priorities from `enum nf_ip_hook_priorities` in `include/uapi/linux/netfilter_ipv4.h` (the IPv6 ones
//! in `netfilter_ipv6.h` are equal), hooks from `enum nf_inet_hooks` in `include/uapi/linux/netfilter.h`.

use std::fmt;

use super::attributes::{Attribute, Attributes, Malformed};
use super::expressions::form::{self, NO_PAD, Text, expression};
use super::names::may_be_chain_name;
use super::rule::Verdict;
use super::taken::{Raw, Taken};
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
    /// Attributes that are none of these, nor user data.
    pub rest: Vec<Raw>,
}

impl Table {
    /// Reads the attributes of `NFT_MSG_NEWTABLE`.
    ///
    /// # Errors
    /// If one that every table has is missing, or if they do not divide into attributes.
    pub fn decode(family: Family, attributes: &[u8]) -> Result<Self, Malformed> {
        // `NFTA_TABLE_PAD`, `_USERDATA`
        const NO_TEXT: [u16; 2] = [5, 6];
        let mut taken = Taken::new(attributes)?;
        taken.ignore(&NO_TEXT);
        Ok(Self {
            family,
            name: taken.take::<Text<'_>>(1).ok_or(Malformed)?.0.to_vec(),
            flags: taken.take(2).ok_or(Malformed)?,
            uses: taken.take(3).ok_or(Malformed)?,
            handle: taken.take(4).ok_or(Malformed)?,
            owner: taken.take(7),
            rest: taken.rest(),
        })
    }
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
    /// Attributes that are none of these, nor user data.
    pub rest: Vec<Raw>,
}

impl Chain {
    /// Reads the attributes of `NFT_MSG_NEWCHAIN`.
    ///
    /// # Errors
    /// If one that every chain has is missing, or if they do not divide into attributes.
    pub fn decode(family: Family, attributes: &[u8]) -> Result<Self, Malformed> {
        // `NFTA_CHAIN_COUNTERS`, `_PAD`, `_ID`, `_USERDATA`
        const NO_TEXT: [u16; 4] = [8, 9, 11, 12];
        let mut taken = Taken::new(attributes)?;
        taken.ignore(&NO_TEXT);
        Ok(Self {
            family,
            table: taken.take::<Text<'_>>(1).ok_or(Malformed)?.0.to_vec(),
            handle: taken.take(2).ok_or(Malformed)?,
            name: taken.take::<Text<'_>>(3).ok_or(Malformed)?.0.to_vec(),
            hook: taken.take_if(4, Hook::decode),
            policy: taken.take(5),
            uses: taken.take(6).ok_or(Malformed)?,
            chain_type: taken.take::<Text<'_>>(7).map(|kind| kind.0.to_vec()),
            flags: taken.take(10).unwrap_or(0),
            rest: taken.rest(),
        })
    }
}

impl Chain {
    /// Whether it belongs to the rule that jumps to it, which nft(8) writes as `jump { … }` (`NFT_CHAIN_BINDING`).
    pub const fn is_bound(&self) -> bool {
        const BINDING: u32 = 4;
        self.flags & BINDING != 0
    }
}

/// Where a base chain is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `NF_INET_*` (or the family's own) hook number.
    pub hooknum: u32,
    /// Lower runs earlier.
    pub priority: i32,
    /// The devices of a netdev or inet ingress chain, in order, each once.
    pub devices: Vec<Vec<u8>>,
    /// With what the names of more of its devices begin (since Linux 6.16).
    pub prefixes: Vec<Vec<u8>>,
}

expression! {
    /// `NFTA_HOOK_*`, and `NFTA_FLOWTABLE_HOOK_*` where there is no `DEV` and `DEVS` is 3.
    HookForm<'a>[5, NO_PAD] {
        number: u32 = 1,
        priority: u32 = 2,
        device: Option<Text<'a>> = 3,
        devices: Option<&'a [u8]> = 4,
    }
}

impl Hook {
    /// Reads the value of `NFTA_CHAIN_HOOK`; none if that holds more than a hook.
    fn decode(value: &[u8]) -> Option<Self> {
        let HookForm { number, priority, device, devices } = form::decode(value, &mut Vec::new())?;
        let mut hook = Self::of_devices(number, priority, devices)?;
        // the kernel names a single device twice
        hook.devices.extend(device.map(|device| device.0.to_vec()));
        hook.devices.sort();
        hook.devices.dedup();
        Some(hook)
    }

    /// A hook on the devices in the value of `NFTA_HOOK_DEVS` or `NFTA_FLOWTABLE_HOOK_DEVS`.
    pub(super) fn of_devices(hooknum: u32, priority: u32, list: Option<&[u8]>) -> Option<Self> {
        /// `NFTA_DEVICE_NAME`, `NFTA_DEVICE_PREFIX`.
        const NAME: u16 = 1;
        const PREFIX: u16 = 2;
        let mut hook =
            Self { hooknum, priority: priority.cast_signed(), devices: Vec::new(), prefixes: Vec::new() };
        for device in Attributes::new(list.unwrap_or_default()) {
            let Attribute { kind, value } = device.ok()?;
            match (kind, value.strip_suffix(&[0])) {
                (NAME, Some(name)) => hook.devices.push(name.to_vec()),
                // Linux 6.16 alone tells the two apart by the NUL
                (PREFIX, Some(prefix)) => hook.prefixes.push(prefix.to_vec()),
                (NAME, None) => hook.prefixes.push(value.to_vec()),
                _ => return None,
            }
        }
        for names in [&mut hook.devices, &mut hook.prefixes] {
            names.sort();
            names.dedup();
        }
        Some(hook)
    }
}

/// Why the text of a whole table says less than is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableFault {
    /// Not one of iptables' tables, so no iptables tool prints it.
    NotIptables,
    /// `flags dormant`: loaded, printed and not in force.
    Dormant,
    /// It has a flag this program does not know.
    UnknownFlags,
}

impl TableFault {
    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotIptables => "not an iptables table",
            Self::Dormant => "dormant",
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
/// `NFT_TABLE_F_OWNER` and `NFT_TABLE_F_PERSIST`, same source: who owns a table decides nothing about packets.
const TABLE_OWNED: u32 = 2 | 4;

/// Whether this is one of iptables' tables, and in force.
///
/// # Errors
/// If it is another table, switched off, or has a flag that is not known.
pub fn check_table(family: Family, name: &[u8], flags: u32) -> Result<(), TableFault> {
    let is_known = IPTABLES_TABLES.iter().any(|table| table.as_bytes() == name);
    if !matches!(family, Family::Ip | Family::Ip6) || !is_known {
        Err(TableFault::NotIptables)
    } else if flags & TABLE_DORMANT != 0 {
        Err(TableFault::Dormant)
    } else if flags & !TABLE_OWNED != 0 {
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
        None if chain.flags != 0 || chain.policy.is_some() || !chain.rest.is_empty() => {
            ChainShape::Foreign(ChainFault::UnknownFlags)
        }
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
        _ if chain.flags & !CHAIN_BASE != 0 || !hook.devices.is_empty() || !hook.prefixes.is_empty() => {
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
