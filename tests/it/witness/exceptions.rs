//! Listed rules for which something else holds than for all others. Each must be met, or it is to be removed.

use std::collections::BTreeSet;

use super::tools::{Tools, Version};

type List = &'static [(&'static str, &'static str)];

/// Our line is in words, and in others than those of 1.8.9.
pub const OTHER_TEXT: List = &[
    ("INPUT ! -i +", "iptables-legacy-save prints nothing of what never matches"),
    ("OUTPUT ! -o +", "iptables-legacy-save prints nothing of what never matches"),
    ("FORWARD -m devgroup --src-group 0", "names of /etc/iproute2/group are numbers"),
    ("INPUT -m realm --realm 0", "names of /etc/iproute2/rt_realms are numbers"),
];

/// Our line is raw, although that of 1.8.9 becomes the same rule again.
pub const RAW: List = &[
    ("INPUT -m comment --comment \"a\ttab\"", "a control byte"),
    ("INPUT -p tcp -m tcp ! --sport 1 ! --dport 2", "1.8.9 writes `not both`, later versions mean `neither`"),
    ("INPUT -p udp -m udp ! --sport 1 ! --dport 2", "1.8.9 writes `not both`, later versions mean `neither`"),
];

/// The line is right, and some iptables refuses it.
pub const REFUSED: List = &[
    (
        "PREROUTING -m cluster --cluster-total-nodes 32 --cluster-local-node 32 --cluster-hash-seed 4294967295",
        "the mask of node 32 is printed, but not taken",
    ),
    ("INPUT -p 143", "ethernet in /etc/protocols since Debian 12"),
];

/// Versions make different rules of the command, and each has its own line.
pub const BY_VERSION: List = &[
    ("INPUT ! -i +", "1.8.7 writes no condition"),
    ("OUTPUT ! -o +", "1.8.7 writes no condition"),
    ("INPUT -s 10.0.1.0/255.0.255.0", "1.8.7 writes a mask that is no prefix as a prefix"),
    ("INPUT -s 10.0.0.1/255.0.0.255", "1.8.7 writes a mask that is no prefix as a prefix"),
    (
        "INPUT -d 10.1.0.1/255.255.0.255 -s 10.0.2.0/255.0.255.0",
        "1.8.7 writes a mask that is no prefix as a prefix",
    ),
    ("INPUT -d 2001:0:1::/ffff:0:ffff::", "1.8.7 writes a mask that is no prefix as a prefix"),
    ("INPUT ! -d 2001:db8::1/ffff:ffff::ffff", "1.8.7 writes a mask that is no prefix as a prefix"),
    ("PREROUTING -p tcp -j REDIRECT --random", "1.8.7 forgets it without ports"),
    ("PREROUTING -j REDIRECT --random", "1.8.7 forgets it without ports"),
    ("INPUT -j NFLOG --nflog-range 256", "1.8.7 keeps a range, which has no effect"),
    (
        "INPUT -j NFLOG --nflog-prefix x --nflog-range 1 --nflog-threshold 5",
        "1.8.7 keeps a range, which has no effect",
    ),
    (
        "INPUT -j NFLOG --nflog-group 5 --nflog-prefix x --nflog-range 128 --nflog-threshold 20",
        "1.8.7 keeps a range, which has no effect",
    ),
    (
        "INPUT -j NFLOG --nflog-prefix \"0123456789012345678901234567890123456789012345678901234567890123456789\"",
        "1.8.7 cuts it at 63 bytes",
    ),
    (
        "INPUT -p tcp -m tcp ! --dport 0:80",
        "1.8.7 writes a part of x_tables, and others expressions of which 1.8.9 prints other words",
    ),
    (
        "INPUT -p udp -m udp ! --dport 0:80",
        "1.8.7 writes a part of x_tables, and others expressions of which 1.8.9 prints other words",
    ),
    (
        "INPUT -p tcp -m tcp ! --sport 0:65534",
        "1.8.7 writes a part of x_tables, and others expressions of which 1.8.9 prints other words",
    ),
    (
        "INPUT -p tcp -m tcp ! --sport 0:9 ! --dport 9:65535",
        "1.8.7 writes a part of x_tables, and others expressions of which 1.8.9 prints other words",
    ),
    (
        "INPUT -p tcp -m tcp ! --dport 0:65535",
        "all but 1.8.7 drop the condition or write one that never holds",
    ),
    (
        "INPUT -p tcp -m tcp ! --sport 0:65535 --dport 5",
        "all but 1.8.7 drop the condition or write one that never holds",
    ),
    (
        "INPUT -p udp -m udp ! --dport 0:65535",
        "all but 1.8.7 drop the condition or write one that never holds",
    ),
    (
        "INPUT -p tcp -m tcp --tcp-flags NONE SYN",
        "all but 1.8.7 drop the condition or write one that never holds",
    ),
    (
        "INPUT -p tcp -m tcp ! --tcp-flags NONE NONE",
        "all but 1.8.7 drop the condition or write one that never holds",
    ),
    (
        "INPUT -p tcp -m tcp --dport 80 -m tcp --dport 443",
        "1.8.7 writes two parts, and others expressions that 1.8.9 prints as one",
    ),
    (
        "INPUT -p tcp -m tcp --sport 80 -m tcp --dport 443",
        "1.8.7 writes two parts, and others expressions that 1.8.9 prints as one",
    ),
    (
        "INPUT -p tcp -m tcp --syn -m tcp --dport 443",
        "1.8.7 writes two parts, and others expressions that 1.8.9 prints as one",
    ),
    (
        "INPUT -p tcp -m tcp --dport 80 -m limit --limit 5/sec -m tcp --sport 5",
        "1.8.7 writes two parts, and others expressions that 1.8.9 prints as one",
    ),
    (
        "INPUT -p tcp -m tcp --dport 80 -m mark --mark 1 -m tcp --sport 5",
        "1.8.7 writes two parts, and others expressions that 1.8.9 prints as one",
    ),
    (
        "INPUT -p udp -m udp --dport 53 -m udp --sport 5",
        "1.8.7 writes two parts, and others expressions that 1.8.9 prints as one",
    ),
    ("INPUT -p tcp -m tcp ! --sport 1 ! --dport 2", "1.8.9 writes `not both`"),
    ("INPUT -p udp -m udp ! --sport 1 ! --dport 2", "1.8.9 writes `not both`"),
    (
        "INPUT -m conntrack --ctorigdst 10.0.0.1/255.0.0.255",
        "versions before 1.8.11 take a mask that is no prefix for a whole one",
    ),
    (
        "INPUT -m conntrack --ctorigdst fd00::1/ffff::ffff",
        "versions before 1.8.11 take a mask that is no prefix for a whole one",
    ),
    (
        "INPUT -m policy --dir in --pol ipsec --mode tunnel --tunnel-src 10.0.0.0/255.0.255.0",
        "versions before 1.8.11 take a mask that is no prefix for a whole one",
    ),
    (
        "INPUT -m policy --dir in --pol ipsec --mode tunnel --tunnel-src fd00::/ffff::1 --tunnel-dst ::/0",
        "versions before 1.8.11 take a mask that is no prefix for a whole one",
    ),
    (
        "OUTPUT -j NETMAP --to 1.2.0.0/255.0.255.0",
        "versions before 1.8.11 take a mask that is no prefix for a whole one",
    ),
    (
        "OUTPUT -j NETMAP --to fd00::1/ffff::ffff",
        "versions before 1.8.11 take a mask that is no prefix for a whole one",
    ),
];

/// What was met of the lists.
#[derive(Default)]
pub struct Exceptions {
    met: BTreeSet<&'static str>,
}

impl Exceptions {
    /// Whether the list has this rule.
    pub fn has(&mut self, list: List, typed: &str) -> bool {
        let found = list.iter().find(|(specification, _)| *specification == typed);
        self.met.extend(found.map(|(specification, _)| specification));
        found.is_some()
    }

    /// That no list has a rule in vain.
    pub fn assert_used(&self, writers: &[Tools], lists: &[List]) {
        let is_whole = [[1, 8, 7], [1, 8, 9]]
            .map(Version)
            .iter()
            .all(|version| writers.iter().any(|tools| tools.version == *version));
        for (specification, why) in lists.iter().copied().flatten().filter(|_| is_whole) {
            assert!(self.met.contains(specification), "not needed any more: {specification} ({why})");
        }
    }
}
