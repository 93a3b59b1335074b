//! The one integration-test binary: whatever crosses a process, a socket or a file we ship.
#![allow(clippy::indexing_slicing, clippy::print_stdout, clippy::unwrap_used, reason = "a test may panic")]

mod support;

mod agent;
mod allowlist_dir;
mod broken_tables;
mod cluster;
mod compare;
mod counter;
mod declared;
mod drops;
mod drops_file;
mod drops_journal;
mod drops_kernel;
mod drops_parse;
mod expectations;
mod faults;
mod golden;
mod history;
mod hooks;
mod hostile;
mod http;
mod incremental;
mod ipset;
mod layers;
mod live;
mod native;
mod output;
mod owners;
mod profiles;
mod readme;
mod reload;
mod samples;
mod saved;
mod services;
mod tools;
mod watcher;
mod why;
mod witness;
