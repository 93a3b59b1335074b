//! The match `set` and the target `SET`, whose structures hold numbers of ipsets.
//! Does not see what a set holds.
//!
//! *Source*: `include/uapi/linux/netfilter/xt_set.h`, `ipset/ip_set.h`.

use super::words::push;
use super::{Info, Part};
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::text::line::Line;

/// `IPSET_DIM_MAX`.
const IPSET_DIM_MAX: u8 = 6;
/// `IPSET_INV_MATCH`: a bit of the directions.
const IPSET_INV_MATCH: u8 = 1;
/// `IPSET_INVALID_ID`.
const IPSET_INVALID_ID: u16 = u16::MAX;

/// `struct xt_set_info`: the number of a set, how many of its dimensions are used, and a bit for each that is a source.
#[derive(Clone, Copy)]
struct Set {
    index: u16,
    dim: u8,
    flags: u8,
}

impl Set {
    /// ` NAME src,dst`. None if the set has no name that reads as one word, or a bit says something else.
    fn write(self, info: &Info<'_>, line: &mut Line) -> Option<()> {
        if !(1..=IPSET_DIM_MAX).contains(&self.dim) {
            return None;
        }
        let name = info.around.ipsets.get(&self.index)?;
        line.name(name)?;
        for dimension in 1..=self.dim {
            let direction = if self.flags >> dimension & 1 != 0 { "src" } else { "dst" };
            push(line, format_args!("{}{direction}", if dimension == 1 { ' ' } else { ',' }));
        }
        let directions = (1..=self.dim).fold(0, |bits, dimension| bits | 1 << dimension);
        (self.flags & !directions == 0).then_some(())
    }
}

/// Where a part's structure holds numbers of ipsets: `struct xt_set_info`, or in revision 0 `struct xt_set_info_v0`.
pub(super) fn numbers(part: &Part<'_>) -> &'static [usize] {
    match (part.name, part.revision) {
        (b"set", _) => &[0],
        (b"SET", 0) => &[0, 32],
        (b"SET", 1 | 2) => &[0, 4],
        (b"SET", _) => &[0, 4, 8],
        _ => &[],
    }
}

layout! {
    /// `struct xt_set_info_match_v4`.
    struct SetMatch[48] {
        index: u16 = 0, dim: u8 = 2, flags: u8 = 3, packets: u64 = 8, packets_op: u8 = 16, bytes: u64 = 24,
        bytes_op: u8 = 32, options: u32 = 40
    }
}

/// The options of `-m set`.
pub(super) fn set(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const IPSET_FLAG_SKIP_COUNTER_UPDATE: u32 = 1 << 3;
    const IPSET_FLAG_SKIP_SUBCOUNTER_UPDATE: u32 = 1 << 4;
    const IPSET_FLAG_RETURN_NOMATCH: u32 = 1 << 7;
    let of: SetMatch = info.decode()?;
    line.option(of.flags & IPSET_INV_MATCH != 0, "--match-set");
    Set { index: of.index, dim: of.dim, flags: of.flags & !IPSET_INV_MATCH }.write(info, line)?;
    let options = [
        (IPSET_FLAG_RETURN_NOMATCH, "--return-nomatch"),
        (IPSET_FLAG_SKIP_COUNTER_UPDATE, "! --update-counters"),
        (IPSET_FLAG_SKIP_SUBCOUNTER_UPDATE, "! --update-subcounters"),
    ];
    let mut left = of.options;
    for (bit, option) in options {
        if left & bit != 0 {
            line.word(option);
        }
        left &= !bit;
    }
    counter(line, "packets", of.packets_op, of.packets)?;
    counter(line, "bytes", of.bytes_op, of.bytes)?;
    (left == 0).then_some(())
}

/// A condition on a counter of the set's element (`IPSET_COUNTER_*`).
fn counter(line: &mut Line, name: &str, operator: u8, value: u64) -> Option<()> {
    let (negation, operator) = match operator {
        0 => return (value == 0).then_some(()),
        1 => ("", "eq"),
        2 => ("! ", "eq"),
        3 => ("", "lt"),
        4 => ("", "gt"),
        _ => return None,
    };
    line.word(format_args!("{negation}--{name}-{operator} {value}"));
    Some(())
}

layout! {
    /// `struct xt_set_info_target_v3`.
    struct SetTarget[20] {
        add_index: u16 = 0, add_dim: u8 = 2, add_flags: u8 = 3, del_index: u16 = 4, del_dim: u8 = 6,
        del_flags: u8 = 7, map_index: u16 = 8, map_dim: u8 = 10, map_flags: u8 = 11, flags: u32 = 12, timeout: u32 = 16
    }
}

/// The options of `-j SET`.
pub(super) fn target(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const IPSET_FLAG_EXIST: u32 = 1 << 0;
    const MAP_FLAGS: [(u32, &str); 3] =
        [(1 << 8, "--map-mark"), (1 << 9, "--map-prio"), (1 << 10, "--map-queue")];
    /// The default of the set.
    const NO_TIMEOUT: u32 = u32::MAX;
    let of: SetTarget = info.decode()?;
    let add = Set { index: of.add_index, dim: of.add_dim, flags: of.add_flags };
    let del = Set { index: of.del_index, dim: of.del_dim, flags: of.del_flags };
    let map = Set { index: of.map_index, dim: of.map_dim, flags: of.map_flags };
    let is_used = |set: Set| match (set.index, set.dim, set.flags) {
        (IPSET_INVALID_ID, 0, 0) => Some(false),
        (IPSET_INVALID_ID, ..) => None,
        _ => Some(true),
    };
    let (adds, deletes, maps) = (is_used(add)?, is_used(del)?, is_used(map)?);
    let mut left = of.flags;
    if adds {
        line.word("--add-set");
        add.write(info, line)?;
        if left & IPSET_FLAG_EXIST != 0 {
            line.word("--exist");
        }
        left &= !IPSET_FLAG_EXIST;
        if of.timeout != NO_TIMEOUT {
            line.word(format_args!("--timeout {}", of.timeout));
        }
    }
    if deletes {
        line.word("--del-set");
        del.write(info, line)?;
    }
    if maps {
        line.word("--map-set");
        map.write(info, line)?;
        let bits = left;
        for (bit, option) in MAP_FLAGS {
            if left & bit != 0 {
                line.word(option);
            }
            left &= !bit;
        }
        if bits == left {
            return None;
        }
    }
    let has_timeout = adds || of.timeout == NO_TIMEOUT;
    (left == 0 && has_timeout && (adds || deletes || maps)).then_some(())
}
