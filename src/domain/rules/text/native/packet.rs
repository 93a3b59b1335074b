//! Fields of the packet's headers in words, with the tests for the headers that they need.
//! Compares nothing.
//!
//! *Source*: nft(8), PAYLOAD EXPRESSIONS, EXTENSION HEADER EXPRESSIONS.

use super::Writer;
use super::constants::number;
use super::fields::{self, Field, Header};
use super::operand::{Operand, Says};
use super::types::{Order, Type};
use crate::domain::rules::kernel::expressions::{Exthdr, Payload};

/// A field among these with this place: in bits, with the bits of a mask over the whole. Gives how many bits of what was loaded
/// stand behind the field.
pub fn find(fields: &[Field], offset: u32, length: u32, mask: Option<&[u8]>) -> Option<(Field, u32)> {
    let Some(mask) = mask else {
        let field = fields.iter().find(|field| field.offset == offset && field.length == length)?;
        return Some((*field, 0));
    };
    let bits = number(mask, Order::Network)?;
    let (ones, trailing) = (bits.count_ones(), bits.trailing_zeros());
    let is_contiguous = ones > 0 && (bits >> trailing).trailing_ones() == ones;
    // a mask that leaves all bits is an operation of its own
    if !is_contiguous || ones == length || 8 * u32::try_from(mask.len()).ok()? != length {
        return None;
    }
    let start = offset + length - ones - trailing;
    let covers = |field: &&Field| {
        field.offset == start
            && field.length == ones
            && offset == field.offset / 8 * 8
            && offset + length == (field.offset + field.length).next_multiple_of(8)
    };
    Some((*fields.iter().find(covers)?, trailing))
}

/// The names of the bases of payload: `NFT_PAYLOAD_LL_HEADER`, `NETWORK_HEADER`, `TRANSPORT_HEADER`, `INNER_HEADER`.
const BASES: [&str; 4] = ["ll", "nh", "th", "ih"];
const LINK: u32 = 0;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

/// `NFT_EXTHDR_OP_*`.
pub const IPV6: u32 = 0;
/// `NFT_EXTHDR_OP_TCPOPT`.
pub const TCP_OPTION: u32 = 1;
const IPV4: u32 = 2;
const SCTP: u32 = 3;
const DCCP: u32 = 4;

impl Writer<'_> {
    /// A part of the packet, or the bits of it that a mask leaves: a field, or its place.
    pub fn payload(&mut self, payload: &Payload, mask: Option<&[u8]>) -> Option<Operand> {
        let (offset, length) = (payload.offset.checked_mul(8)?, payload.length.checked_mul(8)?);
        if let Some((header, field, shift)) = self.field(payload.base, offset, length, mask) {
            let says = match (header, field.name) {
                (Header::Ether, "type") => Some(Says::EtherType),
                (Header::Vlan, "type") => Some(Says::VlanType),
                (Header::Ip, "protocol") | (Header::Ip6, "nexthdr") => Some(Says::NextHeader),
                (Header::Icmp | Header::Icmpv6, "type") => Some(Says::IcmpType),
                _ => None,
            };
            let text = format!("{} {}", header.name(), field.name);
            let operand = Operand::new(text, field.of, Order::Network, payload.length);
            return Some(Operand { mask: mask.map(<[u8]>::to_vec), shift, says, ..operand });
        }
        if mask.is_some() {
            return None;
        }
        let base = BASES.get(usize::try_from(payload.base).ok()?)?;
        Some(Operand::new(
            format!("@{base},{offset},{length}"),
            Type::Integer,
            Order::Network,
            payload.length,
        ))
    }

    /// The header and field at a place of the packet, in bits.
    pub fn field(
        &mut self,
        base: u32,
        offset: u32,
        length: u32,
        mask: Option<&[u8]>,
    ) -> Option<(Header, Field, u32)> {
        let header = self.header(base, offset)?;
        let (field, shift) = match header {
            Header::Icmp | Header::Icmpv6 => {
                (self.icmp_field(header, offset, length).filter(|_| mask.is_none())?, 0)
            }
            _ => find(header.fields(), offset, length, mask)?,
        };
        self.needs(header, &field)?;
        Some((header, field, shift))
    }

    /// The header that a place of the packet belongs to. Does not need the tests for it yet.
    pub fn header(&mut self, base: u32, offset: u32) -> Option<Header> {
        const VLAN_BITS: u32 = 112;
        match base {
            LINK if offset >= VLAN_BITS => self.layers.vlan_type().then_some(Header::Vlan),
            LINK => self.layers.is_ether().then_some(Header::Ether),
            NETWORK => self.layers.network_header(),
            TRANSPORT => Some(match self.layers.transport_protocol() {
                None => Header::Transport,
                Some(protocol) => Header::of_protocol(protocol).unwrap_or(Header::Transport),
            }),
            _ => None,
        }
    }

    /// Needs the tests for a field.
    pub fn needs(&mut self, header: Header, field: &Field) -> Option<()> {
        let is_known = match header {
            Header::Ether => self.layers.ether(),
            Header::Vlan if field.name == "type" => self.layers.vlan_type(),
            Header::Vlan => self.layers.vlan(),
            Header::Ip | Header::Ip6 | Header::Arp => self.layers.network().is_some(),
            Header::Transport => true,
            _ => self.layers.transport().is_some(),
        };
        is_known.then_some(())
    }

    /// A field of an ICMP header: some places have other names for each type of message.
    fn icmp_field(&mut self, header: Header, offset: u32, length: u32) -> Option<Field> {
        let of_type: &[(&str, u8)] = match header {
            Header::Icmp => &[("mtu", 3), ("gateway", 5)],
            _ => &[("mtu", 2), ("parameter-problem", 4), ("max-delay", 130)],
        };
        let at = |field: &&Field| field.offset == offset && field.length == length;
        let mut fields = header.fields().iter().filter(at);
        let typed = |field: &Field| of_type.iter().find(|(name, _)| *name == field.name).map(|(_, of)| *of);
        let named: Vec<Field> = fields.by_ref().copied().collect();
        let by_type = named.iter().find(|field| typed(field).is_some_and(|of| self.layers.is_icmp(of)));
        by_type.or_else(|| named.iter().find(|field| typed(field).is_none())).copied()
    }

    /// An extension header, option or chunk, or the bits of it that a mask leaves.
    pub fn exthdr(&mut self, exthdr: &Exthdr, mask: Option<&[u8]>) -> Option<Operand> {
        const PRESENT: u32 = 1;
        let (name, fields) = self.option(exthdr)?;
        let (offset, length) = (exthdr.offset?.checked_mul(8)?, exthdr.length?.checked_mul(8)?);
        match exthdr.flags {
            None | Some(0) => {}
            Some(PRESENT) if offset == 0 && length == 8 && mask.is_none() => {
                let kind = if exthdr.op.unwrap_or(0) == IPV6 { "exthdr " } else { "" };
                return Some(Operand::new(format!("{kind}{name}"), Type::Boolean, Order::Host, 1));
            }
            Some(_) => return None,
        }
        let bytes = exthdr.length?;
        let found = |name: &str, (field, shift): (Field, u32)| {
            let operand = Operand::new(format!("{name} {}", field.name), field.of, Order::Network, bytes);
            Operand { mask: mask.map(<[u8]>::to_vec), shift, ..operand }
        };
        if let Some(field) = find(fields, offset, length, mask) {
            return Some(found(&name, field));
        }
        match (exthdr.op.unwrap_or(0), exthdr.kind) {
            (IPV6, 43) => {
                find(fields::SEGMENT_ROUTING, offset, length, mask).map(|field| found("srh", field))
            }
            (TCP_OPTION, 5) if mask.is_none() => fields::SACK_BLOCKS.iter().find_map(|(block, fields)| {
                find(fields, offset, length, None).map(|field| found(&format!("tcp option {block}"), field))
            }),
            _ => None,
        }
        .or_else(|| {
            let is_plain = exthdr.op == Some(TCP_OPTION) && mask.is_none();
            let text = format!("tcp option @{},{offset},{length}", exthdr.kind);
            is_plain.then(|| Operand::new(text, Type::Integer, Order::Network, bytes))
        })
    }

    /// The name of an extension header, option or chunk, and its fields. Needs the tests for it.
    pub fn option(&mut self, exthdr: &Exthdr) -> Option<(String, &'static [Field])> {
        let kind = exthdr.kind;
        match exthdr.op.unwrap_or(0) {
            IPV6 => {
                let (name, fields) = fields::extension_header(kind)?;
                self.layers.is_network(Header::Ip6).then(|| (name.to_owned(), fields))
            }
            TCP_OPTION => Some(match fields::tcp_option(kind) {
                Some((name, fields)) => (format!("tcp option {name}"), fields),
                None => (format!("tcp option {kind}"), &[]),
            }),
            IPV4 => {
                let (name, fields) = fields::ip_option(kind)?;
                self.layers.is_network(Header::Ip).then(|| (format!("ip option {name}"), fields))
            }
            SCTP => {
                let (name, fields) = fields::sctp_chunk(kind)?;
                Some((format!("sctp chunk {name}"), fields))
            }
            DCCP => Some((format!("dccp option {kind}"), &[])),
            _ => None,
        }
    }
}
