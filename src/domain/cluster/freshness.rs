//! When the time of the last complete check is to be written beside the label, so that a `false` of a dead agent can be told.
//! Writes nothing; an incomplete check counts as none.

use std::time::{Duration, SystemTime};

use crate::domain::judging::report::Report;

/// The annotation with the time of the last complete check. Its prefix has no dot, so it is nobody's domain.
///
/// *Source*: Kubernetes documentation, "Annotations", "Syntax and character set".
pub const CHECKED_AT_KEY: &str = "iptables-monitor/last-check";
/// The annotation with the hash of all rules that were read then.
pub const RULESET_KEY: &str = "iptables-monitor/ruleset-hash";
/// It is written no more often.
pub const PERIOD: Duration = Duration::from_secs(600);

/// A complete check: everything was read and understood, whatever was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// When it ended.
    pub at: SystemTime,
    /// The hash of all rules.
    pub ruleset_hash: String,
}

impl Check {
    /// The check of a report, if it was complete.
    pub fn of(report: &Report) -> Option<Self> {
        let is_complete = !report.problems.iter().any(|problem| problem.reason.is_decisive());
        is_complete.then(|| Self { at: report.checked_at, ruleset_hash: report.ruleset_hash.clone() })
    }
}

/// The last complete check, and the one that was written.
#[derive(Debug, Default)]
pub struct Freshness {
    latest: Option<Check>,
    written: Option<Check>,
}

impl Freshness {
    /// Takes a new report.
    pub fn observe(&mut self, report: &Report) {
        if let Some(check) = Check::of(report) {
            self.latest = Some(check);
        }
    }

    /// Takes what stands there; an agent that starts again goes on where the last one ended.
    pub fn found(&mut self, check: &Check) {
        self.written.get_or_insert_with(|| check.clone());
    }

    /// Notes that this check was written.
    pub fn written(&mut self, check: &Check) {
        self.written = Some(check.clone());
    }

    /// What is to be written for its own sake: a check that is younger than the written one by [`PERIOD`], or, as the clock
    /// may have been wrong, older.
    pub fn due(&self) -> Option<&Check> {
        let latest = self.latest.as_ref()?;
        let is_due = match &self.written {
            None => true,
            Some(written) => latest.at.duration_since(written.at).map_or(true, |age| age >= PERIOD),
        };
        is_due.then_some(latest)
    }

    /// What goes along when something else is written where nothing of this stands.
    pub const fn latest(&self) -> Option<&Check> {
        self.latest.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::label::is_valid_key;
    use crate::domain::cluster::tests::report;
    use crate::domain::rules::Reason;

    fn at(seconds: u64, problems: &[(Reason, &str)]) -> Report {
        let checked_at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Report { checked_at, ..report(&[], problems) }
    }

    /// The seconds at which something was written, of reports at these seconds.
    fn written(freshness: &mut Freshness, reports: impl IntoIterator<Item = Report>) -> Vec<u64> {
        let mut all = Vec::new();
        for report in reports {
            freshness.observe(&report);
            if let Some(check) = freshness.due().cloned() {
                all.push(check.at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
                freshness.written(&check);
            }
        }
        all
    }

    #[test]
    fn it_is_written_every_ten_minutes_however_often_there_is_a_check() {
        let mut freshness = Freshness::default();
        let reports = (0..3600).map(|second| at(10_000 + second, &[]));
        let expected: Vec<_> = (0..6).map(|count| 10_000 + count * 600).collect();
        assert_eq!(written(&mut freshness, reports), expected);
    }

    #[test]
    fn checks_that_are_not_complete_do_not_count() {
        let mut freshness = Freshness::default();
        let torn = |seconds| at(seconds, &[(Reason::TornRead, "x")]);
        assert!(written(&mut freshness, [torn(1), torn(9000)]).is_empty());
        assert_eq!(written(&mut freshness, [at(10_000, &[]), torn(20_000)]), [10_000]);
        let harmless = at(30_000, &[(Reason::MixedBackends, "x")]);
        assert_eq!(written(&mut freshness, [harmless]), [30_000]);
    }

    #[test]
    fn a_new_agent_goes_on_and_a_time_to_come_is_corrected() {
        let found = |seconds| Check::of(&at(seconds, &[])).unwrap();
        let mut freshness = Freshness::default();
        freshness.found(&found(10_000));
        assert_eq!(written(&mut freshness, [at(10_300, &[]), at(10_600, &[])]), [10_600]);
        let mut freshness = Freshness::default();
        freshness.found(&found(99_999));
        assert_eq!(written(&mut freshness, [at(10_000, &[]), at(10_001, &[])]), [10_000]);
    }

    #[test]
    fn the_keys_are_valid() {
        assert!(is_valid_key(CHECKED_AT_KEY) && is_valid_key(RULESET_KEY));
    }
}
