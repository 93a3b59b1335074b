//! The report as JUnit XML: a suite for each table, and one for what was not read.
//! Never shows a table as passed whose violations may be among those that are not listed.
//!
//! *Source*: the de facto schema of the Jenkins xunit plugin, `junit-10.xsd`; XML 1.0, section 2.2.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::shown::{Shown, timestamp};
use crate::domain::changes::wording;
use crate::domain::judging::report::Violation;
use crate::domain::judging::wording::{allowlist_file, place};
use crate::domain::rules::wording::table_name;
use crate::domain::rules::{Backend, Family, Kind, Problem};
use crate::domain::words::escape;
use crate::domain::words::numbers::counted;

/// The report as XML, ended by a newline.
pub(super) fn render(shown: &Shown) -> String {
    let mut suites = vec![unread(shown)];
    suites.extend(tables(shown));
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"monitor\"{}>", counts(suites.iter().flat_map(|s| &s.cases)));
    for suite in &suites {
        suite.render(shown, &mut out);
    }
    out.push_str("</testsuites>\n");
    out
}

struct Suite {
    name: String,
    class: String,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    Skipped { message: String },
    Failure { message: String, body: String },
    Error { reason: &'static str, body: String },
}

fn unread(shown: &Shown) -> Suite {
    let mut cases: Vec<_> = (1..).zip(&shown.report.problems).map(problem).collect();
    if !shown.report.problems.iter().any(|problem| problem.reason.is_decisive()) {
        cases.push(Case { name: "everything was read and understood".into(), outcome: Outcome::Passed });
    }
    if let Some(note) = shown.hidden_note() {
        let outcome = Outcome::Failure { message: note.clone(), body: note };
        cases.push(Case { name: "every unexpected rule is listed".into(), outcome });
    }
    Suite { name: "check".into(), class: "check".into(), cases }
}

fn problem((number, problem): (usize, &Problem)) -> Case {
    let reason = problem.reason.as_str();
    let detail = escape::paragraph(&problem.detail);
    let outcome = match problem.reason.is_decisive() {
        true => Outcome::Error { reason, body: detail },
        false => Outcome::Skipped { message: detail },
    };
    Case { name: format!("{number}. {reason}"), outcome }
}

type TableKey<'a> = (Backend, Family, &'a str);

fn tables(shown: &Shown) -> Vec<Suite> {
    let mut tables: BTreeMap<TableKey, Vec<&Violation>> = BTreeMap::new();
    for table in &shown.report.tables {
        tables.entry((table.backend, table.family, &table.table)).or_default();
    }
    for violation in shown.violations {
        tables.entry((violation.backend, violation.family, &violation.table)).or_default().push(violation);
    }
    tables.iter().map(|(&key, violations)| table(shown, key, violations)).collect()
}

fn table(shown: &Shown, (backend, family, table): TableKey, violations: &[&Violation]) -> Suite {
    let outcome = if !violations.is_empty() {
        let are_rules = violations.iter().all(|violation| violation.kind == Kind::Rule);
        let noun = if are_rules { "unexpected rule" } else { "unexpected line" };
        let message = counted(violations.len() as u64, noun);
        Outcome::Failure { message, body: violations.iter().map(|violation| describe(violation)).collect() }
    } else if shown.hidden() > 0 {
        Outcome::Skipped { message: "its unexpected lines may be among those that are not listed".into() }
    } else {
        Outcome::Passed
    };
    Suite {
        name: table_name(backend, family, table),
        class: format!("{backend}.{family}.{}", escape::name(table)),
        cases: vec![Case { name: "every rule read is allowed".into(), outcome }],
    }
}

fn describe(violation: &Violation) -> String {
    let mut text = format!("{}\n  {}\n", place(violation), escape::line(&violation.line).text);
    if let Some(provenance) = &violation.provenance {
        let who = wording::compact_authors(&provenance.authors);
        let who = if who.is_empty() { who } else { format!("; reported process: {who}") };
        let _ = writeln!(text, "  {}{who}", wording::since(provenance));
    }
    if let Some(pattern) = &violation.suggested_pattern {
        let file = allowlist_file(violation.backend, violation.family, &violation.table);
        let _ = writeln!(text, "  allow it: add to {file}:\n  {}", escape::pattern(pattern));
    }
    text
}

impl Suite {
    fn render(&self, shown: &Shown, out: &mut String) {
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\"{} time=\"0\" timestamp=\"{}\" hostname=\"{}\">",
            xml(&self.name),
            counts(&self.cases),
            timestamp(shown.report.checked_at).strftime("%Y-%m-%dT%H:%M:%S"),
            xml(&escape::name(&shown.report.node)),
        );
        for case in &self.cases {
            case.render(&self.class, out);
        }
        out.push_str("  </testsuite>\n");
    }
}

impl Case {
    fn render(&self, class: &str, out: &mut String) {
        let (name, class) = (xml(&self.name), xml(class));
        let _ = write!(out, "    <testcase name=\"{name}\" classname=\"{class}\" time=\"0\"");
        let _ = match &self.outcome {
            Outcome::Passed => writeln!(out, "/>"),
            Outcome::Skipped { message } => {
                writeln!(out, "><skipped message=\"{}\"/></testcase>", xml(message))
            }
            Outcome::Failure { message, body } => writeln!(
                out,
                "><failure type=\"violation\" message=\"{}\">{}</failure></testcase>",
                xml(message),
                xml(body)
            ),
            Outcome::Error { reason, body } => writeln!(
                out,
                "><error type=\"{reason}\" message=\"{}\">{}</error></testcase>",
                xml(body),
                xml(body)
            ),
        };
    }
}

fn counts<'a>(cases: impl IntoIterator<Item = &'a Case>) -> String {
    let [mut tests, mut failures, mut errors, mut skipped] = [0_u64; 4];
    for case in cases {
        tests += 1;
        match case.outcome {
            Outcome::Passed => {}
            Outcome::Skipped { .. } => skipped += 1,
            Outcome::Failure { .. } => failures += 1,
            Outcome::Error { .. } => errors += 1,
        }
    }
    format!(" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"")
}

/// Character data or an attribute's value. What XML cannot hold was escaped before: all that reaches this is
/// printable or a newline.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(character),
        }
    }
    out
}
