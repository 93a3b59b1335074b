//! One record of /dev/kmsg: who wrote it, its number, its time and its text.
//! Reads no device, and does not know what a record is about.
//!
//! ```text
//! 4,1284,5140900,-;drop: IN=eth0 OUT= tab\x09
//!  SUBSYSTEM=net
//! ```
//! Priority (facility and level), sequence number, microseconds since boot, flags and whatever newer kernels add; behind
//! the `;` the text, and below it, each behind a blank, what drivers attach. Bytes outside printable ASCII, and the
//! backslash, are `\xNN`.
//!
//! *Source*: `Documentation/ABI/testing/dev-kmsg`; `info_print_ext_header` and `msg_add_ext_text` in
//! `kernel/printk/printk.c`.

use std::time::Duration;

/// A record, borrowed from the read that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    priority: u32,
    /// Its number: one more than that of the record before.
    pub sequence: u64,
    /// When it was written, by a clock that began at boot.
    pub since_boot: Duration,
    /// The text as it stands, escapes and all.
    text: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record in these bytes; none if they do not follow the format.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(find(b';', bytes)?)?;
        let mut fields = head.split(|&byte| byte == b',');
        let priority = u32::try_from(number(fields.next()?)?).ok()?;
        let sequence = number(fields.next()?)?;
        let since_boot = Duration::from_micros(number(fields.next()?)?);
        let text = rest.get(1..)?;
        let end = find(b'\n', text).unwrap_or(text.len());
        Some(Self { priority, sequence, since_boot, text: text.get(..end)? })
    }

    /// Whether the kernel itself wrote it. User space cannot: what it writes has facility 1 or above.
    pub const fn is_of_kernel(&self) -> bool {
        self.priority >> 3 == 0
    }

    /// Replaces `line` by the text without escapes.
    pub fn text(&self, line: &mut Vec<u8>) {
        line.clear();
        let mut rest = self.text;
        while let Some(at) = find(b'\\', rest) {
            let (plain, escape) = rest.split_at(at);
            line.extend_from_slice(plain);
            let (byte, length) = unescaped(escape).map_or((b'\\', 1), |byte| (byte, 4));
            line.push(byte);
            rest = escape.get(length..).unwrap_or_default();
        }
        line.extend_from_slice(rest);
    }
}

fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&other| other == byte)
}

fn number(digits: &[u8]) -> Option<u64> {
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The byte that the `\xNN` at the front stands for.
fn unescaped(escape: &[u8]) -> Option<u8> {
    let digits = escape.strip_prefix(b"\\x")?.get(..2)?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let [high, low] = *digits else { return None };
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut line = b"left over".to_vec();
        Record::parse(bytes)?.text(&mut line);
        Some(line)
    }

    #[test]
    fn reads_head_and_text() {
        let record = Record::parse(b"4,1284,5140900,-;drop: IN=a; OUT=\n SUBSYSTEM=net\n").expect("a record");
        assert_eq!((record.priority, record.sequence), (4, 1284));
        assert_eq!(record.since_boot, Duration::from_micros(5_140_900));
        assert_eq!(record.text, b"drop: IN=a; OUT=");
        assert_eq!(text(b"6,0,0,c,caller=T1,new;x"), Some(b"x".to_vec()), "fields that newer kernels add");
    }

    #[test]
    fn only_facility_0_is_the_kernel() {
        for (bytes, expected) in [
            (&b"0,1,2,-;x"[..], true),
            (b"7,1,2,-;x", true),
            (b"8,1,2,-;x", false),
            (b"12,1,2,-;x", false),
            (b"4294967295,1,2,-;x", false),
        ] {
            assert_eq!(Record::parse(bytes).map(|record| record.is_of_kernel()), Some(expected), "{bytes:?}");
        }
    }

    #[test]
    fn undoes_escapes() {
        assert_eq!(text(br"4,1,2,-;a\x5cx41\x0ab\xC3\xa9"), Some(b"a\\x41\nb\xc3\xa9".to_vec()));
        for kept in [&br"\"[..], br"\x", br"\x4", br"\xg1", br"\n", b"\\\\"] {
            assert_eq!(text(&[b"4,1,2,-;", kept].concat()), Some(kept.to_vec()), "{kept:?}");
        }
        assert_eq!(text(b"4,1,2,-;\n KEY=x\n"), Some(Vec::new()));
    }

    #[test]
    fn refuses_what_is_no_record() {
        for bytes in [&b""[..], b";", b"4,1,2", b"4,1;x", b"a,1,2;x", b"4,-1,2;x", b"4,+1,2,-;x", b"4,1,;x"] {
            assert_eq!(Record::parse(bytes), None, "{bytes:?}");
        }
        assert_eq!(Record::parse(b"4,99999999999999999999,2,-;x"), None);
    }
}
