//! The one integration-test binary: whatever crosses a process, a socket or a file we ship.

mod support;

mod allowlist_dir;
mod hostile;
mod native;
mod output;
mod profiles;
mod shapes;
