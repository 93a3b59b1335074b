//! A packet that the firewall logged, as far as the log says: a field that it does not give is `None`.
//! Neither reads nor writes any format.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Bytes of a log line: a name that others chose. Untrusted, to be escaped when shown.
pub type Text<'a> = Cow<'a, [u8]>;

/// One log line or one NFLOG message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it was logged.
    pub at: Option<SystemTime>,
    /// When it was logged, since the node booted, where the line says so.
    pub uptime: Option<Duration>,
    /// The host name of the line.
    pub host: Option<Text<'a>>,
    /// How many equal packets this line stands for: more than one only where the log daemon folded repeats.
    pub repeated: u32,
    /// The log prefix of the rule without spaces around it; empty if the rule has none.
    pub prefix: Text<'a>,
    /// What became of it, as its prefix tells.
    pub action: Action,
    /// The interface it arrived on.
    pub in_dev: Option<Text<'a>>,
    /// The interface it would have left by.
    pub out_dev: Option<Text<'a>>,
    /// The port of the bridge it arrived on.
    pub phys_in: Option<Text<'a>>,
    /// The port of the bridge it would have left by.
    pub phys_out: Option<Text<'a>>,
    /// Its link layer.
    pub link: Link,
    /// The packet itself.
    pub header: Header,
    /// The packet that an ICMP error reports, as far as the error quotes it.
    pub embedded: Option<Header>,
    /// Its firewall mark; `None` also stands for 0.
    pub mark: Option<u32>,
    /// The user whose process sent it.
    pub uid: Option<u32>,
    /// The group whose process sent it.
    pub gid: Option<u32>,
    /// Whether all of it was there and understood. If not, what is set still holds.
    pub is_complete: bool,
}

impl Packet<'_> {
    /// A packet of which nothing is known yet but its prefix.
    pub fn new(prefix: Text<'_>, action: Action) -> Packet<'_> {
        Packet {
            at: None,
            uptime: None,
            host: None,
            repeated: 1,
            prefix,
            action,
            in_dev: None,
            out_dev: None,
            phys_in: None,
            phys_out: None,
            link: Link::default(),
            header: Header::default(),
            embedded: None,
            mark: None,
            uid: None,
            gid: None,
            is_complete: false,
        }
    }

    /// The same packet, without its line.
    pub fn into_owned(self) -> Packet<'static> {
        let owned = |text: Option<Text<'_>>| text.map(|text| Cow::Owned(text.into_owned()));
        Packet {
            host: owned(self.host),
            prefix: Cow::Owned(self.prefix.into_owned()),
            in_dev: owned(self.in_dev),
            out_dev: owned(self.out_dev),
            phys_in: owned(self.phys_in),
            phys_out: owned(self.phys_out),
            ..self
        }
    }
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Its prefix is one of those of drops.
    Drop,
    /// Its prefix is one of those of accepts.
    Accept,
    /// No prefix was asked for, so none tells.
    Unknown,
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// The link layer of a packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Who sent the frame.
    pub source: Option<Mac>,
    /// Who the frame is for.
    pub destination: Option<Mac>,
    /// What the frame carries.
    ///
    /// *Source*: <https://www.iana.org/assignments/ieee-802-numbers>.
    pub ether_type: Option<u16>,
    /// Its VLAN.
    pub vlan: Option<u16>,
}

/// The addresses of a packet and what decides about it. No packet of another is ever mixed in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// The sender; a mapped IPv4 address is IPv4. Of ARP: the sender's protocol address.
    pub src: Option<IpAddr>,
    /// The receiver; as `src`.
    pub dst: Option<IpAddr>,
    /// The sender's port.
    pub src_port: Option<u16>,
    /// The receiver's port.
    pub dst_port: Option<u16>,
    /// What the packet carries.
    pub protocol: Option<Protocol>,
    /// The length of the whole IP packet in bytes.
    pub length: Option<u32>,
    /// The type of service or traffic class.
    pub tos: Option<u8>,
    /// The time to live or hop limit.
    pub ttl: Option<u8>,
    /// The identification of fragments; 32 bits in IPv6.
    pub id: Option<u32>,
    /// Where the fragment begins in bytes, if the packet is one. Only the first has ports.
    pub fragment: Option<u16>,
    /// The flags of IP and TCP that are set.
    pub flags: Flags,
    /// The type of an ICMP or ICMPv6 message.
    pub icmp_type: Option<u8>,
    /// Its code.
    pub icmp_code: Option<u8>,
}

/// What an IP packet carries, or ARP.
///
/// *Source*: <https://www.iana.org/assignments/protocol-numbers>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// 6.
    Tcp,
    /// 17.
    Udp,
    /// 132.
    Sctp,
    /// 1.
    Icmp,
    /// 58.
    Icmpv6,
    /// Not carried by IP.
    Arp,
    /// Any other number.
    Other(u8),
}

impl Protocol {
    /// DCCP.
    pub const DCCP: Self = Self::Other(33);
    /// The encapsulating security payload of IPsec.
    pub const ESP: Self = Self::Other(50);
    /// The authentication header of IPsec.
    pub const AH: Self = Self::Other(51);
    /// UDP-Lite.
    pub const UDPLITE: Self = Self::Other(136);

    /// The protocol of this number.
    pub fn of(number: u8) -> Self {
        match number {
            1 => Self::Icmp,
            6 => Self::Tcp,
            17 => Self::Udp,
            58 => Self::Icmpv6,
            132 => Self::Sctp,
            other => Self::Other(other),
        }
    }
}

impl Protocol {
    /// The number in an IP header; none for what IP does not carry.
    pub const fn number(self) -> Option<u8> {
        Some(match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmpv6 => 58,
            Self::Sctp => 132,
            Self::Other(number) => number,
            Self::Arp => return None,
        })
    }
}

impl fmt::Display for Protocol {
    /// As in `/etc/protocols`, in lower case; a number where that is all there is.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match *self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmpv6",
            Self::Arp => "arp",
            Self::DCCP => "dccp",
            Self::ESP => "esp",
            Self::AH => "ah",
            Self::UDPLITE => "udplite",
            Self::Other(2) => "igmp",
            Self::Other(4) => "ipip",
            Self::Other(41) => "ipv6",
            Self::Other(47) => "gre",
            Self::Other(112) => "vrrp",
            Self::Other(number) => return fmt::Display::fmt(&number, out),
        })
    }
}

/// A set of flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u16);

impl Flags {
    /// Congestion experienced, as the LOG target calls the reserved bit of IPv4.
    pub const CE: Self = Self(1);
    /// Do not fragment.
    pub const DF: Self = Self(1 << 1);
    /// More fragments follow.
    pub const MF: Self = Self(1 << 2);
    /// Of TCP, as all that follow.
    pub const CWR: Self = Self(1 << 3);
    /// Congestion echo.
    pub const ECE: Self = Self(1 << 4);
    /// Urgent.
    pub const URG: Self = Self(1 << 5);
    /// Acknowledges.
    pub const ACK: Self = Self(1 << 6);
    /// Push.
    pub const PSH: Self = Self(1 << 7);
    /// Reset.
    pub const RST: Self = Self(1 << 8);
    /// Opens a connection.
    pub const SYN: Self = Self(1 << 9);
    /// Closes a connection.
    pub const FIN: Self = Self(1 << 10);

    const NAMES: [(&'static str, Self); 11] = [
        ("CE", Self::CE),
        ("DF", Self::DF),
        ("MF", Self::MF),
        ("CWR", Self::CWR),
        ("ECE", Self::ECE),
        ("URG", Self::URG),
        ("ACK", Self::ACK),
        ("PSH", Self::PSH),
        ("RST", Self::RST),
        ("SYN", Self::SYN),
        ("FIN", Self::FIN),
    ];

    /// The flag of this name, as the kernel writes it.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, flag)| *flag)
    }

    /// Adds flags.
    pub fn insert(&mut self, flags: Self) {
        self.0 |= flags.0;
    }

    /// Whether all of these are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The names of those that are set, in the order of the kernel.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(_, flag)| self.contains(*flag)).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_shown_by_name_or_number() {
        for (number, name) in
            [(6, "tcp"), (17, "udp"), (58, "icmpv6"), (47, "gre"), (50, "esp"), (200, "200")]
        {
            assert_eq!(Protocol::of(number).to_string(), name);
        }
        assert_eq!(format!("{:>5}|{:<4}|", Protocol::Tcp, Protocol::Other(9)), "  tcp|9   |");
    }

    #[test]
    fn flags_are_named_in_order() {
        let mut flags = Flags::default();
        for name in ["SYN", "DF", "ACK"] {
            flags.insert(Flags::named(name.as_bytes()).unwrap());
        }
        assert_eq!(flags.names().collect::<Vec<_>>(), ["DF", "ACK", "SYN"]);
        assert!(flags.contains(Flags::SYN) && !flags.contains(Flags::FIN));
        assert_eq!(Flags::named(b"syn"), None);
    }

    #[test]
    fn a_packet_outlives_its_line() {
        let line = b"DROP eth0".to_vec();
        let mut packet = Packet::new(Cow::Borrowed(&line[..4]), Action::Drop);
        packet.in_dev = Some(Cow::Borrowed(&line[5..]));
        let owned = packet.into_owned();
        drop(line);
        assert_eq!((&*owned.prefix, owned.in_dev.as_deref()), (&b"DROP"[..], Some(&b"eth0"[..])));
    }
}
