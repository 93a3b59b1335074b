//! Questions about the bytes of an extension's info; offsets and sizes are in bytes.
//! Knows no extension. A question about bytes that are not there is answered with no.

use super::ALIGN;
use crate::domain::rules::Family;
use crate::domain::rules::kernel::chains::is_word;

/// The info of a match or target.
pub(in crate::domain::rules::kernel) struct Info<'a> {
    pub family: Family,
    bytes: &'a [u8],
}

impl<'a> Info<'a> {
    pub const fn new(family: Family, bytes: &'a [u8]) -> Self {
        Self { family, bytes }
    }

    pub fn is_ip(&self) -> bool {
        self.family == Family::Ip
    }

    /// The bytes, or none at all if they are not there.
    pub fn bytes(&self, from: usize, to: usize) -> &'a [u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    pub fn u8(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    pub fn u16(&self, at: usize) -> u16 {
        self.bytes(at, at + 2).first_chunk().map_or(0, |bytes| u16::from_ne_bytes(*bytes))
    }

    pub fn u32(&self, at: usize) -> u32 {
        self.bytes(at, at + 4).first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    pub fn u64(&self, at: usize) -> u64 {
        self.bytes(at, at + 8).first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    pub fn be16(&self, at: usize) -> u16 {
        self.bytes(at, at + 2).first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
    }

    /// The structure is this long, and only padding follows it.
    pub fn ends(&self, length: usize) -> bool {
        self.bytes.len() == length.next_multiple_of(ALIGN) && self.zero(length, self.bytes.len())
    }

    pub fn zero(&self, from: usize, to: usize) -> bool {
        self.bytes.get(from..to).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
    }

    /// No other bits of the byte than these are set.
    pub fn bits8(&self, at: usize, allowed: u8) -> bool {
        self.u8(at) & !allowed == 0
    }

    pub fn bits16(&self, at: usize, allowed: u16) -> bool {
        self.u16(at) & !allowed == 0
    }

    pub fn bits32(&self, at: usize, allowed: u32) -> bool {
        self.u32(at) & !allowed == 0
    }

    pub fn ordered16(&self, at: usize) -> bool {
        self.u16(at) <= self.u16(at + 2)
    }

    pub fn ordered32(&self, at: usize) -> bool {
        self.u32(at) <= self.u32(at + 4)
    }

    /// The range of two 32-bit numbers is ordered, and if it says nothing it is not negated.
    pub fn range32(&self, at: usize, is_negated: bool) -> bool {
        let is_full = self.u32(at) == 0 && self.u32(at + 4) == u32::MAX;
        self.ordered32(at) && !(is_full && is_negated)
    }

    /// As [`Self::range32`], of 16-bit numbers.
    pub fn range16(&self, at: usize, is_negated: bool) -> bool {
        let is_full = self.u16(at) == 0 && self.u16(at + 2) == u16::MAX;
        self.ordered16(at) && !(is_full && is_negated)
    }

    /// A NUL-terminated string: what stands before the NUL. None if unterminated or if more follows the NUL.
    pub fn string(&self, from: usize, to: usize) -> Option<&'a [u8]> {
        let field = self.bytes.get(from..to)?;
        let end = field.iter().position(|byte| *byte == 0)?;
        let (text, rest) = field.split_at_checked(end)?;
        rest.iter().all(|byte| *byte == 0).then_some(text)
    }

    /// As [`Self::word`], but the default that iptables writes first may show behind the NUL.
    pub fn word_over(&self, from: usize, to: usize, default: &[u8]) -> bool {
        let field = self.bytes(from, to);
        let length = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        let is_left_over = (0..)
            .zip(field)
            .skip(length + 1)
            .all(|(at, byte)| *byte == default.get(at).copied().unwrap_or(0));
        length < field.len() && field.get(..length).is_some_and(is_word) && is_left_over
    }

    /// A string that is printed raw and reads as one word.
    pub fn word(&self, from: usize, to: usize) -> bool {
        self.string(from, to).is_some_and(is_word)
    }

    /// A string that is printed in quotes.
    pub fn quoted(&self, from: usize, to: usize) -> bool {
        self.string(from, to).is_some_and(|text| !text.iter().any(u8::is_ascii_control))
    }

    /// An address field of 16 bytes: an IPv4 address fills the first four only.
    pub fn address(&self, at: usize) -> bool {
        !self.is_ip() || self.zero(at + 4, at + 16)
    }

    /// A mask of 16 bytes that a prefix length can say. For a single IPv4 address iptables sets all of them.
    pub fn prefix(&self, at: usize) -> bool {
        let mask = self.bytes(at, at + 16);
        let mut rest = mask.iter().skip_while(|byte| **byte == 0xff);
        let is_edge = rest.next().is_none_or(|byte| byte.leading_ones() + byte.trailing_zeros() >= 8);
        let is_whole = mask.iter().all(|byte| *byte == 0xff);
        is_edge && rest.all(|byte| *byte == 0) && (is_whole || self.address(at))
    }

    /// An address and its mask, which leaves no bit of it out.
    pub fn network(&self, address: usize, mask: usize) -> bool {
        let (value, bits) = (self.bytes(address, address + 16), self.bytes(mask, mask + 16));
        let fits = value.iter().zip(bits).all(|(value, mask)| value & !mask == 0);
        fits && self.prefix(mask) && self.address(address)
    }

    /// An interface name with the mask that says where it ends.
    pub fn interface(&self, name: usize, mask: usize) -> bool {
        let Some(text) = self.string(name, name + 16) else {
            return false;
        };
        let length = match text.last() {
            None => 0,
            Some(b'+') => text.len() - 1,
            Some(_) => text.len() + 1,
        };
        let is_ones = self.bytes(mask, mask + length).iter().all(|byte| *byte == 0xff);
        (text.is_empty() || is_word(text)) && is_ones && self.zero(mask + length, mask + 16)
    }
}
