//! What of a report is shown, and when it was made.
//! Writes nothing.

use std::time::SystemTime;

use jiff::Timestamp;

use crate::domain::judging::audit;
use crate::domain::judging::report::{Report, Violation};
use crate::domain::verdict::Verdict;
use crate::domain::words::escape;
use crate::domain::words::numbers::{counted, grouped};

/// What a writer may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Colour the text for people.
    pub color: bool,
    /// How many violations are written with their text; the others are only counted.
    pub limit: usize,
    /// Of the text for people, only the verdict.
    pub quiet: bool,
}

impl WriteOptions {
    /// The most violations that are written with their text, unless told otherwise.
    pub const DEFAULT_LIMIT: usize = audit::DEFAULT_LIMIT;
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { color: false, limit: Self::DEFAULT_LIMIT, quiet: false }
    }
}

/// A report and the part of its violations that is written with text.
pub(super) struct Shown<'a> {
    pub report: &'a Report,
    pub verdict: Verdict,
    pub violations: &'a [Violation],
}

impl<'a> Shown<'a> {
    pub fn new(report: &'a Report, limit: usize) -> Self {
        let violations = report.violations.get(..limit).unwrap_or(&report.violations);
        Self { report, verdict: report.verdict(), violations }
    }

    /// How many violations are only counted.
    pub fn hidden(&self) -> u64 {
        self.report.violation_count.saturating_sub(self.violations.len() as u64)
    }

    /// "997 unexpected lines are not listed; SHA-256 of all 1,000: ..."; none when all are.
    pub fn hidden_note(&self) -> Option<String> {
        let hidden = self.hidden();
        (hidden > 0).then(|| {
            format!(
                "{} {} not listed; SHA-256 of all {}: {}",
                counted(hidden, "unexpected line"),
                if hidden == 1 { "is" } else { "are" },
                grouped(self.report.violation_count),
                escape::name(&self.report.violations_hash),
            )
        })
    }

    pub fn rules(&self) -> u64 {
        self.report.tables.iter().map(|table| table.rules).fold(0, u64::saturating_add)
    }
}

/// The moment in UTC, cut to what RFC 3339 can hold.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    if time < SystemTime::UNIX_EPOCH {
        return Timestamp::UNIX_EPOCH;
    }
    Timestamp::try_from(time).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clamps_times_that_rfc_3339_cannot_hold() {
        let before = SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1);
        let far = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 40);
        assert_eq!(timestamp(before).to_string(), "1970-01-01T00:00:00Z");
        assert!(timestamp(far).to_string().starts_with("9999-12-30T"));
    }
}
