//! Drops: from a logged packet to what the owner of a pod reads.

mod account;
mod cli;
mod cluster;
mod faults;
mod kills;
mod pods;
pub mod program;
mod tailer;
mod watch;
pub(super) mod world;
