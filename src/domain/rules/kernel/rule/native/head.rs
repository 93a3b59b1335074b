//! The head of a rule of iptables-nft: what stands before its matches.
//! Knows no match.
//!
//! IPv6's next header, compared in the header, is no `-p`: extension headers stand before the protocol.

use super::{NotIptables, Reader, TO_1_8_7, TO_1_8_9, TO_1_8_10, TO_1_8_13};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::expressions::numbers::*;
use crate::domain::rules::kernel::expressions::{Expression, meta, payload};
use crate::domain::rules::kernel::head::{Device, Head, IFNAMSIZ, Network, Protocol};
use crate::domain::rules::kernel::layout::{Field, Name};

/// What iptables writes for `! -i +`: a name that no device can have.
const NEVER: &[u8] = b"INVAL/D\0";

/// A condition of the head.
#[derive(Clone, Copy)]
enum Item {
    Input,
    Output,
    Protocol,
    ProtocolInHeader,
    Source,
    Destination,
    Fragment,
}

impl Item {
    /// Where it stands in the head of 1.8.9 and before, and in that of later versions.
    const fn places(self) -> (u8, u8) {
        match self {
            Self::Input => (1, 3),
            Self::Output => (2, 4),
            Self::Protocol | Self::ProtocolInHeader => (3, 5),
            Self::Source => (4, 1),
            Self::Destination => (5, 2),
            Self::Fragment => (6, 6),
        }
    }
}

impl Reader<'_> {
    pub(super) fn head(&mut self) -> Result<Head, NotIptables> {
        let mut head = Head::default();
        let mut last = (0, 0);
        while let Some((item, length)) = self.item() {
            let places = item.places();
            if places.0 <= last.0 {
                self.only(TO_1_8_10 | TO_1_8_13);
            }
            if places.1 <= last.1 {
                self.only(TO_1_8_7 | TO_1_8_9);
            }
            last = places;
            match item {
                Item::Input => head.input = self.device()?,
                Item::Output => head.output = self.device()?,
                Item::Protocol => {
                    if self.family == Family::Ip {
                        self.only(TO_1_8_7 | TO_1_8_9);
                    }
                    head.protocol = Some(self.protocol()?);
                }
                Item::ProtocolInHeader => {
                    self.only(TO_1_8_10 | TO_1_8_13);
                    head.protocol = Some(self.protocol()?);
                }
                Item::Source => head.source = self.network(length)?,
                Item::Destination => head.destination = self.network(length)?,
                Item::Fragment => head.fragment = Some(self.fragment()?),
            }
        }
        Ok(head)
    }

    /// Takes the load of a condition of the head, with how much it loads.
    fn item(&mut self) -> Option<(Item, u32)> {
        let [next, rest @ ..] = self.rest else { return None };
        let is_ip = self.family == Family::Ip;
        let (source, destination, width) = if is_ip { (12, 16, 4) } else { (8, 24, 16) };
        let item = match next {
            Expression::Meta(load) if *load == meta(META_IIFNAME) => (Item::Input, 0),
            Expression::Meta(load) if *load == meta(META_OIFNAME) => (Item::Output, 0),
            Expression::Meta(load) if *load == meta(META_L4PROTO) => (Item::Protocol, 0),
            Expression::Payload(load) if *load == payload(NETWORK_HEADER, load.offset, load.length) => {
                match (load.offset, load.length) {
                    (offset, 1..) if offset == source && load.length <= width => (Item::Source, load.length),
                    (offset, 1..) if offset == destination && load.length <= width => {
                        (Item::Destination, load.length)
                    }
                    (9, 1) if is_ip => (Item::ProtocolInHeader, 1),
                    (6, 2) if is_ip => (Item::Fragment, 2),
                    _ => return None,
                }
            }
            _ => return None,
        };
        self.rest = rest;
        Some(item)
    }

    /// `-i NAME`, `-o NAME`; without a comparison it is `-i +`, which asks nothing.
    fn device(&mut self) -> Result<Device, NotIptables> {
        if !matches!(self.rest, [Expression::Cmp(_), ..]) {
            return Ok(Device::default());
        }
        let (name, end, is_negated) = match self.equality()? {
            (false, NEVER) => (&[][..], &b"+"[..], true),
            (_, [0] | [] | [.., b'+', 0]) => return Err(NotIptables::Value),
            (is_negated, [whole @ .., 0]) => (whole, &b""[..], is_negated),
            (is_negated, prefix) => (prefix, &b"+"[..], is_negated),
        };
        let mut bytes = [0; IFNAMSIZ];
        let length = name.len() + end.len();
        bytes.get_mut(..name.len()).ok_or(NotIptables::Value)?.copy_from_slice(name);
        bytes.get_mut(name.len()..length).ok_or(NotIptables::Value)?.copy_from_slice(end);
        let name = Name::read(&bytes);
        let is_whole = name.is_terminated() && name.as_bytes().len() == length;
        if is_whole { Ok(Device { name, is_negated }) } else { Err(NotIptables::Value) }
    }

    fn protocol(&mut self) -> Result<Protocol, NotIptables> {
        match self.equality()? {
            (is_negated, [number]) if *number != 0 => Ok(Protocol { number: *number, is_negated }),
            _ => Err(NotIptables::Value),
        }
    }

    fn network(&mut self, length: u32) -> Result<Network, NotIptables> {
        let width = if self.family == Family::Ip { 4 } else { 16 };
        let length = usize::try_from(length).map_err(|_| NotIptables::Value)?;
        let partial = self.take_mask()?;
        let (is_negated, value) = self.equality()?;
        let mut network = Network { is_negated, ..Network::default() };
        let (address, mask) = (network.address.get_mut(..length), network.mask.get_mut(..length));
        let (Some(address), Some(mask)) = (address, mask) else { return Err(NotIptables::Value) };
        mask.fill(u8::MAX);
        if let Some(partial) = partial {
            if partial.len() != width || length != width || partial.iter().all(|byte| *byte == u8::MAX) {
                return Err(NotIptables::Value);
            }
            if partial.iter().skip_while(|byte| **byte == u8::MAX).all(|byte| *byte == 0) {
                // since 1.8.7 whole bytes are a shorter load instead
                self.only(TO_1_8_7);
            }
            mask.copy_from_slice(partial);
        }
        if value.len() != length || value.iter().zip(&*mask).any(|(value, mask)| value & !mask != 0) {
            return Err(NotIptables::Value);
        }
        address.copy_from_slice(value);
        if network.is_any() { Err(NotIptables::Value) } else { Ok(network) }
    }

    /// `-f`, `! -f`: the fragment's offset is not, or is, zero. True if it is.
    fn fragment(&mut self) -> Result<bool, NotIptables> {
        match (self.take_mask()?, self.equality()?) {
            (Some([0x1f, 0xff]), (is_not_zero, [0, 0])) => Ok(!is_not_zero),
            _ => Err(NotIptables::Value),
        }
    }
}
