//! Who has which address and who is behind a process: asked of the API server, kept for all who ask.
//! Knows neither checks nor drops.

pub mod directory;
pub mod pod_names;
