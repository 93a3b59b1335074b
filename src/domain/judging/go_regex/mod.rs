//! Patterns in the syntax of Go's `regexp` (RE2), read with Go's meaning and handed to Rust's engine as syntax trees.
//! Does not match anything itself, and never lets Rust's own pattern parser see a pattern: the two syntaxes differ silently.
//!
//! Go 1.22 is the reference (`(?<name>…)` is accepted). Two limits are stricter than Go's, so that no pattern is
//! expensive: see [`MAX_PATTERN_CHARS`] and [`MAX_DEPTH`].
//!
//! *Source*: <https://pkg.go.dev/regexp/syntax> ("Syntax"), <https://github.com/google/re2/wiki/Syntax>; what these
//! leave open was found by running Go (`tests/data/go_regex.tsv`).

mod class;
mod escapes;
mod expr;
mod parser;
#[cfg(test)]
mod tests;

use regex_syntax::hir::Hir;

/// The longest pattern that is read, in characters.
pub const MAX_PATTERN_CHARS: usize = 8192;

/// How deep groups and repeats may nest.
pub const MAX_DEPTH: u32 = 100;

/// One pattern as two syntax trees: what it means for any text, and what is left of it where the text is ASCII.
///
/// Neither tree holds captures, and every repeat is greedy: only whether a text matches can be asked.
#[derive(Clone, Debug)]
pub struct GoRegex {
    /// For UTF-8 text; an engine may search it byte by byte. Go reads each byte that is not part of UTF-8 as U+FFFD: decode with [`decode_as_go`] first.
    pub unicode: Hir,
    /// For text that is ASCII: the same answers, a small fraction of the states.
    pub ascii: Hir,
}

impl GoRegex {
    /// Reads one pattern.
    ///
    /// # Errors
    /// When Go refuses the pattern, or it passes a limit of this module.
    pub fn parse(pattern: &str) -> Result<Self, SyntaxError> {
        parser::parse(pattern)
    }
}

/// Why a pattern is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {kind}")]
pub struct SyntaxError {
    /// Where the refused part starts: 1-based, in characters.
    pub column: usize,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// The ways a pattern can be wrong. The text in them comes from the pattern: escape it when shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ErrorKind {
    #[error("`{0}` has nothing to repeat")]
    NothingToRepeat(String),
    #[error("`{0}` repeats a repeat; group the first one if that is meant")]
    RepeatedRepeat(String),
    #[error("`{0}` repeats more than 1000 times, or its bounds are reversed")]
    RepeatSize(String),
    #[error("this group is not closed with `)`")]
    UnclosedGroup,
    #[error("this `)` closes no group")]
    UnopenedGroup,
    #[error("this `[` is not closed with `]`")]
    UnclosedClass,
    #[error("`{0}` is not a range of characters")]
    CharRange(String),
    #[error("no character class is named `{0}`")]
    UnknownClass(String),
    #[error("`{0}` is not a group of Go's syntax")]
    UnknownGroup(String),
    #[error("`{0}` is not a valid name for a group")]
    GroupName(String),
    #[error("`{0}` is not an escape of Go's syntax")]
    UnknownEscape(String),
    #[error("nothing follows this `\\`")]
    TrailingBackslash,
    #[error("groups and repeats nest deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("the pattern is longer than {MAX_PATTERN_CHARS} characters")]
    TooLong,
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
