//! The report for people: verdict first, then what was read, what is unexpected and what is not known.
//! Prints untrusted text only behind a bar or inside quotes, so that none of it can pass for ours.

use std::sync::Arc;

use anstyle::{AnsiColor, Style};

use super::shown::{Shown, WriteOptions, timestamp};
use crate::domain::changes::author::Author;
use crate::domain::changes::wording;
use crate::domain::judging;
use crate::domain::judging::report::{Evidence, TableSummary, Violation};
use crate::domain::judging::wording::{allowlist_file, place};
use crate::domain::rules::{Problem, Reason};
use crate::domain::verdict::Verdict;
use crate::domain::words::escape;
use crate::domain::words::numbers::{counted, grouped};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Names longer than this push their row to the right rather than every row.
const MAX_COLUMN: usize = 32;
/// Where the details of problems are wrapped, in columns. Rules and patterns are not: they are to be copied.
const WRAP: usize = 92;
/// Processes that are named for one violation.
const MAX_AUTHORS: usize = 3;

/// The report as lines of text.
pub(super) fn render(shown: &Shown, options: &WriteOptions) -> String {
    let mut page = Page { out: String::new(), color: options.color };
    page.verdict(shown);
    if !options.quiet {
        page.facts(shown);
        page.tables(shown);
        page.violations(shown);
        page.problems(&shown.report.problems);
    }
    page.out
}

struct Page {
    out: String,
    color: bool,
}

impl Page {
    fn verdict(&mut self, shown: &Shown) {
        let (word, style) = match shown.verdict {
            Verdict::Compliant => ("COMPLIANT", GREEN),
            Verdict::Violations => ("VIOLATIONS", RED),
            Verdict::Unknown => ("UNKNOWN", YELLOW),
        };
        let word = self.paint(style.bold(), word);
        let evidence = match shown.report.evidence {
            Evidence::Kernel => "",
            Evidence::Text => " (saved text only)",
            Evidence::Namespace => " (saved text, loaded)",
        };
        self.line(&format!("{word}  {}: {}{evidence}", escape::name(&shown.report.node), summary(shown)));
    }

    fn facts(&mut self, shown: &Shown) {
        let facts = format!("checked {:.0}", timestamp(shown.report.checked_at));
        let facts = self.paint(DIM, &facts);
        self.line(&facts);
        if let Some(blocked) = &shown.report.blocked {
            self.line(&judging::wording::blocked(blocked));
        }
        let caution = match shown.report.evidence {
            Evidence::Kernel => None,
            Evidence::Text => {
                Some("A saved dump: rules that the saving program printed wrong cannot be seen.")
            }
            Evidence::Namespace => {
                Some("A saved text, read as the kernel took it: rules that nft printed wrong cannot be seen.")
            }
        };
        if let Some(caution) = caution {
            let caution = self.paint(DIM, caution);
            self.line(&caution);
        }
    }

    fn tables(&mut self, shown: &Shown) {
        let tables = &shown.report.tables;
        if tables.is_empty() {
            return self.heading("No table was read");
        }
        let count = counted(tables.len() as u64, "table");
        self.heading(&format!("{} in {count} read", counted(shown.rules(), "rule")));
        let numbers = numbers(tables);
        let rows: Vec<_> = tables.iter().map(|table| row(table, &numbers)).collect();
        let names = ["BACKEND", "FAMILY", "TABLE"].into_iter().chain(numbers.iter().map(|(name, _)| *name));
        let header: Vec<_> = names.map(str::to_owned).collect();
        let widths = widths(&header, &rows);
        let header = aligned(&header, &widths);
        let header = self.paint(DIM, &header);
        self.line(&format!("  {header}"));
        for cells in &rows {
            self.line(&format!("  {}", aligned(cells, &widths)));
        }
    }

    fn violations(&mut self, shown: &Shown) {
        if shown.report.violation_count == 0 && shown.violations.is_empty() {
            return;
        }
        self.heading(&shown.report.unexpected());
        for (index, violation) in shown.violations.iter().enumerate() {
            self.violation(index + 1, violation);
        }
        if shown.violations.iter().any(|violation| !authors(violation).is_empty()) {
            let caution = self
                .paint(DIM, "  (a reported process is a hint, not a proof: its names are its own choice)");
            self.line(&caution);
        }
        for part in shown.hidden_note().iter().flat_map(|note| wrapped(note)) {
            let part = self.paint(BOLD, &part);
            self.line(&format!("  {part}"));
        }
    }

    fn violation(&mut self, number: usize, violation: &Violation) {
        let title = self.paint(BOLD, &place(violation));
        self.line(&format!("  {number}. {title}"));
        self.bytes(RED, &violation.line);
        self.provenance(violation);
        match &violation.suggested_pattern {
            Some(pattern) => {
                self.line(&format!(
                    "     allow it: add to {}:",
                    allowlist_file(violation.backend, violation.family, &violation.table)
                ));
                self.barred(GREEN, &escape::pattern(pattern));
            }
            None => self.line("     no pattern may allow it"),
        }
        self.line("");
    }

    /// Since when it stands, and each process that may have brought it with its command line.
    fn provenance(&mut self, violation: &Violation) {
        let Some(provenance) = &violation.provenance else { return };
        self.line(&format!("     {}", wording::since(provenance)));
        for (index, author) in authors(violation).iter().take(MAX_AUTHORS).enumerate() {
            let or = if index == 0 { "" } else { "or " };
            self.line(&format!("     {or}reported process {}", wording::author(author)));
            if let Some(command) = wording::command_line(author) {
                self.barred(Style::new(), &command);
            }
        }
        let more = authors(violation).len().saturating_sub(MAX_AUTHORS);
        if more > 0 {
            self.line(&format!("     or one of {more} others"));
        }
    }

    fn problems(&mut self, problems: &[Problem]) {
        for (title, style, is_decisive) in
            [("not read or not understood", YELLOW, true), ("worth knowing", BOLD, false)]
        {
            let kept: Vec<_> = problems.iter().filter(|p| p.reason.is_decisive() == is_decisive).collect();
            if kept.is_empty() {
                continue;
            }
            self.heading(&format!("{}: {title}", noted(kept.len() as u64, is_decisive)));
            for problem in kept {
                self.problem(style, problem.reason, &problem.detail);
            }
        }
    }

    fn problem(&mut self, style: Style, reason: Reason, detail: &str) {
        let reason = self.paint(style, reason.as_str());
        self.line(&format!("  {reason}"));
        for part in escape::paragraph(detail).split('\n').flat_map(wrapped) {
            self.barred(Style::new(), &part);
        }
    }

    /// Untrusted bytes, and whether what is shown is all of the truth.
    fn bytes(&mut self, style: Style, bytes: &[u8]) {
        let shown = escape::line(bytes);
        self.barred(style, &shown.text);
        if shown.is_escaped {
            self.line(
                r"     (with escapes: \xNN a byte, \x{NNNN} a character that is not shown, \\ a backslash)",
            );
        }
    }

    /// One line of escaped text behind a bar: no line of ours begins with one.
    fn barred(&mut self, style: Style, text: &str) {
        let bar = self.paint(DIM, "|");
        let text = self.paint(style, text);
        self.line(&format!("     {bar} {text}"));
    }

    fn heading(&mut self, text: &str) {
        if !self.out.ends_with("\n\n") {
            self.line("");
        }
        let text = self.paint(BOLD, text);
        self.line(&text);
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

fn summary(shown: &Shown) -> String {
    let rules = counted(shown.rules(), "rule");
    let problems = &shown.report.problems;
    let decisive = problems.iter().filter(|problem| problem.reason.is_decisive()).count();
    let notes = [(decisive, true), (problems.len() - decisive, false)]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, is_decisive)| format!(", {}", noted(count as u64, is_decisive)))
        .collect::<String>();
    match shown.verdict {
        Verdict::Compliant => format!("{rules} read, all allowed{notes}"),
        Verdict::Violations => {
            let unexpected = shown.report.unexpected();
            format!("{unexpected}{notes}; {rules} read")
        }
        Verdict::Unknown => format!("nothing unexpected seen{notes}; {rules} read"),
    }
}

fn noted(count: u64, is_decisive: bool) -> String {
    counted(count, if is_decisive { "problem" } else { "note" })
}

fn authors(violation: &Violation) -> &[Arc<Author>] {
    violation.provenance.as_ref().map_or(&[], |provenance| &provenance.authors)
}

/// The cells of one table: backend, family, name, and numbers.
type Row = Vec<String>;
/// Cells that are no numbers.
const NAMES: usize = 3;

/// A number that each table has, and its heading.
type Number = (&'static str, fn(&TableSummary) -> u64);

/// Those that are shown: what no table has is left out, but for what everybody asks about.
fn numbers(tables: &[TableSummary]) -> Vec<Number> {
    let all: [(Number, bool); 4] = [
        (("RULES", |table| table.rules), true),
        (("UNEXPECTED", |table| table.unexpected), true),
        (("NOT JUDGED", |table| table.not_judged), false),
        (("SET ELEMENTS", |table| table.set_elements), false),
    ];
    let is_shown = |of: fn(&TableSummary) -> u64| tables.iter().any(|table| of(table) > 0);
    all.into_iter()
        .filter(|((_, of), is_always)| *is_always || is_shown(*of))
        .map(|(number, _)| number)
        .collect()
}

fn row(table: &TableSummary, numbers: &[Number]) -> Row {
    let names = [table.backend.to_string(), table.family.to_string(), escape::name(&table.table)];
    names.into_iter().chain(numbers.iter().map(|(_, of)| grouped(of(table)))).collect()
}

fn widths(header: &Row, rows: &[Row]) -> Vec<usize> {
    rows.iter().chain([header]).fold(vec![0; header.len()], |mut widths, cells| {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.chars().count().min(MAX_COLUMN).max(*width);
        }
        widths
    })
}

fn aligned(cells: &[String], widths: &[usize]) -> String {
    let cell = |(column, (cell, width)): (usize, (&String, &usize))| {
        if column < NAMES { format!("{cell:width$}") } else { format!("{cell:>width$}") }
    };
    cells.iter().zip(widths).enumerate().map(cell).collect::<Vec<_>>().join("  ")
}

/// Breaks text at spaces; a word longer than a line stays whole.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WRAP => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
