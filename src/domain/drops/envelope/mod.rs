//! What log daemons write around a kernel message: when, which host, which program, how often.
//! Does not look into the message, and trusts nothing of it: any program can write such a line.
//!
//! ```text
//! <4>1 2026-11-21T13:00:07.123456+00:00 node-1 kernel - - - DROP: IN=eth0 ...     RFC 5424
//! <4>Sep  3 11:38:30 node-1 kernel: [  123.456789] DROP: IN=eth0 ...              RFC 3164
//! 2026-11-21T13:00:07.123456+00:00 node-1 kernel: DROP: IN=eth0 ...               rsyslog, journalctl -o short-iso
//! Sat 2026-11-21 13:00:07 UTC node-1 kernel: DROP: IN=eth0 ...                    journalctl -o short-full
//! [Sat Nov 21 13:00:07 2026] DROP: IN=eth0 ...                                    dmesg -T
//! kern  :warn  : [  123.456789] DROP: IN=eth0 ...                                 dmesg -x
//! Sep  3 11:38:30 node-1 kernel: message repeated 3 times: [ DROP: IN=eth0 ...]   rsyslog
//! ```
//!
//! *Source*: RFC 3164, RFC 5424, journalctl(1) `--output`, dmesg(1) `--time-format`, rsyslog's
//! `$RepeatedMsgReduction`.

mod stamp;
mod word;

use std::time::{Duration, SystemTime};

use super::civil::Clock;
use super::time_layout::TimeLayout;
use stamp::Stamp;
use word::first_word;

/// What stands around a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub at: Option<SystemTime>,
    pub uptime: Option<Duration>,
    pub host: Option<&'a [u8]>,
    /// How many equal messages the line stands for.
    pub repeated: u32,
    /// The message; the whole line if nothing was recognised around it.
    pub message: &'a [u8],
    /// Whether anything was recognised, so that the message is known to begin where it says.
    pub is_recognised: bool,
}

impl<'a> Envelope<'a> {
    /// Nothing around the message.
    pub fn bare(message: &'a [u8], at: Option<SystemTime>) -> Self {
        Self { at, uptime: None, host: None, repeated: 1, message, is_recognised: at.is_some() }
    }
}

/// Takes a line apart. Its time is written as `layout` says if there is one, else in any form that is known.
///
/// `limit` is where the message begins at the latest, if that is known: no host or program is looked for behind it.
pub(super) fn read<'a>(
    line: &'a [u8],
    layout: Option<&TimeLayout>,
    limit: Option<usize>,
    clock: Clock,
) -> Envelope<'a> {
    let mut envelope = Envelope::bare(line, None);
    let start = after_priority(after_level(line));
    let stamp = match layout.and_then(|layout| layout.read(start, clock)) {
        Some((at, rest)) => Some((Stamp::At(at), rest)),
        None => stamp::read(start, clock),
    };
    let (stamp, rest) = stamp.map_or((None, start), |(stamp, rest)| (Some(stamp), rest.trim_ascii_start()));
    let is_before_limit = |message: &[u8]| limit.is_none_or(|limit| line.len() - message.len() <= limit);
    let known = after_known_program(rest).filter(|(_, message)| is_before_limit(message));
    let (host, rest) = match (known, &stamp) {
        (Some(known), _) => known,
        (None, Some(Stamp::At(_))) => after_host(rest, is_before_limit),
        // the kernel and dmesg write no host
        (None, _) => (None, rest),
    };
    envelope.host = host;
    match stamp {
        Some(Stamp::At(at) | Stamp::BareAt(at)) => envelope.at = Some(at),
        Some(Stamp::Uptime(uptime)) => envelope.uptime = Some(uptime),
        None => {}
    }
    envelope.is_recognised = rest.len() < line.len();
    let rest = after_uptime(rest, &mut envelope.uptime);
    let rest = after_repetition(rest, &mut envelope.repeated);
    envelope.message = after_uptime(rest, &mut envelope.uptime);
    envelope
}

/// `<4>` of RFC 3164, `<4>1 ` of RFC 5424, whose version may have been left without its priority.
fn after_priority(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    let close = line.iter().take(5).position(|byte| *byte == b'>');
    let number = |end| line.get(1..end).filter(|number: &&[u8]| number.iter().all(u8::is_ascii_digit));
    let rest = match (line.first(), close) {
        (Some(b'<'), Some(end)) if number(end).is_some_and(|number| !number.is_empty()) => {
            line.get(end + 1..).unwrap_or_default()
        }
        _ => line,
    };
    match rest.strip_prefix(b"1 ") {
        Some(versioned) if stamp::is_iso(versioned) => versioned,
        _ => rest,
    }
}

/// `kern  :warn  : ` of `dmesg -x`.
fn after_level(line: &[u8]) -> &[u8] {
    let field = |text| -> Option<_> {
        let (word, rest) = first_word(text);
        let (name, rest) = match word.iter().position(|byte| *byte == b':') {
            Some(at) => (word.get(..at)?, text.get(at + 1..)?),
            None => (word, rest.trim_ascii_start().strip_prefix(b":")?),
        };
        Some((name, rest))
    };
    let fields = || {
        let (facility, rest) = field(line)?;
        let (_, rest) = field(rest).filter(|(level, _)| !level.is_empty())?;
        (facility == b"kern").then_some(rest)
    };
    fields().unwrap_or(line)
}

/// A host behind a time, unless the message begins there already, and the head of RFC 5424 behind that.
fn after_host(rest: &[u8], is_before_limit: impl Fn(&[u8]) -> bool) -> (Option<&[u8]>, &[u8]) {
    let (word, behind) = first_word(rest);
    let behind = behind.trim_ascii_start();
    let is_message = word.ends_with(b":") || word.starts_with(b"[") || word.contains(&b'=');
    if is_message || !is_before_limit(behind) {
        return (None, rest);
    }
    (Some(word), structured(behind).filter(|message| is_before_limit(message)).unwrap_or(behind))
}

/// `host kernel:`, `kernel:`, `host program[123]:` or `program[123]:`; the host and the message.
fn after_known_program(rest: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (first, behind) = first_word(rest);
    if is_program(first) {
        return Some((None, behind));
    }
    let (second, message) = first_word(behind.trim_ascii_start());
    let is_host = !first.is_empty() && !first.contains(&b'=');
    (is_host && is_program(second)).then_some((Some(first), message))
}

fn is_program(word: &[u8]) -> bool {
    let is_numbered = || {
        let inside = word.strip_suffix(b"]:")?;
        let open = inside.iter().rposition(|byte| *byte == b'[')?;
        let number = inside.get(open + 1..)?;
        Some(open > 0 && !number.is_empty() && number.iter().all(u8::is_ascii_digit))
    };
    word == b"kernel:" || is_numbered() == Some(true)
}

/// `kernel - - -` of RFC 5424: program, process, message id and structured data.
fn structured(text: &[u8]) -> Option<&[u8]> {
    let (_, mut rest) = first_word(text);
    for _ in ["process", "message id"] {
        let (word, behind) = first_word(rest.trim_ascii_start());
        if word.is_empty() || word != b"-" && !word.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        rest = behind;
    }
    let data = rest.trim_ascii_start();
    if let Some(message) = data.strip_prefix(b"- ") {
        return Some(message.strip_prefix("\u{feff}".as_bytes()).unwrap_or(message));
    }
    let end = data.starts_with(b"[").then(|| memchr::memmem::find(data, b"] "))??;
    data.get(end + 2..)
}

/// `[  123.456789]` and, where the kernel is built so, `[    T1]` or `[    C1]` of its caller.
fn after_uptime<'a>(text: &'a [u8], uptime: &mut Option<Duration>) -> &'a [u8] {
    let text = text.trim_ascii_start();
    match stamp::uptime(text) {
        Some((read, rest)) => {
            *uptime = Some(read);
            stamp::after_caller(rest).trim_ascii_start()
        }
        None => text,
    }
}

/// `message repeated 3 times: [ ...]`.
fn after_repetition<'a>(text: &'a [u8], repeated: &mut u32) -> &'a [u8] {
    let inner = || {
        let rest = text.strip_prefix(b"message repeated ")?;
        let (number, rest) = first_word(rest);
        let times = std::str::from_utf8(number).ok()?.parse().ok()?;
        let inner = rest.strip_prefix(b" times: [")?.trim_ascii_end();
        Some((times, inner.strip_suffix(b"]").unwrap_or(inner)))
    };
    match inner() {
        Some((times, inner)) => {
            *repeated = times;
            inner
        }
        None => text,
    }
}

#[cfg(test)]
mod tests;
