//! The report as JSON, schema `check.v2`.
//! The wire structs are private: a change here is a change of `docs/schema/check.v2.json`.

use serde::Serialize;

use super::{Report, TableSummary, Violation};
use crate::domain::changes::json::WireProvenance;
use crate::domain::judging::blocked::Blocked;
use crate::domain::rules::Problem;
use crate::domain::words::json::{ascii, hex_unless_utf8, lossy};
use crate::domain::words::moment::utc_millis;

/// The report as indented JSON in ASCII, with the text of so many violations; the others are only counted.
///
/// # Errors
/// Never for a report; serde's signature has one.
pub fn render(report: &Report, limit: usize) -> serde_json::Result<String> {
    ascii(&Check::new(report, limit))
}

#[derive(Serialize)]
struct Check<'a> {
    schema: &'static str,
    verdict: &'static str,
    checked_at: String,
    node: &'a str,
    evidence: &'static str,
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
    not_judged: Option<u64>,
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
    fn new(report: &'a Report, limit: usize) -> Self {
        let listed = report.violations.get(..limit).unwrap_or(&report.violations);
        Self {
            schema: "check.v2",
            verdict: report.verdict().as_str(),
            checked_at: utc_millis(report.checked_at),
            node: &report.node,
            evidence: report.evidence.as_str(),
            violations: listed.iter().map(WireViolation::new).collect(),
            violation_count: report.violation_count,
            violations_hash: &report.violations_hash,
            violations_truncated: report.violation_count > listed.len() as u64,
            ruleset_hash: &report.ruleset_hash,
            problems: report.problems.iter().map(WireProblem::new).collect(),
            tables: report.tables.iter().map(WireTable::new).collect(),
            blocked_rules: report.blocked.as_ref().map(WireBlocked::new),
        }
    }
}

impl<'a> WireViolation<'a> {
    fn new(violation: &'a Violation) -> Self {
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
            not_judged: (summary.not_judged > 0).then_some(summary.not_judged),
            set_elements: (summary.set_elements > 0).then_some(summary.set_elements),
        }
    }
}

impl<'a> WireBlocked<'a> {
    fn new(blocked: &'a Blocked) -> Self {
        Self {
            count: blocked.count,
            since: blocked.since.map(utc_millis),
            last_at: blocked.last_at.map(utc_millis),
            counter: blocked.counter,
            error: blocked.error.as_deref(),
        }
    }
}
