//! Looks at the counter of blocked rules with each check.
//! Decides nothing: see [`crate::domain::judging::blocked`].

use std::path::PathBuf;
use std::time::SystemTime;

use crate::domain::judging::blocked::{Blocked, Tally};
use crate::domain::words::error_chain::chain_of;
use crate::host::bpf_map::read_counter;

/// Where the program that blocks rules pins its counter unless told otherwise.
pub const DEFAULT_MAP: &str = "/azure-block-iptables-bpf-map/iptables_block_event_counter";

/// The counter, and what it said before.
#[derive(Debug)]
pub struct Counter {
    path: PathBuf,
    tally: Tally,
    /// The error that was logged last.
    told: Option<String>,
}

impl Counter {
    /// A counter that was not read yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, tally: Tally::default(), told: None }
    }

    /// Reads the counter; an error is logged when it is news.
    pub fn read(&mut self, now: SystemTime) -> Blocked {
        let read = read_counter(&self.path).map_err(|error| chain_of(&error));
        let blocked = self.tally.observe(read, now);
        if blocked.error != self.told {
            match &blocked.error {
                Some(error) => log::warn!("blocked rules are not counted: {error}"),
                None => log::info!("blocked rules are counted again"),
            }
            self.told.clone_from(&blocked.error);
        }
        blocked.clone()
    }
}
