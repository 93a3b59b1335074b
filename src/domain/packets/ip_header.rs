//! The headers of a packet as it is on the wire, cut or whole, as NFLOG hands it over.
//! Reads no link layer and no payload, and no more than one packet inside another.
//!
//! *Source*: RFC 791, RFC 8200, RFC 792, RFC 4443, RFC 9293, RFC 768, RFC 9260, RFC 4340, RFC 3828.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::packet::{Flags, Header, Protocol};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// What a packet says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Its headers.
    pub header: Header,
    /// Those of the packet that it quotes, if it is an ICMP error.
    pub embedded: Option<Header>,
    /// Whether its headers are all there; of the payload no part need be.
    pub is_complete: bool,
}

/// Reads a packet from its IP header on. `None` if it has no whole one.
pub fn decode(packet: &[u8]) -> Option<Decoded> {
    let outer = layer(packet)?;
    let embedded = outer.quoted.and_then(layer).map(|inner| inner.header);
    Some(Decoded { header: outer.header, embedded, is_complete: outer.is_complete })
}

struct Layer<'a> {
    header: Header,
    is_complete: bool,
    /// The packet that an ICMP error quotes.
    quoted: Option<&'a [u8]>,
}

fn layer(packet: &[u8]) -> Option<Layer<'_>> {
    let (mut header, payload) = match packet.first()? >> 4 {
        4 => ipv4(packet)?,
        6 => ipv6(packet)?,
        _ => return None,
    };
    let is_complete = match (header.protocol, payload) {
        (Some(_), _) if header.fragment.is_some() => true,
        (Some(protocol), Some(payload)) => {
            read_transport(protocol, payload, &mut header);
            payload.len() >= shortest(protocol)
        }
        _ => false,
    };
    let quoted = payload.and_then(|payload| quoted(&header, payload));
    Some(Layer { header, is_complete, quoted })
}

/// The header and what follows it, as far as it belongs to the packet.
fn ipv4(packet: &[u8]) -> Option<(Header, Option<&[u8]>)> {
    let (fixed, _) = packet.split_first_chunk::<20>()?;
    let [first, tos, l1, l2, i1, i2, f1, f2, ttl, protocol, _, _, addresses @ ..] = *fixed;
    let [s1, s2, s3, s4, d1, d2, d3, d4] = addresses;
    let bits = u16::from_be_bytes([f1, f2]);
    let mut flags = Flags::default();
    for (bit, flag) in [(0x8000, Flags::CE), (0x4000, Flags::DF), (0x2000, Flags::MF)] {
        if bits & bit != 0 {
            flags.insert(flag);
        }
    }
    let length = u16::from_be_bytes([l1, l2]);
    let header = Header {
        src: Some(Ipv4Addr::new(s1, s2, s3, s4).into()),
        dst: Some(Ipv4Addr::new(d1, d2, d3, d4).into()),
        protocol: Some(Protocol::of(protocol)),
        length: Some(length.into()),
        tos: Some(tos),
        ttl: Some(ttl),
        id: Some(u16::from_be_bytes([i1, i2]).into()),
        fragment: Some((bits & 0x1fff) * 8).filter(|offset| *offset > 0),
        flags,
        ..Header::default()
    };
    let own = whole_or_cut(packet, length);
    Some((header, own.get(usize::from(first & 15).max(5) * 4..)))
}

/// Without the padding behind it. A length of 0 stands for one that does not fit.
fn whole_or_cut(bytes: &[u8], length: u16) -> &[u8] {
    if length == 0 { bytes } else { bytes.get(..length.into()).unwrap_or(bytes) }
}

/// The header and what follows the last of its extension headers, if that is there.
fn ipv6(packet: &[u8]) -> Option<(Header, Option<&[u8]>)> {
    let (fixed, behind) = packet.split_first_chunk::<40>()?;
    let [v, class, _, _, l1, l2, next, ttl, addresses @ ..] = *fixed;
    let (src, dst) = addresses.split_first_chunk::<16>()?;
    let dst: [u8; 16] = dst.try_into().ok()?;
    let length = u16::from_be_bytes([l1, l2]);
    let mut header = Header {
        src: Some(Ipv6Addr::from(*src).to_canonical()),
        dst: Some(Ipv6Addr::from(dst).to_canonical()),
        length: Some(u32::from(length) + 40),
        tos: Some(v << 4 | class >> 4),
        ttl: Some(ttl),
        ..Header::default()
    };
    let own = whole_or_cut(behind, length);
    let payload = behind_extensions(next, own, &mut header);
    Some((header, payload))
}

/// Follows the extension headers; each takes at least eight bytes, so their number is bounded. The protocol is set
/// only if the chain is there to its end.
fn behind_extensions<'a>(mut next: u8, mut rest: &'a [u8], header: &mut Header) -> Option<&'a [u8]> {
    loop {
        let length = match (next, rest) {
            (HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION | FRAGMENT, [] | [_]) => return None,
            (HOP_BY_HOP | ROUTING | DESTINATION, [_, length, ..]) => (usize::from(*length) + 1) * 8,
            (AUTHENTICATION, [_, length, ..]) => (usize::from(*length) + 2) * 4,
            (FRAGMENT, _) => 8,
            _ => break,
        };
        let (extension, behind) = rest.split_at_checked(length)?;
        if let (FRAGMENT, [_, _, o1, o2, id @ ..]) = (next, extension) {
            let bits = u16::from_be_bytes([*o1, *o2]);
            header.id = id.try_into().ok().map(u32::from_be_bytes);
            header.fragment = Some(bits & 0xfff8).filter(|offset| *offset > 0);
            if bits & 1 != 0 {
                header.flags.insert(Flags::MF);
            }
        }
        (next, rest) = (*extension.first()?, behind);
        // only the first fragment has what follows its header
        if header.fragment.is_some() {
            break;
        }
    }
    header.protocol = Some(Protocol::of(next));
    Some(rest)
}

fn read_transport(protocol: Protocol, payload: &[u8], header: &mut Header) {
    match protocol {
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::UDPLITE | Protocol::DCCP => {
            if let [s1, s2, d1, d2, ..] = *payload {
                header.src_port = Some(u16::from_be_bytes([s1, s2]));
                header.dst_port = Some(u16::from_be_bytes([d1, d2]));
            }
            if protocol == Protocol::Tcp {
                set_tcp_flags(payload.get(13).copied().unwrap_or(0), &mut header.flags);
            }
        }
        Protocol::Icmp | Protocol::Icmpv6 => {
            header.icmp_type = payload.first().copied();
            header.icmp_code = payload.get(1).copied();
        }
        _ => {}
    }
}

fn set_tcp_flags(bits: u8, flags: &mut Flags) {
    let names =
        [Flags::FIN, Flags::SYN, Flags::RST, Flags::PSH, Flags::ACK, Flags::URG, Flags::ECE, Flags::CWR];
    for (at, flag) in names.into_iter().enumerate() {
        if bits & 1 << at != 0 {
            flags.insert(flag);
        }
    }
}

/// The length in bytes of the shortest header of a protocol, as far as anything is read of it.
fn shortest(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 20,
        Protocol::Sctp | Protocol::DCCP | Protocol::AH => 12,
        Protocol::Udp | Protocol::UDPLITE | Protocol::ESP => 8,
        Protocol::Icmp | Protocol::Icmpv6 => 4,
        Protocol::Arp | Protocol::Other(_) => 0,
    }
}

/// The packet behind the header of an ICMP error.
///
/// *Source*: RFC 792 (3 unreachable, 4 quench, 5 redirect, 11 time, 12 parameter); RFC 4443: below 128.
fn quoted<'a>(header: &Header, payload: &'a [u8]) -> Option<&'a [u8]> {
    let is_error = match (header.protocol?, header.icmp_type?) {
        (Protocol::Icmp, kind) => matches!(kind, 3 | 4 | 5 | 11 | 12),
        (Protocol::Icmpv6, kind) => matches!(kind, 1..=4),
        _ => false,
    };
    if is_error { payload.get(8..) } else { None }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn tcp() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 47, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x9c, 0x40, 0, 80, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 0x02, 4, 0, 0, 0, 0, 0]);
        packet.extend(b"payload");
        packet
    }

    fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0x10, 0, 0, 0, 0, next, 63];
        packet[4..6].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        for last in [1, 2] {
            packet.extend([0xfd, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        packet.extend(payload);
        packet
    }

    const UDP: [u8; 8] = [0x9c, 0x40, 0, 53, 0, 8, 0, 0];

    #[test]
    fn tcp_over_ipv4() {
        let Decoded { header, embedded, is_complete } = decode(&tcp()).unwrap();
        assert_eq!((header.src_port, header.dst_port), (Some(40_000), Some(80)));
        assert_eq!(header.src, Some("10.0.0.1".parse::<IpAddr>().unwrap()));
        assert_eq!((header.protocol, header.length, header.ttl), (Some(Protocol::Tcp), Some(47), Some(64)));
        assert_eq!(header.flags.names().collect::<Vec<_>>(), ["DF", "SYN"]);
        assert!(embedded.is_none() && is_complete);
    }

    #[test]
    fn a_cut_packet_says_what_it_has() {
        let whole = decode(&tcp()).unwrap();
        assert_eq!(decode(&tcp()[..40]), Some(whole));
        let cut = decode(&tcp()[..24]).unwrap();
        assert_eq!((cut.header.dst_port, cut.is_complete), (Some(80), false));
        let cut = decode(&tcp()[..22]).unwrap();
        assert_eq!((cut.header.src_port, cut.header.protocol), (None, Some(Protocol::Tcp)));
        assert_eq!((decode(&tcp()[..19]), decode(&[]), decode(&[0x30; 60])), (None, None, None));
    }

    #[test]
    fn extension_headers_lead_to_the_transport() {
        let mut payload = vec![60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
        payload.extend(UDP);
        let whole = decode(&ipv6(0, &payload)).unwrap();
        assert_eq!((whole.header.protocol, whole.header.dst_port), (Some(Protocol::Udp), Some(53)));
        assert_eq!((whole.header.length, whole.header.tos, whole.header.ttl), (Some(64), Some(1), Some(63)));
        assert!(whole.is_complete);
        for end in [0, 1, 7, 8, 9, 12, 15] {
            let cut = decode(&ipv6(0, &payload[..end])).unwrap();
            assert_eq!((cut.header.protocol, cut.is_complete), (None, false), "{end}");
        }
        let cut = decode(&ipv6(0, &payload[..16])).unwrap();
        assert_eq!(
            (cut.header.protocol, cut.header.dst_port, cut.is_complete),
            (Some(Protocol::Udp), None, false)
        );
    }

    #[test]
    fn only_the_first_fragment_has_ports() {
        for (offset, port) in [(0, Some(53)), (16, None)] {
            let fragment = [17, 0, 0, offset | 1, 0, 0, 0, 9];
            let packet = ipv6(44, &[&fragment[..], &UDP].concat());
            let Decoded { header, is_complete, .. } = decode(&packet).unwrap();
            assert_eq!((header.dst_port, header.protocol, header.id), (port, Some(Protocol::Udp), Some(9)));
            assert_eq!(header.fragment, Some(u16::from(offset)).filter(|bytes| *bytes > 0));
            assert!(is_complete && header.flags.contains(Flags::MF));
        }
        let mut packet = tcp();
        packet[6..8].copy_from_slice(&[0x20, 3]);
        let Decoded { header, is_complete, .. } = decode(&packet).unwrap();
        assert_eq!((header.fragment, header.dst_port, is_complete), (Some(24), None, true));
    }

    #[test]
    fn an_error_quotes_a_packet_and_no_more() {
        let mut inner = vec![3, 3, 0, 0, 0, 0, 0, 0];
        inner.extend(tcp());
        let mut packet = tcp();
        (packet[9], packet[3]) = (1, 75);
        packet.truncate(20);
        packet.extend(inner);
        let Decoded { header, embedded, is_complete } = decode(&packet).unwrap();
        assert_eq!((header.icmp_type, header.icmp_code, header.dst_port), (Some(3), Some(3), None));
        assert_eq!(embedded, Some(decode(&tcp()).unwrap().header));
        assert!(is_complete);
        packet[20] = 8;
        assert_eq!(decode(&packet).unwrap().embedded, None);
    }

    #[test]
    fn padding_is_no_part_of_a_packet_and_a_giant_has_no_length() {
        let mut packet = tcp();
        packet[3] = 22;
        assert_eq!(decode(&packet).unwrap().header.src_port, None);
        packet[3] = 0;
        assert_eq!(decode(&packet).unwrap().header.dst_port, Some(80));
    }

    #[test]
    fn a_mapped_address_is_ipv4() {
        let mut packet = ipv6(17, &UDP);
        packet[8..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
        assert_eq!(decode(&packet).unwrap().header.src, Some("10.0.0.1".parse().unwrap()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read_without_panic(mut packet in any::<Vec<u8>>(), version in 0..16u8, next in any::<u8>()) {
            let _ = decode(&packet);
            for (at, byte) in [(0, version << 4 | 5), (6, next)] {
                if let Some(slot) = packet.get_mut(at) {
                    *slot = byte;
                }
            }
            let _ = decode(&packet);
        }

        #[test]
        fn a_cut_never_changes_what_is_read(end in 20..47usize) {
            let (whole, cut) = (decode(&tcp()).unwrap().header, decode(&tcp()[..end]).unwrap().header);
            prop_assert_eq!((cut.src, cut.dst, cut.length), (whole.src, whole.dst, whole.length));
            prop_assert!(cut.src_port.is_none() || cut.src_port == whole.src_port);
            prop_assert!(cut.dst_port.is_none() || cut.dst_port == whole.dst_port);
        }
    }
}
