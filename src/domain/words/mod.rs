//! Text for people, whatever it tells: escaped, cut, numbers and moments in words; and how long to wait between two tries.
//! Knows no rule, no packet and no cluster.

pub mod backoff;
pub mod cut;
pub mod error_chain;
pub mod escape;
pub mod json;
pub mod moment;
pub mod numbers;
