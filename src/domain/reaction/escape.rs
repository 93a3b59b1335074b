//! Makes untrusted text printable where nobody knows who will print it.
//! Stricter than the writers of reports: an Event, a log line or a page gets plain ASCII only.

use std::fmt::Write as _;

/// Printable ASCII verbatim; `\n`, `\r`, `\t`, `\xNN` for bytes that are not text and `\x{NNNN}` for characters.
/// Backslashes are doubled only where something is escaped, so that no escape can be forged.
pub fn ascii(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|character| push(&mut out, character));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

fn push(out: &mut String, character: char) {
    match character {
        '\\' => out.push_str("\\\\"),
        ' '..='~' => out.push(character),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ => {
            let _ = write!(out, "\\x{{{:x}}}", u32::from(character));
        }
    }
}

/// The text cut to so many bytes, between two characters, with `...` where it was cut.
pub fn cut(text: &str, most_bytes: usize) -> String {
    if text.len() <= most_bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most_bytes.saturating_sub(3));
    format!("{}...", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_only_printable_ascii() {
        for (given, expected) in [
            (&b"-A INPUT --comment \"a\\b\" -j DROP"[..], "-A INPUT --comment \"a\\b\" -j DROP"),
            (b"a\nb\rc\td", "a\\nb\\rc\\td"),
            (b"\x1b[2J\\", "\\x{1b}[2J\\\\"),
            ("gr\u{fc}n \u{202e}".as_bytes(), "gr\\x{fc}n \\x{202e}"),
            (b"caf\xe9", "caf\\xe9"),
        ] {
            assert_eq!(ascii(given), expected);
        }
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abc...");
        assert_eq!(cut("ab\u{e9}\u{e9}", 5), "ab...");
    }
}
