//! What is decided: pure functions from text and values to values.
//! Nothing here opens a file, asks for the time, logs or waits.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod changes;
pub mod cluster;
pub mod drops;
pub mod judging;
pub mod packets;
pub mod peers;
pub mod rules;
pub mod verdict;
pub mod words;
