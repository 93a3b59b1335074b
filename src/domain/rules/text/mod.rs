//! Rules as text.
//! Decodes nothing.

pub mod line;
pub mod protocols;
pub mod rule;
