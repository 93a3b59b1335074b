//! The one integration-test binary: whatever crosses a process, a socket or a file we ship.
#![allow(clippy::indexing_slicing, clippy::print_stdout, clippy::unwrap_used, reason = "a test may panic")]

mod support;

mod agent;
mod allowlist_dir;
mod cluster;
mod drops_kernel;
mod faults;
mod hostile;
mod http;
mod ipset;
mod layers;
mod native;
mod output;
mod profiles;
mod samples;
mod saved;
mod shapes;
