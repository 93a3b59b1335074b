//! This node's addresses, and the names that others have in the DNS.
//! Decides nothing.

pub mod addresses;
pub mod reverse_dns;
