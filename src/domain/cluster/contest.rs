//! Whether somebody else fights over our label, and how soon it may be restored all the same.
//! Knows no label and no clock: restores and the time are the caller's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many restores within [`WINDOW`] are put up with; one more is a fight.
pub const PATIENCE: usize = 10;
/// Restores are counted within this time.
pub const WINDOW: Duration = Duration::from_secs(60);
/// A fight is over when the label was left alone for so long.
pub const CALM: Duration = Duration::from_secs(60);
/// The shortest and the longest pause between two restores in a fight.
const PAUSE: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(300));
/// A pause is this part of the fight so far. So pauses grow as the fight does, and when it ends, the label stays wrong for
/// no more than this part of it.
const SHARE: u32 = 12;

/// The restores of one label. Its size does not depend on how long it is used.
#[derive(Debug, Default)]
pub struct Contest {
    /// The latest restores, at most one more than [`PATIENCE`].
    restores: VecDeque<Instant>,
    /// When the fight began.
    since: Option<Instant>,
}

impl Contest {
    /// Notes that the label was restored; whether a fight begins with that.
    pub fn restored(&mut self, now: Instant) -> bool {
        if self.restores.len() > PATIENCE {
            self.restores.pop_front();
        }
        self.restores.push_back(now);
        let first = self.restores.front().copied().unwrap_or(now);
        let is_fight = self.restores.len() > PATIENCE && now.saturating_duration_since(first) <= WINDOW;
        if is_fight && self.since.is_none() {
            self.since = Some(first);
            return true;
        }
        false
    }

    /// When the label may be restored: at any time, or after a pause in a fight.
    pub fn ready_at(&self, now: Instant) -> Instant {
        match (self.since, self.restores.back()) {
            (Some(since), Some(last)) => {
                *last + (last.saturating_duration_since(since) / SHARE).clamp(PAUSE.0, PAUSE.1)
            }
            _ => now,
        }
    }

    /// When the fight is over if nobody touches the label before; none without a fight.
    pub fn calm_at(&self) -> Option<Instant> {
        self.since.and(self.restores.back()).map(|last| *last + CALM)
    }

    /// Ends the fight.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made in another way; which one does not matter"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Fights for so long with somebody who overwrites the label each second, and returns when it was restored.
    fn fight(contest: &mut Contest, start: Instant, seconds: u32) -> Vec<u32> {
        let restore = |second: &u32| {
            let now = start + SECOND * *second;
            let is_ready = contest.ready_at(now) <= now;
            if is_ready {
                contest.restored(now);
            }
            is_ready
        };
        (0..seconds).filter(restore).collect()
    }

    #[test]
    fn ten_restores_a_minute_are_no_fight_and_eleven_are() {
        let start = start();
        let mut contest = Contest::default();
        for second in 0..PATIENCE as u32 {
            assert!(!contest.restored(start + SECOND * second));
        }
        assert_eq!(contest.ready_at(start), start);
        assert!(contest.restored(start + SECOND * 60));
        assert!(!contest.restored(start + SECOND * 61), "it begins once");
        assert_eq!(contest.calm_at(), Some(start + SECOND * 61 + CALM));
    }

    #[test]
    fn one_restore_in_seven_seconds_goes_on_for_ever() {
        let start = start();
        let mut contest = Contest::default();
        assert!((0..1000).all(|round| !contest.restored(start + SECOND * 7 * round)));
        assert!(contest.restores.len() <= PATIENCE + 1);
    }

    #[test]
    fn a_minute_of_fight_leaves_the_label_wrong_for_no_more_than_five_seconds() {
        let start = start();
        let mut contest = Contest::default();
        let restores = fight(&mut contest, start, 60);
        assert_eq!(restores.iter().take_while(|second| **second <= 10).count(), 11, "{restores:?}");
        assert!(restores.windows(2).all(|pair| pair[1] - pair[0] <= 5), "{restores:?}");
        assert!(restores.len() < 25, "{restores:?}");
        let end = start + SECOND * 60;
        assert!(contest.ready_at(end) <= end + SECOND * 5);
    }

    #[test]
    fn pauses_grow_to_five_minutes_and_no_further() {
        let start = start();
        let mut contest = Contest::default();
        let restores = fight(&mut contest, start, 24 * 3600);
        let pauses: Vec<_> = restores.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert_eq!(pauses.last(), Some(&300));
        assert!(pauses.len() < 350, "{}", pauses.len());
    }

    #[test]
    fn after_a_fight_everything_is_as_before_it() {
        let start = start();
        let mut contest = Contest::default();
        fight(&mut contest, start, 3600);
        assert!(contest.calm_at().is_some());
        contest.end();
        assert_eq!((contest.calm_at(), contest.ready_at(start)), (None, start));
        let later = start + SECOND * 7200;
        assert!((0..PATIENCE as u32).all(|second| !contest.restored(later + SECOND * second)));
        assert!(contest.restored(later + SECOND * 30));
    }
}
