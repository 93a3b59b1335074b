//! Text that is too long, cut between two characters, with `...` where it was cut.
//! Escapes nothing.

/// The first so many characters of the text.
pub fn to_characters(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The text in at most so many bytes, those of `...` included.
pub fn to_bytes(text: &str, most_bytes: usize) -> String {
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
    fn text_is_cut_between_characters() {
        assert_eq!(to_bytes("abcdef", 6), "abcdef");
        assert_eq!(to_bytes("abcdefg", 6), "abc...");
        assert_eq!(to_bytes("ab\u{e9}\u{e9}\u{e9}", 6), "ab...");
    }
}
