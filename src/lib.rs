//! To come.

pub mod cli;
pub mod domain;
pub mod host;
