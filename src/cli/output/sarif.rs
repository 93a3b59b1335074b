//! The report as SARIF 2.1.0, for code scanning and annotations.
//! Names no file: a report knows tables and chains, not where a saved dump lies.
//!
//! *Source*: OASIS "Static Analysis Results Interchange Format (SARIF) Version 2.1.0 Plus Errata 01".

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::shown::Shown;
use crate::domain::changes::wording;
use crate::domain::judging::report::Violation;
use crate::domain::judging::wording::{allowlist_file, place};
use crate::domain::rules::Problem;
use crate::domain::words::escape;
use crate::domain::words::json::ascii;
use crate::domain::words::moment::utc_millis;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The key of a result's fingerprint; its version rises when what is hashed changes.
const FINGERPRINT: &str = "unexpectedRule/v1";

/// Processes that are named for one rule.
const MAX_AUTHORS: usize = 3;

/// The report as indented JSON in ASCII.
///
/// # Errors
/// Never for a report; serde's signature has one.
pub(super) fn render(shown: &Shown) -> serde_json::Result<String> {
    ascii(&Log { schema: SCHEMA, version: "2.1.0", runs: [Run::new(shown)] })
}

#[derive(Serialize)]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
struct Run {
    tool: Tool,
    invocations: [Invocation; 1],
    results: Vec<ResultObject>,
    properties: RunProperties,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: [ReportingDescriptor; 2],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportingDescriptor {
    id: &'static str,
    name: &'static str,
    short_description: Message,
    full_description: Message,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Configuration {
    level: Level,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    /// False when a part of the node was not read: the results are then not all there may be.
    execution_successful: bool,
    end_time_utc: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultObject {
    rule_id: &'static str,
    rule_index: usize,
    level: Level,
    message: Message,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locations: Vec<Location>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    partial_fingerprints: BTreeMap<&'static str, String>,
    properties: ResultProperties,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warning,
    Note,
}

#[derive(Serialize)]
struct Message {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    logical_locations: [LogicalLocation; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogicalLocation {
    name: String,
    fully_qualified_name: String,
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunProperties {
    node: String,
    verdict: &'static str,
    evidence: &'static str,
    violation_count: u64,
    violations_hash: String,
    ruleset_hash: String,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggested_pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reported_processes: Vec<String>,
}

const UNEXPECTED: (&str, usize) = ("unexpected-rule", 0);
const UNREAD: (&str, usize) = ("unread-part", 1);

impl Run {
    fn new(shown: &Shown) -> Self {
        let report = shown.report;
        let unread = report.problems.iter().any(|problem| problem.reason.is_decisive());
        let results = shown
            .violations
            .iter()
            .map(ResultObject::violation)
            .chain(ResultObject::hidden(shown))
            .chain(report.problems.iter().map(ResultObject::problem))
            .collect();
        Self {
            tool: Tool { driver: driver() },
            invocations: [Invocation {
                execution_successful: !unread,
                end_time_utc: utc_millis(report.checked_at),
            }],
            results,
            properties: RunProperties {
                node: report.node.clone(),
                verdict: shown.verdict.as_str(),
                evidence: report.evidence.as_str(),
                violation_count: report.violation_count,
                violations_hash: report.violations_hash.clone(),
                ruleset_hash: report.ruleset_hash.clone(),
            },
        }
    }
}

fn driver() -> Driver {
    let rule = |(id, _): (&'static str, usize), name, level, short: &str, full: &str| ReportingDescriptor {
        id,
        name,
        short_description: Message { text: short.to_owned() },
        full_description: Message { text: full.to_owned() },
        default_configuration: Configuration { level },
    };
    Driver {
        name: "monitor",
        version: env!("CARGO_PKG_VERSION"),
        rules: [
            rule(
                UNEXPECTED,
                "UnexpectedRule",
                Level::Error,
                "A rule that no allowlist pattern matches.",
                "The node holds an iptables or nftables rule, policy or declaration that no pattern of the \
                 allowlist matches. Remove it, or add a pattern for it.",
            ),
            rule(
                UNREAD,
                "UnreadPart",
                Level::Warning,
                "A part of the node that was not read or not understood.",
                "While a part of the rules cannot be read and understood, the node is not called compliant.",
            ),
        ],
    }
}

impl ResultObject {
    fn violation(violation: &Violation) -> Self {
        let line = escape::line(&violation.line).text.into_owned();
        let mut text = format!("Unexpected rule in {}: {line}", place(violation));
        let provenance = violation.provenance.as_ref();
        let authors =
            provenance.map_or(&[][..], |found| found.authors.get(..MAX_AUTHORS).unwrap_or(&found.authors));
        let suggested_pattern = violation.suggested_pattern.as_deref().map(escape::pattern);
        if let Some(pattern) = &suggested_pattern {
            text.push_str(&format!(
                "\nAllow it: add to {}: {pattern}",
                allowlist_file(violation.backend, violation.family, &violation.table)
            ));
        }
        Self {
            locations: vec![Location { logical_locations: [LogicalLocation::new(violation)] }],
            partial_fingerprints: BTreeMap::from([(FINGERPRINT, fingerprint(violation))]),
            properties: ResultProperties {
                kind: Some(violation.kind.as_str()),
                position: violation.position,
                line: Some(line),
                suggested_pattern,
                first_seen: provenance.map(|found| utc_millis(found.first_seen)),
                reported_processes: authors.iter().map(|author| wording::author(author)).collect(),
                ..Default::default()
            },
            ..Self::plain(UNEXPECTED, Level::Error, &text)
        }
    }

    /// What a shortened list must still say: without it, a limit of 0 would look clean.
    fn hidden(shown: &Shown) -> Option<Self> {
        Some(Self::plain(UNEXPECTED, Level::Error, &shown.hidden_note()?))
    }

    fn problem(problem: &Problem) -> Self {
        let level = if problem.reason.is_decisive() { Level::Warning } else { Level::Note };
        let reason = problem.reason.as_str();
        Self {
            properties: ResultProperties { reason: Some(reason), ..Default::default() },
            ..Self::plain(UNREAD, level, &format!("{reason}: {}", escape::paragraph(&problem.detail)))
        }
    }

    fn plain((rule_id, rule_index): (&'static str, usize), level: Level, text: &str) -> Self {
        Self {
            rule_id,
            rule_index,
            level,
            message: Message { text: inert(text) },
            locations: Vec::new(),
            partial_fingerprints: BTreeMap::new(),
            properties: ResultProperties::default(),
        }
    }
}

impl LogicalLocation {
    fn new(violation: &Violation) -> Self {
        let table = escape::name(&violation.table);
        let path = format!("{}/{}/{table}", violation.backend, violation.family);
        match violation.chain.as_deref().map(escape::name) {
            Some(chain) => {
                Self { fully_qualified_name: format!("{path}/{chain}"), name: chain, kind: "chain" }
            }
            None => Self { fully_qualified_name: path, name: table, kind: "table" },
        }
    }
}

/// Message text in which nothing is a placeholder (SARIF 3.11.5) or an embedded link (3.11.6).
fn inert(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}").replace("](", r"]\x28")
}

/// The same for a rule that moves within its chain; each part is preceded by its length, so that none can
/// pass for two.
fn fingerprint(violation: &Violation) -> String {
    let chain = violation.chain.as_deref().unwrap_or_default();
    let parts = [
        violation.backend.as_str().as_bytes(),
        violation.family.as_str().as_bytes(),
        violation.table.as_bytes(),
        chain.as_bytes(),
        violation.kind.as_str().as_bytes(),
        &violation.line,
    ];
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    escape::hex(&hash.finalize())
}
