//! What a scrape says after what happened; promtool's opinion is asked in `tests/it/http`.
//! Reads the text with a parser of its own.

use std::collections::BTreeMap;

use super::label::MAX_LABEL;
use super::*;
use crate::domain::changes::Provenance;
use crate::domain::changes::author::{Ancestor, Author};
use crate::domain::judging::blocked::Blocked;
use crate::domain::judging::report::Evidence;
use crate::domain::rules::{Kind, Problem};

fn table(backend: Backend, family: Family, name: &str, rules: u64, unexpected: u64) -> TableSummary {
    TableSummary { backend, family, table: name.into(), rules, unexpected, not_judged: 0, set_elements: 0 }
}

fn report(tables: Vec<TableSummary>, reasons: &[Reason]) -> Report {
    Report {
        checked_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
        node: "n".into(),
        evidence: Evidence::Kernel,
        violation_count: tables.iter().map(|table| table.unexpected).fold(0, u64::saturating_add),
        tables,
        violations: Vec::new(),
        violations_hash: String::new(),
        ruleset_hash: String::new(),
        problems: reasons.iter().map(|reason| Problem::new(*reason, "")).collect(),
        blocked: None,
    }
}

/// The value of each series, by its name with labels and without the prefix.
fn scrape(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.render();
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (series.trim_start_matches("iptables_monitor_").to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}

fn check(metrics: &Metrics, series: &str, expected: Option<f64>) {
    let scraped = scrape(metrics);
    assert_eq!(scraped.get(series).copied(), expected, "{series}\n{}", metrics.render());
}

#[test]
fn nothing_is_compliant_before_the_first_check() {
    let metrics = Metrics::new("0.2.0", "abc");
    check(&metrics, r#"verdict{verdict="unknown"}"#, Some(1.0));
    check(&metrics, r#"verdict{verdict="compliant"}"#, Some(0.0));
    check(&metrics, r#"build_info{commit="abc",version="0.2.0"}"#, Some(1.0));
    check(&metrics, "checks_total", Some(0.0));
    let reasons = scrape(&metrics).keys().filter(|name| name.starts_with("problems{")).count();
    assert_eq!(reasons, Reason::ALL.len());
}

#[test]
fn blocked_rules_are_counted_once() {
    let metrics = Metrics::new("", "");
    check(&metrics, "blocked_rules_total", Some(0.0));
    for (count, error) in [(0, None), (3, None), (3, Some("no map".to_owned())), (5, None)] {
        let blocked = Blocked { counter: None, count, since: None, read_at: None, last_at: None, error };
        let report = Report { blocked: Some(blocked), ..report(Vec::new(), &[]) };
        metrics.check_done(&report, Duration::ZERO);
        check(&metrics, "blocked_rules_total", Some(count as f64));
    }
    metrics.check_done(&report(Vec::new(), &[]), Duration::ZERO);
    check(&metrics, "blocked_rules_total", Some(5.0));
    check(&metrics, "blocked_read_errors_total", Some(1.0));
}

fn brought(authors: Vec<Author>) -> Violation {
    Violation {
        backend: Backend::Nftables,
        family: Family::Ip,
        table: "t".into(),
        chain: None,
        position: None,
        kind: Kind::Rule,
        line: Vec::new(),
        suggested_pattern: None,
        provenance: Some(Provenance {
            first_seen: SystemTime::UNIX_EPOCH,
            is_older: false,
            authors: authors.into_iter().map(Arc::new).collect(),
        }),
    }
}

#[test]
fn attribution_is_counted_by_how_much_is_known() {
    let author = |executable: Option<&str>| Author {
        pid: 1,
        name: "iptables".into(),
        executable: executable.map(str::to_owned),
        command_line: None,
        parents: Vec::new(),
        container: None,
        pod: None,
    };
    let violation = |authors: Option<Vec<Author>>| match authors {
        Some(authors) => brought(authors),
        None => Violation { provenance: None, ..brought(Vec::new()) },
    };
    let metrics = Metrics::new("", "");
    check(&metrics, r#"attributed_rules{how="none"}"#, Some(0.0));
    let violations = vec![
        violation(None),
        violation(Some(Vec::new())),
        violation(Some(vec![author(None)])),
        violation(Some(vec![author(None), author(Some("/bin/secret"))])),
    ];
    let found = Report { violations, ..report(Vec::new(), &[]) };
    metrics.check_done(&found, Duration::ZERO);
    for (how, count) in [("process", 1.0), ("name", 1.0), ("none", 2.0)] {
        check(&metrics, &format!("attributed_rules{{how=\"{how}\"}}"), Some(count));
    }
    assert!(!metrics.render().contains("secret"), "no executable is a label");
    check(&metrics, r#"attributed_rules_by_process{parents="",process="iptables"}"#, Some(2.0));
}

#[test]
fn processes_are_named_and_bounded() {
    let author = |name: &str| Author {
        parents: ["bash", "sshd"]
            .map(|name| Ancestor { pid: 2, name: name.into(), command_line: None })
            .into(),
        ..Author::named(1, name.as_bytes())
    };
    let violation = |name: &str| brought(vec![author(name)]);
    let metrics = Metrics::new("", "");
    let mut violations = vec![violation("iptables"), violation("iptables"), violation("\u{1b}[2J\"\n")];
    violations.extend((0..50).map(|number| violation(&number.to_string())));
    metrics.check_done(&Report { violations, ..report(Vec::new(), &[]) }, Duration::ZERO);
    check(&metrics, r#"attributed_rules_by_process{parents="bash < sshd",process="iptables"}"#, Some(2.0));
    check(&metrics, r#"attributed_rules_by_process{parents="other",process="other"}"#, Some(32.0));
    let text = metrics.render();
    assert_eq!(text.matches("attributed_rules_by_process{").count(), 21);
    assert!(!text.contains('\u{1b}'));
    metrics.check_done(&report(Vec::new(), &[]), Duration::ZERO);
    assert!(!metrics.render().contains("attributed_rules_by_process{"));
}

#[test]
fn exactly_one_verdict_stands() {
    let metrics = Metrics::new("", "");
    let bad = vec![table(Backend::IptablesNft, Family::Ip, "filter", 1, 1)];
    for (report, verdict) in [
        (report(Vec::new(), &[]), "compliant"),
        (report(bad, &[Reason::TornRead]), "violations"),
        (report(Vec::new(), &[Reason::TornRead, Reason::MixedBackends, Reason::TornRead]), "unknown"),
    ] {
        metrics.check_done(&report, Duration::from_millis(70));
        for other in VERDICTS {
            let expected = if other.as_str() == verdict { 1.0 } else { 0.0 };
            check(&metrics, &format!("verdict{{verdict=\"{}\"}}", other.as_str()), Some(expected));
        }
    }
    check(&metrics, r#"problems{reason="TornRead"}"#, Some(2.0));
    check(&metrics, r#"problems{reason="MixedBackends"}"#, Some(1.0));
    check(&metrics, r#"problems{reason="KernelRead"}"#, Some(0.0));
    check(&metrics, "checks_total", Some(3.0));
    check(&metrics, "last_check_timestamp_seconds", Some(1.5));
    check(&metrics, r#"check_duration_seconds_bucket{le="0.05"}"#, Some(0.0));
    check(&metrics, r#"check_duration_seconds_bucket{le="0.1"}"#, Some(3.0));
}

#[test]
fn a_table_that_is_gone_has_no_series() {
    let metrics = Metrics::new("", "");
    let before = vec![
        table(Backend::IptablesNft, Family::Ip, "filter", 7, 2),
        table(Backend::Nftables, Family::Inet, "firewalld", 30, 0),
    ];
    metrics.check_done(&report(before, &[]), Duration::ZERO);
    check(&metrics, r#"rules{backend="iptables-nft",family="ip",table="filter"}"#, Some(7.0));
    check(&metrics, r#"unexpected_rules{backend="iptables-nft",family="ip",table="filter"}"#, Some(2.0));
    check(&metrics, r#"unexpected_rules{backend="nftables",family="inet",table="firewalld"}"#, Some(0.0));
    let after = vec![table(Backend::IptablesNft, Family::Ip, "nat", 1, 0)];
    metrics.check_done(&report(after, &[]), Duration::ZERO);
    check(&metrics, r#"rules{backend="iptables-nft",family="ip",table="filter"}"#, None);
    check(&metrics, r#"unexpected_rules{backend="nftables",family="inet",table="firewalld"}"#, None);
    check(&metrics, r#"rules{backend="iptables-nft",family="ip",table="nat"}"#, Some(1.0));
}

#[test]
fn ever_new_table_names_do_not_make_ever_new_series() {
    let metrics = Metrics::new("", "");
    let mut seen = BTreeSet::new();
    for round in 0..10 {
        let names = (0..30).map(|number| format!("t{round}x{number}"));
        let mut tables: Vec<_> =
            names.map(|name| table(Backend::Nftables, Family::Inet, &name, 1, 1)).collect();
        tables.extend(IPTABLES_TABLES.map(|name| table(Backend::IptablesNft, Family::Ip6, name, 3, 0)));
        metrics.check_done(&report(tables, &[]), Duration::ZERO);
        seen.extend(scrape(&metrics).into_keys().filter(|name| name.starts_with("unexpected_rules{")));
    }
    assert_eq!(seen.len(), MAX_NATIVE_NAMES + 1 + IPTABLES_TABLES.len());
    check(&metrics, r#"rules{backend="nftables",family="inet",table="other"}"#, Some(30.0));
    check(&metrics, r#"rules{backend="iptables-nft",family="ip6",table="security"}"#, Some(3.0));
    let hooks = table(Backend::Netfilter, Family::Ip, "hooks", 0, 2);
    metrics.check_done(&report(vec![hooks], &[]), Duration::ZERO);
    check(&metrics, r#"unexpected_rules{backend="netfilter",family="ip",table="hooks"}"#, Some(2.0));
}

#[test]
fn hostile_names_are_escaped_cut_and_added_up() {
    let metrics = Metrics::new("", "");
    let long = "x".repeat(200);
    let tables = vec![
        table(Backend::Nftables, Family::Ip, "a\"} 1\niptables_monitor_verdict{verdict=\"\u{202e}", 1, 0),
        table(Backend::Nftables, Family::Ip, &format!("{long}1"), u64::MAX, 4),
        table(Backend::Nftables, Family::Ip, &format!("{long}2"), 1, 5),
    ];
    metrics.check_done(&report(tables, &[]), Duration::ZERO);
    let cut = &long[..MAX_LABEL];
    let series = format!("unexpected_rules{{backend=\"nftables\",family=\"ip\",table=\"{cut}\"}}");
    check(&metrics, &series, Some(9.0));
    assert!(metrics.render().is_ascii());
    let verdicts = scrape(&metrics).into_keys().filter(|name| name.starts_with("verdict{")).count();
    assert_eq!(verdicts, VERDICTS.len());
}

#[test]
fn what_others_count_is_counted() {
    let metrics = Metrics::new("", "");
    let clone = metrics.clone();
    clone.api_write("label");
    clone.api_write("label");
    clone.api_failure("event", "forbidden");
    clone.permission("watch", "nodes", true);
    clone.permission("watch", "nodes", false);
    clone.label_restored("node");
    clone.shed("event");
    clone.allowlist(12, 1);
    check(&metrics, r#"api_writes_total{operation="label"}"#, Some(2.0));
    check(&metrics, r#"api_failures_total{operation="event",reason="forbidden"}"#, Some(1.0));
    check(&metrics, r#"permission{resource="nodes",verb="watch"}"#, Some(0.0));
    check(&metrics, r#"label_restores_total{object="node"}"#, Some(1.0));
    check(&metrics, r#"shed_total{what="event"}"#, Some(1.0));
    check(&metrics, "patterns", Some(12.0));
    check(&metrics, "broken_patterns", Some(1.0));
}
