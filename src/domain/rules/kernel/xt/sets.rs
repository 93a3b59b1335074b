//! The match `set` and the target `SET`, which name ipsets.
//! Cannot see the names: the kernel's rule holds a set's number only, so [`is_set_name`] is for whoever reads them.
//!
//! *Source*: `include/uapi/linux/netfilter/xt_set.h`, `ipset/ip_set.h`; one set is a number (u16), how many of its
//! dimensions are used (u8), and a bit for each of them that is a source (u8).

use super::info::Info;
use crate::domain::rules::kernel::chains::is_word;

/// `IPSET_DIM_MAX`.
const DIMENSIONS_MAX: u8 = 6;
/// `IPSET_INV_MATCH`.
const INVERTED: u8 = 1;

/// Whether a rule with this ipset is printed as one that reads as it is: iptables prints the name without quotes.
///
/// The kernel renames no set that a rule uses, and swapping two sets swaps their contents, not the names that rules
/// show. So a name that is good once is good for as long as the rule stands.
pub fn is_set_name(name: &[u8]) -> bool {
    is_word(name)
}

/// The set's directions are printed, and nothing else is there; `allowed` are further flags.
fn is_set(info: &Info<'_>, at: usize, allowed: u8) -> bool {
    let dimensions = info.u8(at + 2);
    let directions = (1..=dimensions.min(DIMENSIONS_MAX)).fold(0, |bits, dimension| bits | 1 << dimension);
    (1..=DIMENSIONS_MAX).contains(&dimensions) && info.bits8(at + 3, directions | allowed)
}

/// `struct xt_set_info_match_v4`: the set, two conditions on counters (value u64, operator u8), flags.
pub(super) fn set_match(info: &Info<'_>) -> bool {
    const NOT_COUNTED: u32 = 0x08 | 0x10;
    const RETURN_NOMATCH: u32 = 0x80;
    const OPERATOR_MAX: u8 = 4;
    let is_counter = |at: usize| {
        let operator = info.u8(at + 8);
        operator <= OPERATOR_MAX && (operator != 0 || info.u64(at) == 0) && info.zero(at + 9, at + 16)
    };
    info.ends(44)
        && is_set(info, 0, INVERTED)
        && info.zero(4, 8)
        && is_counter(8)
        && is_counter(24)
        && info.bits32(40, NOT_COUNTED | RETURN_NOMATCH)
}

/// `struct xt_set_info_target_v3`: the sets to add to, delete from and map by, flags, time-out in seconds.
pub(super) fn set_target(info: &Info<'_>) -> bool {
    const ADD: usize = 0;
    const MAP: usize = 8;
    const EXIST: u32 = 1;
    const MAPPED: u32 = 0x700;
    let is_used = |at: usize| info.bytes(at, at + 4) != NO_SET;
    let is_fine = |at: usize| !is_used(at) || (info.u16(at) != u16::MAX && is_set(info, at, 0));
    let (to_add, to_map) = (is_used(ADD), is_used(MAP));
    let allowed = if to_add { EXIST } else { 0 } | if to_map { MAPPED } else { 0 };
    info.ends(20)
        && [ADD, 4, MAP].into_iter().any(is_used)
        && [ADD, 4, MAP].into_iter().all(is_fine)
        && info.bits32(12, allowed)
        && (!to_map || info.u32(12) & MAPPED != 0)
        && (to_add || info.u32(16) == u32::MAX)
}

/// `IPSET_INVALID_ID`, without dimensions: no set.
const NO_SET: [u8; 4] = [0xff, 0xff, 0, 0];
