//! What the agent prints of its checks: the whole report at the start and when the verdict changes, else what changed.
//! Prints a bounded part of either, and says how much is left out.

use std::io::{self, IsTerminal, Write};

use super::history::{Paint, render_json, render_text};
use super::output::{self, Format, WriteOptions};
use crate::app::checks::run::Checked;
use crate::domain::changes::ChangeSet;
use crate::domain::changes::history::Moment;
use crate::domain::changes::judged::Judged;
use crate::domain::judging::allowlist::is_of_elements;
use crate::domain::judging::report::{Report, json};
use crate::domain::rules::Problem;
use crate::domain::verdict::Verdict;
use crate::domain::words::escape;
use crate::domain::words::numbers::{counted, grouped};
use crate::telemetry::log::LogFormat;

/// Violations of a report, and changes of a check, that are printed.
const MAX_LINES: usize = 100;
/// Changes of one check that are printed of what is not judged: where no allowlist is in force, everything is.
const MAX_NOT_JUDGED: usize = 5;
/// Bytes of text that are printed at once.
const MAX_BYTES: usize = 64 << 10;

/// What was printed last; only news is printed.
#[derive(Debug)]
pub(super) struct Told {
    format: LogFormat,
    paint: Paint,
    last: Option<Last>,
}

/// What tells one outcome from another.
#[derive(Debug, PartialEq, Eq)]
struct Last {
    verdict: Verdict,
    violations_hash: String,
    problems: Vec<Problem>,
}

impl Told {
    pub fn new(format: LogFormat) -> Self {
        let is_on = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { format, paint: Paint { is_on }, last: None }
    }

    /// One log line for each check, and behind it what is new.
    pub fn tell(&mut self, checked: &Checked) {
        let report = &checked.report;
        let text = self.news(report, checked.changes.as_deref());
        // under steady churn there is a check every few seconds
        let level = if text.is_some() || checked.is_full { log::Level::Info } else { log::Level::Debug };
        log::log!(
            level,
            verdict = report.verdict().as_str(),
            unexpected = report.violation_count,
            problems = report.problems.len(),
            rules = report.tables.iter().map(|table| table.rules).sum::<u64>();
            "{}", if text.is_some() { "checked" } else { "checked, nothing new" }
        );
        let Some(text) = text else { return };
        let mut out = io::stdout().lock();
        if let Err(error) = text.and_then(|text| out.write_all(text.as_bytes())).and_then(|()| out.flush()) {
            log::warn!(error:%; "what is new could not be printed");
        }
    }

    /// What is printed; none if nothing is new.
    fn news(&mut self, report: &Report, changes: Option<&ChangeSet>) -> Option<io::Result<String>> {
        let now = Last {
            verdict: report.verdict(),
            violations_hash: report.violations_hash.clone(),
            problems: report.problems.clone(),
        };
        let before = self.last.replace(now);
        let now = self.last.as_ref()?;
        let Some(before) = before.filter(|before| before.verdict == now.verdict) else {
            return Some(self.whole(report));
        };
        let has_other_violations = before.violations_hash != now.violations_hash;
        // a detail with a number in it changes all the time
        let has_other_problems = before.problems.len() != now.problems.len();
        match changes.map(not_allowed) {
            Some(moment) if !moment.changes.is_empty() => Some(self.changes(moment)),
            // other allowlists, or lines whose text was not kept
            _ if has_other_violations => Some(self.whole(report)),
            _ if has_other_problems && self.format == LogFormat::Json => Some(self.whole(report)),
            _ if has_other_problems => Some(Ok(Self::problems(&before.problems, &now.problems))),
            _ => None,
        }
    }

    /// The report, with fewer violations where it is too long.
    fn whole(&self, report: &Report) -> io::Result<String> {
        if self.format == LogFormat::Json {
            for limit in [MAX_LINES, MAX_LINES / 5, 1, 0] {
                let line: serde_json::Value = serde_json::from_str(&json::render(report, limit)?)?;
                let line = format!("{line}\n");
                if line.len() <= MAX_BYTES || limit == 0 {
                    return Ok(line);
                }
            }
        }
        let mut out = Vec::new();
        let options = WriteOptions { color: self.paint.is_on, limit: MAX_LINES, quiet: false };
        output::write(report, Format::Text, &options, &mut out)?;
        Ok(cut(String::from_utf8_lossy(&out).into_owned()))
    }

    fn changes(&self, moment: Moment) -> io::Result<String> {
        match self.format {
            LogFormat::Json => Ok(render_json(&moment)?),
            LogFormat::Text => Ok(cut(render_text(&moment, self.paint))),
        }
    }

    /// The problems that came, each on a line; of those that went only the number.
    fn problems(before: &[Problem], now: &[Problem]) -> String {
        let came = now.iter().filter(|problem| !before.contains(problem));
        let line = |problem: &Problem| {
            format!("  ? {}: {}\n", problem.reason.as_str(), escape::line(problem.detail.as_bytes()).text)
        };
        let went = before.iter().filter(|problem| !now.contains(problem)).count() as u64;
        let gone =
            if went > 0 { format!("  {} gone\n", counted(went, "earlier problem")) } else { String::new() };
        cut(came.map(line).collect::<String>() + &gone)
    }
}

/// What one check found of lines that are not allowed, the first of them; the other changes are counted. What sets hold is not
/// told unless it is judged: many change all the time.
fn not_allowed(set: &ChangeSet) -> Moment {
    let mut moment = Moment::from(set);
    let all = moment.changes.len();
    let mut left = [(Judged::Unexpected, MAX_LINES), (Judged::NotJudged, MAX_NOT_JUDGED)];
    moment.changes.retain(|change| {
        if change.judged == Judged::NotJudged && change.line.as_deref().is_some_and(is_of_elements) {
            return false;
        }
        let Some((_, left)) = left.iter_mut().find(|(judged, _)| *judged == change.judged) else {
            return false;
        };
        let is_told = *left > 0;
        *left = left.saturating_sub(1);
        is_told
    });
    moment.untold = moment.untold.saturating_add((all - moment.changes.len()) as u64);
    moment
}

/// Whole lines of a text, as many as may be printed at once, and how much that leaves out.
fn cut(text: String) -> String {
    if text.len() <= MAX_BYTES {
        return text;
    }
    let kept = text.get(..text.floor_char_boundary(MAX_BYTES)).unwrap_or_default();
    let kept = kept.rfind('\n').map_or("", |end| kept.get(..=end).unwrap_or_default());
    let rest = text.get(kept.len()..).unwrap_or_default();
    let lines = counted(rest.lines().count() as u64, "more line");
    format!("{kept}  {lines} ({} bytes) left out; monitor check prints all\n", grouped(rest.len() as u64))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::domain::changes::{RuleChange, What};
    use crate::domain::judging::report::{Evidence, Violation};
    use crate::domain::rules::{Backend, Family, Kind, Reason};

    fn told(format: LogFormat) -> Told {
        Told { format, paint: Paint { is_on: false }, last: None }
    }

    fn violation(number: usize) -> Violation {
        Violation {
            backend: Backend::IptablesNft,
            family: Family::Ip,
            table: "filter".into(),
            chain: Some("INPUT".into()),
            position: Some(1),
            kind: Kind::Rule,
            line: format!("-A INPUT -s {number}").into_bytes(),
            suggested_pattern: None,
            provenance: None,
        }
    }

    fn report(violations: usize, problems: &[&str]) -> Report {
        Report {
            checked_at: SystemTime::UNIX_EPOCH,
            node: "n".into(),
            evidence: Evidence::Kernel,
            tables: Vec::new(),
            violations: (0..violations).map(violation).collect(),
            violation_count: violations as u64,
            violations_hash: violations.to_string(),
            ruleset_hash: String::new(),
            problems: problems.iter().map(|detail| Problem::new(Reason::TornRead, *detail)).collect(),
            blocked: None,
        }
    }

    fn set(judged: Judged, count: usize) -> ChangeSet {
        let change = RuleChange {
            what: What::Added,
            backend: Backend::IptablesNft,
            family: Family::Ip,
            table: "filter".into(),
            chain: Some("INPUT".into()),
            kind: Kind::Rule,
            position: Some(1),
            line: b"-A INPUT -s new".to_vec(),
            judged,
            authors: Vec::new(),
        };
        let verdict = Verdict::Violations;
        let changes = vec![change; count];
        ChangeSet { at: SystemTime::UNIX_EPOCH, before: Some(verdict), after: verdict, changes, untold: 2 }
    }

    fn news(told: &mut Told, report: &Report, changes: Option<&ChangeSet>) -> Option<String> {
        told.news(report, changes).transpose().unwrap()
    }

    #[test]
    fn the_whole_is_printed_at_the_start_and_with_another_verdict() {
        let mut told = told(LogFormat::Text);
        let first = news(&mut told, &report(0, &[]), None).unwrap();
        assert!(first.starts_with("COMPLIANT  n: "), "{first}");
        assert_eq!(news(&mut told, &report(0, &[]), None), None);
        let turned = news(&mut told, &report(1_500, &[]), Some(&set(Judged::Unexpected, 1))).unwrap();
        assert!(
            turned.starts_with("VIOLATIONS  n: 1,500 ") && turned.contains("1,400 unexpected"),
            "{turned}"
        );
    }

    #[test]
    fn a_change_is_printed_alone() {
        let mut told = told(LogFormat::Text);
        news(&mut told, &report(1_500, &[]), None);
        let text = news(&mut told, &report(1_501, &[]), Some(&set(Judged::Unexpected, 1))).unwrap();
        let expected = "1970-01-01T00:00:00Z  violations\n  \
            + added  unexpected  iptables-nft, family ip, table filter, chain INPUT, rule 1\n      \
            | -A INPUT -s new\n  2 more changes are only counted\n";
        assert_eq!(text, expected);
        let many = news(&mut told, &report(1_900, &[]), Some(&set(Judged::Unexpected, 400))).unwrap();
        assert_eq!(many.matches("| -A").count(), MAX_LINES);
        assert!(many.ends_with("  302 more changes are only counted\n"), "{many}");
    }

    #[test]
    fn what_is_allowed_is_no_news() {
        let mut told = told(LogFormat::Text);
        news(&mut told, &report(1, &[]), None);
        assert_eq!(news(&mut told, &report(1, &[]), Some(&set(Judged::Allowed, 9))), None);
        let mut elements = set(Judged::NotJudged, 1);
        elements.changes[0].line = b"elements inet t s 1 sha256 00".to_vec();
        assert_eq!(
            news(&mut told, &report(1, &[]), Some(&elements)),
            None,
            "nobody asks for what a set holds"
        );
        let text = news(&mut told, &report(1, &[]), Some(&set(Judged::NotJudged, 9))).unwrap();
        assert_eq!(text.matches("+ added  not judged  ").count(), MAX_NOT_JUDGED, "{text}");
        assert!(text.ends_with("  6 more changes are only counted\n"), "{text}");
        // other allowlists
        let text = news(&mut told, &report(2, &[]), Some(&set(Judged::Allowed, 9))).unwrap();
        assert!(text.starts_with("VIOLATIONS  n: 2 "), "{text}");
    }

    #[test]
    fn problems_are_printed_as_they_come() {
        let mut told = told(LogFormat::Text);
        news(&mut told, &report(1, &["a", "b"]), None);
        assert_eq!(
            news(&mut told, &report(1, &["a", "c"]), None),
            None,
            "a number in it changes all the time"
        );
        let text = news(&mut told, &report(1, &["a", "c", "d\n"]), None).unwrap();
        assert_eq!(text, "  ? TornRead: d\\n\n");
        assert_eq!(news(&mut told, &report(1, &[]), None).unwrap(), "  3 earlier problems gone\n");
    }

    #[test]
    fn what_is_printed_at_once_is_bounded() {
        let long = "x".repeat(9_000);
        let problems = vec![long.as_str(); 40];
        let text = news(&mut told(LogFormat::Text), &report(3, &problems), None).unwrap();
        assert!(text.len() < MAX_BYTES + 100, "{}", text.len());
        assert!(text.ends_with(" left out; monitor check prints all\n"), "{text}");
        let mut long = report(1_500, &[]);
        long.violations.iter_mut().for_each(|violation| violation.line = vec![b'x'; 1_000]);
        let line = news(&mut told(LogFormat::Json), &long, None).unwrap();
        assert!(line.len() < MAX_BYTES && line.matches('\n').count() == 1, "{}", line.len());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["violation_count"], 1_500);
    }

    #[test]
    fn programs_get_changes_as_history_prints_them() {
        let mut told = told(LogFormat::Json);
        news(&mut told, &report(1, &[]), None);
        let text = news(&mut told, &report(2, &[]), Some(&set(Judged::Unexpected, 2))).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["check", "change", "change"]);
    }
}
