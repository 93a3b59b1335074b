//! The life of one rule: when it was first seen, since when it stands, when it went.
//! One step a change; does not know its text.

use std::cmp::Ordering;
use std::time::SystemTime;

use crate::domain::changes::What;
use crate::domain::changes::judged::Judged;

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
    /// What the allowlists said of it last.
    pub judged: Judged,
}

impl Life {
    /// A line that somebody finds.
    pub const fn begin(at: SystemTime, is_older: bool, judged: Judged) -> Self {
        Self { first_seen: at, since: at, is_older, gone_at: None, copies: 1, judged }
    }

    /// The life after a change; `life` is none for a line that nobody remembers.
    pub fn after(life: Option<Self>, what: What, at: SystemTime, judged: Judged) -> Self {
        let Some(mut life) = life else {
            // what went or moved was there before
            let new = Self::begin(at, matches!(what, What::Removed | What::Moved), judged);
            let gone = Self { gone_at: Some(at), copies: 0, ..new };
            return if matches!(what, What::Removed | What::CameAndWent) { gone } else { new };
        };
        match what {
            What::Added => life.appear(life.copies.saturating_add(1), at, false),
            What::Removed => life.leave(life.copies.saturating_sub(1), at),
            What::Moved => life.appear(life.copies.max(1), at, true),
            // where the same line stands, another of its copies came and went
            What::CameAndWent if life.copies > 0 => {}
            What::CameAndWent => {
                life.appear(1, at, false);
                life.leave(0, at);
            }
        }
        life.judged = judged;
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
        prop::collection::vec(prop::sample::select(What::ALL.to_vec()), 1..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The model keeps the whole story: how many copies stood after each step.
        #[test]
        fn a_life_is_what_its_story_says(steps in steps()) {
            let judged = |second: usize| Judged::ALL[second % 3];
            let mut copies = Vec::new();
            let mut life = None;
            for (second, what) in steps.iter().enumerate() {
                let before = copies.last().copied().unwrap_or(0_u32);
                copies.push(match what {
                    What::Added => before + 1,
                    What::Removed => before.saturating_sub(1),
                    What::Moved => before.max(1),
                    What::CameAndWent => before,
                });
                life = Some(Life::after(life, *what, at(second), judged(second)));
            }
            let life = life.expect("at least one step");
            let count = *copies.last().expect("at least one step");
            let stood_before = |second: usize| second.checked_sub(1).is_some_and(|before| copies[before] > 0);
            let passed = |second: usize| steps[second] == What::CameAndWent && copies[second] == 0;
            let came = |second: usize| passed(second) || copies[second] > 0 && !stood_before(second);
            let went = |second: usize| passed(second) || copies[second] == 0 && (second == 0 || stood_before(second));
            let since = (0..copies.len()).rev().find(|&second| came(second));
            let gone = (0..copies.len()).rev().find(|&second| went(second));
            prop_assert_eq!(life.copies, count);
            prop_assert_eq!(life.first_seen, at(0));
            prop_assert_eq!(life.since, at(since.unwrap_or(0)));
            prop_assert_eq!(life.is_older, matches!(steps[since.unwrap_or(0)], What::Removed | What::Moved));
            prop_assert_eq!(life.gone_at, (count == 0).then(|| at(gone.expect("it went"))));
            prop_assert_eq!(life.judged, judged(steps.len() - 1));
        }

        #[test]
        fn comparing_twice_finds_nothing_new(steps in steps(), copies in 0_u32..4) {
            let life = steps.iter().fold(None, |life, what| Some(Life::after(life, *what, at(1), Judged::Allowed)));
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
        let found = Life::begin(at(1), true, Judged::Unexpected);
        let gone = Life::after(Some(found), What::Removed, at(2), Judged::Unexpected);
        assert_eq!((gone.gone_at, gone.is_older), (Some(at(2)), true));
        let back = Life::after(Some(gone), What::Added, at(3), Judged::Unexpected);
        assert_eq!((back.first_seen, back.since, back.is_older, back.gone_at), (at(1), at(3), false, None));
    }

    #[test]
    fn what_came_and_went_does_not_stand() {
        let came_and_went =
            |life, second| Life::after(life, What::CameAndWent, at(second), Judged::NotJudged);
        let once = came_and_went(None, 1);
        assert_eq!((once.since, once.gone_at, once.copies, once.is_older), (at(1), Some(at(1)), 0, false));
        let twice = came_and_went(Some(once), 2);
        assert_eq!((twice.first_seen, twice.since, twice.gone_at), (at(1), at(2), Some(at(2))));
        let stands = Life::begin(at(1), true, Judged::NotJudged);
        assert_eq!(came_and_went(Some(stands), 2), stands);
    }
}
