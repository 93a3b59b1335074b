//! Who made a transaction, without spending much on it: a flood of them is not looked at one by one.
//! Decides nothing about rules.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::changes::author::Author;
use crate::host::process::author;

/// A process that makes transactions again and again is not looked at more often than this.
const KEPT: Duration = Duration::from_secs(1);
const KEPT_MAX: usize = 16;
/// Processes looked at in a row.
const BURST: u32 = 40;
/// After that, one in this time: a look takes about a third of a millisecond.
const REFILL: Duration = Duration::from_millis(50);

/// Looks at processes, and remembers the last ones.
#[derive(Debug)]
pub(super) struct Attribution {
    is_visible: bool,
    left: u32,
    refilled: Instant,
    recent: VecDeque<(Instant, Arc<Author>)>,
}

impl Attribution {
    pub fn new(now: Instant) -> Self {
        Self {
            is_visible: author::is_in_initial_pid_namespace(),
            left: BURST,
            refilled: now,
            recent: VecDeque::new(),
        }
    }

    /// The process with this number and name; `skipped` is called if there were too many to look at this one.
    pub fn author(&mut self, (pid, name): (u32, &[u8]), now: Instant, skipped: impl FnOnce()) -> Arc<Author> {
        self.recent.retain(|(seen, _)| now.saturating_duration_since(*seen) < KEPT);
        if let Some((_, known)) = self.recent.iter().find(|(_, known)| known.is(pid, name)) {
            return Arc::clone(known);
        }
        if !self.is_visible || pid == 0 {
            return Arc::new(Author::named(pid, name));
        }
        if !self.may_look(now) {
            skipped();
            return Arc::new(Author::named(pid, name));
        }
        let author = Arc::new(author::read_author(pid, name, author::since_boot()));
        if self.recent.len() >= KEPT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((now, Arc::clone(&author)));
        author
    }

    fn may_look(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled).as_nanos() / REFILL.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed >= BURST {
            (self.left, self.refilled) = (BURST, now);
        } else {
            self.left = self.left.saturating_add(passed).min(BURST);
            self.refilled += REFILL * passed;
        }
        let may_look = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may_look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_processes_is_looked_at_at_a_steady_pace() {
        let zero = Instant::now();
        let mut attribution = Attribution::new(zero);
        let mut looks = |from: u64, to: u64| {
            (from..to).filter(|&ms| attribution.may_look(zero + Duration::from_millis(ms))).count()
        };
        assert_eq!(looks(0, 10), 10);
        assert_eq!(looks(10, 1_000), 30 + 19);
        assert_eq!(looks(1_000, 2_000), 20);
        assert_eq!(looks(60_000, 60_040), 40, "all of it is there again after calm");
    }

    #[test]
    fn a_process_is_not_looked_at_twice_in_a_second() {
        let zero = Instant::now();
        let mut attribution = Attribution::new(zero);
        let mut author = |ms: u64, name: &[u8]| {
            attribution.author((std::process::id(), name), zero + Duration::from_millis(ms), || {
                panic!("there is time")
            })
        };
        let first = author(0, b"another name");
        assert!(Arc::ptr_eq(&first, &author(900, b"another name")));
        assert!(!Arc::ptr_eq(&first, &author(900, b"its new name")));
        assert!(!Arc::ptr_eq(&first, &author(1_100, b"another name")));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let zero = Instant::now();
        let mut attribution = Attribution::new(zero);
        for pid in 1..1_000 {
            attribution.author((u32::MAX - pid, b"gone"), zero + Duration::from_millis(pid.into()), || {});
        }
        assert!(attribution.recent.len() <= KEPT_MAX);
    }
}
