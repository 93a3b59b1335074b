//! Matches of where a packet comes from: `mac`, `owner`, `physdev`, `pkttype`, `realm`, `rpfilter`, `socket`, `osf`.
//! Knows no address of a header.

use super::matching;
use crate::domain::rules::kernel::layout::{Name, layout};
use crate::domain::rules::kernel::parts::words::{boolean, interface, mark, push};
use crate::domain::rules::kernel::parts::{BOTH, Extension, IP, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    matching("mac", BOTH, &[0], &[], "netfilter/xt_mac.h", mac),
    matching("osf", BOTH, &[0], &[], "netfilter/xt_osf.h", osf),
    matching("owner", BOTH, &[1], &[], "netfilter/xt_owner.h", owner),
    matching("physdev", BOTH, &[0], &[], "netfilter/xt_physdev.h", physdev),
    matching("pkttype", BOTH, &[0], &[], "netfilter/xt_pkttype.h", pkttype),
    matching("realm", IP, &[0], &[], "netfilter_ipv4/ipt_realm.h", realm),
    matching("rpfilter", BOTH, &[0], &[], "netfilter/xt_rpfilter.h", rpfilter),
    matching("socket", BOTH, &[3], &[], "netfilter/xt_socket.h", socket),
];

layout! {
    /// `struct xt_mac_info`.
    struct Mac[12] { srcaddr: [u8; 6] = 0, invert: u32 = 8 }
}

fn mac(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Mac { srcaddr: [a, b, c, d, e, f], invert } = info.decode()?;
    line.option(boolean(invert)?, "--mac-source");
    line.word(format_args!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"));
    Some(())
}

layout! {
    /// `struct xt_osf_info`.
    struct Osf[48] { genre: Name<32> = 0, len: u32 = 32, flags: u32 = 36, loglevel: u32 = 40, ttl: u32 = 44 }
}

fn osf(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_OSF_TTL: u32 = 1 << 1;
    const XT_OSF_LOG: u32 = 1 << 2;
    const XT_OSF_INVERT: u32 = 1 << 3;
    const LEVEL_MAX: u32 = 2;
    let osf: Osf = info.decode()?;
    line.option(osf.flags & XT_OSF_INVERT != 0, "--genre");
    line.name(osf.genre.as_bytes())?;
    for (bit, option, level) in [(XT_OSF_TTL, "--ttl", osf.ttl), (XT_OSF_LOG, "--log", osf.loglevel)] {
        match osf.flags & bit {
            0 if level == 0 => (),
            0 => return None,
            _ if level <= LEVEL_MAX => line.word(format_args!("{option} {level}")),
            _ => return None,
        }
    }
    let has_length = osf.genre.is_terminated() && usize::try_from(osf.len) == Ok(osf.genre.as_bytes().len());
    (has_length && osf.flags & !(XT_OSF_TTL | XT_OSF_LOG | XT_OSF_INVERT) == 0).then_some(())
}

layout! {
    /// `struct xt_owner_match_info`.
    struct Owner[20] { uid: [u32; 2] = 0, gid: [u32; 2] = 8, matched: u8 = 16, invert: u8 = 17 }
}

/// Users and groups are numbers: their names depend on the machine.
fn owner(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_OWNER_UID: u8 = 1 << 0;
    const XT_OWNER_GID: u8 = 1 << 1;
    const XT_OWNER_SOCKET: u8 = 1 << 2;
    const XT_OWNER_SUPPL_GROUPS: u8 = 1 << 3;
    let owner: Owner = info.decode()?;
    let has = |bit| owner.matched & bit != 0;
    let is_not = |bit| owner.invert & bit != 0;
    if has(XT_OWNER_SOCKET) {
        line.option(is_not(XT_OWNER_SOCKET), "--socket-exists");
    }
    for (bit, option, [low, high]) in
        [(XT_OWNER_UID, "--uid-owner", owner.uid), (XT_OWNER_GID, "--gid-owner", owner.gid)]
    {
        if !has(bit) {
            ([low, high] == [0, 0]).then_some(())?;
            continue;
        }
        line.option(is_not(bit), option);
        line.word(low);
        match low.cmp(&high) {
            std::cmp::Ordering::Less => push(line, format_args!("-{high}")),
            std::cmp::Ordering::Equal => (),
            std::cmp::Ordering::Greater => return None,
        }
    }
    if has(XT_OWNER_SUPPL_GROUPS) {
        line.word("--suppl-groups");
    }
    let is_negatable = XT_OWNER_UID | XT_OWNER_GID | XT_OWNER_SOCKET;
    let is_said = owner.matched != 0
        && owner.matched <= 0x0f
        && owner.invert & !(owner.matched & is_negatable) == 0
        && (has(XT_OWNER_GID) || !has(XT_OWNER_SUPPL_GROUPS));
    is_said.then_some(())
}

layout! {
    /// `struct xt_physdev_info`.
    struct Physdev[66] {
        physindev: Name<16> = 0, in_mask: [u8; 16] = 16, physoutdev: Name<16> = 32, out_mask: [u8; 16] = 48,
        invert: u8 = 64, bitmask: u8 = 65
    }
}

fn physdev(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_PHYSDEV_OP_IN: u8 = 0x01;
    const XT_PHYSDEV_OP_OUT: u8 = 0x02;
    const XT_PHYSDEV_OP_BRIDGED: u8 = 0x04;
    const XT_PHYSDEV_OP_ISIN: u8 = 0x08;
    const XT_PHYSDEV_OP_ISOUT: u8 = 0x10;
    let physdev: Physdev = info.decode()?;
    let has = |bit| physdev.bitmask & bit != 0;
    let is_not = |bit| physdev.invert & bit != 0;
    let flag = |line: &mut Line, bit, option| {
        if has(bit) {
            line.option(is_not(bit), option);
        }
    };
    let device = |line: &mut Line, bit, option, name: &Name<16>, mask: &[u8; 16]| {
        if has(bit) {
            line.option(is_not(bit), option);
            return interface(line, name, mask);
        }
        (name.as_bytes().is_empty() && *mask == [0; 16]).then_some(())
    };
    flag(line, XT_PHYSDEV_OP_ISIN, "--physdev-is-in");
    device(line, XT_PHYSDEV_OP_IN, "--physdev-in", &physdev.physindev, &physdev.in_mask)?;
    flag(line, XT_PHYSDEV_OP_ISOUT, "--physdev-is-out");
    device(line, XT_PHYSDEV_OP_OUT, "--physdev-out", &physdev.physoutdev, &physdev.out_mask)?;
    flag(line, XT_PHYSDEV_OP_BRIDGED, "--physdev-is-bridged");
    let is_said = physdev.bitmask != 0 && physdev.bitmask <= 0x1f && physdev.invert & !physdev.bitmask == 0;
    is_said.then_some(())
}

layout! {
    /// `struct xt_pkttype_info`.
    struct Pkttype[8] { pkttype: u32 = 0, invert: u32 = 4 }
}

fn pkttype(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Pkttype { pkttype, invert } = info.decode()?;
    // `PACKET_HOST`, `PACKET_BROADCAST`, `PACKET_MULTICAST`
    let name = ["unicast", "broadcast", "multicast"].get(usize::try_from(pkttype).ok()?)?;
    line.option(boolean(invert)?, "--pkt-type");
    line.word(name);
    Some(())
}

layout! {
    /// `struct xt_realm_info`.
    struct Realm[12] { id: u32 = 0, mask: u32 = 4, invert: u8 = 8 }
}

/// A number: names of realms depend on the machine.
fn realm(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Realm { id, mask, invert } = info.decode()?;
    line.option(boolean(invert)?, "--realm");
    mark(line, id, mask);
    Some(())
}

layout! {
    /// `struct xt_rpfilter_info` and `struct xt_socket_mtinfo3`.
    struct Flags[1] { flags: u8 = 0 }
}

fn rpfilter(info: &Info<'_>, line: &mut Line) -> Option<()> {
    // `XT_RPFILTER_*`
    flags(info, line, &["--loose", "--validmark", "--accept-local", "--invert"])
}

fn socket(info: &Info<'_>, line: &mut Line) -> Option<()> {
    // `XT_SOCKET_*`
    flags(info, line, &["--transparent", "--nowildcard", "--restore-skmark"])
}

/// An option for each bit, from the lowest on.
fn flags(info: &Info<'_>, line: &mut Line, options: &[&str]) -> Option<()> {
    let Flags { mut flags } = info.decode()?;
    for option in options {
        if flags & 1 != 0 {
            line.word(option);
        }
        flags >>= 1;
    }
    (flags == 0).then_some(())
}
