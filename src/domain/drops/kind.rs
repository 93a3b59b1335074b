//! When two packets are of one kind, so that the second is a repeat of the first.
//! Counts nothing; [`super::window`] does.

use std::net::IpAddr;

use crate::domain::packets::packet::{Action, Packet, Protocol};
use crate::domain::peers::class;

/// What makes packets the same for whoever is told. The sender's port does not count: every new try has another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    src: Option<Address>,
    dst: Option<Address>,
    dst_port: Option<u16>,
    protocol: Option<Protocol>,
    icmp_type: Option<u8>,
    prefix: Box<[u8]>,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Address {
    One(IpAddr),
    Any(&'static str),
}

impl Kind {
    /// The kind of a packet.
    pub fn of(packet: &Packet<'_>) -> Self {
        let header = &packet.header;
        Self {
            src: header.src.map(Address::One),
            dst: header.dst.map(Address::One),
            dst_port: header.dst_port,
            protocol: header.protocol,
            icmp_type: header.icmp_type,
            prefix: packet.prefix.as_ref().into(),
            action: packet.action,
        }
    }

    /// The same in less detail, for a flood of kinds: no port, and of addresses that nobody knows only their class. Who
    /// makes up addresses and ports makes few of these.
    pub fn coarse(&self, is_known: impl Fn(IpAddr) -> bool) -> Self {
        let blur = |address: Option<Address>| {
            address.map(|address| match address {
                Address::One(ip) if !is_known(ip) => Address::Any(class(ip)),
                known => known,
            })
        };
        Self {
            src: blur(self.src),
            dst: blur(self.dst),
            dst_port: None,
            icmp_type: None,
            prefix: self.prefix.clone(),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::domain::packets::packet::Header;

    fn kind(src: &str, src_port: u16, dst_port: u16, prefix: &str) -> Kind {
        let mut packet = Packet::new(Cow::Borrowed(prefix.as_bytes()), Action::Drop);
        packet.header = Header {
            src: Some(src.parse().unwrap()),
            dst: Some("10.0.0.5".parse().unwrap()),
            src_port: Some(src_port),
            dst_port: Some(dst_port),
            protocol: Some(Protocol::Tcp),
            ..Header::default()
        };
        Kind::of(&packet)
    }

    #[test]
    fn a_second_kind_of_drop_is_not_hidden_by_the_first() {
        let first = kind("10.0.0.1", 40_000, 80, "drop:");
        assert_eq!(first, kind("10.0.0.1", 50_000, 80, "drop:"));
        for other in [
            kind("10.0.0.1", 40_000, 443, "drop:"),
            kind("10.0.0.2", 40_000, 80, "drop:"),
            kind("10.0.0.1", 40_000, 80, "deny:"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn made_up_addresses_and_ports_are_one_coarse_kind() {
        let is_known = |ip: IpAddr| ip == IpAddr::from([10, 0, 0, 5]);
        let coarse = |src, port| kind(src, 1, port, "drop:").coarse(is_known);
        assert_eq!(coarse("203.0.113.7", 80), coarse("198.51.100.9", 81));
        assert_ne!(coarse("203.0.113.7", 80), coarse("10.0.0.5", 80));
        assert_ne!(coarse("203.0.113.7", 80), coarse("192.168.0.1", 80));
    }
}
