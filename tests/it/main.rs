//! The one integration-test binary: whatever crosses a process, a socket or a file we ship.

mod support;

mod allowlist_dir;
mod agent;
mod cluster;
mod faults;
mod hostile;
mod layers;
mod native;
mod output;
mod profiles;
mod saved;
mod shapes;
