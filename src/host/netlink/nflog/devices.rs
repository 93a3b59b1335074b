//! The names of network devices by their numbers, as they were a moment ago.
//! Watches no changes: a name is asked for again after a while.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use rustix::net::netdevice::index_to_name;

/// How long a name is believed.
const FRESH: Duration = Duration::from_secs(30);
/// Names that are kept; with more devices than this some are asked for more often.
const KEPT: usize = 4096;

/// Names that were asked for.
#[derive(Debug, Default)]
pub(super) struct Devices {
    names: HashMap<u32, (String, SystemTime)>,
}

impl Devices {
    /// Makes sure that the device's name is known; `socket` is any of the device's network namespace.
    ///
    /// A device that is gone is called `if17`, as ip(8) calls it.
    pub fn look_up(&mut self, index: u32, now: SystemTime, socket: &impl AsFd) {
        let is_fresh = |asked: &SystemTime| now.duration_since(*asked).is_ok_and(|age| age < FRESH);
        if self.names.get(&index).is_some_and(|(_, asked)| is_fresh(asked)) {
            return;
        }
        if self.names.len() >= KEPT {
            self.names.clear();
        }
        let name = index_to_name(socket, index).unwrap_or_else(|_| format!("if{index}"));
        self.names.insert(index, (name, now));
    }

    /// The name of a device that was looked up.
    pub fn name(&self, index: u32) -> Option<&str> {
        self.names.get(&index).map(|(name, _)| name.as_str())
    }
}
