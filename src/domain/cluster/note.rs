//! What the Events about a report say.
//! Knows nothing of earlier reports, nor of what becomes of the Events.

use std::collections::BTreeMap;

use super::event::{EventReason, NodeEvent};
use crate::domain::changes::wording;
use crate::domain::judging::report::{Report, Violation};
use crate::domain::rules::{Problem, Reason};
use crate::domain::verdict::Verdict;
use crate::domain::words::cut::to_bytes;
use crate::domain::words::escape;

/// How much an Event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The first rules and the details of problems.
    Full,
    /// Numbers and reasons only: no text that comes from rules.
    Count,
}

/// The API server refuses a longer note.
///
/// *Source*: Kubernetes, `pkg/apis/core/validation/events.go`, `NoteLengthLimit`.
pub const NOTE_BYTES: usize = 1024;
/// One item may take this much, so that a note shows more than one.
const ITEM_BYTES: usize = 300;
/// Of which who is said to have brought it takes at most this much.
const BY_BYTES: usize = 120;
/// Room for the last words of a note that does not show everything.
const REST_BYTES: usize = "; and 18446744073709551615 more".len();

/// The Warnings that a report calls for, at most one for each reason.
pub fn warnings(report: &Report, detail: Detail) -> Vec<NodeEvent> {
    let (allowlist, other): (Vec<_>, Vec<_>) =
        report.problems.iter().partition(|problem| is_about_allowlists(problem.reason));
    let (went, other): (Vec<_>, Vec<_>) =
        other.into_iter().partition(|problem| problem.reason == Reason::CameAndWent);
    let decisive: Vec<_> = other.into_iter().filter(|problem| problem.reason.is_decisive()).collect();
    let verdict = report.verdict();
    [
        (verdict == Verdict::Violations)
            .then(|| NodeEvent::new(EventReason::UnexpectedIPTablesRules, unexpected(report, detail))),
        (!decisive.is_empty()).then(|| {
            let head = "The check is incomplete";
            NodeEvent::new(EventReason::IPTablesCheckIncomplete, problems(head, &decisive, detail))
        }),
        (!went.is_empty())
            .then(|| NodeEvent::new(EventReason::ShortLivedIPTablesRule, short_lived(&went, detail))),
        (!allowlist.is_empty()).then(|| {
            let head = "The allowlist is not in order";
            NodeEvent::new(EventReason::InvalidAllowlist, problems(head, &allowlist, detail))
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The Event that a node is compliant again.
pub fn recovery(report: &Report) -> NodeEvent {
    let rules: u64 = report.tables.iter().map(|table| table.rules).sum();
    let note = format!("All rules are allowed again ({rules} read)");
    NodeEvent::new(EventReason::IPTablesRulesCompliant, note)
}

/// The Event that somebody else keeps overwriting labels of an object. All are names that the API server takes.
pub fn contested(kind: &str, name: &str, keys: &[String]) -> NodeEvent {
    let note = format!(
        "Something else keeps overwriting the labels of {kind} {name}: {} had to be restored more than {} times within a \
         minute. Until that ends it is restored less often, and does not tell the verdict in between",
        keys.join(", "),
        super::contest::PATIENCE
    );
    NodeEvent::new(EventReason::LabelContested, to_bytes(&escape::line(note.as_bytes()).text, NOTE_BYTES))
}

const fn is_about_allowlists(reason: Reason) -> bool {
    matches!(reason, Reason::InvalidAllowlist | Reason::BrokenPattern | Reason::NoAllowlist)
}

fn unexpected(report: &Report, detail: Detail) -> String {
    let count = report.violation_count.max(report.violations.len() as u64);
    let noun = report.unexpected_noun();
    let head = format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    match detail {
        Detail::Count => head,
        Detail::Full => listed(&head, report.violations.iter().map(rule), count),
    }
}

fn short_lived(went: &[&Problem], detail: Detail) -> String {
    let head = "Rules that no pattern allows came and went between two looks";
    let items = went.iter().map(|problem| escape::line(problem.detail.as_bytes()).text.into_owned());
    match detail {
        Detail::Count => head.to_owned(),
        Detail::Full => listed(head, items, went.len() as u64),
    }
}

/// `ip filter INPUT (iptables-nft): -A INPUT -j DROP (by iptables < bash < sshd)`
fn rule(violation: &Violation) -> String {
    let chain = violation.chain.as_ref().map(|chain| format!(" {}", escape::name(chain)));
    let by = by(violation);
    let rule = format!(
        "{} {}{} ({}): {}",
        violation.family,
        escape::name(&violation.table),
        chain.unwrap_or_default(),
        violation.backend,
        escape::line(&violation.line).text
    );
    to_bytes(&rule, ITEM_BYTES - by.len()) + &by
}

/// ` (by iptables < bash < sshd, pod default/web)`; nothing where nobody is reported.
fn by(violation: &Violation) -> String {
    let authors =
        violation.provenance.as_ref().map(|provenance| wording::compact_authors(&provenance.authors));
    match authors.filter(|authors| !authors.is_empty()) {
        Some(authors) => format!(" (by {})", to_bytes(&authors, BY_BYTES)),
        None => String::new(),
    }
}

fn problems(head: &str, problems: &[&Problem], detail: Detail) -> String {
    let mut by_reason: BTreeMap<Reason, (usize, &str)> = BTreeMap::new();
    for problem in problems {
        by_reason.entry(problem.reason).or_insert((0, &problem.detail)).0 += 1;
    }
    let items = by_reason.iter().map(|(reason, (count, first))| {
        let times = if *count > 1 { format!(" ({count} times)") } else { String::new() };
        match detail {
            Detail::Full if !first.is_empty() => {
                format!("{}{times}: {}", reason.as_str(), escape::line(first.as_bytes()).text)
            }
            _ => format!("{}{times}", reason.as_str()),
        }
    });
    listed(head, items, by_reason.len() as u64)
}

/// `HEAD: item; item; and 3 more`, within the limit.
fn listed(head: &str, items: impl Iterator<Item = String>, count: u64) -> String {
    let mut note = head.to_owned();
    let mut shown = 0;
    for item in items {
        let item = to_bytes(&item, ITEM_BYTES);
        if note.len() + 2 + item.len() > NOTE_BYTES - REST_BYTES {
            break;
        }
        note.push_str(if shown == 0 { ": " } else { "; " });
        note.push_str(&item);
        shown += 1;
    }
    if shown > 0 && shown < count {
        note.push_str(&format!("; and {} more", count - shown));
    }
    note
}
