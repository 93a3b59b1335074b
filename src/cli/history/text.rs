//! A moment of the journal for people.
//! Prints rules only behind a bar, and names and command lines only in quotes or escaped.

use anstyle::{AnsiColor, Style};

use crate::cli::output::timestamp;
use crate::domain::author::{Ancestor, Author, PodHint};
use crate::domain::change::What;
use crate::domain::escape;
use crate::domain::history::{Change, Happening, Moment, Watch};
use crate::domain::report::Verdict;
use crate::domain::wording::{counted, entry, table_name};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
/// The nearest parents are told; the others are in the JSON.
const PARENTS: usize = 3;

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
        Happening::Rejudged => ('=', YELLOW),
    };
    let judged = match change.is_allowed {
        true => paint.paint(DIM, "allowed"),
        false => paint.paint(RED, "unexpected"),
    };
    let title = paint.paint(style, &format!("{sign} {}", change.happening.as_str()));
    let mut out = format!("  {title}  {judged}  {}\n", place(change));
    match &change.line {
        Some(line) => {
            let cut = if change.is_cut { "..." } else { "" };
            out.push_str(&format!("      | {}{cut}\n", escape::line(line).text));
        }
        None => out.push_str("      (its text was not kept)\n"),
    }
    for author in &change.authors {
        out.push_str(&format!("      by {}\n", who(author)));
    }
    out
}

fn place(change: &Change) -> String {
    let table = table_name(change.backend, change.family, &change.table);
    match entry(change.kind, change.chain.as_deref(), change.position) {
        Some(entry) => format!("{table}, {entry}"),
        None => table,
    }
}

/// An author in one line: `iptables (pid 4711, "iptables -A INPUT") from bash (pid 40) from sshd (pid 8), pod default/web`.
pub(crate) fn who(author: &Author) -> String {
    let Author { pid, name, executable, command_line, parents, container, pod } = author;
    let mut out = process(name, *pid, command_line.as_deref().or(executable.as_deref()));
    for Ancestor { pid, name, command_line: _ } in parents.iter().take(PARENTS) {
        out.push_str(&format!(" from {}", process(name, *pid, None)));
    }
    match pod {
        Some(PodHint { name: Some((namespace, name)), .. }) => {
            out.push_str(&format!(", pod {}/{}", escape::name(namespace), escape::name(name)));
        }
        Some(PodHint { uid, name: None }) => out.push_str(&format!(", pod with UID {}", escape::name(uid))),
        None => {}
    }
    if let (Some(container), None) = (container, pod) {
        out.push_str(&format!(", container {}", escape::name(container)));
    }
    out
}

fn process(name: &str, pid: u32, command: Option<&str>) -> String {
    let command = command.map(|command| format!(", {}", quoted(command))).unwrap_or_default();
    format!("{} (pid {pid}{command})", escape::name(name))
}

/// In quotes, also where a plain word would not need them.
fn quoted(text: &str) -> String {
    match escape::name(text) {
        plain if !plain.starts_with('"') => format!("\"{plain}\""),
        quoted => quoted,
    }
}
