//! The kernel's network by netlink: nf_tables read and heard, packets that rules log, routes, names of devices.
//! Decides nothing; writes nothing but routes, and devices of a namespace made for them.

pub mod devices;
pub mod links;
pub mod nflog;
pub mod nfnetlink;
pub mod routes;
mod rtnetlink;
