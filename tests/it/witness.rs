//! Rules as iptables 1.8.7 to 1.8.13 write them: what we read of the kernel against what the real tools say of it.
//! Each test works in namespaces of its own; none looks at this machine's rules.
#![allow(clippy::single_range_in_vec_init, reason = "a list of ranges may have one")]

mod exceptions;
mod fields;
mod injective;
mod kernel;
mod list;
mod matrix;
mod mutants;
mod ours;
mod private;
mod reload;
mod revisions;
mod same;
mod sets;
mod state;
mod table;
mod tools;
mod verdict;
mod wire;
