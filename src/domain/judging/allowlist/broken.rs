//! A line of an allowlist that cannot be used, told to a person.
//! Decides nothing.

use std::fmt;

use super::list::{List, Pattern};

/// How much of a pattern is kept to be shown, in characters.
const SHOWN_CHARS: usize = 200;

/// A line that is no usable pattern. `Display` is `FILE:LINE:COLUMN: reason` with everything unprintable escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenPattern {
    /// The list that lacks it; none when every list may lack patterns.
    pub list: Option<List>,
    /// Where its file comes from.
    pub origin: String,
    /// Its line in that file, 1-based.
    pub line: usize,
    /// Where in the line the fault is: 1-based, in characters.
    pub column: usize,
    /// What is wrong. May contain text of the pattern, shortened.
    pub reason: String,
    /// The start of the line, bytes that are not UTF-8 replaced.
    pub pattern: String,
}

impl BrokenPattern {
    pub(super) fn new(
        list: Option<List>,
        (origin, line, column): (&str, usize, usize),
        reason: &str,
        pattern: &str,
    ) -> Self {
        Self {
            list,
            origin: origin.to_owned(),
            line,
            column,
            reason: shortened(reason),
            pattern: shortened(pattern),
        }
    }

    /// One of patterns that are each fine and cannot be compiled together.
    pub(super) fn of_set(pattern: &Pattern) -> Self {
        let reason =
            format!("the patterns of the list {} cannot be compiled together", pattern.list.as_str());
        Self::new(Some(pattern.list), (&pattern.origin, pattern.line, 1), &reason, &pattern.text)
    }
}

impl fmt::Display for BrokenPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list: _, origin, line, column, reason, pattern } = self;
        write!(f, "{}:{line}:{column}: {}", escaped(origin), escaped(reason))?;
        if pattern.is_empty() { Ok(()) } else { write!(f, ": {}", escaped(pattern)) }
    }
}

fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(SHOWN_CHARS).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// Quotes and backslashes stay as they are, or no pattern would be readable.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => escaped.push(c),
            _ => escaped.extend(c.escape_debug()),
        }
    }
    escaped
}
