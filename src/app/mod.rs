//! The loops: the only place that joins adapters and decisions.
//! Parses no text and prints none.

pub mod agent;
mod api_health;
pub mod checks;
pub mod cluster;
pub mod drops;
pub mod ending;
pub mod peers;
pub mod service;
