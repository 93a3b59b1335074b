//! The life of one rule: when it was first seen, since when it stands, when it went.
//! One step a change; does not know its text.

use std::cmp::Ordering;
use std::time::SystemTime;

use crate::domain::changes::What;

/// What is remembered of one line at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was first seen, in whatever life.
    pub first_seen: SystemTime,
    /// When it appeared last: it stands since then, or stood until [`Self::gone_at`].
    pub since: SystemTime,
    /// It was there when somebody first looked, so it may be older than `since`.
    pub is_older: bool,
    /// When it was found to be gone; none while it stands.
    pub gone_at: Option<SystemTime>,
    /// How often the same line stands in its chain; 0 once it is gone.
    pub copies: u32,
    /// Whether the allowlists allowed it when it was last judged.
    pub is_allowed: bool,
}

impl Life {
    /// A line that somebody finds.
    pub const fn begin(at: SystemTime, is_older: bool, is_allowed: bool) -> Self {
        Self { first_seen: at, since: at, is_older, gone_at: None, copies: 1, is_allowed }
    }

    /// The life after a change; `life` is none for a line that nobody remembers.
    pub fn after(life: Option<Self>, what: What, at: SystemTime, is_allowed: bool) -> Self {
        let Some(mut life) = life else {
            // what went or moved was there before
            let new = Self::begin(at, what != What::Added, is_allowed);
            return if what == What::Removed { Self { gone_at: Some(at), copies: 0, ..new } } else { new };
        };
        match what {
            What::Added => life.appear(life.copies.saturating_add(1), at, false),
            What::Removed => life.leave(life.copies.saturating_sub(1), at),
            What::Moved => life.appear(life.copies.max(1), at, true),
        }
        life.is_allowed = is_allowed;
        life
    }

    /// Compares with how often it stands now, and says how it changed since it was last seen.
    pub fn find(&mut self, copies: u32, at: SystemTime) -> Option<What> {
        match copies.cmp(&self.copies) {
            Ordering::Less => {
                self.leave(copies, at);
                Some(What::Removed)
            }
            Ordering::Equal => None,
            Ordering::Greater => {
                self.appear(copies, at, true);
                Some(What::Added)
            }
        }
    }

    fn appear(&mut self, copies: u32, at: SystemTime, is_older: bool) {
        if self.copies == 0 {
            self.since = at;
            self.is_older = is_older;
            self.gone_at = None;
        }
        self.copies = copies;
    }

    fn leave(&mut self, copies: u32, at: SystemTime) {
        self.copies = copies;
        if copies == 0 && self.gone_at.is_none() {
            self.gone_at = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(second: usize) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second as u64)
    }

    fn steps() -> impl Strategy<Value = Vec<What>> {
        prop::collection::vec(prop::sample::select(vec![What::Added, What::Removed, What::Moved]), 1..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The model keeps the whole story: how many copies stood after each step.
        #[test]
        fn a_life_is_what_its_story_says(steps in steps()) {
            let mut copies = Vec::new();
            let mut life = None;
            for (second, what) in steps.iter().enumerate() {
                let before = copies.last().copied().unwrap_or(0_u32);
                copies.push(match what {
                    What::Added => before + 1,
                    What::Removed => before.saturating_sub(1),
                    What::Moved => before.max(1),
                });
                life = Some(Life::after(life, *what, at(second), second % 2 == 0));
            }
            let life = life.expect("at least one step");
            let count = *copies.last().expect("at least one step");
            let stood_before = |second: usize| second.checked_sub(1).is_some_and(|before| copies[before] > 0);
            let since = (0..copies.len()).rev().find(|&second| copies[second] > 0 && !stood_before(second));
            let gone = (0..copies.len()).rev().find(|&second| copies[second] == 0 && (second == 0 || stood_before(second)));
            prop_assert_eq!(life.copies, count);
            prop_assert_eq!(life.first_seen, at(0));
            prop_assert_eq!(life.since, at(since.unwrap_or(0)));
            prop_assert_eq!(life.is_older, steps[since.unwrap_or(0)] != What::Added);
            prop_assert_eq!(life.gone_at, (count == 0).then(|| at(gone.expect("it went"))));
            prop_assert_eq!(life.is_allowed, (steps.len() - 1) % 2 == 0);
        }

        #[test]
        fn comparing_twice_finds_nothing_new(steps in steps(), copies in 0_u32..4) {
            let life = steps.iter().fold(None, |life, what| Some(Life::after(life, *what, at(1), true)));
            let mut life = life.expect("at least one step");
            let before = life.copies;
            let found = life.find(copies, at(2));
            prop_assert_eq!(found == Some(What::Added), copies > before);
            prop_assert_eq!(found == Some(What::Removed), copies < before);
            prop_assert_eq!((life.copies, life.gone_at.is_some()), (copies, copies == 0));
            prop_assert_eq!(life.since == at(2), before == 0 && copies > 0);
            let settled = life;
            prop_assert_eq!(life.find(copies, at(3)), None);
            prop_assert_eq!(life, settled);
        }
    }

    #[test]
    fn what_comes_back_stands_since_then_but_was_seen_before() {
        let found = Life::begin(at(1), true, false);
        let gone = Life::after(Some(found), What::Removed, at(2), false);
        assert_eq!((gone.gone_at, gone.is_older), (Some(at(2)), true));
        let back = Life::after(Some(gone), What::Added, at(3), false);
        assert_eq!((back.first_seen, back.since, back.is_older, back.gone_at), (at(1), at(3), false, None));
    }
}
