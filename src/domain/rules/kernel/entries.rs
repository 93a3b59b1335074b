//! The entries of a legacy (x_tables) table: how many there are, and which of them the text misrepresents.
//! Trusts what iptables-legacy itself writes; renders nothing.
//!
//! iptables-legacy prints interface and list names raw: a rule with the interface `lo -p tcp` reads as another rule. So
//! the kernel's own entries are looked through for names and values that their text does not show as they are.
//!
//! *Source*: `struct ipt_entry`, `struct ip6t_entry` (`netfilter_ipv4/ip_tables.h`, `netfilter_ipv6/ip6_tables.h`) and
//! `struct xt_entry_match`, `struct xt_entry_target` (`netfilter/x_tables.h`) in the layout of 64-bit kernels.

use super::expression::{Extension, is_ipset_extension};
use super::xt::info::Info;
use super::{Untrusted, is_chain_name, limit, xt};
use crate::domain::rules::Family;

/// Where the fields of an entry stand, in bytes.
pub(super) struct Layout {
    addresses: usize,
    address_len: usize,
    interfaces: usize,
    protocol: usize,
    flags: usize,
    inverse: usize,
    pub(super) target_offset: usize,
    pub(super) head: usize,
}

impl Layout {
    pub(super) const fn of(family: Family) -> &'static Self {
        if matches!(family, Family::Ip6) { &IP6 } else { &IP }
    }
}

const IP: Layout = Layout {
    addresses: 0,
    address_len: 4,
    interfaces: 16,
    protocol: 80,
    flags: 82,
    inverse: 83,
    target_offset: 88,
    head: 112,
};
const IP6: Layout = Layout {
    addresses: 0,
    address_len: 16,
    interfaces: 64,
    protocol: 128,
    flags: 131,
    inverse: 132,
    target_offset: 140,
    head: 168,
};

/// The names of the five hooks' chains, in the order of `NF_INET_*`.
const BUILT_IN: [&[u8]; 5] = [b"PREROUTING", b"INPUT", b"FORWARD", b"OUTPUT", b"POSTROUTING"];
/// `XT_ERROR_TARGET`: begins a user chain with its name, and ends the table.
const ERROR: &[u8] = b"ERROR";
/// Verdicts of the standard target: `-NF_DROP - 1`, `-NF_ACCEPT - 1`, `-NF_QUEUE - 1`, `XT_RETURN`.
const VERDICTS: [i32; 4] = [-1, -2, -4, RETURN];
const RETURN: i32 = -5;

/// The hooks of a table: offsets into its entries, for each hook that `valid` names by bit.
#[derive(Clone, Copy, Debug)]
pub struct Hooks<'a> {
    /// Bit `1 << hook` for each hook with a chain.
    pub valid: u32,
    /// The first entry of each hook's chain.
    pub entry: &'a [u32; 5],
    /// The entry with each hook's policy.
    pub underflow: &'a [u32; 5],
}

impl Hooks<'_> {
    fn at(&self, offsets: &[u32; 5], offset: usize) -> Option<usize> {
        let is_here = |(hook, at): (usize, &u32)| self.valid & (1 << hook) != 0 && *at as usize == offset;
        offsets.iter().enumerate().position(is_here)
    }
}

/// An entry whose text says something else, or a name that makes text ambiguous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misprint {
    /// The chain it is in.
    pub chain: Vec<u8>,
    /// Its number in the chain, 1-based; none for the chain itself.
    pub position: Option<u32>,
    /// Why its text may say anything.
    pub reason: Untrusted,
}

/// What a look through a table's entries found beside misprints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// How many entries there are.
    pub count: u32,
    /// Whether one shows names of ipsets, which are not in it: each must be a [`super::is_set_name`].
    pub has_ipset: bool,
}

/// Looks through a table's entries and says how many there are.
///
/// The text leaves out the last entry of every chain: that of a user chain must be a plain return, that of a built-in
/// chain the policy. A jump is printed with the name of the chain it leads into, so it must lead to a chain's beginning.
///
/// # Errors
/// [`Untrusted::Malformed`] if the entries do not follow the kernel's format.
pub fn check_entries(
    family: Family,
    hooks: Hooks<'_>,
    entries: &[u8],
    mut misprint: impl FnMut(Misprint),
) -> Result<Entries, Untrusted> {
    let layout = Layout::of(family);
    let starts = chain_starts(layout, entries)?;
    let mut chain: Vec<u8> = Vec::new();
    let mut found = Entries::default();
    let (mut position, mut offset) = (0u32, 0usize);
    while offset < entries.len() {
        let entry = Entry::parse(layout, entries, offset).ok_or(Untrusted::Malformed)?;
        let next = offset + entry.bytes.len();
        if let Some(hook) = hooks.at(hooks.entry, offset) {
            chain = BUILT_IN.get(hook).copied().unwrap_or_default().to_vec();
            position = 0;
        }
        if let Some(name) = entry.error_name() {
            chain = name.to_vec();
            position = 0;
            let is_end = name == ERROR && next == entries.len();
            if !is_end && !is_chain_name(name) {
                misprint(Misprint { chain: chain.clone(), position: None, reason: Untrusted::Text });
            }
        } else {
            position += 1;
            found.has_ipset |= entry.has_ipset();
            let is_last = starts.is_boundary(next) || hooks.at(hooks.entry, next).is_some();
            let is_policy = hooks.at(hooks.underflow, offset).is_some();
            let is_built_in = BUILT_IN.contains(&chain.as_slice());
            let checked = match (is_last, is_policy) {
                (true, true) => Ok(()),
                (true, false) if !is_built_in && entry.is_plain_return() => Ok(()),
                (false, false) => entry.check(family, next, &starts),
                _ => Err(Untrusted::Order),
            };
            if let Err(reason) = checked {
                misprint(Misprint { chain: chain.clone(), position: Some(position), reason });
            }
        }
        found.count += 1;
        offset = next;
    }
    Ok(found)
}

/// Where user chains stand: their heads, and the first entry behind each head; both ascend.
struct Starts {
    heads: Vec<usize>,
    firsts: Vec<usize>,
    end: usize,
}

impl Starts {
    /// Whether a chain ends before this offset: another's head, or the table's end, stands there.
    fn is_boundary(&self, offset: usize) -> bool {
        offset >= self.end || self.heads.binary_search(&offset).is_ok()
    }

    fn is_first(&self, offset: usize) -> bool {
        self.firsts.binary_search(&offset).is_ok()
    }
}

fn chain_starts(layout: &'static Layout, entries: &[u8]) -> Result<Starts, Untrusted> {
    let mut starts = Starts { heads: Vec::new(), firsts: Vec::new(), end: entries.len() };
    let mut offset = 0;
    while offset < entries.len() {
        let entry = Entry::parse(layout, entries, offset).ok_or(Untrusted::Malformed)?;
        let next = offset + entry.bytes.len();
        if entry.error_name().is_some() {
            starts.heads.push(offset);
            starts.firsts.push(next);
        }
        offset = next;
    }
    Ok(starts)
}

struct Entry<'a> {
    layout: &'static Layout,
    bytes: &'a [u8],
    /// Matches, each with its head.
    matches: &'a [u8],
    target: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(layout: &'static Layout, entries: &'a [u8], offset: usize) -> Option<Self> {
        let rest = entries.get(offset..)?;
        let word = |at: usize| -> Option<usize> {
            Some(u16::from_ne_bytes(rest.get(at..at + 2)?.try_into().ok()?).into())
        };
        let (target_offset, next_offset) = (word(layout.target_offset)?, word(layout.target_offset + 2)?);
        let bytes = rest.get(..next_offset)?;
        let matches = bytes.get(layout.head..target_offset)?;
        let target = bytes.get(target_offset..)?;
        (target.len() >= EXTENSION_HEAD).then_some(Self { layout, bytes, matches, target })
    }

    /// The name of the chain that this entry begins, or of the table's end.
    fn error_name(&self) -> Option<&'a [u8]> {
        let (target, _) = split_extension(self.target)?;
        let name = target.info.split(|&byte| byte == 0).next()?;
        (target.name == ERROR).then_some(name)
    }

    /// The verdict or jump of the standard target.
    fn standard(&self) -> Option<i32> {
        let (target, _) = split_extension(self.target).filter(|(target, _)| target.name.is_empty())?;
        Some(i32::from_ne_bytes(target.info.get(..4)?.try_into().ok()?))
    }

    /// Whether this is `-j RETURN` for every packet.
    fn is_plain_return(&self) -> bool {
        let conditions = self.bytes.get(..self.layout.inverse + 1).unwrap_or_default();
        self.matches.is_empty() && conditions.iter().all(|&byte| byte == 0) && self.standard() == Some(RETURN)
    }

    fn has_ipset(&self) -> bool {
        let mut rest = self.matches;
        while let Some((extension, tail)) = split_extension(rest) {
            if is_ipset_extension(extension.name) {
                return true;
            }
            rest = tail;
        }
        split_extension(self.target).is_some_and(|(target, _)| is_ipset_extension(target.name))
    }

    fn check(&self, family: Family, next: usize, starts: &Starts) -> Result<(), Untrusted> {
        self.check_head(family)?;
        let mut rest = self.matches;
        while !rest.is_empty() {
            let (extension, tail) = split_extension(rest).ok_or(Untrusted::Malformed)?;
            check(legacy_match(family, extension), || xt::check_match(family, extension))?;
            rest = tail;
        }
        let (target, tail) = split_extension(self.target).ok_or(Untrusted::Malformed)?;
        if !tail.is_empty() {
            return Err(Untrusted::Malformed);
        }
        let is_goto = self.byte(self.layout.flags) & self.goto_flag(family) != 0;
        match self.standard() {
            Some(verdict) if VERDICTS.contains(&verdict) && !is_goto => Ok(()),
            Some(to) if usize::try_from(to).is_ok_and(|to| to == next) && !is_goto => Ok(()),
            Some(to) if usize::try_from(to).is_ok_and(|to| starts.is_first(to)) => Ok(()),
            Some(_) => Err(Untrusted::Verdict),
            None if is_goto => Err(Untrusted::Verdict),
            None => check(legacy_target(family, target), || xt::check_target(family, target).map(drop)),
        }
    }

    /// `IPT_F_GOTO`, `IP6T_F_GOTO`.
    fn goto_flag(&self, family: Family) -> u8 {
        if family == Family::Ip6 { 4 } else { 2 }
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    /// Addresses, interfaces, protocol and their inversions: each bit must belong to something that is printed.
    fn check_head(&self, family: Family) -> Result<(), Untrusted> {
        const FRAG_OR_PROTO: u8 = 1;
        let head = Info::new(family, self.bytes.get(..self.layout.head).unwrap_or_default());
        let (at, is_ip6) = (self.layout.interfaces, family == Family::Ip6);
        if !head.interface(at, at + 32) || !head.interface(at + 16, at + 48) {
            return Err(Untrusted::Text);
        }
        let (flags, inverse) = (self.byte(self.layout.flags), self.byte(self.layout.inverse));
        let has_protocol = head.u16(self.layout.protocol) != 0;
        let has_first_flag = flags & FRAG_OR_PROTO != 0;
        let is_set = [
            (0x01, self.byte(at + 32) != 0),
            (0x02, self.byte(at + 48) != 0),
            (0x08, true),
            (0x10, true),
            (0x20, !is_ip6 && has_first_flag),
            (0x40, has_protocol),
        ];
        let allowed = is_set.iter().filter(|(_, is_set)| *is_set).fold(0, |bits, (bit, _)| bits | bit);
        let is_right = inverse & !allowed == 0
            && flags & !(FRAG_OR_PROTO | self.goto_flag(family)) == 0
            && (!is_ip6 || has_first_flag || !has_protocol)
            && self.is_address_masked(0)
            && self.is_address_masked(1);
        if is_right { Ok(()) } else { Err(Untrusted::Value) }
    }

    /// Whether an address has no bit outside its mask; 0 is the source, 1 the destination.
    fn is_address_masked(&self, which: usize) -> bool {
        let length = self.layout.address_len;
        let field = |index: usize| {
            let from = self.layout.addresses + index * length;
            self.bytes.get(from..from + length).unwrap_or_default()
        };
        field(which).iter().zip(field(which + 2)).all(|(value, mask)| value & !mask == 0)
    }
}

/// What is known of an extension here, or else what the list of iptables-nft says.
fn check(known: Option<bool>, listed: impl FnOnce() -> Result<(), Untrusted>) -> Result<(), Untrusted> {
    match known {
        Some(true) => Ok(()),
        Some(false) => Err(Untrusted::ExtensionValue),
        None => listed(),
    }
}

/// Whether the text shows all values of a match that iptables-nft writes as native expressions instead.
fn legacy_match(family: Family, Extension { name, revision, info }: Extension<'_>) -> Option<bool> {
    let info = Info::new(family, info);
    match (name, revision) {
        // struct xt_rateinfo: avg, burst; the rest is the kernel's
        (b"limit", 0) => {
            Some(limit::is_canonical_interval(info.u32(0).into(), LIMIT_SCALE) && info.u32(4) <= 10_000)
        }
        // struct xt_mark_mtinfo1: mark, mask, invert
        (b"mark", 1) => Some(info.ends(9) && info.u8(8) <= 1),
        _ => None,
    }
}

/// `XT_LIMIT_SCALE`.
const LIMIT_SCALE: u64 = 10_000;

/// The same for targets.
fn legacy_target(family: Family, Extension { name, revision, info }: Extension<'_>) -> Option<bool> {
    let info = Info::new(family, info);
    match (name, revision) {
        // struct xt_nflog_info: len, group, threshold, flags, pad, prefix
        (b"NFLOG", 0) => Some(info.ends(76) && info.bits16(8, 1) && info.zero(10, 12) && info.quoted(12, 76)),
        (b"TRACE", 0) => Some(info.ends(0)),
        _ => None,
    }
}

/// Size u16, name of 29 bytes, revision u8.
pub(super) const EXTENSION_HEAD: usize = 32;

/// The match or target at the front, and what follows it.
pub(super) fn split_extension(bytes: &[u8]) -> Option<(Extension<'_>, &[u8])> {
    let size = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let (extension, tail) = bytes.split_at_checked(size)?;
    let name = extension.get(2..31)?.split(|&byte| byte == 0).next()?;
    let revision = u32::from(*extension.get(31)?);
    Some((Extension { name, revision, info: extension.get(EXTENSION_HEAD..)? }, tail))
}
