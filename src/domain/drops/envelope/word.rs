//! Words of a line.
//! Knows no format.

/// The first word and what follows it, its spaces included.
pub(super) fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, b""))
}
