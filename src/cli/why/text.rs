//! The answer for people.
//! Rules and patterns stand behind a bar, names in quotes.

use std::time::SystemTime;

use anstyle::{AnsiColor, Style};

use super::found::Found;
use crate::app::checks::history::Remembered;
use crate::cli::history::{Paint, authors};
use crate::cli::output::timestamp;
use crate::domain::changes::history::{Change, Watch};
use crate::domain::judging::allowlist::nearest::{Difference, Nearest};
use crate::domain::judging::allowlist::{Pattern, is_of_elements};
use crate::domain::judging::audit::Judgement;
use crate::domain::judging::why::Answer;
use crate::domain::judging::wording::allowlist_file;
use crate::domain::rules::{Backend, Family, Problem};
use crate::domain::words::escape;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// The answer as lines of text.
pub(super) fn render(found: &Found<'_>, problems: &[Problem], paint: Paint) -> String {
    let mut page = Page { out: String::new(), paint };
    page.verdict(&found.answer);
    page.remarks(&found.answer);
    page.patterns("Allowed by", &found.answer.allowing);
    page.nearest(&found.answer.nearest);
    page.patterns("These match it, but judge other rules", &found.answer.elsewhere);
    page.problems(problems);
    if let Some(remembered) = &found.remembered {
        page.remembered(remembered);
    }
    page.out
}

struct Page {
    out: String,
    paint: Paint,
}

impl Page {
    fn verdict(&mut self, answer: &Answer<'_>) {
        let (word, style) = match answer.judgement {
            Judgement::Allowed => ("ALLOWED", GREEN),
            Judgement::Violation => ("UNEXPECTED", RED),
            Judgement::Undecided | Judgement::Unchecked | Judgement::Unjudged => ("NOT JUDGED", YELLOW),
        };
        let word = self.paint.paint(style.bold(), word);
        let why = match (answer.judgement, answer.allowing.len()) {
            (Judgement::Allowed, 1) => "a pattern allows it".to_owned(),
            (Judgement::Allowed, count) => format!("{count} patterns allow it"),
            (Judgement::Violation, _) if answer.has_control_byte => {
                "it holds a control character, which nothing may allow".to_owned()
            }
            (Judgement::Violation, _) => format!("no pattern of {} matches it", lists(answer)),
            (Judgement::Unjudged, _) if is_of_elements(answer.line.as_bytes()) => {
                "what a set holds is counted; a pattern of nftables for it would have it judged".to_owned()
            }
            (Judgement::Unjudged, _) if answer.table.is_some() => {
                "no allowlist is in force for IPv6, and it drops nothing".to_owned()
            }
            (Judgement::Unjudged, _) => "it is counted, and no pattern judges it".to_owned(),
            (Judgement::Unchecked, _) => {
                "no allowlist is in force for IPv6: --input6 names one, --ipv6 true judges by profile"
                    .to_owned()
            }
            (Judgement::Undecided, _) => "an allowlist that might allow it is broken or missing".to_owned(),
        };
        self.line(&format!("{word}  {why}"));
        self.barred(BOLD, &escape::line(answer.line.as_bytes()).text);
        if let Some(pattern) = &answer.suggested_pattern {
            let (backend, table) = match &answer.table {
                Some(table) => (Backend::IptablesNft, table.as_str()),
                None => (Backend::Nftables, ""),
            };
            self.line(&format!("     allow it: add to {}:", allowlist_file(backend, answer.family, table)));
            self.barred(GREEN, &escape::pattern(pattern));
        }
    }

    fn remarks(&mut self, answer: &Answer<'_>) {
        match (&answer.doubt, answer.is_rewritten, answer.table.is_some()) {
            (Some(word), _, true) => self.remark(&format!(
                "iptables may print it otherwise, because of {}: add the rule where it harms nobody, and ask about what iptables -S shows",
                escape::name(word)
            )),
            (Some(word), _, false) => self.remark(&format!(
                "a report may have it otherwise, because of {}: add the rule where it harms nobody, and ask about what monitor check shows",
                escape::name(word)
            )),
            (None, true, true) => self.remark(
                "not as it was given, but as iptables prints it: reports and allowlists have that form",
            ),
            (None, true, false) => {
                self.remark("not as it was given, but as reports and allowlists have rules of nft");
            }
            (None, false, _) => {}
        }
        if answer.has_outer_blanks {
            self.remark("blanks at its beginning or end count: reports show lines without them");
        }
        if answer.is_table_assumed {
            self.remark("table filter, as iptables assumes; --table names another");
        }
        if answer.judgement == Judgement::Allowed {
            self.remark(&format!("judged by {}", lists(answer)));
        }
    }

    fn patterns(&mut self, title: &str, patterns: &[&Pattern]) {
        if patterns.is_empty() {
            return;
        }
        self.heading(title);
        for pattern in patterns {
            self.pattern(pattern);
            let open = match (pattern.text.starts_with('^'), pattern.text.ends_with('$')) {
                (true, true) => continue,
                (false, true) => "without ^ it matches in the middle of a rule too",
                (true, false) => "without $ it allows whatever follows",
                (false, false) => "without ^ and $ it matches any part of a rule",
            };
            self.remark(open);
        }
    }

    fn nearest(&mut self, nearest: &[Nearest<'_>]) {
        if nearest.is_empty() {
            return;
        }
        self.heading("Nearest");
        for Nearest { pattern, differences, .. } in nearest {
            self.pattern(pattern);
            for difference in differences {
                self.remark(&describe(difference));
            }
        }
    }

    fn pattern(&mut self, pattern: &Pattern) {
        self.line(&format!("  {}, line {}", escape::name(&pattern.origin), pattern.line));
        self.barred(GREEN, &escape::pattern(&pattern.text));
    }

    fn problems(&mut self, problems: &[Problem]) {
        if problems.is_empty() {
            return;
        }
        self.heading("What is wrong with the allowlists");
        for problem in problems {
            for part in escape::paragraph(&problem.detail).split('\n') {
                self.barred(YELLOW, part);
            }
        }
    }

    fn remembered(&mut self, remembered: &[(Backend, Remembered)]) {
        self.heading("In the journal");
        if remembered.is_empty() {
            self.line("  the journal does not know this rule");
        }
        for (backend, known) in remembered {
            let first = timestamp(known.life.first_seen);
            self.line(&format!("  {backend}: {}; first seen {first:.0}", standing(known)));
            for change in &known.changes {
                self.change(change);
            }
        }
    }

    fn change(&mut self, (at, watch, change): &(SystemTime, Watch, Change)) {
        let unwatched = if *watch == Watch::Watched { "" } else { ", noticed later" };
        let (happening, judged) = (change.happening.words(), change.judged.words());
        self.line(&format!("    {:.0}  {happening} ({judged}{unwatched})", timestamp(*at)));
        self.out.push_str(&authors(change, "      "));
    }

    fn heading(&mut self, text: &str) {
        let text = self.paint.paint(BOLD, text);
        self.line(&format!("\n{text}"));
    }

    fn remark(&mut self, text: &str) {
        let text = self.paint.paint(DIM, text);
        self.line(&format!("     {text}"));
    }

    fn barred(&mut self, style: Style, text: &str) {
        let (bar, text) = (self.paint.paint(DIM, "|"), self.paint.paint(style, text));
        self.line(&format!("     {bar} {text}"));
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }
}

/// "the files filter and global".
fn lists(answer: &Answer<'_>) -> String {
    let names: Vec<_> = answer.lists.iter().map(|list| list.as_str()).collect();
    let of_v6 = if answer.family == Family::Ip6 { " of the IPv6 allowlist" } else { "" };
    let files = if names.len() == 1 { "the file" } else { "the files" };
    format!("{files} {}{of_v6}", names.join(" and "))
}

fn describe(Difference { at, found, expected }: &Difference) -> String {
    let found = escape::name(&String::from_utf8_lossy(found));
    let expected = escape::name(expected);
    let column = at + 1;
    match (found.as_str(), expected.as_str()) {
        ("\"\"", _) => format!("column {column}: {expected} is missing"),
        (_, "\"\"") => format!("column {column}: {found} is too much"),
        _ => format!("column {column}: {found}, where it wants {expected}"),
    }
}

fn standing(known: &Remembered) -> String {
    let life = &known.life;
    let since = timestamp(life.since);
    let older = if life.is_older { " or longer" } else { "" };
    match (life.gone_at, known.watched_until) {
        (Some(gone), _) => format!("gone since {:.0}; it stood since {since:.0}{older}", timestamp(gone)),
        (None, Some(last)) => format!("stands since {since:.0}{older}, last seen {:.0}", timestamp(last)),
        (None, None) => format!("stands since {since:.0}{older}"),
    }
}
