//! What of the structures of x_tables parts belongs to the kernel, or is read by nobody.
//! Written a second time on purpose: the product has its own table, and what it masks beyond this one is found.
//!
//! *Source*: `include/uapi/linux/netfilter/xt_*.h`, 64-bit kernels.

use std::ops::Range;

/// Pointers and counters of the kernel, by name, revision and place.
const PRIVATE: &[(&str, u8, Range<usize>)] = &[
    // struct xt_rateinfo: prev, credit, credit_cap, cost, master
    ("limit", 0, 8..40),
    // hinfo
    ("hashlimit", 1, 48..56),
    ("hashlimit", 2, 296..304),
    ("hashlimit", 3, 304..312),
    // master
    ("quota", 0, 16..24),
    ("statistic", 0, 16..24),
    // config
    ("string", 1, 152..160),
    // data
    ("connlimit", 0, 16..24),
    ("connlimit", 1, 24..32),
    // est1, est2
    ("rateest", 0, 56..72),
    ("RATEEST", 0, 24..32),
    // timer
    ("IDLETIMER", 0, 32..40),
    ("IDLETIMER", 1, 40..48),
    ("LED", 0, 32..40),
    ("nfacct", 0, 32..40),
    ("nfacct", 1, 32..40),
    // filter; of revision 1 also the descriptor, which is read only while a pinned program is looked up
    ("bpf", 0, 520..528),
    ("bpf", 1, 520..528),
    ("bpf", 1, 4..8),
    // ct
    ("CT", 0, 32..40),
    ("CT", 1, 64..72),
    ("CT", 2, 64..72),
    // priv
    ("TEE", 1, 32..40),
    ("cgroup", 1, 4104..4112),
    ("cgroup", 2, 520..528),
    // secid
    ("SECMARK", 0, 4..8),
    ("SECMARK", 1, 260..264),
];

/// Zeros in a part's structure what is not the rule.
pub fn mask(name: &str, revision: u8, info: &mut [u8]) {
    let found = PRIVATE.iter().filter(|(of, number, _)| *of == name && *number == revision);
    for (.., range) in found {
        if let Some(bytes) = info.get_mut(range.clone()) {
            bytes.fill(0);
        }
    }
}
