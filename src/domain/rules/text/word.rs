//! How names, values and free text of native lines are written so that no two of them look alike and none can pretend to be
//! syntax. Knows no statement.

use std::fmt::Write;

/// Text in double quotes: `"` and `\` get a backslash, every byte outside printable ASCII becomes `\xNN`.
///
/// One text has one spelling and every spelling stands for one text.
pub fn quote(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            0x20..=0x7e => out.push(char::from(byte)),
            _ => write!(out, "\\x{byte:02x}").expect("writing to a String cannot fail"),
        }
    }
    out.push('"');
    out
}

/// A table, chain, set or object name: bare if nft(8) takes it so, quoted if not.
///
/// *Source*: the token `STRING` of nft(8), LEXICAL CONVENTIONS.
pub fn name(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./\\-".contains(byte);
    let begins = text.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_');
    match std::str::from_utf8(text) {
        Ok(bare) if begins && text.iter().all(is_plain) => bare.to_owned(),
        _ => quote(text),
    }
}

/// A constant of a type that nft prints as a word: bare if it cannot be read as something else, quoted if it could.
///
/// Quoted are numbers (a JSON number is bare), `exists` and `missing` (a Boolean is bare), what could be a range, and
/// whatever holds a character with a meaning of its own: blanks, `/`, `,`, `*`, `@`, quotes, brackets.
pub fn word(text: &str) -> String {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let could_be_range = text.contains('-') && is_dotted(text);
    if is_clean(text) && !is_number && !could_be_range && text != "exists" && text != "missing" {
        text.to_owned()
    } else {
        quote(text)
    }
}

/// The same for one end of a range, which is bare only where the whole cannot be read as one word.
pub fn range_end(text: &str) -> String {
    if is_clean(text) && is_dotted(text) && !text.contains('-') { text.to_owned() } else { quote(text) }
}

fn is_clean(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}

fn is_dotted(text: &str) -> bool {
    text.contains(['.', ':'])
}

/// Whether this is a keyword that can stand bare: lower-case letters, digits, `-` and `_`, beginning with a letter.
pub fn is_keyword(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
}

/// Sorts elements the way a reader expects: 22 before 443.
pub fn sort(texts: &mut [String]) {
    texts.sort_by_cached_key(|text| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number = text.get(..digits).and_then(|digits| digits.parse::<u64>().ok());
        (number.is_none(), number, text.clone())
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_be_read_as_something_else_is_quoted() {
        for (text, expected) in [
            ("tcp", "tcp"),
            ("1.2.3.4", "1.2.3.4"),
            ("fe80::1", "fe80::1"),
            ("port-unreachable", "port-unreachable"),
            ("22", "\"22\""),
            ("-1", "\"-1\""),
            ("exists", "\"exists\""),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("10.0.0.0/8", "\"10.0.0.0/8\""),
            ("@set", "\"@set\""),
            ("*", "\"*\""),
            ("a,b", "\"a,b\""),
            ("}", "\"}\""),
        ] {
            assert_eq!(word(text), expected);
        }
        assert_eq!((range_end("1.2.3.4"), range_end("cs1")), ("1.2.3.4".to_owned(), "\"cs1\"".to_owned()));
        assert_eq!(
            (word("1.2.3.4-1.2.3.9"), word("a-b")),
            ("\"1.2.3.4-1.2.3.9\"".to_owned(), "a-b".to_owned())
        );
    }

    #[test]
    fn names_are_bare_only_as_nft_takes_them() {
        assert_eq!(name("KUBE-SVC/a.b_c"), "KUBE-SVC/a.b_c");
        assert_eq!(name("1st"), "\"1st\"");
        assert_eq!(name("a b"), "\"a b\"");
        assert_eq!(name(""), "\"\"");
        assert_eq!(name("a\nb\u{e9}"), "\"a\\x0ab\\xc3\\xa9\"");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn quoting_keeps_texts_apart(a in "[\\\\\"xa0é\n]{0,6}", b in "[\\\\\"xa0é\n]{0,6}") {
            prop_assert_eq!(a == b, quote(&a) == quote(&b));
            prop_assert_eq!(a == b, name(&a) == name(&b));
            prop_assert_eq!(a == b, word(&a) == word(&b));
            prop_assert!(quote(&a).bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        }
    }
}
