//! The kernel's network by netlink: nf_tables read and heard, packets that rules log, routes.
//! Decides nothing; writes nothing but routes.

pub mod nflog;
pub mod nfnetlink;
pub mod routes;
