//! What a packet is, whoever tells of it.
//! Knows no log, no rule and no cluster.

pub mod ip_header;
pub mod packet;
