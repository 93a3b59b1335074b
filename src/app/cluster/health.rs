//! How one kind of call is doing: when to try again, and one log line for each change.
//! Makes no call.

use std::hash::{BuildHasher, Hasher, RandomState};

use tokio::time::Instant;

use crate::domain::backoff::delay;
use crate::k8s::failure::{Class, Failure};

/// How one kind of call is doing.
#[derive(Debug)]
pub(super) struct Health {
    what: String,
    failing: Option<Class>,
    failures: u32,
}

impl Health {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), failing: None, failures: 0 }
    }

    /// Failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// What is being done, for messages.
    pub fn what(&self) -> &str {
        &self.what
    }

    pub fn failed(&mut self, failure: &Failure) {
        self.failures = self.failures.saturating_add(1);
        if self.failing != Some(failure.class) {
            let (operation, reason) = (failure.operation.as_str(), failure.class.as_str());
            log::warn!(operation, reason; "{}: {failure}; it is tried again", self.what);
        }
        self.failing = Some(failure.class);
    }

    pub fn worked(&mut self) {
        if self.failing.take().is_some() {
            log::info!(failures = self.failures; "{}: works again", self.what);
        }
        self.failures = 0;
    }
}

/// When to try again after so many failures in a row.
pub(super) fn retry_at(failure: &Failure, failures: u32) -> Instant {
    Instant::now() + delay(failure.class.pace(), failures, failure.retry_after, random())
}

/// A number that differs each time and on each node; nothing secret depends on it.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
