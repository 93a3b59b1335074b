//! The words of a judged rule, iptables' or native, with quotes undone; and what the rule does with a packet.
//! Trusts that the line is one rule: that was judged elsewhere.

use std::borrow::Cow;

/// A word; `is_quoted` if it stood in double quotes and is thus nobody's syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub text: Cow<'a, [u8]>,
    pub is_quoted: bool,
}

impl Word<'_> {
    /// Whether this is that word of the language.
    pub fn is(&self, text: &str) -> bool {
        !self.is_quoted && *self.text == *text.as_bytes()
    }

    /// Whether it is one of them.
    pub fn is_any(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.is(text))
    }

    /// As text, if it is.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.text).ok()
    }
}

/// Options of iptables whose value is free text, which is printed bare if it looks harmless: `--comment -j` is possible.
const FREE_TEXT: [&str; 5] = ["--comment", "--log-prefix", "--nflog-prefix", "--string", "--hex-string"];

/// The words of a line.
///
/// *Source*: `xtables_save_string` of iptables 1.8.9 escapes with a backslash; canonical native lines write `\xNN` too.
pub(super) fn words(line: &[u8]) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        let (mut word, end) = match rest {
            [] => return words,
            [b'"', quoted @ ..] => quoted_word(quoted),
            _ => {
                let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
                (Word { text: Cow::Borrowed(rest.get(..end).unwrap_or(rest)), is_quoted: false }, end)
            }
        };
        word.is_quoted |= words.last().is_some_and(|before: &Word<'_>| before.is_any(&FREE_TEXT));
        words.push(word);
        rest = rest.get(end..).unwrap_or_default();
    }
}

/// The word behind an opening quote, and its length with both quotes.
fn quoted_word(quoted: &[u8]) -> (Word<'_>, usize) {
    let (mut text, mut at) = (Vec::new(), 0);
    loop {
        let rest = quoted.get(at..).unwrap_or_default();
        let (byte, length) = match rest {
            [] | [b'"', ..] => break,
            [b'\\', b'x', high, low, ..] if let Some(byte) = hex(*high, *low) => (byte, 4),
            [b'\\', byte, ..] => (*byte, 2),
            [byte, ..] => (*byte, 1),
        };
        text.push(byte);
        at += length;
    }
    (Word { text: Cow::Owned(text), is_quoted: true }, at + 2)
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &[&str]) {
        let shown: Vec<_> = words(line.as_bytes())
            .iter()
            .map(|word| {
                let text = String::from_utf8_lossy(&word.text);
                if word.is_quoted { format!("<{text}>") } else { text.into_owned() }
            })
            .collect();
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn splits_at_blanks_and_undoes_quotes() {
        check("-A X -j DROP", &["-A", "X", "-j", "DROP"]);
        check(r#"--log-prefix "a \"b\" \\ " -j"#, &["--log-prefix", "<a \"b\" \\ >", "-j"]);
        check(r#"log prefix "\x41\xzz" drop"#, &["log", "prefix", "<Axzz>", "drop"]);
        check("--comment -j -j DROP", &["--comment", "<-j>", "-j", "DROP"]);
        check("", &[]);
        check("  a  ", &["a"]);
    }

    #[test]
    fn an_open_quote_ends_with_the_line() {
        check("a \"b c", &["a", "<b c>"]);
        check("a \"", &["a", "<>"]);
        check("a \"b\\", &["a", "<b\\>"]);
    }
}
