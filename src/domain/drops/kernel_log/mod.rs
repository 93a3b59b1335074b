//! Log lines of netfilter: the line, its prefix and the packet. All of it borrows the line; nothing is allocated
//! for a line that is not asked for, and for others only where a name in it is escaped.
//! Decides nothing about the packet and looks nobody up.
//!
//! ```text
//! Sep  3 11:38:30 node-1 kernel: [ 12.345678] DROP: IN=eth0 OUT= MAC=... SRC=10.0.0.1 DST=10.0.0.2 LEN=60 ...
//! └ when          └ host └ program └ uptime   └ prefix └ devices └ link  └ addresses
//! ```

mod ebtables;
mod fields;
mod packet_text;
#[cfg(test)]
mod tests;
mod words;

use std::borrow::Cow;
use std::time::SystemTime;

use memchr::memmem::Finder;

use super::civil::Clock;
use super::envelope::{self, Envelope};
use super::prefix::{Hit, Matcher};
use super::time_layout::TimeLayout;
use crate::domain::packets::packet::{Action, Packet};
use fields::text;

/// What a log line is.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it lives for one line, and a box would be allocated for each")]
pub enum Parsed<'a> {
    /// A packet; [`Packet::is_complete`] tells whether the line was understood to its end.
    Packet(Packet<'a>),
    /// Not a line that is asked for.
    NotOurs,
    /// It has a prefix that is asked for, and nothing in it was understood.
    Unparsed,
}

/// Reads log lines.
#[derive(Debug)]
pub struct LogParser {
    matcher: Matcher,
    layout: Option<TimeLayout>,
    /// Made once: a search of its own would cost as much as reading the line.
    out_key: Finder<'static>,
}

impl LogParser {
    /// Reads the lines that `matcher` asks for. Without a `layout`, times are known by their shape.
    pub fn new(matcher: Matcher, layout: Option<TimeLayout>) -> Self {
        Self { matcher, layout, out_key: Finder::new(b" OUT=") }
    }

    /// What a rule with this prefix does with a packet, as NFLOG has it; none if it is not asked for.
    pub fn action_of(&self, prefix: &[u8]) -> Option<Action> {
        self.matcher.action_of(prefix)
    }

    /// Reads one line; its line end makes no difference.
    ///
    /// `at` is when it was logged, if its source knows. Then the line is the bare message, as of the journal and
    /// `/dev/kmsg`; else time, host and program may stand before it.
    ///
    /// A NUL at its beginning or end is what a hole in a file left of the line: it is never complete.
    pub fn parse<'a>(&self, line: &'a [u8], at: Option<SystemTime>, clock: Clock) -> Parsed<'a> {
        let [before, behind] = [line.first(), line.last()].map(|byte| byte == Some(&0));
        if !before && !behind {
            return self.parse_whole(line, at, clock);
        }
        let line = line.get(usize::from(before)..line.len() - usize::from(behind)).unwrap_or_default();
        match self.parse_whole(line, at, clock) {
            Parsed::Packet(packet) => Parsed::Packet(Packet { is_complete: false, ..packet }),
            other => other,
        }
    }

    fn parse_whole<'a>(&self, line: &'a [u8], at: Option<SystemTime>, clock: Clock) -> Parsed<'a> {
        if !self.matcher.may_be_ours(line) {
            return Parsed::NotOurs;
        }
        let line = line.trim_ascii_end();
        let limit = self.matcher.limit(line);
        let envelope = match at {
            Some(_) => Envelope::bare(line, at),
            None => envelope::read(line, self.layout.as_ref(), limit, clock),
        };
        if self.matcher.is_any() {
            return self.read_any(&envelope);
        }
        if let Some(hit) = self.matcher.find(envelope.message) {
            return self.read_matched(&envelope, hit);
        }
        // the prefix may be part of what looks like an envelope
        match self.matcher.find(line) {
            Some(hit) => {
                self.read_matched(&Envelope { message: line, is_recognised: false, ..envelope }, hit)
            }
            None => Parsed::NotOurs,
        }
    }

    fn read_matched<'a>(&self, envelope: &Envelope<'a>, hit: Hit) -> Parsed<'a> {
        let message = envelope.message;
        let behind = message.get(hit.end..).unwrap_or_default();
        let pair = self.packet_behind(behind.trim_ascii_start()).or_else(|| self.packet_start(message));
        let body = pair.or_else(|| one_device(behind));
        let start = if envelope.is_recognised { 0 } else { hit.start };
        let end = body.map_or(hit.end, |body| message.len() - body.len());
        let mut packet = packet(envelope, message.get(start..end).unwrap_or_default(), hit.action);
        match packet_text::read(body.unwrap_or(behind), &mut packet) {
            true => Parsed::Packet(packet),
            false => Parsed::Unparsed,
        }
    }

    /// The packet behind a prefix. If `IN=` stands there at once, what follows it is a device, whatever its name.
    fn packet_behind<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        let packet = self.packet_start(text)?;
        let first_word = text.iter().position(u8::is_ascii_whitespace)?;
        let is_at_once = text.starts_with(b"IN=") && text.len() - packet.len() < first_word;
        Some(if is_at_once { text } else { packet })
    }

    /// Without a prefix, a line is netfilter's if it has its devices, or else enough of a packet without its head.
    fn read_any<'a>(&self, envelope: &Envelope<'a>) -> Parsed<'a> {
        let message = envelope.message;
        let pair = self.packet_start(message);
        let body = pair.or_else(|| one_device(message));
        let prefix = body.and_then(|body| message.get(..message.len() - body.len())).unwrap_or_default();
        let mut packet = packet(envelope, prefix, Action::Unknown);
        let has_any = packet_text::read(body.unwrap_or(message), &mut packet);
        let header = &packet.header;
        let has_enough = header.protocol.is_some()
            && (header.src.is_some() || header.dst_port.is_some() || header.icmp_type.is_some());
        if has_any && (pair.is_some() || has_enough) { Parsed::Packet(packet) } else { Parsed::NotOurs }
    }

    /// Where `IN=` stands whose next word is `OUT=`. The last such pair: whatever the prefix looks like, it is before.
    fn packet_start<'a>(&self, message: &'a [u8]) -> Option<&'a [u8]> {
        let out = self.out_key.find_iter(message).last()?;
        let before = message.get(..out)?;
        let word = before.iter().rposition(u8::is_ascii_whitespace).map_or(0, |space| space + 1);
        let at = word + before.get(word..)?.windows(3).rposition(|window| window == b"IN=")?;
        message.get(at..)
    }
}

/// Where a device stands without the other: firewalls that log for themselves, such as Proxmox VE's, leave out the one
/// that a packet does not have.
fn one_device(message: &[u8]) -> Option<&[u8]> {
    let (mut at, mut device, mut found) = (0, None, None);
    for word in message.split(u8::is_ascii_whitespace) {
        if packet_text::is_behind_device(word) {
            found = device.or(found);
        }
        device = packet_text::is_device(word).then_some(at);
        at += word.len() + 1;
    }
    message.get(found?..)
}

fn packet<'a>(envelope: &Envelope<'a>, prefix: &'a [u8], action: Action) -> Packet<'a> {
    let mut packet = Packet::new(text(prefix.trim_ascii()), action);
    packet.at = envelope.at;
    packet.uptime = envelope.uptime;
    packet.host = envelope.host.map(Cow::Borrowed);
    packet.repeated = envelope.repeated;
    packet
}
