//! The report as JSON, schema `check.v1`.
//! The wire structs are private: a change here is a change of `docs/schema/check.v1.json`.

mod provenance;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::{Shown, timestamp};
use crate::domain::judging::blocked::Blocked;
use crate::domain::judging::report::{Evidence, TableSummary, Violation};
use crate::domain::rules::Problem;
use crate::domain::words::escape::hex;
pub(crate) use provenance::WireAuthor;
use provenance::WireProvenance;

/// The report as indented JSON in ASCII.
///
/// # Errors
/// Never for a report; serde's signature has one.
pub(super) fn render(shown: &Shown) -> serde_json::Result<String> {
    ascii(&Check::new(shown))
}

/// A value as indented JSON whose strings escape all that is not printable ASCII, ended by a newline.
///
/// # Errors
/// When the value cannot be serialised.
pub(crate) fn ascii(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(only_ascii(&serde_json::to_string_pretty(value)?))
}

/// As [`ascii`], but in one line.
///
/// # Errors
/// When the value cannot be serialised.
pub(crate) fn ascii_line(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(only_ascii(&serde_json::to_string(value)?))
}

/// JSON with a newline at its end.
fn only_ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        match character {
            '\n' | ' '..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('\n');
    out
}

#[derive(Serialize)]
struct Check<'a> {
    schema: &'static str,
    verdict: &'static str,
    checked_at: String,
    node: &'a str,
    evidence: &'static str,
    tools: &'a BTreeMap<String, String>,
    violations: Vec<WireViolation<'a>>,
    violation_count: u64,
    violations_hash: &'a str,
    violations_truncated: bool,
    ruleset_hash: &'a str,
    problems: Vec<WireProblem<'a>>,
    tables: Vec<WireTable<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_rules: Option<WireBlocked<'a>>,
}

#[derive(Serialize)]
struct WireViolation<'a> {
    backend: &'static str,
    family: &'static str,
    table: &'a str,
    chain: Option<&'a str>,
    position: Option<u32>,
    kind: &'static str,
    line: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_hex: Option<String>,
    suggested_pattern: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    printed_as: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    printed_as_hex: Option<String>,
    #[serde(flatten)]
    provenance: Option<WireProvenance<'a>>,
}

#[derive(Serialize)]
struct WireProblem<'a> {
    reason: &'static str,
    detail: &'a str,
}

#[derive(Serialize)]
struct WireTable<'a> {
    backend: &'static str,
    family: &'static str,
    table: &'a str,
    rules: u64,
    unexpected: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    set_elements: Option<u64>,
}

#[derive(Serialize)]
struct WireBlocked<'a> {
    count: u64,
    since: Option<String>,
    last_at: Option<String>,
    counter: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Check<'a> {
    fn new(shown: &Shown<'a>) -> Self {
        let report = shown.report;
        Self {
            schema: "check.v1",
            verdict: shown.verdict.as_str(),
            checked_at: format!("{:.3}", timestamp(report.checked_at)),
            node: &report.node,
            evidence: evidence(report.evidence),
            tools: &report.tools,
            violations: shown.violations.iter().map(WireViolation::new).collect(),
            violation_count: report.violation_count,
            violations_hash: &report.violations_hash,
            violations_truncated: shown.hidden() > 0,
            ruleset_hash: &report.ruleset_hash,
            problems: report.problems.iter().map(WireProblem::new).collect(),
            tables: report.tables.iter().map(WireTable::new).collect(),
            blocked_rules: report.blocked.as_ref().map(WireBlocked::new),
        }
    }
}

impl<'a> WireViolation<'a> {
    fn new(violation: &'a Violation) -> Self {
        let printed_as = violation.printed_as.as_deref();
        Self {
            backend: violation.backend.as_str(),
            family: violation.family.as_str(),
            table: &violation.table,
            chain: violation.chain.as_deref(),
            position: violation.position,
            kind: violation.kind.as_str(),
            line: lossy(&violation.line),
            line_hex: hex_unless_utf8(&violation.line),
            suggested_pattern: violation.suggested_pattern.as_deref(),
            printed_as: printed_as.map(lossy),
            printed_as_hex: printed_as.and_then(hex_unless_utf8),
            provenance: violation.provenance.as_ref().map(WireProvenance::new),
        }
    }
}

impl<'a> WireProblem<'a> {
    fn new(problem: &'a Problem) -> Self {
        Self { reason: problem.reason.as_str(), detail: &problem.detail }
    }
}

impl<'a> WireTable<'a> {
    fn new(summary: &'a TableSummary) -> Self {
        Self {
            backend: summary.backend.as_str(),
            family: summary.family.as_str(),
            table: &summary.table,
            rules: summary.rules,
            unexpected: summary.unexpected,
            set_elements: (summary.set_elements > 0).then_some(summary.set_elements),
        }
    }
}

impl<'a> WireBlocked<'a> {
    fn new(blocked: &'a Blocked) -> Self {
        let moment = |at| format!("{:.3}", timestamp(at));
        Self {
            count: blocked.count,
            since: blocked.since.map(moment),
            last_at: blocked.last_at.map(moment),
            counter: blocked.counter,
            error: blocked.error.as_deref(),
        }
    }
}

/// The name of an evidence in reports.
pub(super) const fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Kernel => "kernel",
        Evidence::Text => "text",
    }
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn hex_unless_utf8(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| hex(bytes))
}
