//! Laws of the page: well formed, all markup ours, all text escaped, whatever the report says.

use std::collections::BTreeSet;
use std::time::SystemTime;

use iptables_monitor::domain::report::{Report, Verdict};
use iptables_monitor::telemetry::page::{View, render};
use proptest::prelude::*;

use super::samples;
use crate::output::laws::hostile_report;

const ELEMENTS: [&str; 37] = [
    "html", "head", "meta", "title", "link", "style", "body", "main", "section", "div", "svg", "circle",
    "path", "p", "b", "i", "h1", "h2", "h3", "span", "dl", "dt", "dd", "time", "ol", "ul", "li", "pre",
    "code", "details", "summary", "table", "thead", "tbody", "tr", "th", "td",
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
const MORE_ATTRIBUTES: [&str; 2] = ["datetime", "open"];

pub(super) fn html(report: Option<&Report>, is_overdue: bool) -> String {
    let view = View { report, version: "0.2.0 (commit abc)", now: SystemTime::now(), is_overdue };
    render(&view)
}

/// Everything that holds for every page.
fn assert_laws(report: Option<&Report>, is_overdue: bool) {
    let page = html(report, is_overdue);
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
            let is_ours =
                matches!(value, "/status" | "/metrics") || value.starts_with("data:image/svg+xml,%3Csvg ");
            assert!(is_ours, "{value:?}");
        }
        if name == "id" {
            assert!(ids.insert(attribute.value()), "{value} twice");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_text_is_never_markup(report in hostile_report(), is_overdue in any::<bool>()) {
        assert_laws(Some(&report), is_overdue);
    }
}

#[test]
fn the_laws_hold_for_every_sample() {
    assert_laws(None, false);
    assert_laws(None, true);
    let samples = [samples::empty(), samples::good(), samples::bad(), samples::unknown(), samples::hostile()];
    for (report, is_overdue) in samples.iter().flat_map(|report| [(report, false), (report, true)]) {
        assert_laws(Some(report), is_overdue);
    }
}

#[test]
fn the_page_says_what_was_found() {
    let page = html(Some(&samples::bad()), false);
    for part in [
        "<title>Violations: node-7</title>",
        "3 unexpected rules that no pattern allows.",
        "Checked <b>42 s ago</b>",
        "<h3>chain INPUT, rule 3</h3>",
        "<h3>policy of chain FORWARD</h3>",
        "<pre class=\"rule\"><code>ip filter INPUT ip daddr set 10.0.0.9 jump TRUSTED</code></pre>",
        "<pre class=\"misprint\"><code>-A INPUT -j TRUSTED</code></pre>",
        r#"<pre class="pattern"><code>^ip filter INPUT ip daddr set 10\.0\.0\.9 jump TRUSTED$</code></pre>"#,
        "Add to the file filter of the IPv6 allowlist",
        "<h3>MixedBackends</h3>",
        "iptables-nft-save 1.8.9, nft 1.0.6",
        "0.2.0 (commit abc)",
        "nftables inet, 4,000 set elements",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn too_much_is_cut_and_counted() {
    let report = samples::hostile();
    let page = html(Some(&report), false);
    assert_eq!(page.matches("<pre class=\"rule\">").count(), 100);
    assert!(page.contains("98,901 more unexpected rules are not shown"), "{page}");
    assert!(page.contains("106 more tables are not shown"), "{page}");
    assert!(page.contains("18,500 characters more)"), "{page}");
    assert_eq!(page.matches("<tr class=\"bad\">").count(), 3, "tables with unexpected rules come first");
    assert!(page.len() < 400_000, "{} bytes", page.len());
}
