//! When a check is due after changes were heard of: at once after calm, then not in the middle of a burst, and not too often.
//! Knows no clock and no chance: both are arguments. Pauses end at random moments, so that nobody can take a rule away just
//! before each look.

use std::time::{Duration, Instant};

/// After this much time without a change the next one is looked at at once.
pub const CALM: Duration = Duration::from_millis(500);
/// A burst is over after this much quiet, or less.
pub const QUIET: Duration = Duration::from_millis(200);
/// A burst that does not end is checked in its middle, this long after its first change, or sooner.
pub const LONGEST: Duration = Duration::from_secs(2);
/// However dear checks are, a change waits no longer than this for its own.
pub const LONGEST_PACED: Duration = Duration::from_millis(4_200);
/// Checks may take a fortieth of a processor, and those that find what matters a fifth: it is rare.
const SHARE: u32 = 40;
const SHARE_OF_NEWS: u32 = 5;
/// The former may take 0.4 s of it in advance.
const AHEAD: Duration = Duration::from_secs(16);

/// Changes that were heard of and not yet looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debounce {
    first: Instant,
    last: Instant,
    /// There is something that is looked at at once.
    is_urgent: bool,
    chance: Chance,
}

/// One of 256 equally likely outcomes: how long pauses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance(pub u8);

impl Chance {
    /// A time between the shortest and the longest.
    fn between(self, shortest: Duration, longest: Duration) -> Duration {
        shortest + (longest - shortest) * u32::from(self.0) / 255
    }
}

impl Debounce {
    /// The first change since the last look.
    pub const fn new(now: Instant, chance: Chance) -> Self {
        Self { first: now, last: now, is_urgent: false, chance }
    }

    /// Something is to be looked at at once: the first change after calm, or what no pattern allows.
    pub const fn hurry(&mut self) {
        self.is_urgent = true;
    }

    /// One more.
    pub fn heard(&mut self, now: Instant) {
        self.last = self.last.max(now);
    }

    /// When the first was heard of.
    pub const fn first(&self) -> Instant {
        self.first
    }

    /// When they are to be looked at, unless more is heard of until then.
    pub fn due(&self, pace: Pace) -> Instant {
        let Self { first, last, is_urgent, chance } = *self;
        let quiet = last + chance.between(QUIET / 2, QUIET);
        let settled = if is_urgent { first } else { quiet.min(first + chance.between(LONGEST / 4, LONGEST)) };
        let latest = first + chance.between(LONGEST_PACED * 7 / 8, LONGEST_PACED);
        match pace.not_before() {
            // whoever waits longer in any case does so for a moment in which nobody writes: the read is not torn then
            Some(paced) if paced > settled => paced.max(quiet).min(latest),
            _ => settled,
        }
    }
}

/// What earlier checks leave for the next: after dear ones, time to rest. One dear check after calm does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// When all checks so far will have taken no more than their share.
    even: Option<Instant>,
}

impl Pace {
    /// The pace after one more check, which began then, took so much processor time, and found other violations than the
    /// one before, or not.
    #[must_use]
    pub fn after(self, started: Instant, spent: Duration, is_news: bool) -> Self {
        let from = self.even.map_or(started, |even| even.max(started));
        let share = if is_news { SHARE_OF_NEWS } else { SHARE };
        Self { even: from.checked_add(spent.saturating_mul(share)) }
    }

    /// When the next check may begin.
    fn not_before(self) -> Option<Instant> {
        self.even.and_then(|even| even.checked_sub(AHEAD))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has to begin at some moment")]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Milliseconds from the first change to the check, after checks that began so long before it and took so long.
    #[track_caller]
    fn check(changes: &[u64], checks: &[(u64, u64)], due: u64) {
        let zero = Instant::now() + Duration::from_secs(3600);
        let pace = checks
            .iter()
            .fold(Pace::default(), |pace, &(ago, spent)| pace.after(zero - ms(ago), ms(spent), false));
        let mut debounce = Debounce::new(zero, Chance(255));
        changes.iter().for_each(|&at| debounce.heard(zero + ms(at)));
        assert_eq!(debounce.due(pace) - zero, ms(due));
        assert_eq!(debounce.first(), zero);
    }

    #[test]
    fn waits_for_quiet_but_not_for_ever() {
        check(&[], &[], 200);
        check(&[50, 150], &[], 350);
        check(&[150, 50], &[], 350);
        check(&[1_900], &[], 2_000);
        check(&[1_000, 9_000], &[], 2_000);
    }

    #[test]
    fn a_change_after_calm_is_only_debounced() {
        check(&[], &[(60_000, 1_000)], 200);
        check(&[], &[(100, 400)], 200);
        check(&[], &[(300, 100), (100, 100)], 200);
    }

    #[test]
    fn checks_take_their_share_and_a_change_never_waits_long() {
        check(&[], &[(0, 475)], 3_000);
        check(&[500], &[(0, 475)], 3_000);
        check(&[1_900], &[(0, 445)], 2_000);
        check(&[], &[(4_000, 300), (2_000, 200)], 200);
        check(&[], &[(4_000, 300), (2_000, 250)], 2_000);
        check(&[], &[(0, 1_000)], 4_200);
        check(&[3_999], &[(0, u64::MAX)], 4_200);
        check(&[60_000], &[(0, 60_000)], 4_200);
    }

    #[test]
    fn a_check_that_waits_anyway_waits_for_quiet() {
        check(&[2_950], &[(0, 475)], 3_150);
        check(&[4_100], &[(0, 475)], 4_200);
    }

    #[test]
    fn what_is_urgent_is_looked_at_at_once_unless_checks_are_dear() {
        let zero = Instant::now() + Duration::from_secs(3600);
        let mut debounce = Debounce::new(zero, Chance(255));
        debounce.hurry();
        assert_eq!(debounce.due(Pace::default()), zero);
        debounce.heard(zero + ms(50));
        assert_eq!(debounce.due(Pace::default()), zero);
        let dear = Pace::default().after(zero, ms(475), false);
        assert_eq!(debounce.due(dear) - zero, ms(3_000));
    }

    #[test]
    fn pauses_end_at_random_moments() {
        let zero = Instant::now();
        let due = |chance: u8, last: u64| {
            let mut debounce = Debounce::new(zero, Chance(chance));
            debounce.heard(zero + ms(last));
            (debounce.due(Pace::default()) - zero).as_millis()
        };
        assert_eq!([due(0, 0), due(255, 0)], [100, 200]);
        assert_eq!([due(0, 10_000), due(51, 10_000), due(255, 10_000)], [500, 800, 2_000]);
    }

    #[test]
    fn what_matters_is_looked_at_sooner() {
        let zero = Instant::now();
        let after = |is_news| {
            Pace::default().after(zero, ms(4_000), is_news).not_before().map(|moment| moment - zero)
        };
        assert_eq!((after(true), after(false)), (Some(ms(4_000)), Some(ms(144_000))));
    }
}
