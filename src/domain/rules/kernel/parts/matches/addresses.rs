//! Matches of a packet's addresses.
//! Knows no address of a connection.

use super::matching;
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::kernel::parts::words::{self, Address};
use crate::domain::rules::kernel::parts::{BOTH, Extension, IP, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    matching("addrtype", IP, &[0], &[], "netfilter/xt_addrtype.h", addrtype0),
    matching("addrtype", BOTH, &[1], &[], "netfilter/xt_addrtype.h", addrtype1),
    matching("iprange", BOTH, &[1], &[], "netfilter/xt_iprange.h", iprange),
];

layout! {
    /// `struct xt_addrtype_info`.
    struct AddrType0[12] { source: u16 = 0, dest: u16 = 2, invert_source: u32 = 4, invert_dest: u32 = 8 }
}

layout! {
    /// `struct xt_addrtype_info_v1`.
    struct AddrType1[8] { source: u16 = 0, dest: u16 = 2, flags: u32 = 4 }
}

/// `XT_ADDRTYPE_*`: a bit for each type of a route.
const ADDRESS_TYPES: [(u32, &str); 12] = [
    (1 << 0, "UNSPEC"),
    (1 << 1, "UNICAST"),
    (1 << 2, "LOCAL"),
    (1 << 3, "BROADCAST"),
    (1 << 4, "ANYCAST"),
    (1 << 5, "MULTICAST"),
    (1 << 6, "BLACKHOLE"),
    (1 << 7, "UNREACHABLE"),
    (1 << 8, "PROHIBIT"),
    (1 << 9, "THROW"),
    (1 << 10, "NAT"),
    (1 << 11, "XRESOLVE"),
];

fn addrtype0(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let AddrType0 { source, dest, invert_source, invert_dest } = info.decode()?;
    let inverted = [words::boolean(invert_source)?, words::boolean(invert_dest)?];
    address_types(line, [source, dest], inverted)
}

fn addrtype1(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const INVERT_SOURCE: u32 = 0x1;
    const INVERT_DEST: u32 = 0x2;
    const LIMIT_IFACE_IN: u32 = 0x4;
    const LIMIT_IFACE_OUT: u32 = 0x8;
    const ALL: u32 = 0xf;
    let AddrType1 { source, dest, flags } = info.decode()?;
    if flags & !ALL != 0 {
        return None;
    }
    address_types(line, [source, dest], [flags & INVERT_SOURCE != 0, flags & INVERT_DEST != 0])?;
    if flags & LIMIT_IFACE_IN != 0 {
        line.word("--limit-iface-in");
    }
    if flags & LIMIT_IFACE_OUT != 0 {
        line.word("--limit-iface-out");
    }
    Some(())
}

/// Source and destination types, of which iptables wants one at least.
fn address_types(line: &mut Line, types: [u16; 2], inverted: [bool; 2]) -> Option<()> {
    for ((option, types), is_inverted) in ["--src-type", "--dst-type"].iter().zip(types).zip(inverted) {
        if types != 0 {
            line.option(is_inverted, option);
            words::names(line, types.into(), &ADDRESS_TYPES)?;
        } else if is_inverted {
            return None;
        }
    }
    (types != [0, 0]).then_some(())
}

layout! {
    /// `struct xt_iprange_mtinfo`: the first and last source, the first and last destination.
    struct IpRange[65] { ranges: [[Address; 2]; 2] = 0, flags: u8 = 64 }
}

fn iprange(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `IPRANGE_SRC` and `IPRANGE_DST`.
    const SIDES: [(u8, &str); 2] = [(1 << 0, "--src-range"), (1 << 1, "--dst-range")];
    /// From `IPRANGE_SRC` to `IPRANGE_SRC_INV`, and so for the destination.
    const INVERT_SHIFT: u32 = 4;
    const SIDES_MASK: u8 = 0x03;
    const ALL: u8 = 0x33;
    let IpRange { ranges, flags } = info.decode()?;
    if flags & SIDES_MASK == 0 || flags & !ALL != 0 {
        return None;
    }
    for ((bit, option), [first, last]) in SIDES.into_iter().zip(ranges) {
        let is_inverted = flags & bit << INVERT_SHIFT != 0;
        if flags & bit != 0 {
            if first > last {
                return None;
            }
            line.option(is_inverted, option);
            line.push(b" ");
            words::address(line, info.is_ip(), &first)?;
            line.push(b"-");
            words::address(line, info.is_ip(), &last)?;
        } else if is_inverted || first != [0; 16] || last != [0; 16] {
            return None;
        }
    }
    Some(())
}
