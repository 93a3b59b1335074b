//! Programs that are run, and processes as `/proc` shows them.
//! Understands no output.

pub mod author;
pub mod command;
pub mod guard;
mod kin;
pub mod processor_time;
pub mod procfs;
