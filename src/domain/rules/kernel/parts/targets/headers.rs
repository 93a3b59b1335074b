//! Targets that change a packet's headers: `TOS`, `DSCP`, `ECN`, `TTL`, `HL`, `TCPMSS`, `TCPOPTSTRIP`, `CHECKSUM`.
//! Knows no target that rewrites addresses.

use super::target;
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::kernel::parts::words::push;
use crate::domain::rules::kernel::parts::{BOTH, Extension, IP, IP6, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    target("TOS", BOTH, &[1], &[], "netfilter/xt_DSCP.h", tos),
    target("DSCP", BOTH, &[0], &[], "netfilter/xt_DSCP.h", dscp),
    target("ECN", IP, &[0], &[], "netfilter_ipv4/ipt_ECN.h", ecn),
    target("TTL", IP, &[0], &[], "netfilter_ipv4/ipt_TTL.h", ttl),
    target("HL", IP6, &[0], &[], "netfilter_ipv6/ip6t_HL.h", hop_limit),
    target("TCPMSS", BOTH, &[0], &[], "netfilter/xt_TCPMSS.h", tcpmss),
    target("TCPOPTSTRIP", BOTH, &[0], &[], "netfilter/xt_TCPOPTSTRIP.h", tcpoptstrip),
    target("CHECKSUM", BOTH, &[0], &[], "netfilter/xt_CHECKSUM.h", checksum),
];

layout! {
    /// `struct xt_tos_target_info`.
    struct Tos[2] { tos_value: u8 = 0, tos_mask: u8 = 1 }
}

fn tos(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Tos { tos_value, tos_mask } = info.decode()?;
    line.word(format_args!("--set-tos {tos_value:#04x}/{tos_mask:#04x}"));
    Some(())
}

layout! {
    /// `struct xt_DSCP_info`.
    struct Dscp[1] { dscp: u8 = 0 }
}

fn dscp(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_DSCP_MAX: u8 = 0x3f;
    let Dscp { dscp } = info.decode()?;
    line.word(format_args!("--set-dscp {dscp:#04x}"));
    (dscp <= XT_DSCP_MAX).then_some(())
}

layout! {
    /// `struct ipt_ECN_info`. The last byte holds the two bits of TCP.
    struct Ecn[3] { operation: u8 = 0, ip_ect: u8 = 1, tcp: u8 = 2 }
}

fn ecn(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const IPT_ECN_OP_SET_IP: u8 = 0x01;
    const IPT_ECN_OP_SET_ECE: u8 = 0x10;
    const IPT_ECN_OP_SET_CWR: u8 = 0x20;
    const IPT_ECN_IP_MASK: u8 = 0x03;
    /// Bits of `proto.tcp`.
    const ECE: u8 = 0x01;
    const CWR: u8 = 0x02;
    let Ecn { operation, ip_ect, tcp } = info.decode()?;
    let has = |bit| operation & bit != 0;
    if operation == IPT_ECN_OP_SET_ECE | IPT_ECN_OP_SET_CWR && tcp == 0 {
        line.word("--ecn-tcp-remove");
    } else {
        if has(IPT_ECN_OP_SET_ECE) {
            line.word(format_args!("--ecn-tcp-ece {}", u8::from(tcp & ECE != 0)));
        }
        if has(IPT_ECN_OP_SET_CWR) {
            line.word(format_args!("--ecn-tcp-cwr {}", u8::from(tcp & CWR != 0)));
        }
    }
    if has(IPT_ECN_OP_SET_IP) {
        line.word(format_args!("--ecn-ip-ect {ip_ect}"));
    }
    let ece = if has(IPT_ECN_OP_SET_ECE) { ECE } else { 0 };
    let cwr = if has(IPT_ECN_OP_SET_CWR) { CWR } else { 0 };
    let ect = if has(IPT_ECN_OP_SET_IP) { IPT_ECN_IP_MASK } else { 0 };
    let known = IPT_ECN_OP_SET_IP | IPT_ECN_OP_SET_ECE | IPT_ECN_OP_SET_CWR;
    let is_said = tcp & !(ece | cwr) == 0 && ip_ect & !ect == 0;
    (is_said && operation != 0 && operation & !known == 0).then_some(())
}

layout! {
    /// `struct ipt_TTL_info` and `struct ip6t_HL_info`.
    struct HopLimit[2] { mode: u8 = 0, hop_limit: u8 = 1 }
}

fn ttl(info: &Info<'_>, line: &mut Line) -> Option<()> {
    hops(info, line, "ttl")
}

fn hop_limit(info: &Info<'_>, line: &mut Line) -> Option<()> {
    hops(info, line, "hl")
}

fn hops(info: &Info<'_>, line: &mut Line, field: &str) -> Option<()> {
    let HopLimit { mode, hop_limit } = info.decode()?;
    // `IPT_TTL_SET`, `IPT_TTL_INC`, `IPT_TTL_DEC`
    let mode = match (mode, hop_limit) {
        (0, _) => "set",
        (1, 1..) => "inc",
        (2, 1..) => "dec",
        _ => return None,
    };
    line.word(format_args!("--{field}-{mode} {hop_limit}"));
    Some(())
}

layout! {
    /// `struct xt_tcpmss_info`.
    struct TcpMss[2] { mss: u16 = 0 }
}

fn tcpmss(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_TCPMSS_CLAMP_PMTU: u16 = 0xffff;
    match info.decode()? {
        TcpMss { mss: XT_TCPMSS_CLAMP_PMTU } => line.word("--clamp-mss-to-pmtu"),
        TcpMss { mss } => line.word(format_args!("--set-mss {mss}")),
    }
    Some(())
}

layout! {
    /// `struct xt_tcpoptstrip_target_info`: a bit for each kind of option.
    struct TcpOptStrip[32] { strip_bmap: [u32; 8] = 0 }
}

fn tcpoptstrip(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let TcpOptStrip { strip_bmap } = info.decode()?;
    let is_stripped =
        |kind: &usize| strip_bmap.get(kind / 32).is_some_and(|bits| bits >> (kind % 32) & 1 != 0);
    for (index, kind) in (0..256).filter(is_stripped).enumerate() {
        push(line, format_args!("{}{kind}", if index == 0 { " --strip-options " } else { "," }));
    }
    Some(())
}

layout! {
    /// `struct xt_CHECKSUM_info`.
    struct Checksum[1] { operation: u8 = 0 }
}

fn checksum(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_CHECKSUM_OP_FILL: u8 = 1;
    let Checksum { operation } = info.decode()?;
    line.word("--checksum-fill");
    (operation == XT_CHECKSUM_OP_FILL).then_some(())
}
