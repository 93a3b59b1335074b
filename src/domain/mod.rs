//! What is decided: pure functions from text and values to values.
//! Nothing here opens a file, asks for the time, logs or waits.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod allowlist;
pub mod audit;
pub mod changes;
pub mod drops;
pub mod go_regex;
pub mod profiles;
pub mod reaction;
pub mod report;
pub mod rules;
pub mod typed_rule;
pub mod why;
pub mod wording;
pub mod words;
