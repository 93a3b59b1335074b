//! Patterns in the syntax of Go's `regexp` (RE2), read with Go's meaning and handed to Rust's engine as syntax trees.
//! Does not match anything itself, and never lets Rust's own pattern parser see a pattern: the two syntaxes differ silently.
//!
//! Go 1.22 is the reference (`(?<name>…)` is accepted). Two limits are stricter than Go's, so that no pattern is
//! expensive: see [`MAX_PATTERN_CHARS`] and [`MAX_DEPTH`].
//!
//! *Source*: <https://pkg.go.dev/regexp/syntax> ("Syntax"), <https://github.com/google/re2/wiki/Syntax>; what these
//! leave open was found by running Go (`tests/data/go_regex.tsv`).

mod class;
mod error;
mod escapes;
mod expr;
mod parser;
#[cfg(test)]
mod tests;
mod tree;

pub use error::{ErrorKind, MAX_DEPTH, MAX_PATTERN_CHARS, SyntaxError};
pub use tree::GoRegex;

impl GoRegex {
    /// Reads one pattern.
    ///
    /// # Errors
    /// When Go refuses the pattern, or it passes a limit of this module.
    pub fn parse(pattern: &str) -> Result<Self, SyntaxError> {
        parser::parse(pattern)
    }
}

/// The text that Go's `regexp` sees in these bytes: each byte that is not part of UTF-8 is one U+FFFD.
///
/// *Source*: <https://pkg.go.dev/regexp>, "All characters are UTF-8-encoded code points. Following
/// utf8.DecodeRune, each byte of an invalid UTF-8 sequence is treated as if it encoded utf8.RuneError".
pub fn decode_as_go(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}
