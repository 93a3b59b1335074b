//! Why a pattern is refused, and the limits that are stricter than Go's.
//! Reads no pattern.

/// The longest pattern that is read, in characters.
pub const MAX_PATTERN_CHARS: usize = 8192;
/// How deep groups and repeats may nest.
pub const MAX_DEPTH: u32 = 100;

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
