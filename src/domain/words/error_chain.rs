//! An error with its causes, in one line.
//! Logs nothing.

use std::error::Error;

/// An error with everything that led to it, in one line; a cause that an outer error already tells is told once.
pub fn chain_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
