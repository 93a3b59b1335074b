//! What the tools print: the dumps of `iptables-save` and `nft`, in files or for a comparison with the kernel.
//! Runs no tool and judges nothing.

pub mod iptables_save;
pub mod nft_json;
pub mod nft_text;

/// Fields that begin inside of a byte: in a concatenation, nft 1.0.6 loads them so that later versions print the rule as one of
/// other values (`ip version . ip saddr { 4 . 1.1.1.1 }` as `{ 0 . 4.0.0.0 }`). Tried with 1.0.6, 1.1.3 and 1.1.7.
const PARTS_OF_BYTES: [(&str, &str); 12] = [
    ("ip", "version"),
    ("ip", "dscp"),
    ("ip6", "version"),
    ("ip6", "dscp"),
    ("ip6", "ecn"),
    ("tcp", "doff"),
    ("vlan", "dei"),
    ("vlan", "cfi"),
    ("vlan", "pcp"),
    ("frag", "frag-off"),
    ("frag", "reserved2"),
    ("dccp", "type"),
];
