//! The text of iptables-nft-save against the kernel's rules: what the shape check trusts must be right.
//! Each test works in namespaces of its own; none looks at this machine's rules.
#![allow(clippy::indexing_slicing)] // a panic is a failed test

mod entries;
mod fuzz;
mod kernel;
mod listed;
mod native;
mod places;
mod wire;
mod xt;
