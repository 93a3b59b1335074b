//! What the firewall of a node holds, and how it is written.
//! Judges nothing.

pub mod kernel;
pub mod lines;
#[cfg(test)]
mod samples;
pub mod text;
