//! The fields of packet headers that nft(8) has names for.
//! Reads no packet.
//!
//! *Source*: PAYLOAD EXPRESSIONS in nft(8); the header descriptions in `src/proto.c`, `src/exthdr.c`, `src/tcpopt.c`,
//! `src/ipopt.c` and `src/sctp_chunk.c` of nftables 1.0.6.

use super::types::Type;

/// A field: its name, its offset and length in bits, and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The words that name it behind its header's name.
    pub name: &'static str,
    /// From the beginning of the header.
    pub offset: u32,
    /// In bits.
    pub length: u32,
    /// How its value is written.
    pub of: Type,
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Header {
    Ether,
    Vlan,
    Arp,
    Ip,
    Ip6,
    Icmp,
    Icmpv6,
    Igmp,
    Tcp,
    Udp,
    Udplite,
    Sctp,
    Dccp,
    Ah,
    Esp,
    Comp,
    /// A transport header of any protocol.
    Transport,
}

const fn field(name: &'static str, offset: u32, length: u32, of: Type) -> Field {
    Field { name, offset, length, of }
}

/// A number in network order.
const fn int(name: &'static str, offset: u32, length: u32) -> Field {
    field(name, offset, length, Type::Integer)
}

const ETHER: &[Field] = &[
    field("daddr", 0, 48, Type::Ether),
    field("saddr", 48, 48, Type::Ether),
    field("type", 96, 16, Type::EtherType),
];
/// Behind the addresses of the Ethernet header: the kernel counts from there on in the same header.
const VLAN: &[Field] =
    &[int("pcp", 112, 3), int("dei", 115, 1), int("id", 116, 12), field("type", 128, 16, Type::EtherType)];
const ARP: &[Field] = &[
    int("htype", 0, 16),
    field("ptype", 16, 16, Type::EtherType),
    int("hlen", 32, 8),
    int("plen", 40, 8),
    field("operation", 48, 16, Type::ArpOperation),
    field("saddr ether", 64, 48, Type::Ether),
    field("saddr ip", 112, 32, Type::Ipv4),
    field("daddr ether", 144, 48, Type::Ether),
    field("daddr ip", 192, 32, Type::Ipv4),
];
const IP: &[Field] = &[
    int("version", 0, 4),
    int("hdrlength", 4, 4),
    field("dscp", 8, 6, Type::Dscp),
    field("ecn", 14, 2, Type::Ecn),
    int("length", 16, 16),
    int("id", 32, 16),
    int("frag-off", 48, 16),
    int("ttl", 64, 8),
    field("protocol", 72, 8, Type::Protocol),
    int("checksum", 80, 16),
    field("saddr", 96, 32, Type::Ipv4),
    field("daddr", 128, 32, Type::Ipv4),
];
const IP6: &[Field] = &[
    int("version", 0, 4),
    field("dscp", 4, 6, Type::Dscp),
    field("ecn", 10, 2, Type::Ecn),
    int("flowlabel", 12, 20),
    int("length", 32, 16),
    field("nexthdr", 48, 8, Type::Protocol),
    int("hoplimit", 56, 8),
    field("saddr", 64, 128, Type::Ipv6),
    field("daddr", 192, 128, Type::Ipv6),
];
const ICMP: &[Field] = &[
    field("type", 0, 8, Type::IcmpType),
    field("code", 8, 8, Type::IcmpCode),
    int("checksum", 16, 16),
    int("id", 32, 16),
    int("sequence", 48, 16),
    int("gateway", 32, 32),
    int("mtu", 48, 16),
];
const ICMPV6: &[Field] = &[
    field("type", 0, 8, Type::Icmpv6Type),
    field("code", 8, 8, Type::Icmpv6Code),
    int("checksum", 16, 16),
    int("parameter-problem", 32, 32),
    int("mtu", 32, 32),
    int("id", 32, 16),
    int("sequence", 48, 16),
    int("max-delay", 32, 16),
];
const IGMP: &[Field] =
    &[field("type", 0, 8, Type::IgmpType), int("mrt", 8, 8), int("checksum", 16, 16), int("group", 32, 32)];
const TCP: &[Field] = &[
    field("sport", 0, 16, Type::Service),
    field("dport", 16, 16, Type::Service),
    int("sequence", 32, 32),
    int("ackseq", 64, 32),
    int("doff", 96, 4),
    int("reserved", 100, 4),
    field("flags", 104, 8, Type::TcpFlags),
    int("window", 112, 16),
    int("checksum", 128, 16),
    int("urgptr", 144, 16),
];
const UDP: &[Field] = &[
    field("sport", 0, 16, Type::Service),
    field("dport", 16, 16, Type::Service),
    int("length", 32, 16),
    int("checksum", 48, 16),
];
const UDPLITE: &[Field] = &[
    field("sport", 0, 16, Type::Service),
    field("dport", 16, 16, Type::Service),
    int("csumcov", 32, 16),
    int("checksum", 48, 16),
];
const SCTP: &[Field] = &[
    field("sport", 0, 16, Type::Service),
    field("dport", 16, 16, Type::Service),
    int("vtag", 32, 32),
    int("checksum", 64, 32),
];
const DCCP: &[Field] = &[
    field("sport", 0, 16, Type::Service),
    field("dport", 16, 16, Type::Service),
    field("type", 67, 4, Type::DccpType),
];
const AH: &[Field] = &[
    field("nexthdr", 0, 8, Type::Protocol),
    int("hdrlength", 8, 8),
    int("reserved", 16, 16),
    int("spi", 32, 32),
    int("sequence", 64, 32),
];
const ESP: &[Field] = &[int("spi", 0, 32), int("sequence", 32, 32)];
const COMP: &[Field] = &[field("nexthdr", 0, 8, Type::Protocol), int("flags", 8, 8), int("cpi", 16, 16)];
const TRANSPORT: &[Field] = &[field("sport", 0, 16, Type::Service), field("dport", 16, 16, Type::Service)];

/// `IPPROTO_*`.
const IPPROTO_ICMP: u8 = 1;
const IPPROTO_IGMP: u8 = 2;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const IPPROTO_DCCP: u8 = 33;
const IPPROTO_ESP: u8 = 50;
const IPPROTO_AH: u8 = 51;
const IPPROTO_ICMPV6: u8 = 58;
const IPPROTO_COMP: u8 = 108;
const IPPROTO_SCTP: u8 = 132;
const IPPROTO_UDPLITE: u8 = 136;

impl Header {
    /// The transport header of an IP protocol, if nft has words for it.
    pub const fn of_protocol(protocol: u8) -> Option<Self> {
        Some(match protocol {
            IPPROTO_ICMP => Self::Icmp,
            IPPROTO_IGMP => Self::Igmp,
            IPPROTO_TCP => Self::Tcp,
            IPPROTO_UDP => Self::Udp,
            IPPROTO_DCCP => Self::Dccp,
            IPPROTO_ESP => Self::Esp,
            IPPROTO_AH => Self::Ah,
            IPPROTO_ICMPV6 => Self::Icmpv6,
            IPPROTO_COMP => Self::Comp,
            IPPROTO_SCTP => Self::Sctp,
            IPPROTO_UDPLITE => Self::Udplite,
            _ => return None,
        })
    }

    /// The name in rules.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ether => "ether",
            Self::Vlan => "vlan",
            Self::Arp => "arp",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmpv6",
            Self::Igmp => "igmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Udplite => "udplite",
            Self::Sctp => "sctp",
            Self::Dccp => "dccp",
            Self::Ah => "ah",
            Self::Esp => "esp",
            Self::Comp => "comp",
            Self::Transport => "th",
        }
    }

    /// Its fields.
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Self::Ether => ETHER,
            Self::Vlan => VLAN,
            Self::Arp => ARP,
            Self::Ip => IP,
            Self::Ip6 => IP6,
            Self::Icmp => ICMP,
            Self::Icmpv6 => ICMPV6,
            Self::Igmp => IGMP,
            Self::Tcp => TCP,
            Self::Udp => UDP,
            Self::Udplite => UDPLITE,
            Self::Sctp => SCTP,
            Self::Dccp => DCCP,
            Self::Ah => AH,
            Self::Esp => ESP,
            Self::Comp => COMP,
            Self::Transport => TRANSPORT,
        }
    }
}

/// The IPv6 extension headers by `IPPROTO_*`: name and fields.
pub const fn extension_header(protocol: u8) -> Option<(&'static str, &'static [Field])> {
    const NEXT: Field = field("nexthdr", 0, 8, Type::Protocol);
    const LENGTH: Field = int("hdrlength", 8, 8);
    const PLAIN: &[Field] = &[NEXT, LENGTH];
    const ROUTING: &[Field] = &[NEXT, LENGTH, int("type", 16, 8), int("seg-left", 24, 8)];
    const FRAGMENT: &[Field] = &[
        NEXT,
        int("reserved", 8, 8),
        int("frag-off", 16, 13),
        int("reserved2", 29, 2),
        int("more-fragments", 31, 1),
        int("id", 32, 32),
    ];
    const MOBILITY: &[Field] = &[
        NEXT,
        LENGTH,
        field("type", 16, 8, Type::MobilityType),
        int("reserved", 24, 8),
        int("checksum", 32, 16),
    ];
    Some(match protocol {
        0 => ("hbh", PLAIN),
        43 => ("rt", ROUTING),
        44 => ("frag", FRAGMENT),
        60 => ("dst", PLAIN),
        135 => ("mh", MOBILITY),
        _ => return None,
    })
}

/// The fields of a segment routing header, which nft tells from a routing header by their place alone.
pub const SEGMENT_ROUTING: &[Field] = &[
    int("last-entry", 32, 8),
    int("flags", 40, 8),
    int("tag", 48, 16),
    field("sid[1]", 64, 128, Type::Ipv6),
    field("sid[2]", 192, 128, Type::Ipv6),
];

/// The TCP options by number: name and fields. The fields of a block of SACK name the block.
pub const fn tcp_option(number: u8) -> Option<(&'static str, &'static [Field])> {
    const LENGTH: Field = int("length", 8, 8);
    const PLAIN: &[Field] = &[LENGTH];
    const MAXSEG: &[Field] = &[LENGTH, int("size", 16, 16)];
    const WINDOW: &[Field] = &[LENGTH, int("count", 16, 8)];
    const SACK: &[Field] = &[LENGTH, int("left", 16, 32), int("right", 48, 32)];
    const TIMESTAMP: &[Field] = &[LENGTH, int("tsval", 16, 32), int("tsecr", 48, 32)];
    const MPTCP: &[Field] = &[LENGTH, int("subtype", 16, 4)];
    Some(match number {
        0 => ("eol", &[]),
        1 => ("nop", &[]),
        2 => ("maxseg", MAXSEG),
        3 => ("window", WINDOW),
        4 => ("sack-perm", PLAIN),
        5 => ("sack", SACK),
        8 => ("timestamp", TIMESTAMP),
        19 => ("md5sig", PLAIN),
        30 => ("mptcp", MPTCP),
        34 => ("fastopen", PLAIN),
        _ => return None,
    })
}

/// The second to fourth block of SACK, which nft writes as options of their own.
pub const SACK_BLOCKS: [(&str, [Field; 2]); 3] = [
    ("sack1", [int("left", 80, 32), int("right", 112, 32)]),
    ("sack2", [int("left", 144, 32), int("right", 176, 32)]),
    ("sack3", [int("left", 208, 32), int("right", 240, 32)]),
];

/// The IPv4 options by number: name and fields.
pub const fn ip_option(number: u8) -> Option<(&'static str, &'static [Field])> {
    const ROUTE: &[Field] =
        &[int("type", 0, 8), int("length", 8, 8), int("ptr", 16, 8), field("addr", 24, 32, Type::Ipv4)];
    const ALERT: &[Field] = &[int("type", 0, 8), int("length", 8, 8), int("value", 16, 16)];
    Some(match number {
        131 => ("lsrr", ROUTE),
        7 => ("rr", ROUTE),
        137 => ("ssrr", ROUTE),
        148 => ("ra", ALERT),
        _ => return None,
    })
}

/// The chunks of SCTP by number: name and fields.
pub const fn sctp_chunk(number: u8) -> Option<(&'static str, &'static [Field])> {
    const TYPE: Field = int("type", 0, 8);
    const FLAGS: Field = int("flags", 8, 8);
    const LENGTH: Field = int("length", 16, 16);
    const PLAIN: &[Field] = &[TYPE, FLAGS, LENGTH];
    const INIT: &[Field] = &[
        TYPE,
        FLAGS,
        LENGTH,
        int("init-tag", 32, 32),
        int("a-rwnd", 64, 32),
        int("num-outbound-streams", 96, 16),
        int("num-inbound-streams", 112, 16),
        int("initial-tsn", 128, 32),
    ];
    const DATA: &[Field] = &[
        TYPE,
        FLAGS,
        LENGTH,
        int("tsn", 32, 32),
        int("stream", 64, 16),
        int("ssn", 80, 16),
        int("ppid", 96, 32),
    ];
    const SACK: &[Field] = &[
        TYPE,
        FLAGS,
        LENGTH,
        int("cum-tsn-ack", 32, 32),
        int("a-rwnd", 64, 32),
        int("num-gap-ack-blocks", 96, 16),
        int("num-dup-tsns", 112, 16),
    ];
    const TSN: &[Field] = &[TYPE, FLAGS, LENGTH, int("cum-tsn-ack", 32, 32)];
    const LOWEST: &[Field] = &[TYPE, FLAGS, LENGTH, int("lowest-tsn", 32, 32)];
    const NEW: &[Field] = &[TYPE, FLAGS, LENGTH, int("new-cum-tsn", 32, 32)];
    const SEQUENCE: &[Field] = &[TYPE, FLAGS, LENGTH, int("seqno", 32, 32)];
    Some(match number {
        0 => ("data", DATA),
        1 => ("init", INIT),
        2 => ("init-ack", INIT),
        3 => ("sack", SACK),
        4 => ("heartbeat", PLAIN),
        5 => ("heartbeat-ack", PLAIN),
        6 => ("abort", PLAIN),
        7 => ("shutdown", TSN),
        8 => ("shutdown-ack", PLAIN),
        9 => ("error", PLAIN),
        10 => ("cookie-echo", PLAIN),
        11 => ("cookie-ack", PLAIN),
        12 => ("ecne", LOWEST),
        13 => ("cwr", LOWEST),
        14 => ("shutdown-complete", PLAIN),
        128 => ("asconf-ack", SEQUENCE),
        192 => ("forward-tsn", NEW),
        193 => ("asconf", SEQUENCE),
        _ => return None,
    })
}
