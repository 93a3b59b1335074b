//! Rules as text.
//! Decodes nothing.

pub mod arp;
pub mod line;
pub mod protocols;
pub mod quoted;
pub mod rule;
