//! What a source hands over at once: log lines or packets in order, what was lost among them, and where to go on.
//! One buffer for many lines: a flood of them must not cost an allocation each.

use std::ops::Range;
use std::time::SystemTime;

/// Lines as they arrived. Reused: [`Batch::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    lines: Vec<(Range<usize>, Option<SystemTime>)>,
    /// Lines that are known to have been lost before or among these.
    pub lost: u64,
    /// Losses of a size that nobody knows.
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

    /// How many bytes the lines have.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }
}
