//! What the program says about itself while it runs.

pub mod log;
