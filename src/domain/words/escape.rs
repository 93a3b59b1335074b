//! Makes untrusted text printable: what it says stays readable, what it does to a terminal is gone.
//! Knows no output format; JSON and XML syntax are their writers' business.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text that is safe to print.
#[derive(Debug, PartialEq, Eq)]
pub struct Printable<'a> {
    /// The text.
    pub text: Cow<'a, str>,
    /// Whether anything was escaped. Only then are backslashes doubled, so that no escape can be forged.
    pub is_escaped: bool,
}

/// A line of untrusted bytes: verbatim where all of it is printable, else with `\n`, `\xNN` for bytes
/// that are not text and `\x{NNNN}` for characters that are not shown.
pub fn line(bytes: &[u8]) -> Printable<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_shown) => Printable { text: text.into(), is_escaped: false },
        _ => Printable { text: escaped(bytes).into(), is_escaped: true },
    }
}

/// As [`line()`], for text whose reader need not know whether it was escaped.
fn text(text: &str) -> Cow<'_, str> {
    line(text.as_bytes()).text
}

/// As [`line()`], but newlines stay: for where every line is known to be untrusted.
pub fn paragraph(paragraph: &str) -> String {
    paragraph.trim_end_matches('\n').split('\n').map(text).collect::<Vec<_>>().join("\n")
}

/// A name inside a sentence of ours: in double quotes unless it is a plain word.
pub fn name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:+@%*~".contains(c);
    if !name.is_empty() && name.chars().all(is_plain) {
        return name.to_owned();
    }
    let mut out = String::from("\"");
    for character in name.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            _ => push(&mut out, character),
        }
    }
    out.push('"');
    out
}

/// A regular expression: escaped so that it still means the same.
///
/// *Source*: <https://github.com/google/re2/wiki/Syntax>, `\x{10FFFF}`.
pub fn pattern(pattern: &str) -> String {
    let mut out = String::new();
    for character in pattern.chars() {
        push(&mut out, character);
    }
    out
}

fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                _ => push(&mut out, character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

fn push(out: &mut String, character: char) {
    match character {
        _ if is_shown(character) => out.push(character),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ => {
            let _ = write!(out, "\\x{{{:x}}}", u32::from(character));
        }
    }
}

/// Printable ASCII, and letters of scripts in which each stands for itself, from left to right.
///
/// A list of what is harmless, not of what is harmful: controls, C1 controls, bidi controls, zero-width
/// characters, odd spaces and marks that draw on their neighbours are all outside it. So are letters that run
/// from right to left: they reorder the digits and signs around them.
///
/// *Source*: Unicode 16, `Blocks.txt`: Latin, Greek, Cyrillic, Kana, Han and Hangul syllables.
fn is_shown(character: char) -> bool {
    let is_of_shown_script = matches!(u32::from(character),
        0x00c0..=0x024f | 0x0370..=0x0482 | 0x048a..=0x052f | 0x1e00..=0x1fff
        | 0x3041..=0x3096 | 0x30a1..=0x30fa | 0x4e00..=0x9fff | 0xac00..=0xd7a3);
    matches!(character, ' '..='~') || is_of_shown_script && character.is_alphabetic()
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str, is_escaped: bool) {
        assert_eq!(line(bytes), Printable { text: expected.into(), is_escaped }, "{bytes:?}");
    }

    #[test]
    fn keeps_readable_text_verbatim() {
        check(
            br#"-A INPUT -m comment --comment "a\"b \\" -j DROP"#,
            r#"-A INPUT -m comment --comment "a\"b \\" -j DROP"#,
            false,
        );
        check("grün été 漢字 Ж カナ 한글 ω".as_bytes(), "grün été 漢字 Ж カナ 한글 ω", false);
        check(b"", "", false);
    }

    #[test]
    fn escapes_what_a_terminal_obeys() {
        check(b"a\x1b[2Jb", r"a\x{1b}[2Jb", true);
        check(b"a\nb\rc\td\0\x7f", r"a\nb\rc\td\x{0}\x{7f}", true);
        check("\u{9b}31m".as_bytes(), r"\x{9b}31m", true);
    }

    #[test]
    fn escapes_what_hides_or_reorders() {
        for hidden in [
            '\u{ad}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{202e}',
            '\u{2066}',
            '\u{2028}',
            '\u{feff}',
            '\u{61c}',
            '\u{a0}',
            '\u{2007}',
            '\u{3000}',
            '\u{2800}',
            '\u{301}',
            '\u{345}',
            '\u{fe0f}',
            '\u{e0041}',
            '\u{3164}',
            '\u{5d0}',
            '\u{627}',
            '\u{e31}',
            '\u{483}',
            '\u{d7}',
            '\u{663}',
            '\u{e000}',
            '\u{ffff}',
            '\u{fff9}',
        ] {
            let expected = format!("x\\x{{{:x}}}", u32::from(hidden));
            check(format!("x{hidden}").as_bytes(), &expected, true);
        }
    }

    #[test]
    fn shows_bytes_that_are_no_text() {
        check(b"caf\xe9 \xff\xfe", r"caf\xe9 \xff\xfe", true);
    }

    #[test]
    fn an_escape_cannot_be_forged() {
        check(br"\x{1b}", r"\x{1b}", false);
        check(b"\\x{1b}\x1b", r"\\x{1b}\x{1b}", true);
    }

    #[test]
    fn a_paragraph_keeps_its_lines() {
        assert_eq!(paragraph("a\r\nb\x1b\n\nc\n"), "a\\r\nb\\x{1b}\n\nc");
    }

    #[test]
    fn names_are_quoted_unless_they_are_words() {
        for (given, expected) in [
            ("KUBE-SVC-ABC_1", "KUBE-SVC-ABC_1"),
            ("", "\"\""),
            ("INPUT, rule 3", "\"INPUT, rule 3\""),
            ("a\"b\\c\nd", r#""a\"b\\c\nd""#),
            ("a/b", "\"a/b\""),
        ] {
            assert_eq!(name(given), expected);
        }
    }

    #[test]
    fn escaped_patterns_mean_the_same() {
        let original = "^a\u{202e}\tb\\.c$";
        let shown = pattern(original);
        assert_eq!(shown, r"^a\x{202e}\tb\.c$");
        let regex = regex::Regex::new(&shown).unwrap();
        assert!(regex.is_match("a\u{202e}\tb.c"));
    }
}
