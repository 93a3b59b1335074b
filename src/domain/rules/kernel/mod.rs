//! What the kernel holds of rules, decoded: bytes to values and back.
//! Writes no text, and reads no socket.

pub mod attributes;
mod chains;
pub mod expressions;
pub mod head;
pub mod layout;
pub mod legacy;
pub mod names;
pub mod parts;
pub mod rule;

use std::collections::BTreeMap;

pub use chains::{Chain, ChainFault, ChainShape, Hook, Policy, Table, TableFault, check_chain, check_table};
pub use names::is_chain_name;

/// Names of ipsets by their index in the kernel.
pub type Ipsets = BTreeMap<u16, Vec<u8>>;
