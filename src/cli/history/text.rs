//! A moment of the journal for people.
//! Prints rules only behind a bar, and names and command lines only in quotes or escaped.

use anstyle::{AnsiColor, Style};

use crate::cli::output::timestamp;
use crate::domain::changes::What;
use crate::domain::changes::history::{Change, Happening, Moment, Watch};
use crate::domain::changes::judged::Judged;
use crate::domain::changes::wording;
use crate::domain::rules::wording::{entry, table_name};
use crate::domain::verdict::Verdict;
use crate::domain::words::escape;
use crate::domain::words::numbers::counted;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Whether text is coloured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    /// Whether it is.
    pub(crate) is_on: bool,
}

impl Paint {
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.is_on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// The moment as lines of text.
pub(crate) fn render(moment: &Moment, paint: Paint) -> String {
    let mut out = format!(
        "{}  {}\n",
        paint.paint(BOLD, &format!("{:.0}", timestamp(moment.at))),
        verdicts(moment, paint)
    );
    if let Some(watch) = watched(moment) {
        out.push_str(&format!("  {}\n", paint.paint(DIM, &watch)));
    }
    for change in &moment.changes {
        out.push_str(&render_change(change, paint));
    }
    if moment.rewritten > 0 {
        let rules = counted(moment.rewritten, "rule");
        out.push_str(&format!(
            "  {}\n",
            paint.paint(DIM, &format!("the text of {rules} changed with the program"))
        ));
    }
    if moment.untold > 0 {
        let more = counted(moment.untold, if moment.changes.is_empty() { "change" } else { "more change" });
        let verb = if moment.untold == 1 { "is" } else { "are" };
        out.push_str(&format!("  {}\n", paint.paint(DIM, &format!("{more} {verb} only counted"))));
    }
    out
}

fn verdicts(moment: &Moment, paint: Paint) -> String {
    let after = paint.paint(color(moment.after).bold(), moment.after.as_str());
    match moment.before {
        Some(before) if before != moment.after => {
            format!("{} -> {after}", paint.paint(color(before), before.as_str()))
        }
        _ => after,
    }
}

const fn color(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Compliant => GREEN,
        Verdict::Violations => RED,
        Verdict::Unknown => YELLOW,
    }
}

fn watched(moment: &Moment) -> Option<String> {
    match moment.watch {
        Watch::Watched => None,
        Watch::Resumed { since: None } => Some("the first look: what stands now may be older".to_owned()),
        Watch::Resumed { since: Some(since) } => {
            Some(format!("watching again; what changed did so unwatched, since {:.0}", timestamp(since)))
        }
        Watch::CaughtUp => Some("compared as a whole; what changed did so before".to_owned()),
    }
}

fn render_change(change: &Change, paint: Paint) -> String {
    let (sign, style) = match change.happening {
        Happening::Changed(What::Added) => ('+', GREEN),
        Happening::Changed(What::Removed) => ('-', RED),
        Happening::Changed(What::Moved) => ('~', YELLOW),
        Happening::Changed(What::CameAndWent) => ('!', RED),
        Happening::Rejudged => ('=', YELLOW),
    };
    let color = match change.judged {
        Judged::Allowed => DIM,
        Judged::Unexpected => RED,
        Judged::NotJudged => YELLOW,
    };
    let judged = paint.paint(color, change.judged.words());
    let title = paint.paint(style, &format!("{sign} {}", change.happening.words()));
    let mut out = format!("  {title}  {judged}  {}\n", place(change));
    match &change.line {
        Some(line) => {
            let cut = if change.is_cut { "..." } else { "" };
            out.push_str(&format!("      | {}{cut}\n", escape::line(line).text));
        }
        None => out.push_str("      (its text was not kept)\n"),
    }
    out + &authors(change, "      ")
}

fn place(change: &Change) -> String {
    let table = table_name(change.backend, change.family, &change.table);
    match entry(change.kind, change.chain.as_deref(), change.position) {
        Some(entry) => format!("{table}, {entry}"),
        None => table,
    }
}

/// Who is said to have done it, a line each, their command lines behind a bar.
pub(crate) fn authors(change: &Change, indent: &str) -> String {
    let mut out = String::new();
    for (index, author) in change.authors.iter().enumerate() {
        let or = if index == 0 { "" } else { "or " };
        out.push_str(&format!("{indent}{or}reported process {}\n", wording::author(author)));
        if let Some(command) = wording::command_line(author) {
            out.push_str(&format!("{indent}| {command}\n"));
        }
    }
    out
}
