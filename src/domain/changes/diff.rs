//! Which lines of one chain were added, removed or moved between two reads.
//! Knows no line: anything that can be compared will do.

use std::collections::HashMap;
use std::hash::Hash;

use super::judged::Judged;
use super::{RuleChange, What};

/// Changes that are told one by one; the rest are counted.
const TOLD: usize = 1000;

/// One difference, by indices into the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The former list has it at this index.
    Removed(usize),
    /// The later list has it at this index.
    Added(usize),
    /// Both have it, in another order among those that both have; the index in the later list.
    Moved(usize),
}

/// The differences: what was removed, then what was added or moved, each in order.
///
/// Equal lines are the same line as often as both lists have it. The fewest are said to have moved.
pub fn edits<T: Eq + Hash + Copy>(before: &[T], after: &[T]) -> Vec<Edit> {
    let prefix = before.iter().zip(after).take_while(|(one, other)| one == other).count();
    let (before, after) = (before.get(prefix..).unwrap_or_default(), after.get(prefix..).unwrap_or_default());
    let suffix = before.iter().rev().zip(after.iter().rev()).take_while(|(one, other)| one == other).count();
    let before = before.get(..before.len() - suffix).unwrap_or_default();
    let after = after.get(..after.len() - suffix).unwrap_or_default();

    let mut places: HashMap<T, Vec<usize>> = HashMap::new();
    for (index, &line) in before.iter().enumerate().rev() {
        places.entry(line).or_default().push(index);
    }
    let origins: Vec<Option<usize>> = after.iter().map(|line| places.get_mut(line)?.pop()).collect();
    let mut removed: Vec<usize> = places.into_values().flatten().collect();
    removed.sort_unstable();
    let stayed = longest_rising(&origins);
    let later = origins.iter().zip(stayed).enumerate().filter_map(|(index, (origin, has_stayed))| {
        match (origin, has_stayed) {
            (None, _) => Some(Edit::Added(prefix + index)),
            (Some(_), false) => Some(Edit::Moved(prefix + index)),
            (Some(_), true) => None,
        }
    });
    removed.into_iter().map(|index| Edit::Removed(prefix + index)).chain(later).collect()
}

/// Which of the numbers belong to one longest rising run, gaps allowed.
fn longest_rising(numbers: &[Option<usize>]) -> Vec<bool> {
    // ends[n]: the number, and its index, that ends the best run of n + 1
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut previous: Vec<Option<usize>> = vec![None; numbers.len()];
    for (index, number) in numbers.iter().enumerate() {
        let Some(number) = *number else { continue };
        let length = ends.partition_point(|(end, _)| *end < number);
        let before = length.checked_sub(1).and_then(|last| ends.get(last)).map(|(_, index)| *index);
        if let Some(slot) = previous.get_mut(index) {
            *slot = before;
        }
        match ends.get_mut(length) {
            Some(end) => *end = (number, index),
            None => ends.push((number, index)),
        }
    }
    let mut is_in = vec![false; numbers.len()];
    let mut next = ends.last().map(|(_, index)| *index);
    while let Some(index) = next {
        if let Some(slot) = is_in.get_mut(index) {
            *slot = true;
        }
        next = previous.get(index).copied().flatten();
    }
    is_in
}

/// Changes as they are found, the first of them kept.
#[derive(Debug, Default)]
pub struct Told {
    unexpected: Vec<RuleChange>,
    not_judged: Vec<RuleChange>,
    allowed: Vec<RuleChange>,
    untold: u64,
}

impl Told {
    /// Adds a change; it is made only if there is room for it.
    pub fn add(&mut self, judged: Judged, change: impl FnOnce() -> RuleChange) {
        let list = match judged {
            Judged::Unexpected => &mut self.unexpected,
            Judged::NotJudged => &mut self.not_judged,
            Judged::Allowed => &mut self.allowed,
        };
        if list.len() < TOLD {
            list.push(change());
        } else {
            self.untold += 1;
        }
    }

    /// The first changes, those of unexpected lines before those not judged and those before others, and how many more
    /// there are.
    pub fn finish(self) -> (Vec<RuleChange>, u64) {
        let mut changes = self.unexpected;
        changes.extend(self.not_judged);
        changes.extend(self.allowed);
        let untold = self.untold + changes.len().saturating_sub(TOLD) as u64;
        changes.truncate(TOLD);
        (changes, untold)
    }
}

impl Edit {
    /// How the line changed.
    pub const fn what(self) -> What {
        match self {
            Self::Removed(_) => What::Removed,
            Self::Added(_) => What::Added,
            Self::Moved(_) => What::Moved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(before: &str, after: &str, expected: &[Edit]) {
        assert_eq!(edits(before.as_bytes(), after.as_bytes()), expected, "{before} -> {after}");
    }

    #[test]
    fn tells_what_was_added_removed_and_moved() {
        check("abc", "abc", &[]);
        check("", "ab", &[Edit::Added(0), Edit::Added(1)]);
        check("ab", "", &[Edit::Removed(0), Edit::Removed(1)]);
        check("abc", "axc", &[Edit::Removed(1), Edit::Added(1)]);
        check("abcd", "bcda", &[Edit::Moved(3)]);
        check("abcd", "dabc", &[Edit::Moved(0)]);
        check("aab", "ab", &[Edit::Removed(1)]);
        check("ab", "aab", &[Edit::Added(1)]);
        check("abcde", "axedc", &[Edit::Removed(1), Edit::Added(1), Edit::Moved(2), Edit::Moved(3)]);
    }

    /// The lines that the edits leave, whatever their order.
    fn replay(before: &[u8], after: &[u8]) -> Vec<u8> {
        let edits = edits(before, after);
        let stays = before.iter().enumerate().filter(|(at, _)| !edits.contains(&Edit::Removed(*at)));
        let comes = after.iter().enumerate().filter(|(at, _)| edits.contains(&Edit::Added(*at)));
        let mut lines: Vec<u8> = stays.chain(comes).map(|(_, line)| *line).collect();
        lines.sort_unstable();
        lines
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn both_lists_hold_the_same_lines_after_the_edits(
            before in proptest::collection::vec(0u8..6, 0..20),
            after in proptest::collection::vec(0u8..6, 0..20),
        ) {
            let mut expected = after.clone();
            expected.sort_unstable();
            prop_assert_eq!(replay(&before, &after), expected);
        }

        #[test]
        fn lines_that_neither_moved_nor_came_keep_their_order(
            before in Just((0u8..12).collect::<Vec<_>>()).prop_shuffle(),
            after in Just((0u8..12).collect::<Vec<_>>()).prop_shuffle(),
            kept in 0usize..12,
        ) {
            let before = &before[..kept];
            let edits = edits(before, &after);
            let stayed: Vec<u8> = (0..after.len())
                .filter(|&at| !edits.contains(&Edit::Added(at)) && !edits.contains(&Edit::Moved(at)))
                .map(|at| after[at])
                .collect();
            let former: Vec<u8> = before.iter().copied().filter(|line| stayed.contains(line)).collect();
            prop_assert_eq!(stayed, former);
        }
    }

    #[test]
    fn what_is_not_allowed_is_told_first_and_the_rest_is_counted() {
        let mut told = Told::default();
        let change = || RuleChange {
            what: What::Added,
            backend: crate::domain::rules::Backend::Nftables,
            family: crate::domain::rules::Family::Ip,
            table: String::new(),
            chain: None,
            kind: crate::domain::rules::Kind::Rule,
            position: None,
            line: Vec::new(),
            judged: Judged::Allowed,
            authors: Vec::new(),
        };
        let mut add = |judged, count| {
            (0..count).for_each(|_| told.add(judged, || RuleChange { judged, ..change() }));
        };
        add(Judged::Allowed, TOLD + 5);
        add(Judged::NotJudged, TOLD - 7);
        add(Judged::Unexpected, 3);
        let (changes, untold) = told.finish();
        assert_eq!((changes.len(), untold), (TOLD, TOLD as u64 + 1));
        let told: Vec<_> =
            changes.chunk_by(|a, b| a.judged == b.judged).map(|run| (run[0].judged, run.len())).collect();
        assert_eq!(told, [(Judged::Unexpected, 3), (Judged::NotJudged, TOLD - 7), (Judged::Allowed, 4)]);
    }
}
