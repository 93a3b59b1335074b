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
use crate::domain::ruleset::Family;

/// Where the fields of an entry stand, in bytes.
struct Layout {
    interfaces: usize,
    flags: usize,
    allowed_flags: u8,
    inverse: usize,
    target_offset: usize,
    head: usize,
}

const IP: Layout =
    Layout { interfaces: 16, flags: 82, allowed_flags: 0x03, inverse: 83, target_offset: 88, head: 112 };
const IP6: Layout =
    Layout { interfaces: 64, flags: 131, allowed_flags: 0x07, inverse: 132, target_offset: 140, head: 168 };

/// The names of the five hooks' chains, in the order of `NF_INET_*`.
const BUILT_IN: [&[u8]; 5] = [b"PREROUTING", b"INPUT", b"FORWARD", b"OUTPUT", b"POSTROUTING"];
/// `XT_ERROR_TARGET`: begins a user chain with its name, and ends the table.
const ERROR: &[u8] = b"ERROR";

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

/// Looks through a table's entries; `hook_entry` has the offset of each hook's chain that `valid_hooks` names.
///
/// # Errors
/// [`Untrusted::Malformed`] if the entries do not follow the kernel's format.
pub fn check_entries(
    family: Family,
    valid_hooks: u32,
    hook_entry: &[u32; 5],
    entries: &[u8],
    mut misprint: impl FnMut(Misprint),
) -> Result<Entries, Untrusted> {
    let layout = if family == Family::Ip6 { &IP6 } else { &IP };
    let mut chain: Vec<u8> = Vec::new();
    let mut found = Entries::default();
    let (mut position, mut offset) = (0u32, 0usize);
    while offset < entries.len() {
        let rest = entries.get(offset..).unwrap_or_default();
        let entry = Entry::parse(layout, rest).ok_or(Untrusted::Malformed)?;
        if let Some(name) = built_in_at(offset, valid_hooks, hook_entry) {
            chain = name.to_vec();
            position = 0;
        }
        match entry.error_name() {
            Some(name) => {
                chain = name.to_vec();
                position = 0;
                let is_end = name == ERROR && offset + entry.bytes.len() == entries.len();
                if !is_end && !is_chain_name(name) {
                    misprint(Misprint { chain: chain.clone(), position: None, reason: Untrusted::Text });
                }
            }
            None => {
                position += 1;
                found.has_ipset |= entry.has_ipset();
                if let Err(reason) = entry.check(family) {
                    misprint(Misprint { chain: chain.clone(), position: Some(position), reason });
                }
            }
        }
        found.count += 1;
        offset += entry.bytes.len();
    }
    Ok(found)
}

fn built_in_at(offset: usize, valid_hooks: u32, hook_entry: &[u32; 5]) -> Option<&'static [u8]> {
    let is_here = |(hook, at): (usize, &u32)| valid_hooks & (1 << hook) != 0 && *at as usize == offset;
    let hook = hook_entry.iter().enumerate().position(is_here)?;
    BUILT_IN.get(hook).copied()
}

struct Entry<'a> {
    layout: &'static Layout,
    bytes: &'a [u8],
    /// Matches, each with its head.
    matches: &'a [u8],
    target: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(layout: &'static Layout, rest: &'a [u8]) -> Option<Self> {
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

    fn check(&self, family: Family) -> Result<(), Untrusted> {
        let head = Info::new(family, self.bytes.get(..self.layout.head).unwrap_or_default());
        let at = self.layout.interfaces;
        if !head.interface(at, at + 32) || !head.interface(at + 16, at + 48) {
            return Err(Untrusted::Text);
        }
        if !head.bits8(self.layout.flags, self.layout.allowed_flags) || !head.bits8(self.layout.inverse, 0x7f)
        {
            return Err(Untrusted::Value);
        }
        let mut rest = self.matches;
        while !rest.is_empty() {
            let (extension, tail) = split_extension(rest).ok_or(Untrusted::Malformed)?;
            check(legacy_match(family, extension), || xt::check_match(family, extension))?;
            rest = tail;
        }
        let (target, tail) = split_extension(self.target).ok_or(Untrusted::Malformed)?;
        match target.name {
            _ if !tail.is_empty() => Err(Untrusted::Malformed),
            // the standard target has no name: its info is a verdict, or the offset of a chain checked by itself
            b"" => Ok(()),
            _ => check(legacy_target(family, target), || xt::check_target(family, target).map(drop)),
        }
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
const EXTENSION_HEAD: usize = 32;

/// The match or target at the front, and what follows it.
fn split_extension(bytes: &[u8]) -> Option<(Extension<'_>, &[u8])> {
    let size = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let (extension, tail) = bytes.split_at_checked(size)?;
    let name = extension.get(2..31)?.split(|&byte| byte == 0).next()?;
    let revision = u32::from(*extension.get(31)?);
    Some((Extension { name, revision, info: extension.get(EXTENSION_HEAD..)? }, tail))
}
