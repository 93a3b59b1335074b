//! What the kernel holds, decoded: bytes to values and back.
//! Writes no text.

pub mod expressions;
pub mod head;
pub mod layout;
pub mod legacy;
pub mod names;
pub mod parts;
pub mod rule;

use std::collections::BTreeMap;

/// Names of ipsets by their index in the kernel.
pub type Ipsets = BTreeMap<u16, Vec<u8>>;
