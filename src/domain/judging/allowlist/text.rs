//! A line as the programs of patterns want it.
//! Judges none.

use std::borrow::Cow;

use crate::domain::judging::go_regex;

/// A line as the programs want it.
#[derive(Debug)]
pub(super) enum Text<'a> {
    Ascii(&'a [u8]),
    Unicode { line: &'a [u8], decoded: Cow<'a, str> },
}

impl<'a> Text<'a> {
    pub(super) fn of(line: &'a [u8]) -> Self {
        if line.is_ascii() {
            return Self::Ascii(line);
        }
        let decoded = match std::str::from_utf8(line) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(go_regex::decode_as_go(line)),
        };
        Self::Unicode { line, decoded }
    }

    pub(super) fn line(&self) -> &'a [u8] {
        match self {
            Self::Ascii(line) | Self::Unicode { line, .. } => line,
        }
    }
}

/// Without an early end, so that it compiles to a few wide instructions.
pub(super) fn has_control_byte(line: &[u8]) -> bool {
    line.iter().fold(false, |found, &byte| found | (byte < 0x20) | (byte == 0x7f))
}

/// `"…"` becomes `""`; inside, a backslash keeps the next byte from ending the string. What is open stays open.
pub(super) fn without_quoted(line: &[u8]) -> Cow<'_, [u8]> {
    if !line.contains(&b'"') {
        return Cow::Borrowed(line);
    }
    let mut masked = Vec::with_capacity(line.len());
    let mut bytes = line.iter();
    let mut is_quoted = false;
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => drop(bytes.next()),
            _ => {}
        }
        if !is_quoted || byte == b'"' {
            masked.push(byte);
        }
    }
    Cow::Owned(masked)
}
