//! The JUnit document: well-formed, and its counts are true.

use super::*;

pub(super) fn counts(report: &Report, limit: usize) -> [usize; 4] {
    let xml = written(report, Format::Junit, &WriteOptions { limit, ..TEXT });
    let document = roxmltree::Document::parse(&xml).unwrap_or_else(|error| panic!("{error}\n{xml}"));
    let root = document.root_element();
    let names = ["testcase", "failure", "error", "skipped"];
    let found = names.map(|name| root.descendants().filter(|node| node.has_tag_name(name)).count());
    for (attribute, count) in ["tests", "failures", "errors", "skipped"].into_iter().zip(found) {
        assert_eq!(root.attribute(attribute), Some(count.to_string().as_str()), "{xml}");
        let suites = root.children().filter_map(|suite| suite.attribute(attribute)?.parse::<usize>().ok());
        assert_eq!(suites.sum::<usize>(), count, "{xml}");
    }
    found
}

#[test]
fn junit_has_a_suite_for_each_table() {
    let xml = written(&full(), Format::Junit, &TEXT);
    let document = roxmltree::Document::parse(&xml).unwrap();
    let suites: Vec<_> =
        document.root_element().children().filter_map(|node| node.attribute("name")).collect();
    assert_eq!(
        suites,
        [
            "check",
            "iptables-nft, family ip, table filter",
            "iptables-nft, family ip, table nat",
            "iptables-nft, family ip6, table filter",
            "nftables, family ip, table filter",
            "nftables, family inet, table firewalld",
            "nftables, family netdev, table \"edge, chain INPUT\"",
        ]
    );
    let failure = document
        .descendants()
        .find(|node| node.has_tag_name("failure") && node.text().unwrap().contains("ttl"));
    let text = failure.unwrap().text().unwrap();
    assert!(text.contains("\n  ip filter INPUT ip ttl set 1 counter jump TRUSTED\n  allow it: "), "{text}");
}

#[test]
pub(super) fn counts_what_it_holds() {
    assert_eq!(counts(&report(), 1_000), [4, 0, 0, 0]);
    assert_eq!(counts(&Report { tables: Vec::new(), ..report() }, 1_000), [1, 0, 0, 0]);
    assert_eq!(counts(&with_violations(vec![violation(b"-N x")]), 1_000), [4, 1, 0, 0]);
    assert_eq!(counts(&with_problems(&[Reason::TornRead, Reason::MixedBackends]), 1_000), [5, 0, 1, 1]);
}

#[test]
fn junit_passes_no_table_while_violations_are_unlisted() {
    let report = with_violations(vec![violation(b"-N x")]);
    assert_eq!(counts(&report, 0), [5, 1, 0, 3]);
}
