//! One entry of a legacy table: where its parts stand, and the rule it is.
//! Knows no chain but by the offsets that jumps name.
//!
//! *Source*: `struct ipt_entry` (`netfilter_ipv4/ip_tables.h`), `struct ip6t_entry` (`netfilter_ipv6/ip6_tables.h`),
//! `struct arpt_entry` (`netfilter_arp/arp_tables.h`), `struct xt_entry_match`, `struct xt_entry_target` and the
//! verdicts of `XT_STANDARD_TARGET` (`netfilter/x_tables.h`), in the layout of 64-bit kernels.

use std::ops::Range;

use crate::domain::rules::Family;
use crate::domain::rules::kernel::layout::Field;
use crate::domain::rules::kernel::parts::Part;
use crate::domain::rules::kernel::rule::Verdict;

/// Where the fields of an entry stand, in bytes, and the names of the family's hooks.
#[derive(Debug)]
pub struct Layout {
    /// The conditions: `struct ipt_ip` and the like.
    pub head: usize,
    /// `target_offset`, and behind it `next_offset` and `comefrom`.
    pub offsets: usize,
    /// All of the entry before its matches; `counters` are its end.
    pub size: usize,
    /// The chains of the hooks, by hook number.
    pub chains: &'static [&'static str],
}

const IP: Layout = Layout { head: 84, offsets: 88, size: 112, chains: &INET_CHAINS };
const IP6: Layout = Layout { head: 136, offsets: 140, size: 168, chains: &INET_CHAINS };
const ARP: Layout = Layout { head: 164, offsets: 164, size: 192, chains: &ARP_CHAINS };

/// The chains of `NF_INET_*`.
const INET_CHAINS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
/// The chains of `NF_ARP_*`.
const ARP_CHAINS: [&str; 3] = ["INPUT", "OUTPUT", "FORWARD"];

/// `struct xt_counters`.
const COUNTERS: usize = 16;
/// `comefrom`, in which the kernel remembers where it came from.
const COMEFROM: usize = 4;

impl Layout {
    /// That of ip, ip6 or arp.
    pub const fn of(family: Family) -> &'static Self {
        match family {
            Family::Ip6 => &IP6,
            Family::Arp => &ARP,
            _ => &IP,
        }
    }

    /// Bytes of an entry that are no rule: `nfcache`, `comefrom` and the counters.
    pub const fn state(&self) -> [Range<usize>; 3] {
        let comefrom = self.offsets + 4;
        [self.head..self.offsets, comefrom..comefrom + COMEFROM, self.size - COUNTERS..self.size]
    }
}

/// The head of `struct xt_entry_match` and `struct xt_entry_target`: size u16, name of 29 bytes, revision u8.
pub const PART_HEAD: usize = 32;
const NAME: Range<usize> = 2..31;
const REVISION: usize = 31;

/// The name of the target that begins a user chain, and ends the table (`XT_ERROR_TARGET`).
pub const ERROR: &[u8] = b"ERROR";
/// `XT_FUNCTION_MAXNAMELEN`, of the name in an ERROR target.
const ERROR_NAME: usize = 30;

/// What the standard target does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// It ends the rule.
    Verdict(Verdict),
    /// A verdict that no option says.
    Other(i32),
    /// It goes to the entry at this offset of the table.
    Jump(usize),
}

/// An entry, borrowed from its table.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    layout: &'static Layout,
    /// All of it.
    pub bytes: &'a [u8],
    /// Where its target begins.
    target: usize,
}

impl<'a> Entry<'a> {
    /// The entry at the front of these bytes; none if it does not follow the kernel's format.
    pub fn split(layout: &'static Layout, bytes: &'a [u8]) -> Option<Self> {
        let word = |at: usize| Some(usize::from(u16::read(bytes.get(at..at + 2)?)));
        let (target, next) = (word(layout.offsets)?, word(layout.offsets + 2)?);
        let is_whole = layout.size <= target && target + PART_HEAD <= next;
        let bytes = bytes.get(..next)?;
        is_whole.then_some(Self { layout, bytes, target })
    }

    /// Its conditions: `struct ipt_ip` and the like.
    pub fn head(&self) -> &'a [u8] {
        self.bytes.get(..self.layout.head).unwrap_or_default()
    }

    /// Its matches, as they lie in it; the iterator ends with an error if they do not follow the kernel's format.
    pub fn matches(&self) -> impl Iterator<Item = Option<Part<'a>>> + use<'a> {
        let mut rest = self.bytes.get(self.layout.size..self.target).unwrap_or_default();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let split = split_part(rest);
            rest = split.map_or(&[], |(_, rest)| rest);
            Some(split.map(|(part, _)| part))
        })
    }

    /// Its target; none if that does not fill the entry.
    pub fn target(&self) -> Option<Part<'a>> {
        split_part(self.bytes.get(self.target..)?).filter(|(_, rest)| rest.is_empty()).map(|(part, _)| part)
    }

    /// Whether it asks nothing.
    pub fn is_unconditional(&self) -> bool {
        self.target == self.layout.size && self.head().iter().all(|byte| *byte == 0)
    }
}

/// The match or target at the front, and what follows it.
fn split_part(bytes: &[u8]) -> Option<(Part<'_>, &[u8])> {
    let size = usize::from(u16::read(bytes.get(..2)?));
    let (part, rest) = bytes.split_at_checked(size)?;
    let field = part.get(NAME)?;
    let name = field.get(..memchr::memchr(0, field).unwrap_or(field.len()))?;
    Some((Part { name, revision: *part.get(REVISION)?, info: part.get(PART_HEAD..)? }, rest))
}

/// What the standard target does; none if this is another one.
pub fn standard(target: &Part<'_>) -> Option<Standard> {
    /// `-NF_DROP - 1`, `-NF_ACCEPT - 1`, `-NF_QUEUE - 1`, `XT_RETURN`.
    const DROP: i32 = -1;
    const ACCEPT: i32 = -2;
    const QUEUE: i32 = -4;
    const RETURN: i32 = -5;
    if !target.name.is_empty() {
        return None;
    }
    let verdict = i32::read(target.info.first_chunk::<4>()?);
    Some(match verdict {
        DROP => Standard::Verdict(Verdict::Drop),
        ACCEPT => Standard::Verdict(Verdict::Accept),
        QUEUE => Standard::Verdict(Verdict::Queue),
        RETURN => Standard::Verdict(Verdict::Return),
        _ => usize::try_from(verdict).map_or(Standard::Other(verdict), Standard::Jump),
    })
}

/// The name in an ERROR target; none if this is another one, or the name has no end.
pub fn error_name<'a>(target: &Part<'a>) -> Option<&'a [u8]> {
    let field = target.info.get(..ERROR_NAME).filter(|_| target.name == ERROR)?;
    let end = field.iter().position(|byte| *byte == 0)?;
    field.get(..end)
}
