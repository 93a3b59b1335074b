//! What the program says about itself while it runs: log lines, metrics and a page.
//! Judges nothing, and asks nobody: it is told.

pub mod drops;
mod html;
pub mod http;
pub mod live;
pub mod log;
pub mod metrics;
pub mod page;
