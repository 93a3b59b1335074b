//! How groups are read.
//! Takes none.

use std::time::Duration;

/// How the kernel is to hand packets over.
#[derive(Clone, Copy, Debug)]
pub struct NflogOptions {
    /// Bytes of each packet that are copied; enough for the headers.
    pub copy_bytes: u32,
    /// The kernel collects this many packets ...
    pub queue: u32,
    /// ... or as many as come within this time, in steps of 10 ms, before it hands them over.
    pub delay: Duration,
    /// What the socket can hold, by the kernel's reckoning.
    pub receive_bytes: usize,
}

impl Default for NflogOptions {
    fn default() -> Self {
        Self { copy_bytes: 128, queue: 64, delay: Duration::from_millis(100), receive_bytes: 8 << 20 }
    }
}
