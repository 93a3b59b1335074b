//! The page a person opens to see how this node is: one HTML document, without scripts and without other files.
//! Asks nobody: it is made of a report when it is asked for. All text of the node goes through `Html::text`.

mod changes;
mod drops;
mod findings;
mod text;

use std::sync::LazyLock;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::html::Html;
use super::live::Live;
use super::live::drops::Seen;
use crate::domain::judging::report::{Evidence, Report};
use crate::domain::judging::wording::blocked;
use crate::domain::verdict::Verdict;
use crate::domain::words::escape;
use crate::domain::words::numbers::{counted, grouped};
use text::{ago, line, moment, word};

const STYLE: &str = include_str!("page.css");

/// What the page is made of.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The report that stands; none before the first check is done.
    pub report: Option<&'a Report>,
    /// What changed of late; none before the first check is done.
    pub live: Option<&'a Live>,
    /// The drops that were seen; none where nobody follows them.
    pub drops: Option<&'a Seen>,
    /// The reader does not want the page to reload itself.
    pub is_still: bool,
    /// The version of this program, with its commit.
    pub version: &'a str,
    /// When the page is made.
    pub now: SystemTime,
    /// The checks have stopped: what is shown may have passed.
    pub is_overdue: bool,
}

impl View<'_> {
    /// How soon the page reloads itself. Left open, it must not go on saying what was true once.
    fn reload(&self) -> Option<Reload> {
        match (self.report, self.live) {
            _ if self.is_still => None,
            (None, _) if !self.has_checks() => Some(Reload::Often),
            (None, _) => Some(Reload::Soon),
            _ if self.drops.is_some() => Some(Reload::Often),
            (Some(_), Some(live)) if live.watching.is_on => Some(Reload::Often),
            (Some(_), _) => Some(Reload::EachMinute),
        }
    }

    /// Whether rules are checked at all.
    fn has_checks(&self) -> bool {
        self.drops.is_none_or(|drops| !drops.is_all)
    }

    /// What may be said now: a node that nobody checks any more is not compliant.
    fn verdict(&self) -> Option<Verdict> {
        match self.report.map(Report::verdict) {
            Some(Verdict::Compliant) if self.is_overdue => Some(Verdict::Unknown),
            verdict => verdict,
        }
    }
}

/// How soon a page reloads itself.
#[derive(Clone, Copy, Debug)]
enum Reload {
    Soon,
    Often,
    EachMinute,
}

/// The policy a browser must hold this page to: nothing but its own style sheet and its icon.
///
/// *Source*: W3C Content Security Policy Level 3.
pub fn content_security_policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let hash = STANDARD.encode(Sha256::digest(STYLE));
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        )
    });
    &POLICY
}

/// The page.
pub fn render(view: &View<'_>) -> String {
    let mut page = Html::default();
    head(&mut page, view);
    page.raw("<body>\n<main>\n");
    match view.report.zip(view.verdict()) {
        Some((report, standing)) => {
            verdict(&mut page, view, report, standing);
            findings::violations(&mut page, report);
            findings::problems(&mut page, report);
            if let Some(seen) = view.drops {
                drops::drops(&mut page, seen, view.now);
            }
            if let Some(live) = view.live {
                changes::changes(&mut page, live, view.now);
            }
            findings::tables(&mut page, &report.tables);
        }
        None => {
            waiting(&mut page, view);
            if let Some(seen) = view.drops {
                drops::drops(&mut page, seen, view.now);
            }
        }
    }
    page.raw("</main>\n");
    foot(&mut page, view);
    page.raw("</body>\n</html>\n");
    page.finish()
}

fn head(page: &mut Html, view: &View<'_>) {
    page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    page.raw(
        "<meta name=\"color-scheme\" content=\"light dark\"/>\n<meta name=\"robots\" content=\"noindex\"/>\n",
    );
    page.raw(match view.reload() {
        Some(Reload::Soon) => "<meta http-equiv=\"refresh\" content=\"3\"/>\n",
        Some(Reload::Often) => "<meta http-equiv=\"refresh\" content=\"10\"/>\n",
        Some(Reload::EachMinute) => "<meta http-equiv=\"refresh\" content=\"60\"/>\n",
        None => "",
    });
    page.raw("<title>");
    match view.report.zip(view.verdict()) {
        Some((report, verdict)) => {
            page.raw(word(verdict)).raw(": ");
            line(page, &escape::name(&report.node));
        }
        None => {
            page.raw(expected(view));
        }
    }
    page.raw(
        "</title>\n<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' ",
    );
    page.raw("viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%23");
    page.raw(match view.verdict() {
        Some(Verdict::Compliant) => "1a7f4b",
        Some(Verdict::Violations) => "c5281c",
        Some(Verdict::Unknown) => "b26a00",
        None => "6b7684",
    });
    page.raw("'/%3E%3C/svg%3E\"/>\n<style>").raw(STYLE).raw("</style>\n</head>\n");
}

/// What is said where there is no result.
fn expected(view: &View<'_>) -> &'static str {
    if view.has_checks() { "First check under way" } else { "Drops are followed" }
}

fn waiting(page: &mut Html, view: &View<'_>) {
    page.raw("<section class=\"verdict waiting\" aria-labelledby=\"verdict\">\n<div class=\"says\">");
    icon(page, "<path d=\"M12 7v5l3.5 2\"/>");
    page.raw("<div><h1 id=\"verdict\">").raw(expected(view)).raw("</h1>\n<p class=\"lead\">");
    page.raw(if view.has_checks() {
        "Nothing is known about this node yet. The result appears here by itself."
    } else {
        "No rules are checked: this program was told to follow drops only."
    });
    page.raw("</p></div></div>\n");
    overdue(page, view);
    page.raw("</section>\n");
}

fn icon(page: &mut Html, strokes: &'static str) {
    page.raw("<svg viewBox=\"0 0 24 24\" aria-hidden=\"true\"><circle cx=\"12\" cy=\"12\" r=\"10\"/>");
    page.raw(strokes).raw("</svg>\n");
}

fn verdict(page: &mut Html, view: &View<'_>, report: &Report, verdict: Verdict) {
    page.raw("<section class=\"verdict ").raw(verdict.as_str()).raw("\" aria-labelledby=\"verdict\">\n");
    page.raw("<div class=\"says\">");
    icon(
        page,
        match verdict {
            Verdict::Compliant => "<path d=\"m7.5 12.5 3 3 6-6.5\"/>",
            Verdict::Violations => "<path d=\"m8.5 8.5 7 7m0-7-7 7\"/>",
            Verdict::Unknown => "<path d=\"M9.3 9.3a2.8 2.8 0 1 1 3.9 3c-.8.4-1.2.9-1.2 1.9M12 17.3v.1\"/>",
        },
    );
    page.raw("<div><p class=\"node\">Node <b>");
    line(page, &escape::name(&report.node));
    page.raw("</b></p>\n<h1 id=\"verdict\">").raw(word(verdict)).raw("</h1>\n<p class=\"lead\">");
    lead(page, view, report);
    page.raw("</p></div></div>\n");
    overdue(page, view);
    tiles(page, report);
    checked(page, view, report);
    page.raw("</section>\n");
}

fn overdue(page: &mut Html, view: &View<'_>) {
    if view.is_overdue {
        page.raw("<p class=\"overdue\" role=\"alert\"><b>");
        page.raw(if view.has_checks() { "The checks have stopped." } else { "This program does nothing." });
        page.raw("</b> What this page says was so ");
        page.raw("once and may no longer be; see the log of this program.</p>\n");
    }
}

fn lead(page: &mut Html, view: &View<'_>, report: &Report) {
    let decisive = decisive(report);
    match report.verdict() {
        Verdict::Compliant if view.is_overdue => {
            page.raw("The last result was: compliant.");
        }
        Verdict::Compliant if report.tables.is_empty() => {
            page.raw("This node has no tables, and so no rules.");
        }
        Verdict::Compliant => {
            let not_judged = report.tables.iter().map(|table| table.not_judged).fold(0, u64::saturating_add);
            if not_judged == 0 {
                page.raw("Everything was read and understood, and everything is allowed.");
            } else {
                page.raw("Everything was read and understood, and every rule is allowed; ");
                page.text(&counted(not_judged, "line")).raw(" beside rules ");
                page.raw(if not_judged == 1 { "is" } else { "are" }).raw(" not judged.");
            }
        }
        Verdict::Violations => {
            page.text(&report.unexpected());
            page.raw(" that no pattern allows.");
            if decisive > 0 {
                page.raw(" Not everything was read: ").text(&counted(decisive, "problem")).raw(".");
            }
        }
        Verdict::Unknown => {
            page.raw("Nothing unexpected was seen, but not everything was read and understood: ");
            page.text(&counted(decisive, "problem")).raw(".");
        }
    }
    if report.evidence != Evidence::Kernel {
        page.raw(" Saved text only: rules that were printed wrong cannot be seen.");
    }
}

/// Problems that forbid the verdict `compliant`; the others are worth knowing.
fn decisive(report: &Report) -> u64 {
    report.problems.iter().filter(|problem| problem.reason.is_decisive()).count() as u64
}

fn tiles(page: &mut Html, report: &Report) {
    let rules = report.tables.iter().fold(0, |sum: u64, table| sum.saturating_add(table.rules));
    page.raw("<dl class=\"tiles\">\n");
    for (name, count) in [
        ("Unexpected", report.violation_count),
        ("Problems", decisive(report)),
        ("Rules read", rules),
        ("Tables", report.tables.len() as u64),
    ] {
        page.raw("<div><dt>").raw(name).raw("</dt><dd>").text(&grouped(count)).raw("</dd></div>\n");
    }
    page.raw("</dl>\n");
}

fn checked(page: &mut Html, view: &View<'_>, report: &Report) {
    page.raw("<p class=\"checked\">Checked <b>").text(&ago(view.now, report.checked_at)).raw("</b>, ");
    moment(page, report.checked_at);
    if view.is_still {
        page.raw(". This page stands still");
    }
    page.raw("</p>\n");
    if let Some(known) = &report.blocked {
        page.raw("<p class=\"checked\">");
        line(page, &blocked(known));
        page.raw("</p>\n");
    }
}

fn foot(page: &mut Html, view: &View<'_>) {
    page.raw("<footer>\n<p><b>iptables-monitor</b> ");
    line(page, view.version);
    page.raw("</p>\n<nav aria-label=\"Other pages\"><a href=\"/status\">status as JSON</a> ");
    page.raw("<a href=\"/metrics\">metrics</a></nav>\n");
    page.raw(match view.reload() {
        Some(Reload::Soon) => "",
        Some(Reload::Often) => {
            "<p>This page reloads itself every 10 seconds. <a href=\"/?still\">Make it stand still</a></p>\n"
        }
        Some(Reload::EachMinute) => {
            "<p>This page reloads itself every minute. <a href=\"/?still\">Make it stand still</a></p>\n"
        }
        None => "<p>This page does not reload itself. <a href=\"/\">Make it</a></p>\n",
    });
    page.raw("</footer>\n");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::text::MAX_CHARACTERS;
    use super::*;

    /// The hash is that of the RFC's alphabet and padding: browsers compare it as text.
    #[test]
    fn the_policy_names_the_style_sheet_by_its_hash() {
        let policy = content_security_policy();
        let hash = policy.split("'sha256-").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
        assert_eq!(STANDARD.decode(hash).unwrap(), Sha256::digest(STYLE).as_slice(), "{policy}");
    }

    #[test]
    fn ages_are_said_in_two_units_at_most() {
        for (seconds, expected) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (3_599, "59 min ago"),
            (12_000, "3 h 20 min ago"),
            (187_200, "2 d 4 h ago"),
        ] {
            let then = SystemTime::UNIX_EPOCH;
            assert_eq!(ago(then + Duration::from_secs(seconds), then), expected);
        }
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        let mut page = Html::default();
        line(&mut page, &"é".repeat(MAX_CHARACTERS + 2));
        let text = page.finish();
        assert!(text.ends_with("é <em>(2 characters more)</em>"), "{text}");
    }
}
