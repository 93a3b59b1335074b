//! The words that a packet is told in, and what each sets.
//! Knows no key.

use crate::domain::packets::packet::Link;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// The words of a text.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(pub(super) &'a [u8]);

impl<'a> Words<'a> {
    pub(super) fn peek(mut self) -> Option<&'a [u8]> {
        self.next()
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.trim_ascii_start();
        let end = start.iter().position(|byte| *byte == b' ').unwrap_or(start.len());
        let (word, rest) = start.split_at_checked(end)?;
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// Sets what is not yet set; `false` if it was set or there is nothing to set.
pub(super) fn set<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    let is_new = slot.is_none() && value.is_some();
    if is_new {
        *slot = value;
    }
    is_new
}

/// Whether a frame says of itself that it carries neither IP nor ARP: then there is nothing more to tell.
pub(super) fn is_no_ip(link: &Link) -> bool {
    link.ether_type.is_some_and(|kind| ![IPV4, ARP, IPV6].contains(&kind))
}
