//! What the kernel calls at a netfilter hook: answers of nfnetlink_hook, and the functions of the kernel that are known.
//! Judges nothing and writes no text.
//!
//! *Source*: `include/uapi/linux/netfilter/nfnetlink_hook.h`, `net/netfilter/nfnetlink_hook.c` (since Linux 5.14).

use super::attributes::{Fields, Malformed};
use crate::domain::rules::Family;

const NFNLA_HOOK_PRIORITY: u16 = 2;
const NFNLA_HOOK_FUNCTION_NAME: u16 = 4;
const NFNLA_HOOK_MODULE_NAME: u16 = 5;
const NFNLA_HOOK_CHAIN_INFO: u16 = 6;
const NFNLA_HOOK_INFO_DESC: u16 = 1;
const NFNLA_HOOK_INFO_TYPE: u16 = 2;
const NFNLA_HOOK_BPF_ID: u16 = 1;
/// `enum nfnl_hook_chaintype`.
const NFNL_HOOK_TYPE_NFTABLES: u32 = 1;
const NFNL_HOOK_TYPE_BPF: u32 = 2;
const NFNL_HOOK_TYPE_NFT_FLOWTABLE: u32 = 3;

/// The hooks of each family that can be listed, by number. Chains of family inet are listed with ip and ip6, but for those at
/// a device.
///
/// *Source*: `enum nf_inet_hooks`, `NF_ARP_*`, `NF_BR_*`, `enum nf_dev_hooks`.
pub const HOOKS: [(Family, &[&str]); 5] = [
    (Family::Ip, &INET_HOOKS),
    (Family::Ip6, &INET_HOOKS),
    (Family::Arp, &["input", "output", "forward"]),
    (Family::Bridge, &INET_HOOKS),
    (Family::Netdev, &["ingress", "egress"]),
];
const INET_HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];

/// The name of a hook, or its number.
pub fn hook_name(family: Family, number: u32) -> String {
    let hooks = HOOKS.iter().find(|(of, _)| *of == family).map_or(&[][..], |(_, hooks)| *hooks);
    let name = usize::try_from(number).ok().and_then(|number| hooks.get(number));
    name.map_or_else(|| number.to_string(), |&name| name.to_owned())
}

/// One thing that is called at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Lower is called earlier.
    pub priority: i32,
    /// What is called.
    pub callee: Callee,
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A base chain or a flowtable of nf_tables, which is read as such.
    NfTables,
    /// A BPF program, by the number that it got when it was loaded.
    Bpf(u32),
    /// A function of the kernel or of a module.
    Function {
        /// None from a kernel without names, and for code that has none.
        name: Option<Vec<u8>>,
        /// The module that it belongs to, if any.
        module: Option<Vec<u8>>,
    },
}

impl Callback {
    /// Decodes the attributes of one answer.
    ///
    /// # Errors
    /// [`Malformed`] where an attribute is missing that every kernel gives, or is of another form.
    pub fn decode(attributes: &[u8]) -> Result<Self, Malformed> {
        let fields = Fields::<7>::known(attributes)?;
        let priority = fields.be32(NFNLA_HOOK_PRIORITY).ok_or(Malformed)?;
        Ok(Self { priority: priority.cast_signed(), callee: Callee::of(&fields)? })
    }
}

impl Callee {
    fn of(fields: &Fields<'_, 7>) -> Result<Self, Malformed> {
        if let Some(info) = fields.get(NFNLA_HOOK_CHAIN_INFO) {
            let info = Fields::<3>::known(info)?;
            match info.be32(NFNLA_HOOK_INFO_TYPE).ok_or(Malformed)? {
                NFNL_HOOK_TYPE_NFTABLES | NFNL_HOOK_TYPE_NFT_FLOWTABLE => return Ok(Self::NfTables),
                NFNL_HOOK_TYPE_BPF => {
                    let program = Fields::<2>::known(info.get(NFNLA_HOOK_INFO_DESC).ok_or(Malformed)?)?;
                    return program.be32(NFNLA_HOOK_BPF_ID).map(Self::Bpf).ok_or(Malformed);
                }
                // of a newer kernel: its function says what it is
                _ => {}
            }
        }
        let text = |kind| match fields.get(kind) {
            None => Ok(None),
            Some(_) => fields.string(kind).map(Some).ok_or(Malformed),
        };
        let name = text(NFNLA_HOOK_FUNCTION_NAME)?.map(without_suffix).filter(|name| is_symbol(name));
        let module = text(NFNLA_HOOK_MODULE_NAME)?.map(<[u8]>::to_vec);
        Ok(Self::Function { name: name.map(<[u8]>::to_vec), module })
    }
}

/// The compiler puts suffixes such as `.constprop.0` behind a name, other ones in each build.
fn without_suffix(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == b'.').next().unwrap_or_default()
}

/// Code without a symbol is given as its address, which differs at each boot.
fn is_symbol(name: &[u8]) -> bool {
    name.first().is_some_and(|first| !first.is_ascii_digit())
}

/// Whether a function is one that the kernel itself hangs at a hook for what is configured elsewhere: by rules that are read,
/// by an LSM, by IPVS, by a bridge.
pub fn is_known(function: &[u8]) -> bool {
    str::from_utf8(function).is_ok_and(|name| KNOWN.binary_search(&name).is_ok())
}

/// The functions of Linux 5.14 to 6.18, sorted.
///
/// *Source*: each `struct nf_hook_ops` in the kernel: `net/netfilter`, `net/ipv4/netfilter`, `net/ipv6/netfilter`,
/// `net/bridge`, `net/ipv6/ila`, `security`, `drivers/net/ipvlan`.
const KNOWN: [&str; 92] = [
    "apparmor_ip_postroute",
    "apparmor_ipv4_postroute",
    "apparmor_ipv6_postroute",
    "arpt_do_table",
    "arptable_filter_hook",
    "br_nf_forward",
    "br_nf_forward_arp",
    "br_nf_forward_ip",
    "br_nf_local_in",
    "br_nf_post_routing",
    "br_nf_pre_routing",
    "clusterip_arp_mangle",
    "ebt_broute",
    "ebt_do_table",
    "ebt_filter_hook",
    "ebt_in_hook",
    "ebt_nat_hook",
    "ebt_nat_in",
    "ebt_nat_out",
    "ebt_out_hook",
    "ila_nf_input",
    "ip6t_do_table",
    "ip6table_filter_hook",
    "ip6table_mangle_hook",
    "ip6table_raw_hook",
    "ip6table_security_hook",
    "ip_sabotage_in",
    "ip_vs_forward_icmp",
    "ip_vs_forward_icmp_v6",
    "ip_vs_in_hook",
    "ip_vs_local_reply4",
    "ip_vs_local_reply6",
    "ip_vs_local_request4",
    "ip_vs_local_request6",
    "ip_vs_out_hook",
    "ip_vs_remote_request4",
    "ip_vs_remote_request6",
    "ip_vs_reply4",
    "ip_vs_reply6",
    "ipt_do_table",
    "iptable_filter_hook",
    "iptable_mangle_hook",
    "iptable_raw_hook",
    "iptable_security_hook",
    "ipv4_confirm",
    "ipv4_conntrack_defrag",
    "ipv4_conntrack_in",
    "ipv4_conntrack_local",
    "ipv4_synproxy_hook",
    "ipv6_confirm",
    "ipv6_conntrack_in",
    "ipv6_conntrack_local",
    "ipv6_defrag",
    "ipv6_synproxy_hook",
    "ipvlan_nf_input",
    "nf_confirm",
    "nf_ct_bridge_in",
    "nf_ct_bridge_post",
    "nf_ct_bridge_pre",
    "nf_flow_offload_inet_hook",
    "nf_flow_offload_ip_hook",
    "nf_flow_offload_ipv6_hook",
    "nf_nat_ipv4_fn",
    "nf_nat_ipv4_in",
    "nf_nat_ipv4_local_fn",
    "nf_nat_ipv4_local_in",
    "nf_nat_ipv4_out",
    "nf_nat_ipv4_pre_routing",
    "nf_nat_ipv6_fn",
    "nf_nat_ipv6_in",
    "nf_nat_ipv6_local_fn",
    "nf_nat_ipv6_local_in",
    "nf_nat_ipv6_out",
    "nft_do_chain_arp",
    "nft_do_chain_bridge",
    "nft_do_chain_inet",
    "nft_do_chain_inet_ingress",
    "nft_do_chain_ipv4",
    "nft_do_chain_ipv6",
    "nft_do_chain_netdev",
    "selinux_ip_forward",
    "selinux_ip_output",
    "selinux_ip_postroute",
    "selinux_ipv4_forward",
    "selinux_ipv4_output",
    "selinux_ipv4_postroute",
    "selinux_ipv6_forward",
    "selinux_ipv6_output",
    "selinux_ipv6_postroute",
    "smack_ip_output",
    "smack_ipv4_output",
    "smack_ipv6_output",
];

#[cfg(test)]
mod tests;
