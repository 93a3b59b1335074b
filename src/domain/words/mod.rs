//! Text for people and for machines, whatever it tells: escaped, and how long to wait between two tries.
//! Knows no rule, no packet and no cluster.

pub mod backoff;
pub mod escape;
