//! The x_tables parts of rules: matches and targets, of legacy tables and of `match` and `target` expressions.
//! Every one is written: what [`extensions`] knows as iptables-save 1.8.9 writes it, anything else raw and complete.
//!
//! An info is a C structure. It is shown as text only if
//! 1. reading it by its declared layout and writing that gives the same bytes, but for the extension's state, and
//! 2. the text of iptables-save 1.8.9 says everything that the structure says.
//!
//! Otherwise it is `-m NAME --raw REVISION:HEX` or `-j NAME --raw REVISION:HEX`.
//!
//! *Source*: structures and revisions from `include/uapi/linux/netfilter/xt_*.h`, `netfilter_ipv4/ipt_*.h` and
//! `netfilter_ipv6/ip6t_*.h`, in the layout of 64-bit kernels; the text from iptables-extensions(8).

// the state of most extensions is one range of bytes
#![allow(clippy::single_range_in_vec_init)]

mod ipsets;
mod matches;
mod targets;
pub(in crate::domain::rules) mod words;

/// Structures that native expressions of iptables-nft stand for.
pub use matches::{ANY_PORT, Limit, Mark, Tcp, Udp};
pub use targets::Nflog;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use super::layout::Field;
use crate::domain::rules::Family;
use crate::domain::rules::text::line::Line;

/// Tables of both families have the extension.
const BOTH: &[Family] = &[Family::Ip, Family::Ip6];
/// Tables of IPv4 have it.
const IP: &[Family] = &[Family::Ip];
/// Tables of IPv6 have it.
const IP6: &[Family] = &[Family::Ip6];

/// `XT_ALIGN` rounds an info up to this many bytes.
pub(super) const XT_ALIGN: usize = 8;

/// The longest structure of an extension: `struct xt_cgroup_info_v1`, which holds a path.
const LONGEST_INFO: usize = 4112;

/// Nearly all structures are shorter, and have less to clear.
const USUAL_INFO: usize = 320;

/// Whether a part asks something of a packet or does something to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Role {
    Match,
    Target,
}

/// A match or target as the kernel holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The extension's name, without its NUL.
    pub name: &'a [u8],
    /// The revision of its structure.
    pub revision: u8,
    /// The structure, with the padding of `XT_ALIGN`.
    pub info: &'a [u8],
}

/// What a part's text depends on beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The family of the table. Rules of other families than ip and ip6 have parts, too.
    pub family: Family,
    /// Names of ipsets by their index in the kernel.
    pub ipsets: &'a BTreeMap<u16, Vec<u8>>,
}

/// An info with what its text depends on.
#[derive(Clone, Copy, Debug)]
pub struct Info<'a> {
    /// The structure's bytes.
    pub bytes: &'a [u8],
    /// Its revision.
    pub revision: u8,
    /// What else the text depends on.
    pub around: Surroundings<'a>,
    state: &'static [Range<usize>],
}

impl Info<'_> {
    /// The structure, if writing it again gives the same bytes but for the state, and it fills the info.
    pub fn decode<T: Field>(&self) -> Option<T> {
        if self.bytes.len() != T::SIZE.next_multiple_of(XT_ALIGN) {
            return None;
        }
        let decoded = T::read(self.bytes);
        let is_read = if self.bytes.len() <= USUAL_INFO {
            self.is_encoded::<T, USUAL_INFO>(&decoded)
        } else {
            self.is_encoded::<T, LONGEST_INFO>(&decoded)
        };
        is_read.then_some(decoded)
    }

    /// Whether writing this gives its bytes, of which there are `N` at most.
    fn is_encoded<T: Field, const N: usize>(&self, decoded: &T) -> bool {
        let mut scratch = [0; N];
        scratch.get_mut(..self.bytes.len()).is_some_and(|again| {
            decoded.write(again);
            self.is_same(again)
        })
    }

    /// Whether these are its bytes, but for the state.
    fn is_same(&self, other: &[u8]) -> bool {
        let is_state = |at: usize| self.state.iter().any(|range| range.contains(&at));
        self.bytes == other
            || (0..).zip(self.bytes.iter().zip(other)).all(|(at, (one, two))| one == two || is_state(at))
    }

    /// Whether the table is of IPv4.
    pub fn is_ip(&self) -> bool {
        self.around.family == Family::Ip
    }
}

/// One extension in one or more revisions that are written alike.
pub struct Extension {
    /// Its name in the kernel.
    pub name: &'static str,
    /// Which of the two it is; `MARK` is a target and `mark` a match.
    pub role: Role,
    /// The families whose text is known; in others it is raw.
    pub families: &'static [Family],
    /// Revisions that iptables 1.8.7 to 1.8.13 write.
    pub revisions: &'static [u8],
    /// Bytes that the kernel changes by itself: neither shown nor compared.
    pub state: &'static [Range<usize>],
    /// The header that declares the structure, below `include/uapi/linux/`.
    pub source: &'static str,
    /// Writes the options that follow the extension's name. None if the text of iptables-save 1.8.9 says less than the
    /// structure: then the part is raw.
    pub text: fn(&Info<'_>, &mut Line) -> Option<()>,
}

/// Every extension whose text is known.
const TABLES: [&[&[Extension]]; 2] = [matches::TABLES, targets::TABLES];

/// Every extension whose text is known, in no order that matters.
pub fn extensions() -> impl Iterator<Item = &'static Extension> {
    TABLES.into_iter().flatten().copied().flatten()
}

/// The extensions by the first byte of their names.
static BY_FIRST_BYTE: LazyLock<[Vec<&'static Extension>; 256]> = LazyLock::new(|| {
    std::array::from_fn(|first| {
        extensions()
            .filter(|extension| extension.name.bytes().next().map(usize::from) == Some(first))
            .collect()
    })
});

fn find(role: Role, part: &Part<'_>, family: Family) -> Option<&'static Extension> {
    let first = usize::from(*part.name.first()?);
    BY_FIRST_BYTE.get(first)?.iter().copied().find(|extension| {
        extension.role == role
            && extension.name.as_bytes() == part.name
            && extension.revisions.contains(&part.revision)
            && extension.families.contains(&family)
    })
}

/// Writes a part: ` -m NAME OPTIONS`, ` -j NAME OPTIONS`, or ` --raw` and all its bytes instead of the options.
///
/// None if its name is no word, which no kernel that registers extensions has.
pub fn write(role: Role, part: &Part<'_>, around: Surroundings<'_>, line: &mut Line) -> Option<()> {
    let start = line.len();
    write_name(role, part, line)?;
    let extension = find(role, part, around.family);
    let state = extension.map_or(&[][..], |extension| extension.state);
    let info = Info { bytes: part.info, revision: part.revision, around, state };
    if extension.and_then(|extension| (extension.text)(&info, line)).is_none() {
        line.truncate(start);
        write_name(role, part, line)?;
        write_bytes(part, state, around, line);
    }
    Some(())
}

/// Writes a part with ` --raw` and all its bytes, whatever is known of it.
///
/// None if its name is no word, which no kernel that registers extensions has.
pub fn write_raw(role: Role, part: &Part<'_>, around: Surroundings<'_>, line: &mut Line) -> Option<()> {
    write_name(role, part, line)?;
    write_bytes(part, state(role, part, around.family), around, line);
    Some(())
}

fn write_name(role: Role, part: &Part<'_>, line: &mut Line) -> Option<()> {
    line.push(match role {
        Role::Match => b" -m",
        Role::Target => b" -j",
    });
    line.name(part.name)
}

/// All bytes; those that the kernel changes by itself are zeros. The numbers of ipsets are zeros, too: ` --raw-set HEX`, the
/// name of each, follows.
fn write_bytes(part: &Part<'_>, state: &[Range<usize>], around: Surroundings<'_>, line: &mut Line) {
    line.word(format_args!("--raw {}:", part.revision));
    let sets = ipsets::numbers(part);
    if state.is_empty() && sets.is_empty() {
        return line.hex(part.info);
    }
    let mut info = part.info.to_vec();
    for range in state {
        let end = range.end.min(info.len());
        info.get_mut(range.start..end).unwrap_or_default().fill(0);
    }
    let mut names = Vec::new();
    for at in sets {
        let Some(number) = info.get_mut(*at..*at + 2) else { continue };
        let name = number.first_chunk().and_then(|bytes| around.ipsets.get(&u16::from_ne_bytes(*bytes)));
        if let Some(name) = name {
            number.fill(0);
            names.push(name);
        }
    }
    line.hex(&info);
    for name in names {
        line.push(b" --raw-set ");
        line.hex(name);
    }
}

/// Whether the part runs a BPF program that it holds by a descriptor: nothing says what the program is.
///
/// *Source*: `XT_BPF_MODE_FD_ELF` in `include/uapi/linux/netfilter/xt_bpf.h`.
pub fn hides_program(name: &[u8], revision: u32, info: &[u8]) -> bool {
    const XT_BPF_MODE_FD_PINNED: u16 = 1;
    let mode = info.first_chunk().copied().map_or(0, u16::from_ne_bytes);
    name == b"bpf" && revision == 1 && mode > XT_BPF_MODE_FD_PINNED
}

/// The bytes of a part's info that the kernel changes by itself.
pub fn state(role: Role, part: &Part<'_>, family: Family) -> &'static [Range<usize>] {
    find(role, part, family).map_or(&[], |extension| extension.state)
}
