//! How one kind of call is doing: when to try again, and one log line for each change.
//! Makes no call.

use tokio::time::Instant;

use crate::domain::words::backoff::delay;
use crate::k8s::client::random;
use crate::k8s::failure::{Class, Failure};

/// How one kind of call is doing.
#[derive(Debug)]
pub(in crate::app) struct Health {
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

    /// Whether that is news, and was logged.
    pub fn failed(&mut self, failure: &Failure) -> bool {
        self.failures = self.failures.saturating_add(1);
        let is_news = self.failing.replace(failure.class) != Some(failure.class);
        if is_news {
            let (operation, reason) = (failure.operation.as_str(), failure.class.as_str());
            log::warn!(operation, reason; "{}: {failure}; it is tried again", self.what);
        }
        is_news
    }

    /// Whether that is news, and was logged.
    pub fn worked(&mut self) -> bool {
        let is_news = self.failing.take().is_some();
        if is_news {
            log::info!(failures = self.failures; "{}: works again", self.what);
        }
        self.failures = 0;
        is_news
    }
}

/// When to try again after so many failures in a row.
pub(in crate::app) fn retry_at(failure: &Failure, failures: u32) -> Instant {
    Instant::now() + delay(failure.class.pace(), failures, failure.retry_after, random())
}

/// Notes a failure, and says when to try again.
pub(in crate::app) fn failed(health: &mut Health, failure: &Failure) -> Instant {
    health.failed(failure);
    retry_at(failure, health.failures())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::client::{Operation, Resource, Verb};

    #[test]
    fn only_changes_are_logged() {
        let failure = |class| Failure::new(Operation::new(Verb::Get, Resource::Node), class, "");
        let mut health = Health::new("x");
        assert!(!health.worked());
        assert!(health.failed(&failure(Class::Timeout)));
        assert!(!health.failed(&failure(Class::Timeout)));
        assert!(health.failed(&failure(Class::Forbidden)));
        assert_eq!(health.failures(), 3);
        assert!(health.worked());
        assert!(!health.worked());
        assert!(health.failed(&failure(Class::Forbidden)));
        assert_eq!(health.failures(), 1);
    }
}
