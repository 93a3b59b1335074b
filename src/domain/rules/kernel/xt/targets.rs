//! The listed targets.
//! Looks at no other part of the rule.

use super::info::Info;
use super::sets;

/// Whether the text shows all of this target's values; none if the target is not listed.
pub(super) fn shown(name: &[u8], revision: u32, info: &Info<'_>) -> Option<bool> {
    let is_ip = info.is_ip();
    Some(match (name, revision) {
        (b"AUDIT", 0) => info.ends(1) && info.u8(0) <= 2,
        (b"CHECKSUM", 0) => info.ends(1) && info.u8(0) == 1,
        (b"CLASSIFY", 0) => info.ends(4),
        (b"CONNMARK", 2) => connmark(info),
        (b"CONNSECMARK", 0) => info.ends(1) && matches!(info.u8(0), 1 | 2),
        (b"CT", 2) => ct(info),
        (b"DNAT", 2) => info.ends(42) && info.u32(0) & !0x2f == 0 && nat_range(info) && nat_base(info),
        (b"DNPT" | b"SNPT", 0) if !is_ip => prefix_translation(info),
        (b"DSCP", 0) => info.ends(1) && info.bits8(0, 0x3f),
        (b"ECN", 0) if is_ip => info.ends(3) && info.bytes(0, 3) == [0x30, 0, 0],
        (b"HL", 0) if !is_ip => hop_limit(info),
        (b"TTL", 0) if is_ip => hop_limit(info),
        (b"HMARK", 0) => hmark(info),
        (b"IDLETIMER", 1) => {
            info.ends(48)
                && info.u32(0) != 0
                && info.word(4, 32)
                && info.u8(32) == 0
                && info.u8(33) <= 1
                && info.zero(34, 48)
        }
        (b"LOG", 0) => info.ends(32) && info.u8(0) <= 7 && info.bits8(1, 0x2f) && info.quoted(2, 32),
        (b"MARK", 2) => info.ends(8),
        (b"MASQUERADE", 0) => nat(info, 0x16),
        (b"NETMAP", 0) => netmap(info),
        (b"NFQUEUE", 3) => nfqueue(info),
        (b"RATEEST", 0) => rateest(info),
        (b"REDIRECT", 0) => nat(info, 0x06),
        (b"REJECT", 0) => {
            let unused: &[u32] = if is_ip { &[4] } else { &[2, 5] };
            info.ends(4) && info.u32(0) <= 8 && !unused.contains(&info.u32(0))
        }
        (b"SET", 3) => sets::set_target(info),
        (b"SNAT", revision) if revision == u32::from(!is_ip) => nat(info, 0x1f),
        (b"SYNPROXY", 0) => synproxy(info),
        (b"TCPMSS", 0) => info.ends(2) && info.u16(0) != 0,
        (b"TCPOPTSTRIP", 0) => info.ends(32),
        (b"TEE", 1) => tee(info),
        (b"TOS", 1) => info.ends(2),
        (b"TPROXY", 1) => info.ends(26) && info.address(8),
        _ => return None,
    })
}

/// `-j NOTRACK` is printed so, although the kernel's target is CT.
pub(super) fn is_notrack_alias(info: &Info<'_>) -> bool {
    info.u16(0) & 2 != 0
}

fn connmark(info: &Info<'_>) -> bool {
    const SET: u8 = 0;
    let mode = info.u8(14);
    info.ends(15)
        && mode <= 2
        && info.u8(12) <= 1
        && info.u8(13) < 32
        && (info.u8(13) != 0 || info.u8(12) == 0)
        && (mode == SET || info.u32(0) == 0)
        && (mode != SET || info.u32(8) == u32::MAX)
}

fn ct(info: &Info<'_>) -> bool {
    let flags = info.u16(0);
    let is_string = |from, to| info.zero(from, to) || info.word(from, to);
    let is_zone = match flags & 0x1c {
        0 => true,
        4 | 8 => info.u16(2) != 0,
        0x10 | 0x14 | 0x18 => info.u16(2) == 0,
        _ => false,
    };
    let is_untracked = flags & 3 != 0;
    info.ends(72)
        && flags & !0x1f == 0
        && (if is_untracked { matches!(flags, 1 | 3) && info.zero(2, 72) } else { is_zone })
        && info.bits32(4, 0x7ff)
        && info.bits32(8, 1)
        && is_string(12, 28)
        && is_string(28, 60)
        && info.zero(60, 72)
}

const MAP_IPS: u32 = 1;
const PROTO_SPECIFIED: u32 = 2;

/// `struct nf_nat_ipv4_multi_range_compat` for IPv4, `struct nf_nat_range` for IPv6.
fn nat(info: &Info<'_>, allowed: u32) -> bool {
    if !info.is_ip() {
        return info.ends(40) && info.bits32(0, allowed) && nat_range(info);
    }
    let flags = info.u32(4);
    info.ends(20)
        && info.u32(0) == 1
        && flags & !allowed == 0
        && addresses(flags, info.bytes(8, 12), info.bytes(12, 16))
        && nat_ports(flags, info.be16(16), info.be16(18))
}

/// `struct nf_nat_range`.
fn nat_range(info: &Info<'_>) -> bool {
    let flags = info.u32(0);
    info.address(4)
        && info.address(20)
        && addresses(flags, info.bytes(4, 20), info.bytes(20, 36))
        && nat_ports(flags, info.be16(36), info.be16(38))
}

fn addresses(flags: u32, from: &[u8], to: &[u8]) -> bool {
    let is_zero = |address: &[u8]| address.iter().all(|byte| *byte == 0);
    if flags & MAP_IPS != 0 { from <= to } else { is_zero(from) && is_zero(to) }
}

const fn nat_ports(flags: u32, from: u16, to: u16) -> bool {
    if flags & PROTO_SPECIFIED != 0 { from <= to && from != 0 } else { from == 0 && to == 0 }
}

/// The base port of `struct nf_nat_range2`: it shifts a range of ports.
fn nat_base(info: &Info<'_>) -> bool {
    const OFFSET: u32 = 0x20;
    let flags = info.u32(0);
    if flags & OFFSET != 0 { flags & PROTO_SPECIFIED != 0 && info.be16(40) != 0 } else { info.u16(40) == 0 }
}

/// `--to ADDRESS/MASK`, kept as the first and last address.
fn netmap(info: &Info<'_>) -> bool {
    let (is_sized, flags, first, last) = if info.is_ip() {
        (
            info.ends(20) && info.u32(0) == 1 && info.zero(16, 20),
            info.u32(4),
            info.bytes(8, 12),
            info.bytes(12, 16),
        )
    } else {
        (info.ends(40) && info.zero(36, 40), info.u32(0), info.bytes(4, 20), info.bytes(20, 36))
    };
    let mut hosts = first.iter().zip(last).map(|(first, last)| (first ^ last, first & (first ^ last)));
    let is_whole = hosts.clone().all(|(_, low)| low == 0);
    let mut differing = hosts.by_ref().map(|(bits, _)| bits).skip_while(|bits| *bits == 0);
    let is_edge = differing.next().is_none_or(|bits| bits.leading_zeros() + bits.trailing_ones() == 8);
    is_sized && flags == MAP_IPS && is_whole && is_edge && differing.all(|bits| bits == 0xff)
}

fn prefix_translation(info: &Info<'_>) -> bool {
    let is_prefix = |at: usize, length: u8| {
        let bits = info.bytes(at, at + 16).iter().rev().fold((0u32, true), |(zeros, goes_on), byte| {
            (zeros + if goes_on { byte.trailing_zeros().min(8) } else { 0 }, goes_on && *byte == 0)
        });
        length <= 64 && bits.0 + u32::from(length) >= 128
    };
    info.ends(36) && is_prefix(0, info.u8(32)) && is_prefix(16, info.u8(33)) && info.zero(34, 36)
}

fn hop_limit(info: &Info<'_>) -> bool {
    info.ends(2) && info.u8(0) <= 2 && (info.u8(0) == 0 || info.u8(1) != 0)
}

fn hmark(info: &Info<'_>) -> bool {
    let flags = info.u32(40);
    let has = |number: u32| flags & 1 << number != 0;
    let is_mask = |number: u32, at: usize| if has(number) { info.prefix(at) } else { info.zero(at, at + 16) };
    let is_pair = |whole: u32, first: u32, second: u32, at: usize| {
        if has(whole) {
            !has(first) && !has(second)
        } else {
            (has(first) || info.u16(at) == 0) && (has(second) || info.u16(at + 2) == 0)
        }
    };
    info.ends(60)
        && flags & !0x7fff == 0
        && is_mask(0, 0)
        && is_mask(1, 16)
        && is_pair(3, 6, 7, 32)
        && is_pair(2, 4, 5, 36)
        && (has(8) || info.u16(44) == 0)
        && info.zero(46, 48)
        && (has(9) || info.u32(48) == 0)
        && (has(10) || info.u32(52) == 0)
        && (has(11) || info.u32(56) == 0)
}

fn nfqueue(info: &Info<'_>) -> bool {
    let (first, count, flags) = (info.u16(0), info.u16(2), info.u16(4));
    info.ends(6)
        && count != 0
        && first.checked_add(count - 1).is_some()
        && flags <= 3
        && (flags & 2 == 0 || count > 1)
}

fn rateest(info: &Info<'_>) -> bool {
    let interval = info.u8(16).cast_signed();
    info.ends(32) && info.word(0, 16) && (-2..=3).contains(&interval) && info.u8(17) != 0 && info.zero(18, 32)
}

fn synproxy(info: &Info<'_>) -> bool {
    let options = info.u8(0);
    info.ends(4)
        && options & !0x1f == 0
        && info.u8(1) <= if options & 2 != 0 { 14 } else { 0 }
        && (options & 1 != 0) == (info.u16(2) != 0)
}

fn tee(info: &Info<'_>) -> bool {
    info.ends(40) && info.address(0) && (info.zero(16, 32) || info.word(16, 32)) && info.zero(32, 40)
}
