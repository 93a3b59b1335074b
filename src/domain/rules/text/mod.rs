//! Rules as text.
//! Decodes nothing.
//!
//! A line that allowlists, the journal or people know is written otherwise only with another [`VERSION`], and the change
//! stands in `docs/migrating.md`.

pub mod arp;
pub mod expectation;
pub mod helpers;
pub mod hook;
pub mod line;
pub mod native;
pub mod protocols;
pub mod rule;
pub mod word;

/// The version of the text: higher by one for each release that writes a line of a rule otherwise. Version 1 was the text
/// of iptables-save and nft, version 2 that of nft for native rules alone.
pub const VERSION: u32 = 3;
