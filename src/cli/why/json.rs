//! The answer as JSON, schema `why.v2`.
//! The wire structs are private: a change here is a change of `docs/schema/why.v2.json`.

use std::time::SystemTime;

use serde::Serialize;

use super::found::Found;
use crate::app::checks::history::Remembered;
use crate::domain::changes::history::{Change, Watch};
use crate::domain::changes::json::WireAuthor;
use crate::domain::judging::allowlist::nearest::{Difference, Nearest};
use crate::domain::judging::allowlist::{Pattern, is_of_elements};
use crate::domain::judging::audit::Judgement;
use crate::domain::rules::{Backend, Problem};
use crate::domain::words::json::{ascii, lossy};
use crate::domain::words::moment::utc_millis;

/// The answer as indented JSON in ASCII.
///
/// # Errors
/// Never for an answer; serde's signature has one.
pub(super) fn render(found: &Found<'_>, problems: &[Problem]) -> serde_json::Result<String> {
    let Found { answer, remembered } = found;
    ascii(&WireAnswer {
        schema: "why.v2",
        judgement: answer.judgement.judged().as_str(),
        allowed: answer.judgement.judged().is_allowed(),
        not_judged_because: match answer.judgement {
            Judgement::Allowed | Judgement::Violation => None,
            Judgement::Undecided => Some("allowlist_broken_or_missing"),
            Judgement::Unjudged if is_of_elements(answer.line.as_bytes()) => Some("contents_not_asked_for"),
            Judgement::Unjudged if answer.table.is_none() => Some("judged_by_no_pattern"),
            Judgement::Unchecked | Judgement::Unjudged => Some("no_allowlist_for_its_family"),
        },
        suggested_pattern: answer.suggested_pattern.as_deref(),
        line: &answer.line,
        rewritten: answer.is_rewritten,
        may_be_printed_otherwise: answer.doubt.as_deref(),
        table: answer.table.as_deref(),
        table_assumed: answer.is_table_assumed,
        family: answer.family.as_str(),
        control_character: answer.has_control_byte,
        lists: answer.lists.iter().map(|list| list.as_str()).collect(),
        allowed_by: answer.allowing.iter().map(|pattern| WirePattern::new(pattern)).collect(),
        nearest: answer.nearest.iter().map(WireNearest::new).collect(),
        matching_elsewhere: answer.elsewhere.iter().map(|pattern| WirePattern::new(pattern)).collect(),
        problems: problems.iter().map(WireProblem::new).collect(),
        journal: remembered
            .as_ref()
            .map(|all| all.iter().map(|(backend, known)| WireRemembered::new(*backend, known)).collect()),
    })
}

#[derive(Serialize)]
struct WireAnswer<'a> {
    schema: &'static str,
    judgement: &'static str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_judged_because: Option<&'static str>,
    suggested_pattern: Option<&'a str>,
    line: &'a str,
    rewritten: bool,
    may_be_printed_otherwise: Option<&'a str>,
    table: Option<&'a str>,
    table_assumed: bool,
    family: &'static str,
    control_character: bool,
    lists: Vec<&'static str>,
    allowed_by: Vec<WirePattern<'a>>,
    nearest: Vec<WireNearest<'a>>,
    matching_elsewhere: Vec<WirePattern<'a>>,
    problems: Vec<WireProblem<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<Vec<WireRemembered<'a>>>,
}

#[derive(Serialize)]
struct WireProblem<'a> {
    reason: &'static str,
    detail: &'a str,
}

impl<'a> WireProblem<'a> {
    fn new(problem: &'a Problem) -> Self {
        Self { reason: problem.reason.as_str(), detail: &problem.detail }
    }
}

#[derive(Serialize)]
struct WirePattern<'a> {
    list: &'static str,
    origin: &'a str,
    line: usize,
    pattern: &'a str,
}

impl<'a> WirePattern<'a> {
    fn new(pattern: &'a Pattern) -> Self {
        let Pattern { list, origin, line, text } = pattern;
        Self { list: list.as_str(), origin, line: *line, pattern: text }
    }
}

#[derive(Serialize)]
struct WireNearest<'a> {
    #[serde(flatten)]
    pattern: WirePattern<'a>,
    bytes_different: usize,
    differences: Vec<WireDifference<'a>>,
}

impl<'a> WireNearest<'a> {
    fn new(nearest: &'a Nearest<'_>) -> Self {
        let differences = nearest.differences.iter().map(|Difference { at, found, expected }| {
            WireDifference { column: at + 1, found: lossy(found), expected }
        });
        Self {
            pattern: WirePattern::new(nearest.pattern),
            bytes_different: nearest.edits,
            differences: differences.collect(),
        }
    }
}

#[derive(Serialize)]
struct WireDifference<'a> {
    column: usize,
    found: String,
    expected: &'a str,
}

#[derive(Serialize)]
struct WireRemembered<'a> {
    backend: &'static str,
    first_seen: String,
    stands_since: String,
    may_be_older: bool,
    gone_at: Option<String>,
    last_seen: Option<String>,
    changes: Vec<WireChange<'a>>,
}

#[derive(Serialize)]
struct WireChange<'a> {
    time: String,
    change: &'static str,
    allowed: bool,
    judgement: &'static str,
    watched: bool,
    reported_processes: Vec<WireAuthor<'a>>,
}

impl<'a> WireRemembered<'a> {
    fn new(backend: Backend, known: &'a Remembered) -> Self {
        let life = &known.life;
        Self {
            backend: backend.as_str(),
            first_seen: utc_millis(life.first_seen),
            stands_since: utc_millis(life.since),
            may_be_older: life.is_older,
            gone_at: life.gone_at.map(utc_millis),
            last_seen: life.gone_at.or(known.watched_until).map(utc_millis),
            changes: known.changes.iter().map(WireChange::new).collect(),
        }
    }
}

impl<'a> WireChange<'a> {
    fn new((at, watch, change): &'a (SystemTime, Watch, Change)) -> Self {
        Self {
            time: utc_millis(*at),
            change: change.happening.as_str(),
            allowed: change.judged.is_allowed(),
            judgement: change.judged.as_str(),
            watched: *watch == Watch::Watched,
            reported_processes: change.authors.iter().map(|author| WireAuthor::new(author)).collect(),
        }
    }
}
