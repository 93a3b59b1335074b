//! Matches of what is kept with a connection, but for its addresses and state: counters, labels, marks, helpers, the
//! number of connections, the node of a cluster, the virtual service.
//! Knows no packet.

use super::matching;
use crate::domain::rules::kernel::layout::{Be16, Name, layout};
use crate::domain::rules::kernel::parts::words::{self, Address};
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    matching("cluster", BOTH, &[0], &[], "netfilter/xt_cluster.h", cluster),
    matching("connbytes", BOTH, &[0], &[], "netfilter/xt_connbytes.h", connbytes),
    matching("connlabel", BOTH, &[0], &[], "netfilter/xt_connlabel.h", connlabel),
    matching("connlimit", BOTH, &[0, 1], &[24..32], "netfilter/xt_connlimit.h", connlimit),
    matching("connmark", BOTH, &[1], &[], "netfilter/xt_connmark.h", connmark),
    matching("helper", BOTH, &[0], &[], "netfilter/xt_helper.h", helper),
    matching("ipvs", BOTH, &[0], &[], "netfilter/xt_ipvs.h", ipvs),
];

layout! {
    /// `struct xt_cluster_match_info`.
    struct Cluster[16] { nodes: u32 = 0, node_mask: u32 = 4, hash_seed: u32 = 8, flags: u32 = 12 }
}

fn cluster(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `XT_CLUSTER_NODES_MAX`.
    const NODES_MAX: u32 = 32;
    let Cluster { nodes, node_mask, hash_seed, flags } = info.decode()?;
    let is_mask = node_mask != 0 && u64::from(node_mask) < 1 << u64::from(nodes.min(NODES_MAX));
    if nodes > NODES_MAX || !is_mask {
        return None;
    }
    // XT_CLUSTER_F_INV is the only flag
    line.option(words::boolean(flags)?, "--cluster-local-nodemask");
    line.word(format_args!("{node_mask:#010x} --cluster-total-nodes {nodes}"));
    line.word(format_args!("--cluster-hash-seed {hash_seed:#010x}"));
    Some(())
}

layout! {
    /// `struct xt_connbytes_info`.
    struct ConnBytes[18] { from: u64 = 0, to: u64 = 8, what: u8 = 16, direction: u8 = 17 }
}

fn connbytes(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `enum xt_connbytes_what`.
    const MODES: [&str; 3] = ["packets", "bytes", "avgpkt"];
    /// `enum xt_connbytes_direction`.
    const DIRECTIONS: [&str; 3] = ["original", "reply", "both"];
    const NO_END: u64 = u64::MAX;
    let ConnBytes { from, to, what, direction } = info.decode()?;
    // a range is negated by changing its ends
    let is_inverted = from > to;
    let (low, high) = if is_inverted { (to, from) } else { (from, to) };
    line.option(is_inverted, "--connbytes");
    match high {
        NO_END => line.word(low),
        // iptables leaves the end out and means every number by it
        0 => return None,
        _ => line.word(format_args!("{low}:{high}")),
    }
    let (mode, direction) = (MODES.get(usize::from(what))?, DIRECTIONS.get(usize::from(direction))?);
    line.word(format_args!("--connbytes-mode {mode} --connbytes-dir {direction}"));
    Some(())
}

layout! {
    /// `struct xt_connlabel_mtinfo`.
    struct ConnLabel[4] { bit: u16 = 0, options: u16 = 2 }
}

/// Labels have names in a file of the machine; they are written as numbers.
fn connlabel(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `XT_CONNLABEL_OP_INVERT` and `XT_CONNLABEL_OP_SET`.
    const INVERT: u16 = 1 << 0;
    const SET: u16 = 1 << 1;
    /// `XT_CONNLABEL_MAXBIT`.
    const BIT_MAX: u16 = 127;
    let ConnLabel { bit, options } = info.decode()?;
    if bit > BIT_MAX || options & !(INVERT | SET) != 0 {
        return None;
    }
    line.option(options & INVERT != 0, "--label");
    line.word(format_args!("\"{bit}\""));
    if options & SET != 0 {
        line.word("--set");
    }
    Some(())
}

layout! {
    /// `struct xt_connlimit_info` without the pointer at its end.
    struct ConnLimit[32] { mask: Address = 0, limit: u32 = 16, flags: u32 = 20 }
}

fn connlimit(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `XT_CONNLIMIT_INVERT` and `XT_CONNLIMIT_DADDR`. Revision 0 counts sources only, and its flags are a truth value.
    const INVERT: u32 = 1 << 0;
    const DADDR: u32 = 1 << 1;
    let ConnLimit { mask, limit, flags } = info.decode()?;
    let counts_destinations = info.revision > 0 && flags & DADDR != 0;
    let allowed = if info.revision > 0 { INVERT | DADDR } else { INVERT };
    if flags & !allowed != 0 {
        return None;
    }
    line.word(if flags & INVERT != 0 { "--connlimit-upto" } else { "--connlimit-above" });
    line.word(limit);
    line.word(format_args!("--connlimit-mask {}", words::mask_length(info.is_ip(), &mask)?));
    if info.revision > 0 {
        line.word(if counts_destinations { "--connlimit-daddr" } else { "--connlimit-saddr" });
    }
    Some(())
}

layout! {
    /// `struct xt_connmark_mtinfo1`.
    struct ConnMark[9] { mark: u32 = 0, mask: u32 = 4, invert: u8 = 8 }
}

fn connmark(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let ConnMark { mark, mask, invert } = info.decode()?;
    line.option(words::boolean(invert)?, "--mark");
    words::mark(line, mark, mask);
    Some(())
}

layout! {
    /// `struct xt_helper_info`.
    struct Helper[36] { invert: u32 = 0, name: Name<30> = 4 }
}

fn helper(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Helper { invert, name } = info.decode()?;
    line.option(words::boolean(invert)?, "--helper");
    name.is_terminated().then(|| line.string(name.as_bytes()))?
}

layout! {
    /// `struct xt_ipvs_mtinfo`.
    struct Ipvs[40] {
        address: Address = 0, mask: Address = 16, port: Be16 = 32, protocol: u8 = 34, method: u8 = 35,
        control_port: Be16 = 36, invert: u8 = 38, matched: u8 = 39,
    }
}

fn ipvs(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `XT_IPVS_*`. The first is implied by the others, and iptables sets it with them.
    const IPVS_PROPERTY: u8 = 1 << 0;
    const PROTO: u8 = 1 << 1;
    const VADDR: u8 = 1 << 2;
    const VPORT: u8 = 1 << 3;
    const DIR: u8 = 1 << 4;
    const METHOD: u8 = 1 << 5;
    const VPORTCTL: u8 = 1 << 6;
    const ALL: u8 = 0x7f;
    /// `IP_VS_CONN_F_MASQ`, `_TUNNEL` and `_DROUTE`.
    const METHODS: [(u8, &str); 3] = [(0, "MASQ"), (2, "IPIP"), (3, "GATE")];

    let Ipvs { address, mask, port: Be16(port), protocol, method, control_port, invert, matched } =
        info.decode()?;
    let asks = |bit: u8| matched & bit != 0;
    let is_inverted = |bit: u8| invert & bit != 0;
    let Be16(control_port) = control_port;
    let is_unused_zero = (asks(VADDR) || address == [0; 16] && mask == [0; 16])
        && (asks(VPORT) || port == 0)
        && (asks(PROTO) || protocol == 0)
        && (asks(METHOD) || method == 0)
        && (asks(VPORTCTL) || control_port == 0);
    if !asks(IPVS_PROPERTY) || matched & !ALL != 0 || invert & !matched != 0 || !is_unused_zero {
        return None;
    }
    if matched == IPVS_PROPERTY {
        line.option(is_inverted(IPVS_PROPERTY), "--ipvs");
        return Some(());
    }
    if is_inverted(IPVS_PROPERTY) {
        return None;
    }
    if asks(PROTO) {
        line.option(is_inverted(PROTO), "--vproto");
        line.word(protocol);
    }
    if asks(VADDR) {
        line.option(is_inverted(VADDR), "--vaddr");
        words::host_network(line, info.is_ip(), &address, &mask)?;
    }
    if asks(VPORT) {
        line.option(is_inverted(VPORT), "--vport");
        line.word(port);
    }
    if asks(DIR) {
        line.word(if is_inverted(DIR) { "--vdir REPLY" } else { "--vdir ORIGINAL" });
    }
    if asks(METHOD) {
        line.option(is_inverted(METHOD), "--vmethod");
        line.word(METHODS.iter().find(|(number, _)| *number == method)?.1);
    }
    if asks(VPORTCTL) {
        line.option(is_inverted(VPORTCTL), "--vportctl");
        line.word(control_port);
    }
    Some(())
}
