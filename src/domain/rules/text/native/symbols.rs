//! The words of nft(8) for the values of its types.
//! Has none that nft looks up on the machine: protocols are those of Debian 12, services, users, groups, realms and labels
//! are numbers.
//!
//! *Source*: what `nft describe TYPE` of nftables 1.0.6 prints.

use super::types::Type;
use crate::domain::rules::text::protocols;

type Words = &'static [(u64, &'static str)];

const NF_PROTO: Words = &[(2, "ipv4"), (10, "ipv6")];
const ETHER_TYPE: Words =
    &[(0x0800, "ip"), (0x0806, "arp"), (0x86dd, "ip6"), (0x8100, "8021q"), (0x88a8, "8021ad")];
const ARP_OPERATION: Words = &[
    (1, "request"),
    (2, "reply"),
    (3, "rrequest"),
    (4, "rreply"),
    (8, "inrequest"),
    (9, "inreply"),
    (10, "nak"),
];
const ICMP_TYPE: Words = &[
    (0, "echo-reply"),
    (3, "destination-unreachable"),
    (4, "source-quench"),
    (5, "redirect"),
    (8, "echo-request"),
    (9, "router-advertisement"),
    (10, "router-solicitation"),
    (11, "time-exceeded"),
    (12, "parameter-problem"),
    (13, "timestamp-request"),
    (14, "timestamp-reply"),
    (15, "info-request"),
    (16, "info-reply"),
    (17, "address-mask-request"),
    (18, "address-mask-reply"),
];
const ICMPV6_TYPE: Words = &[
    (1, "destination-unreachable"),
    (2, "packet-too-big"),
    (3, "time-exceeded"),
    (4, "parameter-problem"),
    (128, "echo-request"),
    (129, "echo-reply"),
    (130, "mld-listener-query"),
    (131, "mld-listener-report"),
    (132, "mld-listener-done"),
    (133, "nd-router-solicit"),
    (134, "nd-router-advert"),
    (135, "nd-neighbor-solicit"),
    (136, "nd-neighbor-advert"),
    (137, "nd-redirect"),
    (138, "router-renumbering"),
    (141, "ind-neighbor-solicit"),
    (142, "ind-neighbor-advert"),
    (143, "mld2-listener-report"),
];
const ICMP_CODE: Words = &[
    (0, "net-unreachable"),
    (1, "host-unreachable"),
    (2, "prot-unreachable"),
    (3, "port-unreachable"),
    (4, "frag-needed"),
    (9, "net-prohibited"),
    (10, "host-prohibited"),
    (13, "admin-prohibited"),
];
const ICMPV6_CODE: Words = &[
    (0, "no-route"),
    (1, "admin-prohibited"),
    (3, "addr-unreachable"),
    (4, "port-unreachable"),
    (5, "policy-fail"),
    (6, "reject-route"),
];
const ICMPX_CODE: Words =
    &[(0, "no-route"), (1, "port-unreachable"), (2, "host-unreachable"), (3, "admin-prohibited")];
const IGMP_TYPE: Words = &[
    (17, "membership-query"),
    (18, "membership-report-v1"),
    (22, "membership-report-v2"),
    (23, "leave-group"),
    (34, "membership-report-v3"),
];
const MOBILITY_TYPE: Words = &[
    (0, "binding-refresh-request"),
    (1, "home-test-init"),
    (2, "careof-test-init"),
    (3, "home-test"),
    (4, "careof-test"),
    (5, "binding-update"),
    (6, "binding-acknowledgement"),
    (7, "binding-error"),
    (8, "fast-binding-update"),
    (9, "fast-binding-acknowledgement"),
    (10, "fast-binding-advertisement"),
    (11, "experimental-mobility-header"),
    (12, "home-agent-switch-message"),
];
const DCCP_TYPE: Words = &[
    (0, "request"),
    (1, "response"),
    (2, "data"),
    (3, "ack"),
    (4, "dataack"),
    (5, "closereq"),
    (6, "close"),
    (7, "reset"),
    (8, "sync"),
    (9, "syncack"),
];
const DEVICE_TYPE: Words = &[
    (1, "ether"),
    (512, "ppp"),
    (768, "ipip"),
    (769, "ipip6"),
    (772, "loopback"),
    (776, "sit"),
    (778, "ipgre"),
];
const PACKET_TYPE: Words = &[(0, "host"), (1, "broadcast"), (2, "multicast"), (3, "other")];
const DSCP: Words = &[
    (0x00, "cs0"),
    (0x01, "lephb"),
    (0x08, "cs1"),
    (0x0a, "af11"),
    (0x0c, "af12"),
    (0x0e, "af13"),
    (0x10, "cs2"),
    (0x12, "af21"),
    (0x14, "af22"),
    (0x16, "af23"),
    (0x18, "cs3"),
    (0x1a, "af31"),
    (0x1c, "af32"),
    (0x1e, "af33"),
    (0x20, "cs4"),
    (0x22, "af41"),
    (0x24, "af42"),
    (0x26, "af43"),
    (0x28, "cs5"),
    (0x2c, "va"),
    (0x2e, "ef"),
    (0x30, "cs6"),
    (0x38, "cs7"),
];
const ECN: Words = &[(0, "not-ect"), (1, "ect1"), (2, "ect0"), (3, "ce")];
const FIB_TYPE: Words = &[
    (0, "unspec"),
    (1, "unicast"),
    (2, "local"),
    (3, "broadcast"),
    (4, "anycast"),
    (5, "multicast"),
    (6, "blackhole"),
    (7, "unreachable"),
    (8, "prohibit"),
];
const CT_DIRECTION: Words = &[(0, "original"), (1, "reply")];
const BOOLEAN: Words = &[(0, "missing"), (1, "exists")];
const DAY: Words = &[
    (0, "Sunday"),
    (1, "Monday"),
    (2, "Tuesday"),
    (3, "Wednesday"),
    (4, "Thursday"),
    (5, "Friday"),
    (6, "Saturday"),
];

/// The bits of `tcp flags`.
const TCP_FLAGS: Words = &[
    (0x01, "fin"),
    (0x02, "syn"),
    (0x04, "rst"),
    (0x08, "psh"),
    (0x10, "ack"),
    (0x20, "urg"),
    (0x40, "ecn"),
    (0x80, "cwr"),
];
const CT_STATE: Words = &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")];
const CT_STATUS: Words = &[
    (1, "expected"),
    (2, "seen-reply"),
    (4, "assured"),
    (8, "confirmed"),
    (16, "snat"),
    (32, "dnat"),
    (512, "dying"),
];
const CT_EVENT: Words = &[
    (1 << 0, "new"),
    (1 << 1, "related"),
    (1 << 2, "destroy"),
    (1 << 3, "reply"),
    (1 << 4, "assured"),
    (1 << 5, "protoinfo"),
    (1 << 6, "helper"),
    (1 << 7, "mark"),
    (1 << 8, "seqadj"),
    (1 << 9, "secmark"),
    (1 << 10, "label"),
];

/// The word for a value; none if it is a number.
pub fn word(of: Type, value: u64) -> Option<&'static str> {
    let words = match of {
        Type::Protocol => return protocol(value),
        Type::NfProto => NF_PROTO,
        Type::EtherType => ETHER_TYPE,
        Type::ArpOperation => ARP_OPERATION,
        Type::IcmpType => ICMP_TYPE,
        Type::Icmpv6Type => ICMPV6_TYPE,
        Type::IcmpCode => ICMP_CODE,
        Type::Icmpv6Code => ICMPV6_CODE,
        Type::IcmpxCode => ICMPX_CODE,
        Type::IgmpType => IGMP_TYPE,
        Type::MobilityType => MOBILITY_TYPE,
        Type::DccpType => DCCP_TYPE,
        Type::DeviceType => DEVICE_TYPE,
        Type::PacketType => PACKET_TYPE,
        Type::Dscp => DSCP,
        Type::Ecn => ECN,
        Type::FibType => FIB_TYPE,
        Type::CtDirection => CT_DIRECTION,
        Type::Boolean => BOOLEAN,
        Type::Day => DAY,
        _ => return None,
    };
    words.iter().find(|(number, _)| *number == value).map(|(_, word)| *word)
}

fn protocol(value: u64) -> Option<&'static str> {
    match u8::try_from(value).ok()? {
        0 => Some("ip"),
        number => protocols::name(number),
    }
}

/// The words for the bits of a value; none if a bit has no word.
pub fn flags(of: Type, value: u64) -> Option<Vec<&'static str>> {
    let words = match of {
        Type::TcpFlags => TCP_FLAGS,
        Type::CtState => CT_STATE,
        Type::CtStatus => CT_STATUS,
        Type::CtEvent => CT_EVENT,
        _ => return None,
    };
    let known = words.iter().fold(0, |bits, (bit, _)| bits | bit);
    let set = words.iter().filter(|(bit, _)| value & bit != 0).map(|(_, word)| *word);
    (value & !known == 0).then(|| set.collect())
}
