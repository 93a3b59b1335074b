//! What became of every log line: `arrived = read + lost`, `read = reported + folded + ignored + unparsed + shed`.
//! Both hold by construction: only fates and losses are counted, the sums are made when asked for.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of one line that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is told: in a record of its own.
    Reported,
    /// It repeats what is told, and adds to its count.
    Folded,
    /// It is none of ours: no prefix, another protocol of the log, or too old.
    Ignored,
    /// It is one of ours and says nothing that can be told.
    Unparsed,
    /// There was no room for it.
    Shed,
}

impl Fate {
    /// Every fate.
    pub const ALL: [Self; 5] = [Self::Reported, Self::Folded, Self::Ignored, Self::Unparsed, Self::Shed];

    /// The name used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Folded => "folded",
            Self::Ignored => "ignored",
            Self::Unparsed => "unparsed",
            Self::Shed => "shed",
        }
    }
}

/// The counters of one source, shared by whoever decides about its lines.
#[derive(Debug, Default)]
pub struct Accounting {
    fates: [AtomicU64; Fate::ALL.len()],
    lost: AtomicU64,
    gaps: AtomicU64,
    cut: AtomicU64,
    incomplete: AtomicU64,
}

impl Accounting {
    /// Counts lines that came to this end.
    pub fn add(&self, fate: Fate, lines: u64) {
        if let Some(count) = self.fates.get(fate as usize) {
            count.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Counts lines that were lost before they could be read, losses of unknown size, and lines that were cut.
    pub fn add_losses(&self, lost: u64, gaps: u64, cut: u64) {
        self.lost.fetch_add(lost, Ordering::Relaxed);
        self.gaps.fetch_add(gaps, Ordering::Relaxed);
        self.cut.fetch_add(cut, Ordering::Relaxed);
    }

    /// Counts lines of which only a part was understood; they have a fate besides.
    pub fn add_incomplete(&self, lines: u64) {
        self.incomplete.fetch_add(lines, Ordering::Relaxed);
    }

    /// The numbers now.
    pub fn counts(&self) -> DropCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DropCounts {
            fates: self.fates.each_ref().map(load),
            lost: load(&self.lost),
            gaps: load(&self.gaps),
            cut: load(&self.cut),
            incomplete: load(&self.incomplete),
        }
    }
}

/// What [`Accounting`] has counted at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts {
    fates: [u64; Fate::ALL.len()],
    /// Lines that were lost before they could be read.
    pub lost: u64,
    /// Losses of a size that nobody knows.
    pub gaps: u64,
    /// Lines that were longer than the limit.
    pub cut: u64,
    /// Lines of which only a part was understood.
    pub incomplete: u64,
}

impl DropCounts {
    /// Lines that came to this end.
    pub fn of(&self, fate: Fate) -> u64 {
        self.fates.get(fate as usize).copied().unwrap_or_default()
    }

    /// Lines that were read.
    pub fn read(&self) -> u64 {
        self.fates.iter().sum()
    }

    /// Lines that there were.
    pub fn arrived(&self) -> u64 {
        self.read() + self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_one_fate() {
        let accounting = Accounting::default();
        for (number, fate) in Fate::ALL.into_iter().enumerate() {
            accounting.add(fate, 10 + number as u64);
        }
        accounting.add_losses(7, 1, 2);
        let counts = accounting.counts();
        assert_eq!((counts.read(), counts.arrived()), (60, 67));
        let by_fate: Vec<_> = Fate::ALL.map(|fate| counts.of(fate)).into();
        assert_eq!(by_fate, [10, 11, 12, 13, 14]);
        assert_eq!((counts.gaps, counts.cut), (1, 2));
    }
}
