//! The loops: the only place that joins adapters and decisions.
//! Parses no text and prints none.

pub mod agent;
pub mod allowlists;
pub mod blocked;
pub mod cluster;
pub mod drops;
pub mod history;
pub mod monitor;
pub mod pod_names;
pub mod reload;
pub mod scan;
mod wake;
pub mod watch;
