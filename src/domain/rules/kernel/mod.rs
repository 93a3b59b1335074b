//! What the kernel holds, decoded: bytes to values and back.
//! Writes no text.

pub mod layout;
pub mod parts;
