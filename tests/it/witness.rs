//! Rules as iptables 1.8.7 to 1.8.13 write them: what we read of the kernel against what the real tools say of it.
//! Each test works in namespaces of its own; none looks at this machine's rules.
#![allow(clippy::indexing_slicing)] // a panic is a failed test

mod exceptions;
mod fields;
mod injective;
mod kernel;
mod list;
mod matrix;
mod mutants;
mod ours;
mod reload;
mod same;
mod sets;
mod state;
mod table;
mod tools;
#[cfg(any())]
mod verdict;
mod wire;
