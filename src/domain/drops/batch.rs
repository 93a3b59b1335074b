//! What a source hands over at once: log lines or packets in order, what was lost among them, and where to go on.
//! One buffer for many lines: a flood of them must not cost an allocation each.

use std::ops::Range;
use std::time::SystemTime;

/// How many lines a batch takes.
pub const MAX_LINES: usize = 4096;
/// How many bytes of lines a batch takes; the last line may pass it.
pub const MAX_BYTES: usize = 1 << 20;

/// What a source says of itself after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Everything that is there so far was handed over.
    CaughtUp,
    /// The batch took no more; there may be more right now.
    Behind,
    /// Everything was handed over, and nothing will follow.
    Ended,
}

/// Lines as they arrived. Reused: [`Batch::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    lines: Vec<(Range<usize>, Option<SystemTime>)>,
    /// Lines that are known to have been lost before or among these.
    pub lost: u64,
    /// Losses of a size that nobody knows; it may be none.
    pub gaps: u64,
    /// Lines that were cut because they are longer than the limit; they are among the lines.
    pub cut: u64,
}

impl Batch {
    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
        (self.lost, self.gaps, self.cut) = (0, 0, 0);
    }

    /// Adds a line, without its line end, and when it was logged, if the source itself knows.
    pub fn push(&mut self, line: &[u8], at: Option<SystemTime>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(line);
        self.lines.push((start..self.bytes.len(), at));
    }

    /// The lines in order.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], Option<SystemTime>)> {
        self.lines.iter().map(|(range, at)| (self.bytes.get(range.clone()).unwrap_or_default(), *at))
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line; there may have been losses all the same.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether a source should hand it over before it adds more.
    pub fn is_full(&self) -> bool {
        self.lines.len() >= MAX_LINES || self.bytes.len() >= MAX_BYTES
    }

    /// Whether there is something to tell: a line or a loss.
    pub fn has_news(&self) -> bool {
        !self.lines.is_empty() || self.lost > 0 || self.gaps > 0
    }

    /// How many bytes the lines have.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }
}
