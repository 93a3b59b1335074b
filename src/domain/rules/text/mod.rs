//! Rules as text.
//! Decodes nothing.

pub mod line;
