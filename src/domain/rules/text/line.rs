//! One line of iptables-save text while it is written: words, quoted strings, negations.
//! Knows no option.
//!
//! *Source*: `xtables_save_string` in `libxtables/xtables.c` of iptables 1.8.9; iptables-restore(8).

use std::fmt::{self, Display, Write};

/// A line that grows word by word. Every word is preceded by a blank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    bytes: Vec<u8>,
}

impl Line {
    /// What is written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes back what was written behind this many bytes.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Writes bytes as they are, without a blank before them. They are text of our own or were checked.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// ` WORD`, of our own making: an option's name, a number, an address.
    pub fn word(&mut self, word: impl Display) {
        // writing to memory does not fail
        let _ = write!(self, " {word}");
    }

    /// Replaces its last word, which is an extension's name, with an alias of the extension. None if it is another word.
    pub fn rename(&mut self, name: &str, alias: &str) -> Option<()> {
        let kept = self.bytes.strip_suffix(name.as_bytes())?.len();
        self.bytes.truncate(kept);
        self.push(alias.as_bytes());
        Some(())
    }

    /// ` --NAME` or ` ! --NAME`.
    pub fn option(&mut self, is_negated: bool, name: &str) {
        self.push(if is_negated { b" ! " } else { b" " });
        self.push(name.as_bytes());
    }

    /// A string as iptables-save quotes it. None if it holds a control byte, which no line may show, or is not UTF-8, which
    /// no pattern can name.
    pub fn string(&mut self, text: &[u8]) -> Option<()> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        // to look at every byte is faster than to stop at the first
        let (is_control, all) =
            text.iter().fold((false, 0), |(found, all), byte| (found | byte.is_ascii_control(), all | byte));
        if is_control || (all >= 0x80 && std::str::from_utf8(text).is_err()) {
            return None;
        }
        self.push(b" ");
        if !text.is_empty() && text.iter().all(is_plain) {
            self.push(text);
            return Some(());
        }
        self.push(b"\"");
        let mut written = 0;
        for at in memchr::memchr3_iter(b'"', b'\\', b'\'', text) {
            self.push(text.get(written..at)?);
            self.push(b"\\");
            written = at;
        }
        self.push(text.get(written..)?);
        self.push(b"\"");
        Some(())
    }

    /// A name that iptables-save writes without quotes. None unless it reads as one word that nothing else could be.
    pub fn name(&mut self, name: &[u8]) -> Option<()> {
        let is_clean = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
        if matches!(name.first(), None | Some(b'-' | b'!')) || !name.iter().all(is_clean) {
            return None;
        }
        self.push(b" ");
        self.push(name);
        Some(())
    }

    /// Bytes as lower-case hexadecimal digits, without a blank before them.
    pub fn hex(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
        self.bytes.reserve(2 * bytes.len());
        for byte in bytes {
            self.push(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
