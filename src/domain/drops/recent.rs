//! The last drops and the pairs that have most of them, for whoever looks.
//! Bounded: a flood pushes out what is older, and [`crate::domain::peers::pairs`] bounds the names.

use std::collections::{HashMap, VecDeque};

use super::record::Record;

/// Records that are kept.
const LAST: usize = 200;
/// What was seen lately.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    last: VecDeque<(Record, u64)>,
    pairs: HashMap<(String, String), u64>,
}

impl Recent {
    /// Adds a packet that stands for so many, and who is on its two sides.
    pub fn push(&mut self, record: Record, count: u64, src: &str, dst: &str) {
        if self.last.len() >= LAST {
            self.last.pop_front();
        }
        self.last.push_back((record, count));
        self.count(src, dst, count);
    }

    /// Adds repeats of what was added before.
    pub fn count(&mut self, src: &str, dst: &str, count: u64) {
        *self.pairs.entry((src.to_owned(), dst.to_owned())).or_default() += count;
    }

    /// The last records, the newest first, and how many packets each stands for.
    pub fn last(&self) -> impl Iterator<Item = &(Record, u64)> {
        self.last.iter().rev()
    }

    /// The pairs with most packets, the most first.
    pub fn top(&self, count: usize) -> Vec<(&str, &str, u64)> {
        let mut pairs: Vec<_> =
            self.pairs.iter().map(|((src, dst), count)| (src.as_str(), dst.as_str(), *count)).collect();
        pairs.sort_unstable_by(|a, b| b.2.cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
        pairs.truncate(count);
        pairs
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::domain::packets::packet::{Action, Packet};

    #[test]
    fn the_last_are_few_and_all_are_counted() {
        let mut recent = Recent::default();
        let record = Record::from(&Packet::new(Cow::Borrowed(b"x"), Action::Drop));
        for number in 0..5000 {
            recent.push(record.clone(), 1, &format!("s{}", number % 10), "d");
        }
        recent.count("s0", "d", 9);
        assert_eq!(recent.last().count(), LAST);
        assert_eq!(recent.top(2), [("s0", "d", 509), ("s1", "d", 500)]);
    }
}
