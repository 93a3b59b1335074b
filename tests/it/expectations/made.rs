//! Makes an expectation through ctnetlink, with the connection that it belongs to.
//!
//! *Source*: `include/uapi/linux/netfilter/nfnetlink_conntrack.h`.

use std::net::{IpAddr, Ipv4Addr};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::support::Netns;

/// `NF_CT_EXPECT_PERMANENT`, `NF_CT_EXPECT_INACTIVE`.
pub const PERMANENT: u32 = 1;
pub const INACTIVE: u32 = 2;
/// `IPCTNL_MSG_CT_NEW` of `NFNL_SUBSYS_CTNETLINK`, `IPCTNL_MSG_EXP_NEW` of `NFNL_SUBSYS_CTNETLINK_EXP`.
const NEW_CONNECTION: u16 = 1 << 8;
const NEW_EXPECTATION: u16 = 2 << 8;
const IPPROTO_TCP: u8 = 6;

/// What is made: by default every connection from one address is sent to another port, again and again.
#[derive(Clone, Copy)]
pub struct Made {
    pub source: IpAddr,
    pub source_mask: IpAddr,
    pub destination: IpAddr,
    pub port: u16,
    /// The port where connections end instead.
    pub nat: Option<u16>,
    pub flags: u32,
    pub zone: Option<u16>,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            source: Ipv4Addr::new(10, 9, 0, 1).into(),
            source_mask: Ipv4Addr::BROADCAST.into(),
            destination: Ipv4Addr::new(10, 9, 0, 2).into(),
            port: 9922,
            nat: Some(9999),
            flags: PERMANENT,
            zone: None,
        }
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, inner: &[Vec<u8>]) -> Vec<u8> {
    /// `NLA_F_NESTED`
    const NESTED: u16 = 0x8000;
    attribute(kind | NESTED, &inner.concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn short(kind: u16, value: u16) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// `CTA_TUPLE_IP`, `CTA_TUPLE_PROTO`.
fn tuple(kind: u16, source: (IpAddr, u16), destination: (IpAddr, u16)) -> Vec<u8> {
    let address = |v4, v6, address| match address {
        IpAddr::V4(address) => attribute(v4, &address.octets()),
        IpAddr::V6(address) => attribute(v6, &address.octets()),
    };
    let addresses = [address(1, 3, source.0), address(2, 4, destination.0)];
    let protocol = [attribute(1, &[IPPROTO_TCP]), short(2, source.1), short(3, destination.1)];
    nested(kind, &[nested(1, &addresses), nested(2, &protocol)])
}

impl Made {
    /// Makes it in this namespace.
    pub fn make(&self, netns: &Netns) {
        let (from, to) = ((self.source, 1111), (self.destination, 2222));
        let zone = |kind| self.zone.map(|zone| short(kind, zone)).unwrap_or_default();
        // TUPLE_ORIG, TUPLE_REPLY, STATUS (confirmed), PROTOINFO (TCP, established), HELP, TIMEOUT, ZONE
        let connection = [
            tuple(1, from, to),
            tuple(2, to, from),
            number(3, 8),
            nested(4, &[nested(1, &[attribute(1, &[3])])]),
            nested(5, &[attribute(1, b"ftp\0")]),
            number(7, 864_000),
            zone(18),
        ];
        let all = match self.destination {
            IpAddr::V4(_) => IpAddr::from([255; 4]),
            IpAddr::V6(_) => IpAddr::from([255; 16]),
        };
        // MASTER, TUPLE, MASK, TIMEOUT, ZONE, FLAGS
        let mut expectation = vec![
            tuple(1, from, to),
            tuple(2, (self.source, 0), (self.destination, self.port)),
            tuple(3, (self.source_mask, 0), (all, u16::MAX)),
            number(4, 864_000),
            zone(7),
            number(8, self.flags),
        ];
        if let Some(port) = self.nat {
            let instead = tuple(2, (self.destination, port), (self.destination, 0));
            // NAT (its direction and tuple), FN
            expectation.extend([nested(10, &[number(1, 0), instead]), attribute(11, b"nat-follow-master\0")]);
        }
        netns.within(|| {
            // the second of a namespace belongs to the same connection
            let made = self.send(NEW_CONNECTION, &connection.concat());
            assert!(matches!(made, 0 | libc::EEXIST), "the connection: error {made}");
            let made = self.send(NEW_EXPECTATION, &expectation.concat());
            assert_eq!(made, 0, "the expectation: error {made}");
        });
    }

    /// The kernel's answer: 0, or an error's number.
    fn send(&self, kind: u16, attributes: &[u8]) -> i32 {
        let family = if self.source.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        // NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE
        let flags = 1_u16 | 4 | 0x200 | 0x400;
        let mut message = u32::try_from(20 + attributes.len()).unwrap().to_ne_bytes().to_vec();
        message.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
        message.extend([0; 8]);
        message.extend([u8::try_from(family).unwrap(), 0, 0, 0]);
        message.extend(attributes);
        let mut socket = Socket::new(NETLINK_NETFILTER).unwrap();
        socket.bind_auto().unwrap();
        socket.send_to(&message, &SocketAddr::new(0, 0), 0).unwrap();
        let (answer, _) = socket.recv_from_full().unwrap();
        -i32::from_ne_bytes(answer[16..20].try_into().unwrap())
    }
}
