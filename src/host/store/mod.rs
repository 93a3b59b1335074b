//! What is kept on disk from one process to the next.
//! Decides nothing.

pub mod history;
