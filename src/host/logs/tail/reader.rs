//! Reads one open log file onwards from an offset, and notices when it is truncated meanwhile.
//! Does not know the file's name, nor what comes after it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;

use super::place::{Facts, HEAD_BYTES, Print, TRAIL_BYTES, TailPlace, read_piece};
use crate::domain::drops::batch::Batch;
use crate::domain::drops::lines::Lines;

/// How much is read at once; more than a line.
const BUFFER_BYTES: usize = 256 * 1024;

/// Lines of no sensible log are longer, and they must fit the buffer.
pub(super) const MAX_LINE_LIMIT: usize = BUFFER_BYTES / 2;

/// A file and how far it was read.
#[derive(Debug)]
pub(super) struct Reader {
    pub file: File,
    /// As of the last read.
    pub facts: Facts,
    /// Whether it may grow or shrink still; a copy of a truncated file does neither.
    pub is_live: bool,
    head: Vec<u8>,
    /// The last bytes that were handed over.
    trail: Vec<u8>,
    lines: Lines,
    buffer: Box<[u8]>,
    /// The part of the buffer that was read and not handed over.
    start: usize,
    end: usize,
    /// Where in the file the next read begins.
    pub offset: u64,
    /// Whether the last read gave nothing but NULs.
    is_in_hole: bool,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// More bytes.
    More,
    /// Nothing behind what was read before.
    End,
    /// The file's end was cut off; what comes behind it now will be read.
    CutBack,
    /// The file was truncated, and may have been written to again.
    Truncated,
}

impl Reader {
    /// Reads a file from its beginning.
    pub(super) fn new(file: File, facts: Facts, line_limit: usize) -> Self {
        Self {
            file,
            facts,
            is_live: true,
            head: Vec::new(),
            trail: Vec::new(),
            lines: Lines::new(line_limit, false),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            offset: 0,
            is_in_hole: false,
        }
    }

    /// Goes on at a place.
    pub(super) fn resume(file: File, facts: Facts, place: &TailPlace, line_limit: usize) -> io::Result<Self> {
        let head = read_piece(&file, 0, HEAD_BYTES)?;
        // one past the end is enough to see that the file's end is gone
        let offset = place.offset.min(facts.size_bytes.saturating_add(1));
        let bytes = place.trail.bytes.min(TRAIL_BYTES);
        let trail = read_piece(&file, offset.saturating_sub(bytes as u64), bytes)?;
        let lines = Lines::new(line_limit, place.is_within_cut);
        Ok(Self { head, trail, lines, offset, ..Self::new(file, facts, line_limit) })
    }

    /// Reads what is written from now on, and the beginning of the line that is being written.
    pub(super) fn at_end(file: File, facts: Facts, line_limit: usize) -> io::Result<Self> {
        let from = facts.size_bytes.saturating_sub(line_limit as u64);
        let tail = read_piece(&file, from, line_limit)?;
        let without_newline = if from == 0 { 0 } else { tail.len() };
        let line =
            tail.iter().rposition(|byte| *byte == b'\n').map_or(without_newline, |newline| newline + 1);
        let head = read_piece(&file, 0, HEAD_BYTES)?;
        let mut reader = Self { head, offset: from + line as u64, ..Self::new(file, facts, line_limit) };
        reader.trail.extend_from_slice(last(tail.get(..line).unwrap_or_default()));
        Ok(reader)
    }

    /// The first byte that was not handed over.
    pub(super) fn place(&self) -> TailPlace {
        TailPlace {
            inode: self.facts.inode,
            born: self.facts.born,
            modified: self.facts.modified,
            head: Print::of(0, &self.head),
            trail: Print::of(self.before(), &self.trail),
            offset: self.begun(),
            is_within_cut: self.lines.is_skipping(),
        }
    }

    /// The offset of the first byte that was not handed over.
    fn begun(&self) -> u64 {
        self.offset - (self.end - self.start) as u64
    }

    /// The offset of the trail.
    fn before(&self) -> u64 {
        self.begun().saturating_sub(self.trail.len() as u64)
    }

    /// Goes on in a copy of the file, at the same offset.
    pub(super) fn go_on_in(&mut self, copy: File, facts: Facts) {
        (self.file, self.facts) = (copy, facts);
        self.is_live = false;
    }

    /// Hands over the whole lines that were read.
    pub(super) fn take(&mut self, batch: &mut Batch) {
        let read = self.buffer.get(self.start..self.end).unwrap_or_default();
        let taken = self.lines.split(read, batch);
        self.leave_behind(taken);
    }

    /// Hands over a last line without an end.
    pub(super) fn finish(&mut self, batch: &mut Batch) {
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        self.lines.finish(rest, batch);
        self.leave_behind(self.end - self.start);
    }

    fn leave_behind(&mut self, bytes: usize) {
        let taken = self.buffer.get(self.start..self.start + bytes).unwrap_or_default();
        self.trail.extend_from_slice(last(taken));
        self.trail.drain(..self.trail.len().saturating_sub(TRAIL_BYTES));
        self.start += bytes;
    }

    /// Reads on. What a truncated file gave is not believed.
    pub(super) fn fill(&mut self) -> io::Result<Found> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.is_in_hole && self.end == 0 {
            self.skip_hole();
        }
        let count = match self.file.read_at(self.buffer.get_mut(self.end..).unwrap_or_default(), self.offset)
        {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Found::More),
            read => read?,
        };
        if self.is_live {
            // only now: a file that is whole still was whole when it was read
            let facts = Facts::of(&self.file)?;
            let head = read_piece(&self.file, 0, HEAD_BYTES)?;
            if !head.starts_with(&self.head) {
                return Ok(Found::Truncated);
            }
            if facts.size_bytes < self.offset {
                return Ok(self.cut_back(facts));
            }
            if read_piece(&self.file, self.before(), self.trail.len())? != self.trail {
                return Ok(Found::Truncated);
            }
            (self.facts, self.head) = (facts, head);
        }
        let end = self.end + count;
        let read = self.buffer.get(self.end..end).unwrap_or_default();
        self.is_in_hole = count > 0 && read.iter().all(|byte| *byte == 0);
        (self.end, self.offset) = (end, self.offset + count as u64);
        Ok(if count == 0 { Found::End } else { Found::More })
    }

    /// A crash of the node takes the end of a log, and an editor may: begin again behind it. A hole tells nothing.
    fn cut_back(&mut self, facts: Facts) -> Found {
        if self.head.iter().all(|byte| *byte == 0) {
            return Found::Truncated;
        }
        (self.start, self.end, self.offset, self.facts) = (0, 0, facts.size_bytes, facts);
        self.trail.clear();
        Found::CutBack
    }

    /// Filesystems know where a hole ends; one that does not says that it ends here.
    fn skip_hole(&mut self) {
        if let Ok(data) = rustix::fs::seek(&self.file, SeekFrom::Data(self.offset)) {
            self.offset = data.max(self.offset);
            self.trail.clear();
        }
    }
}

fn last(bytes: &[u8]) -> &[u8] {
    bytes.get(bytes.len().saturating_sub(TRAIL_BYTES)..).unwrap_or_default()
}
