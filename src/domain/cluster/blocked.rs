//! What blocked rules call for: an Event for each increase.
//! Counts nothing; `judging::blocked` does.

use std::time::SystemTime;

use super::event::{EventReason, NodeEvent};
use crate::domain::judging::blocked::Blocked;
use crate::domain::words::moment::utc;
use crate::domain::words::numbers::counted;

/// Which increases were announced. Each is told once; those that come while one waits to be written come after it.
#[derive(Debug, Default)]
pub(super) struct News {
    told: u64,
    /// When there was nothing to tell for the last time.
    quiet_at: Option<SystemTime>,
    waiting: Option<Waiting>,
}

/// An Event that is not written yet, and how far it tells. It stays as it is: whoever writes it may have to try again, and
/// an answer that was lost must not make two of it.
#[derive(Debug)]
struct Waiting {
    event: NodeEvent,
    count: u64,
    at: Option<SystemTime>,
}

impl News {
    /// The Event that is to be written now.
    pub(super) fn observe(&mut self, blocked: &Blocked) -> Option<NodeEvent> {
        if self.waiting.is_none() {
            if blocked.count > self.told {
                let event = NodeEvent::new(EventReason::BlockedIPTablesRule, self.note(blocked));
                self.waiting = Some(Waiting { event, count: blocked.count, at: blocked.read_at });
            } else if blocked.error.is_none() {
                self.quiet_at = blocked.read_at;
            }
        }
        self.waiting.as_ref().map(|waiting| waiting.event.clone())
    }

    /// Says that the Event was written.
    pub(super) fn written(&mut self) {
        if let Some(Waiting { count, at, .. }) = self.waiting.take() {
            (self.told, self.quiet_at) = (count, at);
        }
    }

    fn note(&self, blocked: &Blocked) -> String {
        let more = blocked.count - self.told;
        let were = if more == 1 { "was" } else { "were" };
        let since =
            self.quiet_at.or(blocked.since).map_or_else(String::new, |at| format!(" since {}", utc(at)));
        format!("{} {were} blocked{since}", counted(more, "rule"))
    }
}
