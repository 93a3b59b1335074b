//! The names of protocols behind `-p`, as iptables-save 1.8.9 prints them on Debian 12.
//! Looks nothing up on the machine: a line means the same everywhere.
//!
//! *Source*: what iptables-save 1.8.9 prints for `-p 1` to `-p 255`, of either backend and family, beside
//! /etc/protocols of netbase 6.4.

/// The protocols that have a name, in ascending order.
const NAMES: [(u8, &str); 54] = [
    (1, "icmp"),
    (2, "igmp"),
    (3, "ggp"),
    (4, "ipencap"),
    (5, "st"),
    (6, "tcp"),
    (8, "egp"),
    (9, "igp"),
    (12, "pup"),
    (17, "udp"),
    (20, "hmp"),
    (22, "xns-idp"),
    (27, "rdp"),
    (29, "iso-tp4"),
    (33, "dccp"),
    (36, "xtp"),
    (37, "ddp"),
    (38, "idpr-cmtp"),
    (41, "ipv6"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (45, "idrp"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (57, "skip"),
    (58, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (73, "rspf"),
    (81, "vmtp"),
    (88, "eigrp"),
    (89, "ospf"),
    (93, "ax.25"),
    (94, "ipip"),
    (97, "etherip"),
    (98, "encap"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (124, "isis"),
    (132, "sctp"),
    (133, "fc"),
    (135, "mobility-header"),
    (136, "udplite"),
    (137, "mpls-in-ip"),
    (138, "manet"),
    (139, "hip"),
    (140, "shim6"),
    (141, "wesp"),
    (142, "rohc"),
    (143, "ethernet"),
];

/// The name of a protocol, if it has one; the others are written as numbers.
pub fn name(protocol: u8) -> Option<&'static str> {
    let at = NAMES.binary_search_by_key(&protocol, |(number, _)| *number).ok()?;
    NAMES.get(at).map(|(_, name)| *name)
}

/// These names as a file like /etc/protocols, for programs that have to read them there.
pub fn file() -> String {
    NAMES.iter().map(|(number, name)| format!("{name} {number}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_debian_12_and_of_iptables_itself() {
        assert!(NAMES.is_sorted());
        for (protocol, expected) in [
            (6, Some("tcp")),
            (47, Some("gre")),
            (58, Some("ipv6-icmp")),
            (135, Some("mobility-header")),
            (143, Some("ethernet")),
            (0, None),
            (7, None),
            (255, None),
        ] {
            assert_eq!(name(protocol), expected, "{protocol}");
        }
    }
}
