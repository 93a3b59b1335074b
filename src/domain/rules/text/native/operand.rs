//! What a statement reads, in words: fields, keys, what is computed from them, lookups in maps.
//! Compares nothing and does nothing.
//!
//! *Source*: nft(8), PRIMARY EXPRESSIONS and PAYLOAD EXPRESSIONS.

use super::constants::{self, integer};
use super::dataflow::Group;
use super::layers::Test;
use super::types::{Order, Type};
use super::{Writer, keys};
use crate::domain::rules::kernel::expressions::form::Data;
use crate::domain::rules::kernel::expressions::{Bitwise, Cmp, Expression, Hash, Range};

/// A value in words, and what is needed to write constants beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    /// Its words.
    pub text: String,
    /// How constants beside it are written.
    pub of: Type,
    /// The order of its bytes.
    pub order: Order,
    /// Its bytes.
    pub bytes: u32,
    /// The bits that belong to it; none for all.
    pub mask: Option<Vec<u8>>,
    /// How many bits stand behind the last of these.
    pub shift: u32,
    /// Whether its words are an operation.
    pub is_compound: bool,
    /// Whether its bytes were put into the other order.
    pub is_swapped: bool,
    /// The protocol that it says if it is compared with a constant.
    pub says: Option<Says>,
}

/// What a comparison for equality tells about the headers.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Says {
    LinkType,
    EtherType,
    VlanType,
    MetaProtocol,
    NfProto,
    L4Proto,
    NextHeader,
    IcmpType,
}

impl Says {
    /// The test, if the constant makes it one.
    pub fn test(self, value: u64) -> Option<Test> {
        let byte = || u8::try_from(value).ok();
        let word = || u16::try_from(value).ok();
        Some(match self {
            Self::LinkType if value == u64::from(super::layers::ARPHRD_ETHER) => Test::LinkType,
            Self::LinkType => return None,
            Self::EtherType => Test::EtherType(word()?),
            Self::VlanType => Test::VlanType(word()?),
            Self::MetaProtocol => Test::MetaProtocol(word()?),
            Self::NfProto => Test::NfProto(byte()?),
            Self::L4Proto => Test::L4Proto(byte()?),
            Self::NextHeader => Test::NextHeader(byte()?),
            Self::IcmpType => Test::IcmpType(byte()?),
        })
    }
}

impl Operand {
    /// With all of its bits, in the order in which they are loaded.
    pub fn new(text: impl Into<String>, of: Type, order: Order, bytes: u32) -> Self {
        let text = text.into();
        Self {
            text,
            of,
            order,
            bytes,
            mask: None,
            shift: 0,
            is_compound: false,
            is_swapped: false,
            says: None,
        }
    }

    fn compound(self, text: String) -> Self {
        Self { text, is_compound: true, says: None, ..self }
    }

    /// As it stands beside others.
    pub fn beside(&self) -> String {
        if self.is_compound { format!("({})", self.text) } else { self.text.clone() }
    }

    /// A constant of it: without the bits that do not belong to it. None if the constant has such bits.
    pub fn shifted(&self, constant: &[u8]) -> Option<Vec<u8>> {
        let Some(mask) = &self.mask else { return Some(constant.to_vec()) };
        if constant.len() != mask.len() || constant.iter().zip(mask).any(|(byte, mask)| byte & !mask != 0) {
            return None;
        }
        let value = constants::number(constant, Order::Network)? >> self.shift;
        let wide = value.to_be_bytes();
        Some(wide.get(wide.len() - constant.len()..)?.to_vec())
    }
}

impl Writer<'_> {
    /// The value of a group in words.
    pub fn operand(&mut self, group: &Group<'_>, value: usize) -> Option<Operand> {
        let made = *group.values.get(value)?;
        let operand = match made.from {
            Expression::Payload(payload) => self.payload(payload, None),
            Expression::Exthdr(exthdr) => self.exthdr(exthdr, None),
            Expression::Hash(hash) => self.hash(group, value, hash),
            Expression::Bitwise(bitwise) => self.bitwise(group, value, bitwise),
            Expression::Byteorder(swap) => {
                let of = group.at_before(value, swap.sreg)?;
                let operand = self.operand(group, of)?;
                let is_whole = swap.length == operand.bytes && swap.size == operand.bytes;
                let order = match (swap.op, operand.order) {
                    (HTON, Order::Host) => Order::Network,
                    (NTOH, Order::Network) => Order::Host,
                    _ => return None,
                };
                if !is_whole || operand.bytes < 2 || operand.is_swapped || operand.mask.is_some() {
                    return None;
                }
                Some(Operand { order, is_swapped: true, says: None, ..operand })
            }
            other => keys::key(other, self.place.family),
        }?;
        self.read.push(value);
        Some(operand)
    }

    /// The values that are side by side in a register and behind it, each in words.
    pub fn operands(&mut self, group: &Group<'_>, values: Vec<usize>) -> Option<Vec<Operand>> {
        values.into_iter().map(|value| self.operand(group, value)).collect()
    }

    fn hash(&mut self, group: &Group<'_>, value: usize, hash: &Hash) -> Option<Operand> {
        const JENKINS: u32 = 0;
        const SYMMETRIC: u32 = 1;
        let offset = offset(hash.offset);
        let seed = hash.seed.map_or_else(String::new, |seed| format!(" seed {seed}"));
        let text = match (hash.kind, hash.sreg, hash.length) {
            (JENKINS, Some(register), Some(length)) => {
                let of = group.read_before(value, register, length)?;
                let input = self.operands(group, of)?;
                if input.iter().any(|part| part.is_swapped || part.shift != 0) {
                    return None;
                }
                let input = match input.as_slice() {
                    [one] => one.beside(),
                    several => joined(several),
                };
                format!("jhash {input} mod {}{seed}{offset}", hash.modulus)
            }
            (SYMMETRIC, None, None) if hash.seed.is_none() => format!("symhash mod {}{offset}", hash.modulus),
            _ => return None,
        };
        Some(Operand::new(text, Type::Integer, Order::Host, 4))
    }

    /// `(X & MASK) ^ XOR`, a shift, or a field that a mask cuts out.
    fn bitwise(&mut self, group: &Group<'_>, value: usize, bitwise: &Bitwise<'_>) -> Option<Operand> {
        const MASK_XOR: u32 = 0;
        const LSHIFT: u32 = 1;
        const RSHIFT: u32 = 2;
        let of = group.at_before(value, bitwise.sreg)?;
        let bytes = |data: Option<Data<'_>>| match data {
            Some(Data::Value(value)) => Some(value.to_vec()),
            _ => None,
        };
        match (bitwise.op.unwrap_or(MASK_XOR), bitwise.sreg2) {
            (MASK_XOR, None) if bitwise.data.is_none() => {
                let (mask, xor) = (bytes(bitwise.mask)?, bytes(bitwise.xor)?);
                if [mask.len(), xor.len()].iter().any(|&length| u32::try_from(length) != Ok(bitwise.length)) {
                    return None;
                }
                if xor.iter().all(|byte| *byte == 0)
                    && let Some(field) = self.masked_field(group, of, &mask)
                {
                    return Some(field);
                }
                let operand = self.operand(group, of)?;
                if bitwise.length != operand.bytes || operand.mask.is_some() || operand.is_swapped {
                    return None;
                }
                self.masked(operand, &mask, &xor)
            }
            (op @ (LSHIFT | RSHIFT), None) if bitwise.mask.is_none() && bitwise.xor.is_none() => {
                let by = u32::from_ne_bytes(bytes(bitwise.data)?.try_into().ok()?);
                let operand = self.operand(group, of)?;
                if bitwise.length != operand.bytes || operand.is_swapped {
                    return None;
                }
                if operand.mask.is_some() {
                    let is_extracted = op == RSHIFT && by == operand.shift && operand.bytes == 1;
                    return is_extracted.then_some(Operand { mask: None, shift: 0, ..operand });
                }
                let sign = if op == LSHIFT { "<<" } else { ">>" };
                let text = format!("{} {sign} {by}", operand.beside());
                Some(operand.compound(text))
            }
            _ => None,
        }
    }

    /// The field that a mask cuts out of a part of the packet.
    fn masked_field(&mut self, group: &Group<'_>, value: usize, mask: &[u8]) -> Option<Operand> {
        let operand = match group.values.get(value)?.from {
            Expression::Payload(payload) if payload.length as usize == mask.len() => {
                self.payload(payload, Some(mask))
            }
            Expression::Exthdr(exthdr) if exthdr.length.map(|length| length as usize) == Some(mask.len()) => {
                self.exthdr(exthdr, Some(mask))
            }
            _ => None,
        }?;
        self.read.push(value);
        Some(operand)
    }

    /// `X & MASK`, `X ^ BITS`, `X | BITS` and what of them together gives `(X & MASK) ^ XOR`.
    fn masked(&mut self, operand: Operand, mask: &[u8], xor: &[u8]) -> Option<Operand> {
        let pairs = || mask.iter().zip(xor);
        let or: Vec<u8> = pairs().map(|(mask, xor)| xor & !mask).collect();
        let and: Vec<u8> = mask.iter().zip(&or).map(|(mask, or)| mask | or).collect();
        let flip: Vec<u8> = pairs().map(|(mask, xor)| xor & mask).collect();
        let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        let is_identity = is_zero(&or) && is_zero(&flip);
        let mut out = operand;
        if is_identity || and.iter().any(|byte| *byte != 0xff) {
            out = self.operation(out, "&", &and)?;
        }
        if !is_zero(&flip) {
            out = self.operation(out, "^", &flip)?;
        }
        if !is_zero(&or) {
            out = self.operation(out, "|", &or)?;
        }
        Some(out)
    }

    fn operation(&self, operand: Operand, sign: &str, bits: &[u8]) -> Option<Operand> {
        let constant = if operand.of.is_flags() {
            let words = constants::flags(operand.of, operand.order, bits)?;
            if words.len() > 1 { format!("({})", words.join(" | ")) } else { words.concat() }
        } else if matches!(operand.of, Type::Ipv4 | Type::Ipv6 | Type::Ether) {
            constants::value(operand.of, operand.order, bits, self.names)?.alone()
        } else {
            integer(bits, operand.order)?.alone()
        };
        let text = format!("{} {sign} {constant}", operand.beside());
        Some(operand.compound(text))
    }
}

/// `NFT_BYTEORDER_NTOH`, `NFT_BYTEORDER_HTON`.
const NTOH: u32 = 0;
const HTON: u32 = 1;

/// `A . B`
pub fn joined(operands: &[Operand]) -> String {
    operands.iter().map(Operand::beside).collect::<Vec<_>>().join(" . ")
}

/// ` offset 3`, or nothing.
pub fn offset(offset: Option<u32>) -> String {
    match offset {
        None | Some(0) => String::new(),
        Some(offset) => format!(" offset {offset}"),
    }
}

/// The range that two comparisons with its ends make.
pub fn range<'a>(first: &Cmp<'a>, last: &Cmp<'a>) -> Range<'a> {
    const EQ: u32 = 0;
    Range { sreg: first.sreg, op: EQ, from: first.data, to: last.data }
}
