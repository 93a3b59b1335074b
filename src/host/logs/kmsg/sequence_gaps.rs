//! The account of what was read, what was lost and what waits to be fetched.
//! Reads no device: records and moments are handed in.

use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::record::Record;
use crate::domain::drops::batch::Batch;

/// Lines that wait take no more than this; at 100,000 lines a second, a third of a second's.
const HELD_BYTES: usize = 8 << 20;
/// What a line costs beside its bytes.
const LINE_BYTES: usize = 64;

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The batch ends with the log's end, as far as that was seen.
    CaughtUp,
    /// There is more, or nobody has looked yet.
    Behind,
}

/// What waits to be fetched.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub batch: Batch,
    /// The number of the last record that is accounted for.
    pub last: Option<u64>,
    pub failure: Option<Errno>,
    is_caught_up: bool,
    /// The log's end was reached, and the caller does not know yet.
    is_end_news: bool,
}

impl Pending {
    /// Whether there is anything that a caller waits for.
    pub fn has_news(&self) -> bool {
        let Batch { lost, gaps, .. } = self.batch;
        !self.batch.is_empty() || lost > 0 || gaps > 0 || self.is_end_news || self.failure.is_some()
    }

    /// Gives everything to the caller, in exchange for an empty batch and its memory.
    ///
    /// # Errors
    /// The failure that ended the reading, once nothing else is left.
    pub fn hand_over(&mut self, empty: &mut Batch) -> Result<Status, Errno> {
        std::mem::swap(&mut self.batch, empty);
        match self.failure {
            Some(error) if empty.is_empty() && empty.lost == 0 && empty.gaps == 0 => return Err(error),
            _ => {}
        }
        self.is_end_news = false;
        Ok(if self.is_caught_up { Status::CaughtUp } else { Status::Behind })
    }

    fn push(&mut self, line: &[u8], at: Option<SystemTime>) {
        let held = self.batch.len_bytes() + self.batch.len() * LINE_BYTES;
        match held + line.len() + LINE_BYTES <= HELD_BYTES {
            true => self.batch.push(line, at),
            false => self.batch.lost += 1,
        }
    }
}

/// What the reading thread knows of the log's course.
#[derive(Debug)]
pub(super) struct SequenceGaps {
    expected: Option<u64>,
    newest: Option<u64>,
    pub clock: Clock,
    line: Vec<u8>,
}

impl SequenceGaps {
    /// An account that goes on behind the record with this number.
    pub fn new(last: Option<u64>) -> Self {
        Self {
            expected: last.map(|last| last.saturating_add(1)),
            newest: None,
            clock: Clock::new(),
            line: Vec::new(),
        }
    }

    /// Makes the line of the record, before anybody is kept waiting for it.
    pub fn prepare(&mut self, record: Option<Record<'_>>) {
        if let Some(record) = record.filter(Record::is_of_kernel) {
            record.text(&mut self.line);
        }
    }

    /// Enters a record that was prepared; none is one that does not follow the format.
    pub fn enter(&mut self, record: Option<Record<'_>>, pending: &mut Pending) {
        let Some(record) = record else {
            pending.batch.gaps += 1;
            return;
        };
        pending.is_caught_up = false;
        self.newest = Some(record.sequence);
        let expected = self.expected.unwrap_or(record.sequence);
        let Some(missed) = record.sequence.checked_sub(expected) else { return };
        pending.batch.lost += missed;
        pending.last = Some(record.sequence);
        self.expected = Some(record.sequence.saturating_add(1));
        if record.is_of_kernel() {
            pending.push(&self.line, self.clock.at(record.since_boot));
        }
    }

    /// Records were overwritten before they were read: the next one's number tells how many, if there was one before.
    pub fn overwritten(&self, pending: &mut Pending) {
        pending.batch.gaps += u64::from(self.expected.is_none());
    }

    /// The log's end was reached.
    pub fn caught_up(&mut self, pending: &mut Pending) {
        let next = self.newest.map(|newest| newest.saturating_add(1));
        if let (Some(next), Some(expected)) = (next, self.expected)
            && next < expected
        {
            // the position to go on from was not of this log, and what lies before its number would never be told
            pending.batch.gaps += 1;
            self.expected = Some(next);
        }
        pending.is_caught_up = true;
        pending.is_end_news = true;
    }
}

/// Turns the log's time into that of the wall clock.
///
/// The log's clock stops in suspend and is not steered as others are: over a long uptime it goes seconds wrong. So it is
/// set anew with every record that was waited for.
#[derive(Debug)]
pub(super) struct Clock {
    wall: SystemTime,
    since_boot: Duration,
}

impl Clock {
    /// A clock that takes the log's for CLOCK_MONOTONIC, which it resembles.
    fn new() -> Self {
        let since_boot = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        Self { wall: SystemTime::now(), since_boot }
    }

    /// A record of this time was written just now.
    pub fn set(&mut self, now: SystemTime, since_boot: Duration) {
        (self.wall, self.since_boot) = (now, since_boot);
    }

    /// When a record was written.
    fn at(&self, since_boot: Duration) -> Option<SystemTime> {
        match since_boot.checked_sub(self.since_boot) {
            Some(later) => self.wall.checked_add(later),
            None => self.wall.checked_sub(self.since_boot.saturating_sub(since_boot)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(sequence_gaps: &mut SequenceGaps, pending: &mut Pending, text: &str) {
        let record = Record::parse(text.as_bytes());
        sequence_gaps.prepare(record);
        sequence_gaps.enter(record, pending);
    }

    fn fetch(pending: &mut Pending) -> (Vec<String>, u64, u64) {
        let mut batch = Batch::default();
        pending.hand_over(&mut batch).expect("no failure");
        let lines = batch.lines().map(|(line, _)| String::from_utf8_lossy(line).into_owned());
        (lines.collect(), batch.lost, batch.gaps)
    }

    /// What is told of these records by one who has read up to `last`.
    fn check(last: Option<u64>, records: &[&str], lines: &[&str], lost: u64, gaps: u64) {
        let (mut sequence_gaps, mut pending) = (SequenceGaps::new(last), Pending::default());
        records.iter().for_each(|record| enter(&mut sequence_gaps, &mut pending, record));
        sequence_gaps.caught_up(&mut pending);
        assert_eq!(fetch(&mut pending), (lines.iter().map(|&line| line.to_owned()).collect(), lost, gaps));
    }

    #[test]
    fn a_gap_is_as_large_as_the_numbers_say() {
        check(None, &["4,7,1,-;a", "4,8,1,-;b"], &["a", "b"], 0, 0);
        check(None, &["4,7,1,-;a", "4,10,1,-;b"], &["a", "b"], 2, 0);
        check(Some(3), &["4,7,1,-;a"], &["a"], 3, 0);
        check(Some(6), &["4,5,1,-;old", "4,6,1,-;old", "4,7,1,-;a"], &["a"], 0, 0);
        check(None, &["no record", "4,7,1,-;a"], &["a"], 0, 1);
    }

    #[test]
    fn lines_of_others_count_as_read() {
        check(Some(6), &["4,7,1,-;a", "12,8,1,-;forged", "4,9,1,-;b"], &["a", "b"], 0, 0);
    }

    #[test]
    fn a_position_beyond_the_log_does_not_silence_it() {
        let (mut sequence_gaps, mut pending) = (SequenceGaps::new(Some(1000)), Pending::default());
        enter(&mut sequence_gaps, &mut pending, "4,7,1,-;a");
        sequence_gaps.caught_up(&mut pending);
        enter(&mut sequence_gaps, &mut pending, "4,8,1,-;b");
        assert_eq!(fetch(&mut pending), (vec!["b".to_owned()], 0, 1));
        check(Some(u64::MAX), &["4,7,1,-;a"], &[], 0, 1);
    }

    #[test]
    fn an_overrun_before_the_first_record_has_no_size() {
        let mut pending = Pending::default();
        SequenceGaps::new(None).overwritten(&mut pending);
        SequenceGaps::new(Some(3)).overwritten(&mut pending);
        assert_eq!(fetch(&mut pending), (vec![], 0, 1));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_counted() {
        let (mut sequence_gaps, mut pending) = (SequenceGaps::new(None), Pending::default());
        let long = "x".repeat(1000);
        let count = (HELD_BYTES / 1000) as u64;
        (0..count)
            .for_each(|number| enter(&mut sequence_gaps, &mut pending, &format!("4,{number},1,-;{long}")));
        let (lines, lost, _) = fetch(&mut pending);
        assert!(lost > 0, "{}", lines.len());
        assert_eq!(lines.len() as u64 + lost, count);
        assert_eq!(pending.last, Some(count - 1));
    }

    #[test]
    fn the_end_and_a_failure_are_told_once_what_came_before_is() {
        let (mut sequence_gaps, mut pending, mut batch) =
            (SequenceGaps::new(None), Pending::default(), Batch::default());
        assert!(!pending.has_news());
        enter(&mut sequence_gaps, &mut pending, "4,7,1,-;a");
        assert_eq!(pending.hand_over(&mut batch), Ok(Status::Behind));
        sequence_gaps.caught_up(&mut pending);
        assert!(pending.has_news());
        batch.clear();
        assert_eq!(pending.hand_over(&mut batch), Ok(Status::CaughtUp));
        assert!(!pending.has_news());
        enter(&mut sequence_gaps, &mut pending, "4,8,1,-;b");
        pending.failure = Some(Errno::IO);
        assert_eq!(pending.hand_over(&mut batch), Ok(Status::Behind));
        assert_eq!(batch.len(), 1);
        batch.clear();
        assert_eq!(pending.hand_over(&mut batch), Err(Errno::IO));
    }

    #[test]
    fn times_are_counted_from_the_last_that_is_certain() {
        let (now, second) =
            (SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000), Duration::from_secs(1));
        let mut clock = Clock::new();
        clock.set(now, second * 50);
        assert_eq!(clock.at(second * 52), Some(now + second * 2));
        assert_eq!(clock.at(second * 20), Some(now - second * 30));
        assert_eq!(clock.at(Duration::MAX), None);
    }
}
