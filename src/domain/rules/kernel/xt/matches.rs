//! The listed matches. Extensions of the transport header with lists are in `ports`.
//! Looks at no other part of the rule.

use super::info::Info;
use super::{ports, sets};
use crate::domain::rules::kernel::limit;

/// Whether the text shows all of this match's values; none if the match is not listed.
pub(super) fn shown(name: &[u8], revision: u32, info: &Info<'_>) -> Option<bool> {
    let is_ip = info.is_ip();
    Some(match (name, revision) {
        (b"addrtype", 1) => addrtype(info),
        (b"ah", 0) if is_ip => spi(info) && info.ends(9),
        (b"ah", 0) => ah6(info),
        (b"bpf", 1) => bpf(info),
        (b"cgroup", 2) => cgroup(info),
        (b"cluster", 0) => cluster(info),
        (b"comment", 0) => info.ends(256) && info.quoted(0, 256),
        (b"connbytes", 0) => info.ends(18) && info.u8(16) <= 2 && info.u8(17) <= 2,
        (b"connlabel", 0) => info.ends(4) && info.u16(0) <= 127 && info.bits16(2, 3),
        (b"connlimit", 1) => info.ends(32) && info.prefix(0) && info.bits32(20, 3) && info.zero(24, 32),
        (b"connmark" | b"realm", revision)
            if revision == u32::from(name == b"connmark") && (is_ip || name == b"connmark") =>
        {
            info.ends(9) && info.u8(8) <= 1
        }
        (b"conntrack", 3) => conntrack(info),
        (b"cpu", 0) => info.ends(8) && info.bits32(4, 1),
        (b"dccp", 0) => ports::dccp(info),
        (b"devgroup", 0) => devgroup(info),
        (b"dscp", 0) => info.ends(2) && info.bits8(0, 0x3f) && info.u8(1) <= 1,
        (b"dst" | b"hbh", 0) if !is_ip => options(info),
        (b"ecn", 0) => ecn(info),
        (b"esp", 0) => spi(info) && info.ends(9),
        (b"eui64", 0) if !is_ip => info.ends(4) && info.zero(0, 4),
        (b"frag", 0) if !is_ip => fragment(info),
        (b"hashlimit", 3) => hashlimit(info),
        (b"helper", 0) => info.ends(34) && info.bits32(0, 1) && info.quoted(4, 34) && info.u8(4) != 0,
        (b"hl", 0) if !is_ip => info.ends(2) && info.u8(0) <= 3,
        (b"ttl", 0) if is_ip => info.ends(2) && info.u8(0) <= 3,
        (b"icmp", 0) if is_ip => icmp(info),
        (b"icmp6", 0) if !is_ip => icmp(info),
        (b"ipcomp", 0) => spi(info) && info.u8(9) <= 1 && info.ends(10),
        (b"iprange", 1) => iprange(info),
        (b"ipv6header", 0) if !is_ip => {
            info.ends(3)
                && info.u8(0) != 0
                && matches!(info.u8(1), 0 | 0xff)
                && matches!(info.u8(2), 0 | 0xff)
        }
        (b"length" | b"tcpmss", 0) => info.ends(5) && info.ordered16(0) && info.u8(4) <= 1,
        (b"mac", 0) => info.ends(12) && info.zero(6, 8) && info.bits32(8, 1),
        (b"mh", 0) if !is_ip => {
            let is_full = info.u8(0) == 0 && info.u8(1) == u8::MAX;
            info.ends(3) && info.u8(0) <= info.u8(1) && info.u8(2) <= 1 && !(is_full && info.u8(2) == 1)
        }
        (b"multiport", 1) => ports::multiport(info),
        // revision 1 differs in its alignment on 32-bit machines only
        (b"nfacct", 0 | 1) => info.ends(40) && info.word(0, 32) && info.zero(32, 40),
        (b"osf", 0) => osf(info),
        (b"owner", 1) => owner(info),
        (b"physdev", 0) => physdev(info),
        (b"pkttype", 0) => info.ends(8) && info.u32(0) <= 2 && info.bits32(4, 1),
        (b"policy", 0) => policy(info),
        (b"quota", 0) => info.ends(24) && info.bits32(0, 1) && info.zero(4, 8) && info.zero(16, 24),
        (b"rateest", 0) => rateest(info),
        (b"recent", 1) => recent(info),
        (b"rpfilter", 0) => info.ends(1) && info.bits8(0, 0xf),
        (b"rt", 0) if !is_ip => routing(info),
        (b"sctp", 0) => ports::sctp(info),
        (b"set", 4) => sets::set_match(info),
        (b"socket", 3) => info.ends(1) && info.bits8(0, 7),
        (b"srh", 1) if !is_ip => segment_routing(info),
        (b"statistic", 0) => statistic(info),
        (b"string", 1) => string(info),
        (b"tcp", 0) => ports::tcp(info),
        (b"time", 0) => time(info),
        (b"tos", 1) => info.ends(3) && info.u8(2) <= 1,
        (b"u32", 0) => ports::u32_tests(info),
        (b"udp", 0) => ports::udp(info),
        _ => return None,
    })
}

fn addrtype(info: &Info<'_>) -> bool {
    let flags = info.u32(4);
    let is_needed = |bit, types| flags & bit == 0 || types != 0;
    info.ends(8)
        && info.bits16(0, 0xfff)
        && info.bits16(2, 0xfff)
        && flags <= 0xf
        && !info.zero(0, 4)
        && is_needed(1, info.u16(0))
        && is_needed(2, info.u16(2))
}

/// A range of SPIs and the byte that may negate it: `ah` of IPv4, `esp`, `ipcomp`.
fn spi(info: &Info<'_>) -> bool {
    info.u8(8) <= 1 && info.range32(0, info.u8(8) == 1)
}

fn ah6(info: &Info<'_>) -> bool {
    let inverted = info.u8(13);
    info.ends(14)
        && inverted <= 3
        && info.range32(0, inverted & 1 != 0)
        && (info.u32(8) != 0 || inverted & 2 == 0)
        && info.u8(12) <= 1
}

/// Byte code only: what a pinned object holds cannot be seen.
fn bpf(info: &Info<'_>) -> bool {
    let length = usize::from(info.u16(2));
    info.ends(528) && info.u16(0) == 0 && (1..=64).contains(&length) && info.zero(8 + 8 * length, 528)
}

fn cgroup(info: &Info<'_>) -> bool {
    let is_class = info.bytes(0, 3) == [0, 1, 0] && info.u8(3) <= 1 && info.zero(8, 516);
    let is_path = info.bytes(0, 2) == [1, 0] && info.u8(2) <= 1 && info.u8(3) == 0 && info.quoted(4, 516);
    info.ends(528) && (is_class || is_path) && info.zero(516, 528)
}

fn cluster(info: &Info<'_>) -> bool {
    let nodes = info.u32(0);
    let all = u32::MAX.checked_shr(32u32.saturating_sub(nodes)).unwrap_or_default();
    let is_mask = nodes < 32 || info.u32(4).count_ones() == 1;
    info.ends(16)
        && (1..=32).contains(&nodes)
        && info.u32(4) != 0
        && is_mask
        && info.bits32(4, all)
        && info.bits32(12, 1)
}

fn conntrack(info: &Info<'_>) -> bool {
    let (matched, inverted) = (info.u16(146), info.u16(148));
    let has = |bit: u16| matched & bit != 0;
    let is_network = |index: usize| {
        let at = 32 * index;
        if has(4 << index) { info.network(at, at + 16) } else { info.zero(at, at + 32) }
    };
    let is_port = |index: usize| {
        let (low, high) = (info.u16(138 + 2 * index), info.u16(154 + 2 * index));
        if has(0x100 << index) { low <= high } else { low == 0 && high == 0 }
    };
    info.ends(164)
        && matched & !0x3fff == 0
        && inverted & !matched == 0
        && connection_state(info, matched, inverted)
        && (0..4).all(is_network)
        && (0..4).all(is_port)
        && (if has(2) { (1..=255).contains(&info.u16(136)) } else { info.u16(136) == 0 })
        && (if has(0x40) { info.bits16(152, 0xf) } else { info.u16(152) == 0 })
        && (if has(0x80) { info.ordered32(128) } else { info.zero(128, 136) })
        && info.zero(162, 164)
}

/// `-m state` shows nothing but the states that it knows.
fn connection_state(info: &Info<'_>, matched: u16, inverted: u16) -> bool {
    const STATE: u16 = 1;
    const ALIAS: u16 = 0x2000;
    let states = info.u16(150);
    if matched & ALIAS != 0 {
        matched == STATE | ALIAS && inverted <= STATE && states != 0 && states & !0x10f == 0
    } else if matched & STATE != 0 {
        states != 0 && states & !0x1cf == 0
    } else {
        states == 0
    }
}

fn devgroup(info: &Info<'_>) -> bool {
    let flags = info.u32(0);
    let is_side = |match_bit: u32, at: usize| {
        let is_inverted = flags & match_bit << 1 != 0;
        if flags & match_bit != 0 { true } else { !is_inverted && info.zero(at, at + 8) }
    };
    info.ends(20) && flags <= 0xf && flags & 5 != 0 && is_side(1, 4) && is_side(4, 12)
}

fn ecn(info: &Info<'_>) -> bool {
    let operation = info.u8(0);
    info.ends(4)
        && operation != 0
        && operation & !0x31 == 0
        && info.bits8(1, operation)
        && info.u8(2) <= if operation & 1 != 0 { 3 } else { 0 }
        && info.u8(3) == 0
}

/// Destination and hop-by-hop options: a length, up to 16 options.
fn options(info: &Info<'_>) -> bool {
    let (flags, inverted, count) = (info.u8(4), info.u8(5), usize::from(info.u8(38)));
    info.ends(39)
        && flags <= 3
        && inverted & !(flags & 1) == 0
        && (flags & 1 != 0 || info.u32(0) == 0)
        && count <= 16
        && (flags & 2 != 0) == (count != 0)
        && info.zero(6 + 2 * count, 38)
}

fn fragment(info: &Info<'_>) -> bool {
    let (flags, inverted) = (info.u8(12), info.u8(13));
    let is_full = info.u32(0) == 0 && info.u32(4) == u32::MAX;
    info.ends(14)
        && flags <= 0x3f
        && inverted <= 3
        && info.range32(0, inverted & 1 != 0)
        && (flags & 1 == 0) == is_full
        && (flags & 2 != 0) == (info.u32(8) != 0)
        && (inverted & 2 == 0 || info.u32(8) != 0)
}

/// *Source*: `XT_HASHLIMIT_SCALE_v2`: `avg` counts millionths of a second.
const HASHLIMIT_SCALE: u64 = 1_000_000;
/// The largest `--hashlimit-burst` in packets.
const BURST_MAX: u64 = 1_000_000;

fn hashlimit(info: &Info<'_>) -> bool {
    const BYTES: u32 = 0x20;
    const RATE_MATCH: u32 = 0x40;
    let (average, mode) = (info.u64(256), info.u32(272));
    let width = if info.is_ip() { 32 } else { 128 };
    let burst = info.u64(264);
    let is_burst =
        if mode & BYTES != 0 { u32::try_from(burst).is_ok() } else { (1..=BURST_MAX).contains(&burst) };
    info.ends(312)
        && info.word(0, 255)
        && info.u8(255) == 0
        && mode & !0x7f == 0
        && (if mode & BYTES != 0 {
            is_byte_cost(average)
        } else {
            limit::is_canonical_interval(average, HASHLIMIT_SCALE)
        })
        && is_burst
        && (mode & RATE_MATCH != 0 || info.u32(292) == 0)
        && info.u8(296) <= width
        && info.u8(297) <= width
        && info.zero(298, 312)
}

/// Of a rate in bytes, `avg` is the share of 2^32 that sixteen bytes cost; iptables prints the rate back.
fn is_byte_cost(average: u64) -> bool {
    const ALL: u64 = u32::MAX as u64;
    let units = ALL.checked_div(average).unwrap_or_default();
    units > 1 && ALL.checked_div(units) == Some(average)
}

fn icmp(info: &Info<'_>) -> bool {
    let is_code = info.u8(1) == info.u8(2) || info.bytes(1, 3) == [0, 0xff];
    info.ends(4) && is_code && info.u8(3) <= 1
}

fn iprange(info: &Info<'_>) -> bool {
    let flags = info.u8(64);
    let is_side = |bit: u8, at: usize| {
        if flags & bit != 0 {
            info.address(at)
                && info.address(at + 16)
                && info.bytes(at, at + 16) <= info.bytes(at + 16, at + 32)
        } else {
            flags & bit << 4 == 0 && info.zero(at, at + 32)
        }
    };
    info.ends(65) && flags & !0x33 == 0 && flags & 3 != 0 && is_side(1, 0) && is_side(2, 32)
}

fn osf(info: &Info<'_>) -> bool {
    let flags = info.u32(36);
    info.ends(48)
        && info.word(0, 32)
        && info.string(0, 32).is_some_and(|genre| genre.len() == info.u32(32) as usize)
        && flags & !0xe == 0
        && info.u32(40) <= if flags & 4 != 0 { 2 } else { 0 }
        && info.u32(44) <= if flags & 2 != 0 { 2 } else { 0 }
}

fn owner(info: &Info<'_>) -> bool {
    let (matched, inverted) = (info.u8(16), info.u8(17));
    let is_range = |bit: u8, at: usize| {
        if matched & bit != 0 { info.ordered32(at) } else { info.zero(at, at + 8) }
    };
    info.ends(18)
        && matched != 0
        && matched & !0xf == 0
        && inverted & !(matched & 7) == 0
        && is_range(1, 0)
        && is_range(2, 8)
        && (matched & 8 == 0 || matched & 2 != 0)
}

fn physdev(info: &Info<'_>) -> bool {
    let (inverted, matched) = (info.u8(64), info.u8(65));
    let is_side = |bit: u8, at: usize| {
        if matched & bit != 0 {
            info.interface(at, at + 16) && info.u8(at) != 0
        } else {
            info.zero(at, at + 32)
        }
    };
    info.ends(66)
        && matched != 0
        && matched & !0x1f == 0
        && inverted & !matched == 0
        && is_side(1, 0)
        && is_side(2, 32)
}

fn policy(info: &Info<'_>) -> bool {
    const ELEMENT: usize = 76;
    let (flags, count) = (info.u16(304), usize::from(info.u16(306)));
    let (is_none, is_strict) = (flags & 4 != 0, flags & 8 != 0);
    info.ends(308)
        && flags & !0xf == 0
        && matches!(flags & 3, 1 | 2)
        && !(is_none && (is_strict || count != 0))
        && count <= if is_strict { 4 } else { 1 }
        && (0..count).all(|index| policy_element(info, ELEMENT * index))
        && info.zero(ELEMENT * count, ELEMENT * 4)
}

/// The protocol numbers that `--proto` of `-m policy` takes.
const ESP: u8 = 50;
const AH: u8 = 51;
const COMP: u8 = 108;

fn policy_element(info: &Info<'_>, at: usize) -> bool {
    let (matched, inverted) = (info.u8(at + 74), info.u8(at + 75));
    let has = |bit: u8| matched & bit != 0;
    let is_network = |bit: u8, at: usize| {
        if has(bit) { info.network(at, at + 16) } else { info.zero(at, at + 32) }
    };
    matched & !0x3f == 0
        && inverted & !matched == 0
        && is_network(1, at)
        && is_network(2, at + 32)
        && (has(0x10) || info.u32(at + 64) == 0)
        && (has(0x20) || info.u32(at + 68) == 0)
        && (if has(4) { matches!(info.u8(at + 72), ESP | AH | COMP) } else { info.u8(at + 72) == 0 })
        && info.u8(at + 73) <= u8::from(has(8))
}

fn rateest(info: &Info<'_>) -> bool {
    const ABSOLUTE: u16 = 2;
    const RELATIVE: u16 = 4;
    const DELTA: u16 = 8;
    const BPS: u16 = 0x10;
    const PPS: u16 = 0x20;
    let flags = info.u16(32);
    let is_second = if flags & RELATIVE != 0 { info.word(16, 32) } else { info.zero(16, 32) };
    let is_value = |is_used: bool, bit: u16, at: usize| is_used && flags & bit != 0 || info.u32(at) == 0;
    let (is_absolute, is_delta) = (flags & ABSOLUTE != 0, flags & DELTA != 0);
    info.ends(72)
        && flags & !0x3f == 0
        && matches!(flags & (ABSOLUTE | RELATIVE), ABSOLUTE | RELATIVE)
        && flags & 0x30 != 0
        && (1..=3).contains(&info.u16(34))
        && info.word(0, 16)
        && is_second
        && is_value(is_delta, BPS, 36)
        && is_value(is_delta, PPS, 40)
        && is_value(is_delta || is_absolute, BPS, 44)
        && is_value(is_delta || is_absolute, PPS, 48)
        && info.zero(52, 72)
}

fn recent(info: &Info<'_>) -> bool {
    let check = info.u8(8);
    let is_timed = check & 5 != 0;
    info.ends(228)
        && matches!(check & 0xf, 1 | 2 | 4 | 8)
        && check & !0x3f == 0
        && (is_timed || check & 0x30 == 0 && info.zero(0, 8))
        && (check & 0x20 == 0 || info.u32(0) != 0)
        && info.u8(9) <= 1
        && info.word_over(10, 210, b"DEFAULT")
        && info.u8(210) <= 1
        && (info.prefix(212) || info.address(212))
        && info.u8(211) == 0
}

fn routing(info: &Info<'_>) -> bool {
    let (flags, inverted, count) = (info.u8(16), info.u8(17), usize::from(info.u8(276)));
    let is_full = info.u32(4) == 0 && info.u32(8) == u32::MAX;
    info.ends(277)
        && flags & !0x3f == 0
        && inverted & !(flags & 7) == 0
        && (flags & 1 != 0 || info.u32(0) == 0)
        && info.range32(4, inverted & 2 != 0)
        && (flags & 2 == 0) == is_full
        && (flags & 4 != 0) == (info.u32(12) != 0)
        && info.zero(18, 20)
        && count <= 16
        && (flags & 0x10 != 0) == (count != 0)
        && (flags & 0x20 == 0 || count != 0)
        && info.zero(20 + 16 * count, 276)
}

fn segment_routing(info: &Info<'_>) -> bool {
    let flags = info.u16(104);
    let has = |bits: u16| flags & bits != 0;
    let is_network = |index: usize| {
        let (address, mask) = (8 + 16 * index, 56 + 16 * index);
        if has(0x800 << index) {
            info.prefix(mask)
        } else {
            info.zero(address, address + 16) && info.zero(mask, mask + 16)
        }
    };
    info.ends(108)
        && flags & !0x3fff == 0
        && info.bits16(106, flags)
        && (has(1) || info.u8(0) == 0)
        && (has(0xe) || info.u8(1) == 0)
        && (has(0x70) || info.u8(2) == 0)
        && (has(0x380) || info.u8(3) == 0)
        && (has(0x400) || info.u16(4) == 0)
        && info.zero(6, 8)
        && (0..3).all(is_network)
}

/// Beyond this, a probability is more than one.
const PROBABILITY_ONE: u32 = 0x8000_0000;

fn statistic(info: &Info<'_>) -> bool {
    let is_mode = match info.u16(0) {
        0 => info.u32(4) <= PROBABILITY_ONE && info.u32(8) == 0,
        1 => info.u32(4) != u32::MAX && info.u32(8) <= info.u32(4),
        _ => false,
    };
    // A counter, which iptables sets in both modes.
    let is_start = info.u32(12) == info.u32(4).wrapping_sub(info.u32(8));
    info.ends(24) && is_mode && is_start && info.bits16(2, 1) && info.zero(16, 24)
}

fn string(info: &Info<'_>) -> bool {
    let length = usize::from(info.u8(148));
    info.ends(160)
        && matches!(info.string(4, 20), Some(b"bm" | b"kmp"))
        && (1..=128).contains(&length)
        && info.zero(20 + length, 148)
        && info.bits8(149, 3)
        && info.zero(150, 160)
}

fn time(info: &Info<'_>) -> bool {
    const LAST_DATE: u32 = i32::MAX.cast_unsigned();
    const DAY: u32 = 86_400;
    info.ends(22)
        && info.ordered32(0)
        && info.u32(4) <= LAST_DATE
        && info.u32(8) < DAY
        && info.u32(12) < DAY
        && info.u32(16) != 0
        && info.bits32(16, 0xffff_fffe)
        && info.u8(20) != 0
        && info.bits8(20, 0xfe)
        && info.u8(21) <= 3
}
