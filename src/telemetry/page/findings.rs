//! The parts of the page that list things: unexpected rules, problems and tables.
//! Shows a bounded part of each and says how much is left out.

use std::sync::Arc;

use super::super::html::Html;
use super::text::{line, moment};
use crate::domain::changes::author::Author;
use crate::domain::changes::wording::{author, command_line};
use crate::domain::judging::report::{Report, TableSummary, Violation};
use crate::domain::judging::wording::{allowlist_file, entry_name};
use crate::domain::rules::Problem;
use crate::domain::words::escape;
use crate::domain::words::numbers::{counted, grouped};

/// Violations that are shown; `/status` has more.
const MAX_VIOLATIONS: usize = 100;
const MAX_PROBLEMS: usize = 100;
const MAX_TABLES: usize = 200;
/// Processes that are named for one rule.
const MAX_AUTHORS: usize = 3;
/// So few violations show their patterns without being asked.
const FEW: usize = 3;

/// The unexpected rules, the first ones with their text.
pub(super) fn violations(page: &mut Html, report: &Report) {
    if report.violation_count == 0 && report.violations.is_empty() {
        return;
    }
    let title =
        if report.unexpected_noun() == "unexpected rule" { "Unexpected rules" } else { "Unexpected lines" };
    heading(page, "unexpected", title, report.violation_count);
    let shown = report.violations.get(..MAX_VIOLATIONS).unwrap_or(&report.violations);
    page.raw("<ol class=\"cards\">\n");
    for violation in shown {
        card(page, violation, report.violations.len() <= FEW);
    }
    page.raw("</ol>\n");
    more(page, report.violation_count.saturating_sub(shown.len() as u64), "unexpected line");
    page.raw("</section>\n");
}

fn card(page: &mut Html, violation: &Violation, is_open: bool) {
    page.raw("<li>\n<h3>");
    line(page, &entry_name(violation).unwrap_or_else(|| format!("table {}", escape::name(&violation.table))));
    page.raw("</h3>\n<p class=\"where\">").text(violation.backend.as_str());
    page.raw(" <i>family</i> ").text(violation.family.as_str()).raw(" <i>table</i> ");
    line(page, &escape::name(&violation.table));
    page.raw("</p>\n");
    bytes(page, "rule", &violation.line);
    if let Some(provenance) = &violation.provenance {
        page.raw("<p class=\"label\">since ");
        moment(page, provenance.first_seen);
        page.raw(if provenance.is_older { " or longer: it was there at the first look" } else { "" });
        page.raw("</p>\n");
        authors(page, &provenance.authors);
    }
    match &violation.suggested_pattern {
        Some(pattern) => {
            page.raw(if is_open { "<details open=\"\">" } else { "<details>" });
            page.raw("<summary>Pattern that would allow it</summary>\n<p class=\"label\">Add to ");
            line(page, &allowlist_file(violation.backend, violation.family, &violation.table));
            page.raw("</p>\n");
            code(page, "pattern", &escape::pattern(pattern));
            page.raw("</details>\n");
        }
        None => {
            page.raw("<p class=\"label\">No pattern may allow it.</p>\n");
        }
    }
    page.raw("</li>\n");
}

/// Who is said to have made a change, each with its command line.
pub(super) fn authors(page: &mut Html, authors: &[Arc<Author>]) {
    for (index, reported) in authors.iter().take(MAX_AUTHORS).enumerate() {
        page.raw("<p class=\"who\">").raw(if index == 0 { "" } else { "or " }).raw("reported process ");
        line(page, &author(reported));
        if let Some(command) = command_line(reported) {
            page.raw(": <code>");
            line(page, &command);
            page.raw("</code>");
        }
        page.raw("</p>\n");
    }
    let others = authors.len().saturating_sub(MAX_AUTHORS);
    if others > 0 {
        page.raw("<p class=\"who\">or one of ").text(&grouped(others as u64)).raw(" others</p>\n");
    }
}

/// What was not read or not understood, and what is worth knowing besides.
pub(super) fn problems(page: &mut Html, report: &Report) {
    let parts: [(bool, &'static str, &'static str); 2] =
        [(true, "problems", "Not read or not understood"), (false, "notes", "Worth knowing")];
    for (is_decisive, id, title) in parts {
        let kept: Vec<_> = report.problems.iter().filter(|p| p.reason.is_decisive() == is_decisive).collect();
        if kept.is_empty() {
            continue;
        }
        heading(page, id, title, kept.len() as u64);
        page.raw("<ul class=\"cards ").raw(id).raw("\">\n");
        kept.iter().take(MAX_PROBLEMS).for_each(|problem| problem_card(page, problem));
        page.raw("</ul>\n");
        more(page, kept.len().saturating_sub(MAX_PROBLEMS) as u64, "problem");
        page.raw("</section>\n");
    }
}

fn problem_card(page: &mut Html, problem: &Problem) {
    page.raw("<li>\n<h3>").text(problem.reason.as_str()).raw("</h3>\n<p class=\"detail\">");
    line(page, &escape::paragraph(&problem.detail));
    page.raw("</p>\n</li>\n");
}

/// The tables with their counts, those with unexpected rules first.
pub(super) fn tables(page: &mut Html, tables: &[TableSummary]) {
    if tables.is_empty() {
        return;
    }
    heading(page, "tables", "Tables", tables.len() as u64);
    page.raw(
        "<div class=\"sheet\"><table aria-labelledby=\"tables\">\n<thead><tr><th scope=\"col\">Table</th>",
    );
    page.raw("<th scope=\"col\">Rules</th><th scope=\"col\">Unexpected</th><th scope=\"col\">Not judged</th></tr></thead>\n<tbody>\n");
    let mut sorted: Vec<_> = tables.iter().collect();
    // those that matter are not to be among the ones left out
    sorted.sort_by_key(|table| table.unexpected == 0);
    sorted.iter().take(MAX_TABLES).for_each(|table| row(page, table));
    page.raw("</tbody>\n</table></div>\n");
    more(page, tables.len().saturating_sub(MAX_TABLES) as u64, "table");
    page.raw("</section>\n");
}

fn row(page: &mut Html, table: &TableSummary) {
    page.raw(if table.unexpected > 0 { "<tr class=\"bad\">" } else { "<tr>" });
    page.raw("<th scope=\"row\">");
    line(page, &escape::name(&table.table));
    page.raw(" <small>").text(table.backend.as_str()).raw(" ").text(table.family.as_str());
    if table.set_elements > 0 {
        page.raw(", ").text(&counted(table.set_elements, "set element"));
    }
    page.raw("</small></th>");
    for count in [table.rules, table.unexpected, table.not_judged] {
        page.raw("<td>").text(&grouped(count)).raw("</td>");
    }
    page.raw("</tr>\n");
}

fn heading(page: &mut Html, id: &'static str, title: &'static str, count: u64) {
    page.raw("<section aria-labelledby=\"").raw(id).raw("\">\n<h2 id=\"").raw(id).raw("\">").raw(title);
    page.raw(" <span>").text(&grouped(count)).raw("</span></h2>\n");
}

fn more(page: &mut Html, count: u64, noun: &str) {
    if count > 0 {
        let be = if count == 1 { "is" } else { "are" };
        page.raw("<p class=\"more\">").text(&format!("{} more {noun}", grouped(count)));
        page.raw(if count == 1 { "" } else { "s" }).raw(" ").text(be);
        page.raw(" not shown; <a href=\"/status\">/status</a> has more.</p>\n");
    }
}

pub(super) fn bytes(page: &mut Html, class: &'static str, bytes: &[u8]) {
    let shown = escape::line(bytes);
    code(page, class, &shown.text);
    if shown.is_escaped {
        page.raw(
            "<p class=\"label\">with escapes: <code>\\xNN</code> a byte, <code>\\x{NNNN}</code> a character ",
        );
        page.raw("that is not shown, <code>\\\\</code> a backslash</p>\n");
    }
}

fn code(page: &mut Html, class: &'static str, text: &str) {
    page.raw("<pre class=\"").raw(class).raw("\"><code>");
    line(page, text);
    page.raw("</code></pre>\n");
}
