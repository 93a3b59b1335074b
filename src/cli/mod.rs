//! The command line: arguments, subcommands and the writers of their output.

pub mod compat;
pub mod output;
