//! Targets that send a packet, a copy or an answer elsewhere: `REJECT`, `TEE`, `TPROXY`, `CLUSTERIP`.
//! Knows no target that rewrites addresses.

use super::target;
use crate::domain::rules::kernel::layout::{Be16, Name, layout};
use crate::domain::rules::kernel::parts::words::{Address, address, push};
use crate::domain::rules::kernel::parts::{BOTH, Extension, IP, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    target("REJECT", BOTH, &[0], &[], "netfilter_ipv4/ipt_REJECT.h, netfilter_ipv6/ip6t_REJECT.h", reject),
    // the states are the kernel's pointers
    target("TEE", BOTH, &[1], &[32..40], "netfilter/xt_TEE.h", tee),
    target("TPROXY", BOTH, &[1], &[], "netfilter/xt_TPROXY.h", tproxy),
    target("CLUSTERIP", IP, &[0], &[56..64], "netfilter_ipv4/ipt_CLUSTERIP.h", clusterip),
];

/// `enum ipt_reject_with`. Number 4 is no answer that iptables knows.
const IPT_REJECT_WITH: [&str; 9] = [
    "icmp-net-unreachable",
    "icmp-host-unreachable",
    "icmp-proto-unreachable",
    "icmp-port-unreachable",
    "",
    "icmp-net-prohibited",
    "icmp-host-prohibited",
    "tcp-reset",
    "icmp-admin-prohibited",
];
/// `enum ip6t_reject_with`. Numbers 2 and 5 are no answers that ip6tables knows.
const IP6T_REJECT_WITH: [&str; 9] = [
    "icmp6-no-route",
    "icmp6-adm-prohibited",
    "",
    "icmp6-addr-unreachable",
    "icmp6-port-unreachable",
    "",
    "tcp-reset",
    "icmp6-policy-fail",
    "icmp6-reject-route",
];

layout! {
    /// `struct ipt_reject_info` and `struct ip6t_reject_info`.
    struct Reject[4] { with: u32 = 0 }
}

fn reject(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Reject { with } = info.decode()?;
    let answers = if info.is_ip() { IPT_REJECT_WITH } else { IP6T_REJECT_WITH };
    let answer = answers.get(usize::try_from(with).ok()?)?;
    line.word(format_args!("--reject-with {answer}"));
    (!answer.is_empty()).then_some(())
}

layout! {
    /// `struct xt_tee_tginfo`.
    struct Tee[40] { gw: Address = 0, oif: Name<16> = 16 }
}

fn tee(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Tee { gw, oif } = info.decode()?;
    line.word("--gateway ");
    address(line, info.is_ip(), &gw)?;
    if oif.as_bytes().is_empty() {
        return Some(());
    }
    line.word("--oif");
    oif.is_terminated().then(|| line.name(oif.as_bytes()))?
}

layout! {
    /// `struct xt_tproxy_target_info_v1`.
    struct Tproxy[28] { mark_mask: u32 = 0, mark_value: u32 = 4, laddr: Address = 8, lport: Be16 = 24 }
}

fn tproxy(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Tproxy { mark_mask, mark_value, laddr, lport: Be16(port) } = info.decode()?;
    line.word(format_args!("--on-port {port} --on-ip "));
    address(line, info.is_ip(), &laddr)?;
    line.word(format_args!("--tproxy-mark {mark_value:#x}/{mark_mask:#x}"));
    Some(())
}

layout! {
    /// `struct ipt_clusterip_tgt_info`.
    struct ClusterIp[64] {
        flags: u32 = 0, clustermac: [u8; 6] = 4, num_total_nodes: u16 = 10, num_local_nodes: u16 = 12,
        local_nodes: [u16; 16] = 14, hash_mode: u32 = 48, hash_initval: u32 = 52
    }
}

/// A rule without `--new` names an address that another rule set up.
fn clusterip(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const CLUSTERIP_FLAG_NEW: u32 = 1;
    let config: ClusterIp = info.decode()?;
    let (node, others) = config.local_nodes.split_first()?;
    if config.flags == 0 {
        return info.bytes.get(..56)?.iter().all(|byte| *byte == 0).then_some(());
    }
    // `enum clusterip_hashmode`
    let modes = ["sourceip", "sourceip-sourceport", "sourceip-sourceport-destport"];
    let mode = modes.get(usize::try_from(config.hash_mode).ok()?)?;
    line.word(format_args!("--new --hashmode {mode} --clustermac "));
    for (index, byte) in config.clustermac.into_iter().enumerate() {
        push(line, format_args!("{}{byte:02x}", if index == 0 { "" } else { ":" }));
    }
    line.word(format_args!("--total-nodes {}", config.num_total_nodes));
    line.word(format_args!("--local-node {node} --hash-init {}", config.hash_initval));
    let has_one_node = config.num_local_nodes == 1 && others.iter().all(|node| *node == 0);
    (has_one_node && config.flags == CLUSTERIP_FLAG_NEW).then_some(())
}
