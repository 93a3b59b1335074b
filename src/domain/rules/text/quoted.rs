//! Names and free text in native lines, written so that no two look alike and none can pretend to be syntax.
//! Knows no statement.
//!
//! *Source*: the token `STRING` of nft(8), LEXICAL CONVENTIONS.

use super::line::Line;

/// Text in double quotes: `"` and `\` get a backslash, every byte outside printable ASCII becomes `\xNN`.
///
/// One text has one spelling and every spelling stands for one text.
pub fn quote(text: &[u8], line: &mut Line) {
    line.push(b"\"");
    for byte in text {
        match byte {
            b'"' | b'\\' => line.push(&[b'\\', *byte]),
            b' '..=b'~' => line.push(&[*byte]),
            _ => {
                line.push(b"\\x");
                line.hex(&[*byte]);
            }
        }
    }
    line.push(b"\"");
}

/// A table, chain, set or object name: bare if nft(8) takes it so, quoted if not.
pub fn name(name: &[u8], line: &mut Line) {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./\\-".contains(byte);
    match name {
        [first, rest @ ..]
            if (first.is_ascii_alphabetic() || *first == b'_') && rest.iter().all(is_plain) =>
        {
            line.push(name);
        }
        _ => quote(name, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: fn(&[u8], &mut Line), text: &[u8], expected: &str) {
        let mut line = Line::default();
        write(text, &mut line);
        assert_eq!(line.as_bytes(), expected.as_bytes());
    }

    #[test]
    fn text_has_one_spelling() {
        check(quote, b"a b", r#""a b""#);
        check(quote, b"a\"\\\n\xff", r#""a\"\\\x0a\xff""#);
        check(quote, b"", r#""""#);
    }

    #[test]
    fn names_are_bare_where_nft_takes_them_so() {
        check(name, b"KUBE-SVC_1.a/b", "KUBE-SVC_1.a/b");
        check(name, b"1a", r#""1a""#);
        check(name, b"a b", r#""a b""#);
        check(name, b"", r#""""#);
    }
}
