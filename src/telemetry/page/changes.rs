//! The part of the page that tells what changed of late and who is said to have changed it.
//! Shows each change of what is not allowed; what is allowed and changes all the time is added up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::super::html::Html;
use super::super::live::{Live, Watching};
use super::findings::{authors, bytes};
use super::text::{ago, line, moment, word};
use crate::domain::changes::judged::Judged;
use crate::domain::changes::{ChangeSet, RuleChange, What};
use crate::domain::rules::Family;
use crate::domain::rules::wording::entry;
use crate::domain::verdict::Verdict;
use crate::domain::words::escape;
use crate::domain::words::numbers::{counted, grouped};

/// Rows that are shown.
const MAX_ROWS: usize = 100;
/// So many changes of allowed rules in one check are shown one by one...
const FEW: usize = 3;
/// ... if there are no more than these in all.
const QUIET: usize = 12;

/// Something that is shown as one.
#[derive(Debug)]
enum Row<'a> {
    /// A check came to another verdict.
    Turn { at: SystemTime, after: Verdict },
    /// One line changed.
    One { at: SystemTime, change: &'a RuleChange },
    /// Many allowed lines changed, by the same processes.
    Many(Many<'a>),
    /// Changes that were not kept one by one.
    Untold { at: SystemTime, count: u64, is_allowed: bool },
}

/// Changes of allowed lines in one check or in some that follow each other.
#[derive(Debug)]
struct Many<'a> {
    from: SystemTime,
    to: SystemTime,
    who: String,
    counts: BTreeMap<What, u64>,
    chains: BTreeSet<(Family, &'a str, Option<&'a str>)>,
}

/// The last changes, the latest first, and whether changes are seen at once.
pub(super) fn changes(page: &mut Html, live: &Live, now: SystemTime) {
    page.raw("<section aria-labelledby=\"changes\">\n<h2 id=\"changes\">Last changes</h2>\n");
    watching(page, &live.watching);
    let rows = rows(live);
    if rows.is_empty() {
        page.raw("<p class=\"more\">No rule was seen to change since this program started.</p>\n");
    } else {
        page.raw("<ol class=\"sheet changes\">\n");
        rows.iter().take(MAX_ROWS).for_each(|row| show(page, row, now));
        page.raw("</ol>\n");
    }
    if rows.len() > MAX_ROWS {
        page.raw("<p class=\"more\">Older changes are not shown.</p>\n");
    }
    if rows.iter().any(has_author) {
        page.raw("<p class=\"more\">A reported process is a hint and no proof: its names are its own choice.</p>\n");
    }
    page.raw("</section>\n");
}

fn watching(page: &mut Html, watching: &Watching) {
    if watching.is_on {
        page.raw("<p class=\"watching\"><b>Changes are seen at once");
    } else {
        let seconds = grouped(watching.interval.as_secs());
        page.raw("<p class=\"watching off\"><b>Changes are seen only every ").text(&seconds).raw(" s");
    }
    page.raw("</b>");
    if !watching.detail.is_empty() {
        page.raw(": ");
        line(page, &escape::paragraph(&watching.detail));
    }
    page.raw("</p>\n");
}

fn rows(live: &Live) -> Vec<Row<'_>> {
    let sets = live.changes();
    let allowed =
        sets.iter().flat_map(|set| &set.changes).filter(|change| change.judged.is_allowed()).count();
    let mut rows = Vec::new();
    for set in sets.iter().rev() {
        let at = set.at;
        if set.before.is_some_and(|before| before != set.after) {
            rows.push(Row::Turn { at, after: set.after });
        }
        let (allowed_now, others): (Vec<_>, Vec<_>) =
            set.changes.iter().partition(|change| change.judged.is_allowed());
        // those that are listed come first: after an allowed one there is no other
        let is_allowed = !allowed_now.is_empty();
        rows.extend(others.into_iter().map(|change| Row::One { at, change }));
        if allowed_now.len() <= FEW && allowed <= QUIET {
            rows.extend(allowed_now.into_iter().map(|change| Row::One { at, change }));
        } else {
            add_up(&mut rows, set, &allowed_now);
        }
        if set.untold > 0 {
            rows.push(Row::Untold { at, count: set.untold, is_allowed });
        }
    }
    rows
}

/// Adds a row for each author, or makes the one that is there already longer.
fn add_up<'a>(rows: &mut Vec<Row<'a>>, set: &ChangeSet, changes: &[&'a RuleChange]) {
    let mut sums: BTreeMap<String, Many<'a>> = BTreeMap::new();
    for change in changes {
        let who = names(change);
        let sum = sums.entry(who.clone()).or_insert_with(|| Many::new(set.at, who));
        sum.add(change);
    }
    let is_alone = sums.len() == 1;
    for sum in sums.into_values() {
        match rows.last_mut() {
            Some(Row::Many(later)) if is_alone && later.who == sum.who => later.extend(sum),
            _ => rows.push(Row::Many(sum)),
        }
    }
}

/// The names of those who are said to have made a change, each once; empty if nobody is.
fn names(change: &RuleChange) -> String {
    let names: BTreeSet<_> = change.authors.iter().map(|author| escape::name(&author.name)).collect();
    names.into_iter().take(FEW).collect::<Vec<_>>().join(" or ")
}

impl<'a> Many<'a> {
    fn new(at: SystemTime, who: String) -> Self {
        Self { from: at, to: at, who, counts: BTreeMap::new(), chains: BTreeSet::new() }
    }

    fn add(&mut self, change: &'a RuleChange) {
        *self.counts.entry(change.what).or_default() += 1;
        self.chains.insert((change.family, &change.table, change.chain.as_deref()));
    }

    fn extend(&mut self, earlier: Self) {
        self.from = earlier.from;
        for (what, count) in earlier.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.chains.extend(earlier.chains);
    }

    /// "214 allowed rules changed in 12 chains: 200 added, 14 removed".
    fn text(&self) -> String {
        let all = counted(self.counts.values().sum(), "allowed rule");
        let chains = counted(self.chains.len() as u64, "chain");
        let kinds = self.counts.iter().map(|(what, count)| format!("{} {}", grouped(*count), what.words()));
        let kinds: Vec<_> = kinds.collect();
        format!("{all} changed in {chains}: {}", kinds.join(", "))
    }
}

fn has_author(row: &Row<'_>) -> bool {
    match row {
        Row::One { change, .. } => !change.authors.is_empty(),
        Row::Many(many) => !many.who.is_empty(),
        Row::Turn { .. } | Row::Untold { .. } => false,
    }
}

fn show(page: &mut Html, row: &Row<'_>, now: SystemTime) {
    match row {
        Row::Turn { at, after } => {
            page.raw("<li class=\"turn ")
                .raw(after.as_str())
                .raw("\">\n<p class=\"what\"><b>The verdict became ");
            page.raw(word(*after)).raw("</b> ");
            when(page, *at, now);
            page.raw("</p>\n</li>\n");
        }
        Row::One { at, change } => one(page, *at, change, now),
        Row::Many(many) => {
            page.raw("<li>\n<p class=\"what\">");
            if !many.who.is_empty() {
                page.raw("<b>");
                line(page, &many.who);
                page.raw("</b>: ");
            }
            page.text(&many.text()).raw(" ");
            if many.from != many.to {
                page.raw("<span class=\"when\">from ");
                moment(page, many.from);
                page.raw(" to</span> ");
            }
            when(page, many.to, now);
            page.raw("</p>\n</li>\n");
        }
        Row::Untold { at, count, is_allowed } => {
            page.raw("<li>\n<p class=\"what\">").text(&counted(*count, "more change"));
            page.raw(if *is_allowed {
                " of allowed rules "
            } else {
                ", perhaps of rules that are not allowed "
            });
            when(page, *at, now);
            page.raw("</p>\n</li>\n");
        }
    }
}

fn one(page: &mut Html, at: SystemTime, change: &RuleChange, now: SystemTime) {
    page.raw(match change.judged {
        Judged::Allowed => "<li>\n",
        Judged::Unexpected => "<li class=\"violations\">\n",
        Judged::NotJudged => "<li class=\"unknown\">\n",
    });
    page.raw("<p class=\"what\"><b>").raw(match change.what {
        What::Added => "Added",
        What::Removed => "Removed",
        What::Moved => "Moved",
        What::CameAndWent => "Came and went",
    });
    page.raw("</b> <span class=\"flag\">").raw(change.judged.words()).raw("</span> ");
    when(page, at, now);
    page.raw("</p>\n<p class=\"where\">");
    if let Some(entry) = entry(change.kind, change.chain.as_deref(), change.position) {
        line(page, &entry);
        page.raw(", ");
    }
    page.text(change.backend.as_str()).raw(" <i>family</i> ").text(change.family.as_str());
    page.raw(" <i>table</i> ");
    line(page, &escape::name(&change.table));
    page.raw("</p>\n");
    bytes(page, if change.judged.is_allowed() { "same" } else { "rule" }, &change.line);
    authors(page, &change.authors);
    page.raw("</li>\n");
}

fn when(page: &mut Html, at: SystemTime, now: SystemTime) {
    page.raw("<span class=\"when\">");
    moment(page, at);
    page.raw(", ").text(&ago(now, at)).raw("</span>");
}
