//! Matches of the headers that IPv4 and IPv6 packets have: DSCP, ECN, length, ICMP, DCCP, AH of IPv4, ESP, IPComp.
//! Extension headers of IPv6 are elsewhere.

use super::matching;
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::kernel::parts::{BOTH, Extension, IP, IP6, Info, words};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    matching("ah", IP, &[0], &[], "netfilter_ipv4/ipt_ah.h", ah),
    matching("dccp", BOTH, &[0], &[], "netfilter/xt_dccp.h", dccp),
    matching("dscp", BOTH, &[0], &[], "netfilter/xt_dscp.h", dscp),
    matching("ecn", BOTH, &[0], &[], "netfilter/xt_ecn.h", ecn),
    matching("esp", BOTH, &[0], &[], "netfilter/xt_esp.h", esp),
    matching("icmp", IP, &[0], &[], "netfilter_ipv4/ip_tables.h", icmp),
    matching("icmp6", IP6, &[0], &[], "netfilter_ipv6/ip6_tables.h", icmp6),
    matching("ipcomp", BOTH, &[0], &[], "netfilter/xt_ipcomp.h", ipcomp),
    matching("length", BOTH, &[0], &[], "netfilter/xt_length.h", length),
];

layout! {
    /// `struct ipt_ah` and `struct xt_esp`.
    struct Spi[9] { spis: [u32; 2] = 0, invert: u8 = 8 }
}

fn ah(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Spi { spis, invert } = info.decode()?;
    range_unless_full(line, words::boolean(invert)?, "--ahspi", spis)
}

fn esp(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Spi { spis, invert } = info.decode()?;
    range_unless_full(line, words::boolean(invert)?, "--espspi", spis)
}

layout! {
    /// `struct xt_ipcomp`.
    struct IpComp[12] { spis: [u32; 2] = 0, invert: u8 = 8, reserved: u8 = 9 }
}

fn ipcomp(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let IpComp { spis, invert, reserved } = info.decode()?;
    range_unless_full(line, words::boolean(invert)?, "--ipcompspi", spis)?;
    if words::boolean(reserved)? {
        line.word("--compres");
    }
    Some(())
}

/// ` --OPTION LOW:HIGH`, or nothing if that is every number. None if that is negated, which iptables leaves out, too.
pub(super) fn range_unless_full(
    line: &mut Line,
    is_inverted: bool,
    option: &str,
    [low, high]: [u32; 2],
) -> Option<()> {
    if [low, high] == [0, u32::MAX] {
        return (!is_inverted).then_some(());
    }
    line.option(is_inverted, option);
    words::range(line, low, high)
}

layout! {
    /// `struct xt_dccp_info`: ports are the lowest and highest.
    struct Dccp[16] {
        destinations: [u16; 2] = 0, sources: [u16; 2] = 4, flags: u16 = 8, inverted: u16 = 10, types: u16 = 12,
        option: u8 = 14,
    }
}

fn dccp(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `XT_DCCP_*`.
    const SRC_PORTS: u16 = 0x01;
    const DEST_PORTS: u16 = 0x02;
    const TYPE: u16 = 0x04;
    const OPTION: u16 = 0x08;
    const ALL: u16 = 0x0f;
    /// The types that DCCP has not; iptables sets and names them together.
    const INVALID: u32 = 0xfc00;
    /// `DCCP_PKT_*`: a bit for each.
    const TYPES: [(u32, &str); 11] = [
        (1 << 0, "REQUEST"),
        (1 << 1, "RESPONSE"),
        (1 << 2, "DATA"),
        (1 << 3, "ACK"),
        (1 << 4, "DATAACK"),
        (1 << 5, "CLOSEREQ"),
        (1 << 6, "CLOSE"),
        (1 << 7, "RESET"),
        (1 << 8, "SYNC"),
        (1 << 9, "SYNCACK"),
        (INVALID, "INVALID"),
    ];
    let Dccp { destinations, sources, flags, inverted, types, option } = info.decode()?;
    let types = u32::from(types);
    let is_whole = matches!(types & INVALID, 0 | INVALID);
    if flags & !ALL != 0 || inverted & !flags != 0 || !is_whole {
        return None;
    }
    for (bit, name, [low, high]) in [(SRC_PORTS, "--sport", sources), (DEST_PORTS, "--dport", destinations)] {
        if flags & bit != 0 {
            line.option(inverted & bit != 0, name);
            words::range(line, low, high)?;
        } else if [low, high] != [0, 0] {
            return None;
        }
    }
    if flags & TYPE != 0 {
        line.option(inverted & TYPE != 0, "--dccp-types");
        words::names(line, types, &TYPES)?;
    } else if types != 0 {
        return None;
    }
    if flags & OPTION != 0 {
        line.option(inverted & OPTION != 0, "--dccp-option");
        line.word(option);
    }
    ((flags & OPTION != 0) == (option != 0)).then_some(())
}

layout! {
    /// `struct xt_dscp_info`.
    struct Dscp[2] { dscp: u8 = 0, invert: u8 = 1 }
}

fn dscp(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `XT_DSCP_MAX`.
    const DSCP_MAX: u8 = 0x3f;
    let Dscp { dscp, invert } = info.decode()?;
    line.option(words::boolean(invert)?, "--dscp");
    line.word(format_args!("{dscp:#04x}"));
    (dscp <= DSCP_MAX).then_some(())
}

layout! {
    /// `struct xt_ecn_info`.
    struct Ecn[4] { operation: u8 = 0, invert: u8 = 1, ip_ect: u8 = 2 }
}

fn ecn(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `XT_ECN_OP_MATCH_*`.
    const MATCH_IP: u8 = 0x01;
    const MATCH_ECE: u8 = 0x10;
    const MATCH_CWR: u8 = 0x20;
    const ALL: u8 = MATCH_IP | MATCH_ECE | MATCH_CWR;
    /// `XT_ECN_IP_MASK`.
    const IP_ECT_MAX: u8 = 3;
    let Ecn { operation, invert, ip_ect } = info.decode()?;
    let asks = |bit: u8| operation & bit != 0;
    if operation == 0 || operation & !ALL != 0 || invert & !operation != 0 {
        return None;
    }
    if asks(MATCH_ECE) {
        line.option(invert & MATCH_ECE != 0, "--ecn-tcp-ece");
    }
    if asks(MATCH_CWR) {
        line.option(invert & MATCH_CWR != 0, "--ecn-tcp-cwr");
    }
    if asks(MATCH_IP) {
        line.option(invert & MATCH_IP != 0, "--ecn-ip-ect");
        line.word(ip_ect);
    }
    (ip_ect <= if asks(MATCH_IP) { IP_ECT_MAX } else { 0 }).then_some(())
}

layout! {
    /// `struct ipt_icmp` and `struct ip6t_icmp`: codes are the lowest and highest.
    struct Icmp[4] { kind: u8 = 0, codes: [u8; 2] = 1, invert: u8 = 3 }
}

/// Every code.
const ANY_CODE: [u8; 2] = [0, u8::MAX];

fn icmp(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const ANY_TYPE: u8 = u8::MAX;
    let Icmp { kind, codes, invert } = info.decode()?;
    line.option(words::boolean(invert)?, "--icmp-type");
    if kind == ANY_TYPE {
        line.word("any");
        return (codes == ANY_CODE).then_some(());
    }
    icmp_type(line, kind, codes)
}

fn icmp6(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Icmp { kind, codes, invert } = info.decode()?;
    line.option(words::boolean(invert)?, "--icmpv6-type");
    icmp_type(line, kind, codes)
}

/// ` TYPE` or ` TYPE/CODE`. None if several codes are meant, of which iptables writes the first only.
fn icmp_type(line: &mut Line, kind: u8, codes: [u8; 2]) -> Option<()> {
    match codes {
        ANY_CODE => line.word(kind),
        [code, last] if code == last => line.word(format_args!("{kind}/{code}")),
        _ => return None,
    }
    Some(())
}

layout! {
    /// `struct xt_length_info`.
    struct Length[6] { min: u16 = 0, max: u16 = 2, invert: u8 = 4 }
}

fn length(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Length { min, max, invert } = info.decode()?;
    line.option(words::boolean(invert)?, "--length");
    words::range(line, min, max)
}
