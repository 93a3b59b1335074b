//! Folds repeats: the first of a kind is told at once, the others are counted and told when their time is up.
//! Knows neither packets nor clocks.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant, SystemTime};

/// What is to be done with one more of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is the first: tell it.
    Tell,
    /// It was counted, and will be told with the others.
    Folded,
    /// There is no room for another kind.
    Full,
}

/// Repeats whose time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// How many since it was told last.
    pub count: u64,
    /// When the last of them was logged.
    pub last: SystemTime,
}

/// Kinds that were told within the last interval, at most so many, each with what was told of it.
#[derive(Debug)]
pub struct Window<K, V> {
    interval: Duration,
    limit: usize,
    kinds: HashMap<K, Entry<V>>,
    /// When which kind is to be looked at; each kind stands here once.
    due: VecDeque<(Instant, K)>,
}

#[derive(Debug)]
struct Entry<V> {
    told: V,
    repeats: Option<Repeats>,
}

impl<K: Clone + Eq + Hash, V: Clone + Default> Window<K, V> {
    /// A window of this length for at most so many kinds.
    pub fn new(interval: Duration, limit: usize) -> Self {
        Self { interval, limit, kinds: HashMap::new(), due: VecDeque::new() }
    }

    /// Takes one more of a kind, or several that a log daemon folded.
    pub fn push(&mut self, kind: &K, times: u64, logged_at: SystemTime, now: Instant) -> Decision {
        if let Some(known) = self.kinds.get_mut(kind) {
            let repeats = known.repeats.get_or_insert(Repeats { count: 0, last: logged_at });
            repeats.count = repeats.count.saturating_add(times);
            repeats.last = repeats.last.max(logged_at);
            return Decision::Folded;
        }
        if self.kinds.len() >= self.limit {
            return Decision::Full;
        }
        self.kinds.insert(kind.clone(), Entry { told: V::default(), repeats: None });
        self.due.push_back((now + self.interval, kind.clone()));
        Decision::Tell
    }

    /// Keeps what was told of a kind, to be handed out with its repeats.
    pub fn keep(&mut self, kind: &K, told: V) {
        if let Some(known) = self.kinds.get_mut(kind) {
            known.told = told;
        }
    }

    /// The repeats of the next kind whose interval is over; it is told now, so a new interval begins for it. Kinds
    /// without repeats are forgotten on the way.
    pub fn pop_due(&mut self, now: Instant) -> Option<(V, Repeats)> {
        while self.due.front().is_some_and(|(due, _)| *due <= now) {
            let (_, kind) = self.due.pop_front()?;
            let repeats =
                self.kinds.get_mut(&kind).and_then(|known| Some((known.told.clone(), known.repeats.take()?)));
            if repeats.is_some() {
                self.due.push_back((now + self.interval, kind));
                return repeats;
            }
            self.kinds.remove(&kind);
        }
        None
    }

    /// When something will be due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.front().map(|(due, _)| *due)
    }

    /// Every kind with repeats that were not told yet, as the last thing before the end.
    pub fn drain(&mut self) -> impl Iterator<Item = (V, Repeats)> {
        self.due.clear();
        self.kinds.drain().filter_map(|(_, known)| Some((known.told, known.repeats?)))
    }

    /// Whether this kind was told within the last interval.
    pub fn contains(&self, kind: &K) -> bool {
        self.kinds.contains_key(kind)
    }

    /// How many kinds are in the window.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test may look at the clock")]

    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(120);

    fn logged(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn push(
        window: &mut Window<&'static str, &'static str>,
        kind: &'static str,
        seconds: u64,
        now: Instant,
    ) -> Decision {
        let decision = window.push(&kind, 1, logged(seconds), now);
        if decision == Decision::Tell {
            window.keep(&kind, kind);
        }
        decision
    }

    #[test]
    fn the_first_is_told_at_once_and_repeats_when_their_time_is_up() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(INTERVAL, 10);
        assert_eq!(push(&mut window, "a", 0, start), Decision::Tell);
        assert_eq!(push(&mut window, "a", 5, after(5)), Decision::Folded);
        assert_eq!(window.push(&"a", 3, logged(7), after(7)), Decision::Folded);
        assert_eq!(push(&mut window, "b", 9, after(9)), Decision::Tell);
        assert_eq!(window.pop_due(after(119)), None);
        assert_eq!(window.pop_due(after(120)), Some(("a", Repeats { count: 4, last: logged(7) })));
        // still within an interval of when it was told last
        assert_eq!(push(&mut window, "a", 130, after(130)), Decision::Folded);
        assert_eq!(window.pop_due(after(130)), None);
        assert_eq!(push(&mut window, "b", 131, after(131)), Decision::Tell, "b had no repeats");
        assert_eq!(window.pop_due(after(240)), Some(("a", Repeats { count: 1, last: logged(130) })));
        assert_eq!(window.pop_due(after(10_000)), None);
        assert!(window.is_empty() && window.next_due().is_none());
    }

    #[test]
    fn there_is_room_for_so_many_kinds() {
        let now = Instant::now();
        let mut window = Window::new(INTERVAL, 2);
        let decisions = ["a", "b", "c", "a"].map(|kind| push(&mut window, kind, 0, now));
        assert_eq!(decisions, [Decision::Tell, Decision::Tell, Decision::Full, Decision::Folded]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        /// Told + told with repeats + full = pushed, whatever the order, and what is told of one kind is an interval apart.
        #[test]
        fn nothing_is_lost_and_nothing_told_twice(steps in prop::collection::vec((0u8..6, 0u64..90), 1..200)) {
            let mut now = Instant::now();
            let mut window = Window::new(INTERVAL, 4);
            let (mut told, mut full) = (0, 0);
            let mut last_told: HashMap<u8, Instant> = HashMap::new();
            let mut tell = |kind, now: Instant| {
                let earlier = last_told.insert(kind, now);
                earlier.is_none_or(|earlier| now >= earlier + INTERVAL)
            };
            for (kind, pause) in &steps {
                now += Duration::from_secs(*pause);
                while let Some((kind, repeats)) = window.pop_due(now) {
                    told += repeats.count;
                    prop_assert!(tell(kind, now));
                }
                match window.push(kind, 1, logged(0), now) {
                    Decision::Tell => {
                        window.keep(kind, *kind);
                        told += 1;
                        prop_assert!(tell(*kind, now));
                    }
                    Decision::Folded => {}
                    Decision::Full => full += 1,
                }
                prop_assert!(window.len() <= 4);
            }
            told += window.drain().map(|(_, repeats)| repeats.count).sum::<u64>();
            prop_assert_eq!(told + full, steps.len() as u64);
        }
    }
}
