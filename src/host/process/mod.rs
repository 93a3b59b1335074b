//! Programs that are run, and processes and cgroups as `/proc` and `/sys` show them.
//! Understands no output.

pub mod author;
pub mod cgroups;
pub mod command;
pub mod guard;
mod kin;
pub mod namespace;
pub mod processor_time;
pub mod procfs;
