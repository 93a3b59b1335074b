//! Laws of the page: well formed, all markup ours, all text escaped, whatever the report says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use iptables_monitor::domain::changes::judged::Judged;
use iptables_monitor::domain::changes::{ChangeSet, RuleChange, What};
use iptables_monitor::domain::judging::report::{Report, Violation};
use iptables_monitor::domain::rules::{Backend, Family, Kind};
use iptables_monitor::domain::verdict::Verdict;
use iptables_monitor::telemetry::live::drops::Seen;
use iptables_monitor::telemetry::live::{Live, Watching};
use iptables_monitor::telemetry::page::{View, render};
use proptest::prelude::*;

use super::{drops, samples};
use crate::output::laws::hostile_report;

const ELEMENTS: [&str; 38] = [
    "rect", "html", "head", "meta", "title", "link", "style", "body", "main", "section", "div", "svg",
    "circle", "path", "p", "b", "i", "h1", "h2", "h3", "span", "dl", "dt", "dd", "time", "ol", "ul", "li",
    "pre", "code", "details", "summary", "table", "thead", "tbody", "tr", "th", "td",
];
const MORE_ELEMENTS: [&str; 5] = ["em", "small", "footer", "nav", "a"];
const ATTRIBUTES: [&str; 19] = [
    "lang",
    "charset",
    "name",
    "content",
    "http-equiv",
    "rel",
    "href",
    "class",
    "id",
    "aria-labelledby",
    "aria-label",
    "aria-hidden",
    "viewBox",
    "cx",
    "cy",
    "r",
    "d",
    "role",
    "scope",
];
const MORE_ATTRIBUTES: [&str; 5] = ["datetime", "open", "width", "height", "preserveAspectRatio"];

pub(super) fn html(report: Option<&Report>, is_overdue: bool) -> String {
    html_with(report, &samples::busy(), is_overdue, false)
}

pub(super) fn html_with(report: Option<&Report>, live: &Live, is_overdue: bool, is_still: bool) -> String {
    html_of(report, live, None, is_overdue, is_still)
}

pub(super) fn html_of(
    report: Option<&Report>,
    live: &Live,
    drops: Option<&Seen>,
    is_overdue: bool,
    is_still: bool,
) -> String {
    let live = report.is_some().then_some(live);
    let (version, now) = ("0.2.0 (commit abc)", SystemTime::now());
    render(&View { report, live, drops, is_still, version, now, is_overdue })
}

/// Everything that holds for every page.
fn assert_laws(report: Option<&Report>, live: &Live, drops: Option<&Seen>, is_overdue: bool) {
    let page = html_of(report, live, drops, is_overdue, is_overdue);
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(&page, options).expect("well formed");
    let (mut headings, mut ids) = (Vec::new(), BTreeSet::new());
    for node in document.descendants() {
        if node.is_element() {
            let name = node.tag_name().name();
            assert!(ELEMENTS.contains(&name) || MORE_ELEMENTS.contains(&name), "<{name}>");
            assert_attributes(node, &mut ids);
            if name == "h1" {
                headings.push(node.text().unwrap_or_default());
            }
        } else if node.is_text() && !node.parent().is_some_and(|parent| parent.has_tag_name("style")) {
            let text = node.text().unwrap_or_default();
            let is_printable = |c: char| matches!(c, '\n' | ' '..='~') || c.is_alphabetic();
            assert!(text.chars().all(is_printable), "{text:?}");
        }
    }
    let expected = match report.map(Report::verdict) {
        Some(Verdict::Compliant) if is_overdue => "Unknown",
        Some(Verdict::Compliant) => "Compliant",
        Some(Verdict::Violations) => "Violations",
        Some(Verdict::Unknown) => "Unknown",
        None if drops.is_some_and(|drops| drops.is_all) => "Drops are followed",
        None => "First check under way",
    };
    assert_eq!(headings, [expected]);
    for label in document.descendants().filter_map(|node| node.attribute("aria-labelledby")) {
        assert!(ids.contains(label), "{label}");
    }
}

fn assert_attributes<'a>(node: roxmltree::Node<'a, '_>, ids: &mut BTreeSet<&'a str>) {
    for attribute in node.attributes() {
        let (name, value) = (attribute.name(), attribute.value());
        assert!(ATTRIBUTES.contains(&name) || MORE_ATTRIBUTES.contains(&name), "{name}={value:?}");
        if name == "href" {
            let is_ours = matches!(value, "/status" | "/metrics" | "/" | "/?still")
                || value.starts_with("data:image/svg+xml,%3Csvg ");
            assert!(is_ours, "{value:?}");
        }
        if name == "id" {
            assert!(ids.insert(attribute.value()), "{value} twice");
        }
    }
}

/// The violations of a report as changes: every other one allowed, all by whom they are said to be.
fn changed(report: &Report) -> Live {
    let change = |(number, violation): (usize, &Violation)| RuleChange {
        what: [What::Added, What::Removed, What::Moved][number % 3],
        backend: violation.backend,
        family: violation.family,
        table: violation.table.clone(),
        chain: violation.chain.clone(),
        kind: violation.kind,
        position: violation.position,
        line: violation.line.clone(),
        judged: Judged::ALL[number % 3],
        authors: violation.provenance.as_ref().map(|found| found.authors.clone()).unwrap_or_default(),
    };
    let changes = report.violations.iter().enumerate().map(change).collect();
    let set = ChangeSet {
        at: report.checked_at,
        before: None,
        after: report.verdict(),
        changes,
        untold: report.violation_count,
    };
    let watching = Watching { detail: report.node.clone(), ..samples::watching(false) };
    Live::new(watching, [Arc::new(set)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_text_is_never_markup(report in hostile_report(), is_overdue in any::<bool>()) {
        assert_laws(Some(&report), &changed(&report), None, is_overdue);
    }
}

#[test]
fn the_laws_hold_for_every_sample() {
    for drops in
        [None, Some(drops::some()), Some(drops::only(drops::none())), Some(drops::only(drops::hostile()))]
    {
        assert_laws(None, &samples::quiet(), drops.as_ref(), false);
        assert_laws(None, &samples::quiet(), drops.as_ref(), true);
    }
    let samples = [samples::empty(), samples::good(), samples::bad(), samples::unknown(), samples::hostile()];
    for (report, is_overdue) in samples.iter().flat_map(|report| [(report, false), (report, true)]) {
        for (live, drops) in [
            (samples::quiet(), Some(drops::hostile())),
            (samples::busy(), Some(drops::some())),
            (samples::hostile_live(), None),
        ] {
            assert_laws(Some(report), &live, drops.as_ref(), is_overdue);
        }
    }
}

#[test]
fn the_page_says_what_was_found() {
    let page = html(Some(&samples::bad()), false);
    for part in [
        "<title>Violations: node-7</title>",
        "3 unexpected lines that no pattern allows.",
        "Checked <b>42 s ago</b>",
        "<h3>chain INPUT, rule 3</h3>",
        "<h3>policy of chain FORWARD</h3>",
        "<pre class=\"rule\"><code>ip filter INPUT ip daddr set 10.0.0.9 jump TRUSTED</code></pre>",
        r#"<pre class="pattern"><code>^ip filter INPUT ip daddr set 10\.0\.0\.9 jump TRUSTED$</code></pre>"#,
        "Add to the file filter of the IPv6 allowlist",
        "<h3>MixedBackends</h3>",
        "0.2.0 (commit abc)",
        "nftables inet, 4,000 set elements",
        "3 rules were blocked since 20",
        "<p class=\"label\">since <time datetime=\"20",
        "reported process ip6tables (pid 40871, /usr/sbin/xtables-nft-multi), started by bash (40112), sshd (40098), \
         systemd (1): <code>ip6tables -I INPUT -s fd00::/8 -p tcp --dport 22 -j ACCEPT</code>",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

/// The texts of the rows of changes, one line each.
fn changes(page: &str) -> Vec<String> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(page, options).expect("well formed");
    let is_list = |node: &roxmltree::Node| node.attribute("class") == Some("sheet changes");
    let Some(list) = document.descendants().find(is_list) else { return Vec::new() };
    let text = |row: roxmltree::Node| {
        let parts = row.descendants().filter(|node| {
            let is_time = node.ancestors().any(|above| above.attribute("class") == Some("when"));
            node.is_text() && !is_time
        });
        let text = parts.filter_map(|node| node.text()).collect::<String>();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    list.children().filter(roxmltree::Node::is_element).map(text).collect()
}

#[test]
fn the_last_changes_are_told_and_churn_is_added_up() {
    let page = html(Some(&samples::bad()), false);
    let rows = changes(&page);
    assert_eq!(
        rows,
        [
            "kube-proxy: 18 allowed rules changed in 18 chains: 12 added, 6 removed",
            "The verdict became Violations",
            "Added unexpected chain INPUT, rule 1, iptables-nft family ip6 table filter -A INPUT -s fd00::/8 -p tcp -m \
             tcp --dport 22 -j ACCEPT reported process ip6tables (pid 40871, /usr/sbin/xtables-nft-multi), started by \
             bash (40112), sshd (40098), systemd (1): ip6tables -I INPUT -s fd00::/8 -p tcp --dport 22 -j ACCEPT",
            "kube-proxy: 36 allowed rules changed in 18 chains: 24 added, 12 removed",
            "The verdict became Compliant",
            "Removed unexpected chain PREROUTING, rule 1, iptables-nft family ip table nat -A PREROUTING -p tcp --dport \
             80 -j REDIRECT",
        ]
    );
    assert!(page.contains("<b>Changes are seen at once</b>"), "{page}");
    assert!(page.contains("a hint and no proof"), "{page}");
}

/// Not judged is a word of its own, and what came and went is told.
#[test]
fn what_nobody_judged_is_not_said_to_be_allowed() {
    let report = samples::good();
    let change = RuleChange {
        what: What::CameAndWent,
        backend: Backend::Nftables,
        family: Family::Bridge,
        table: "filter".into(),
        chain: Some("FORWARD".into()),
        kind: Kind::Rule,
        position: None,
        line: b"bridge filter FORWARD drop".to_vec(),
        judged: Judged::NotJudged,
        authors: Vec::new(),
    };
    let verdict = report.verdict();
    let changes = vec![change];
    let set = ChangeSet { at: report.checked_at, before: Some(verdict), after: verdict, changes, untold: 0 };
    let live = Live::new(samples::quiet().watching, [Arc::new(set)]);
    let page = html_with(Some(&report), &live, false, false);
    let expected = "Came and went not judged chain FORWARD, nftables family bridge table filter bridge filter FORWARD drop";
    assert_eq!(self::changes(&page), [expected]);
    assert!(page.contains("<li class=\"unknown\">"), "{page}");
    assert!(page.contains("every rule is allowed; 2 lines beside rules are not judged."), "{page}");
}

#[test]
fn a_page_without_changes_says_so() {
    let page = html_with(Some(&samples::good()), &samples::quiet(), false, false);
    assert!(page.contains("No rule was seen to change since this program started."), "{page}");
    assert!(page.contains("<b>Changes are seen only every 300 s</b>: CAP_NET_ADMIN is missing"), "{page}");
    assert!(!page.contains("a hint and no proof"), "{page}");
}

#[test]
fn hostile_changes_are_bounded() {
    let page = html_with(Some(&samples::good()), &samples::hostile_live(), false, false);
    let rows = changes(&page);
    assert_eq!(rows.len(), 91 + 2 + 1, "{rows:#?}");
    assert!(
        rows.iter().any(|row| row.ends_with("59 allowed rules changed in 1 chain: 59 moved"))
            || rows.len() == 94
    );
    assert!(
        rows.last().is_some_and(|row| row.starts_with("18,446,744,073,709,551,615 more changes of allowed"))
    );
    assert!(page.len() < 400_000, "{} bytes", page.len());
}

#[test]
fn the_page_reloads_itself_as_often_as_it_has_news() {
    let refresh = |page: &str| {
        let (_, rest) = page.split_once("http-equiv=\"refresh\" content=\"")?;
        rest.split_once('"').map(|(seconds, _)| seconds.to_owned())
    };
    let report = samples::good();
    let after = |report, live: &Live, is_still| refresh(&html_with(report, live, false, is_still));
    assert_eq!(after(None, &samples::quiet(), false).as_deref(), Some("3"));
    assert_eq!(after(Some(&report), &samples::quiet(), false).as_deref(), Some("60"));
    assert_eq!(after(Some(&report), &samples::busy(), false).as_deref(), Some("10"));
    assert_eq!(after(Some(&report), &samples::busy(), true), None);
    let still = html_with(Some(&report), &samples::busy(), false, true);
    assert!(still.contains("This page stands still") && still.contains("<a href=\"/\">"), "{still}");
}

#[test]
fn too_much_is_cut_and_counted() {
    let report = samples::hostile();
    let page = html_with(Some(&report), &samples::quiet(), false, false);
    assert_eq!(page.matches("<pre class=\"rule\">").count(), 100);
    assert!(page.contains("98,901 more unexpected lines are not shown"), "{page}");
    assert!(page.contains("106 more tables are not shown"), "{page}");
    assert!(page.contains("18,500 characters more)"), "{page}");
    assert_eq!(page.matches("<tr class=\"bad\">").count(), 3, "tables with unexpected rules come first");
    assert!(page.len() < 400_000, "{} bytes", page.len());
}
