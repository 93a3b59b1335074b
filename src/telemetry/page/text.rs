//! Text and times as the page shows them.
//! Knows no report.

use std::time::SystemTime;

use super::super::html::Html;
use crate::domain::verdict::Verdict;
use crate::domain::words::moment::utc;
use crate::domain::words::numbers::{counted, grouped};

/// Characters of one line, pattern or detail that are shown.
pub(super) const MAX_CHARACTERS: usize = 1_500;

pub(super) const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Compliant => "Compliant",
        Verdict::Violations => "Violations",
        Verdict::Unknown => "Unknown",
    }
}

/// "2026-11-21 10:16:24 UTC".
pub(super) fn moment(page: &mut Html, at: SystemTime) {
    let utc = utc(at);
    page.raw("<time datetime=\"").text(&utc).raw("\">");
    page.text(&utc.replace('T', " ").replace('Z', " UTC")).raw("</time>");
}

/// "12 s ago", "5 min ago", "3 h 20 min ago", "2 d 4 h ago".
pub(super) fn ago(now: SystemTime, then: SystemTime) -> String {
    let seconds = now.duration_since(then).unwrap_or_default().as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s ago"),
        (0, 0, _) => format!("{minutes} min ago"),
        (0, ..) => format!("{hours} h {} min ago", minutes % 60),
        _ => format!("{} d {} h ago", grouped(days), hours % 24),
    }
}

/// Text that is cut where it would fill the page.
pub(super) fn line(page: &mut Html, text: &str) {
    cut(page, text, MAX_CHARACTERS);
}

pub(super) fn cut(page: &mut Html, text: &str, characters: usize) {
    match text.char_indices().nth(characters) {
        Some((end, _)) => {
            let (shown, hidden) = text.split_at(end);
            page.text(shown).raw(" <em>(").text(&counted(hidden.chars().count() as u64, "character"));
            page.raw(" more)</em>");
        }
        None => {
            page.text(text);
        }
    }
}
