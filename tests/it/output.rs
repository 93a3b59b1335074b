//! Every writer of a report, on one of everything and on hostile bytes.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod json;
mod junit;
pub(crate) mod laws;
mod sarif;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use iptables_monitor::cli::output::{Format, WriteOptions, write};
use iptables_monitor::domain::changes::Provenance;
use iptables_monitor::domain::changes::author::{Ancestor, Author, PodHint};
use iptables_monitor::domain::judging::blocked::Blocked;
use iptables_monitor::domain::judging::report::{Evidence, Report, TableSummary, Violation};
use iptables_monitor::domain::rules::{Backend, Family, Kind, Problem, Reason};
use iptables_monitor::domain::verdict::Verdict;
use serde_json::Value;

const TEXT: WriteOptions = WriteOptions { color: false, limit: WriteOptions::DEFAULT_LIMIT, quiet: false };

pub(crate) fn written(report: &Report, format: Format, options: &WriteOptions) -> String {
    let mut out = Vec::new();
    write(report, format, options, &mut out).expect("a vector");
    String::from_utf8(out).expect("every format is UTF-8")
}

fn parsed(report: &Report, format: Format, options: &WriteOptions) -> Value {
    serde_json::from_str(&written(report, format, options)).expect("JSON")
}

fn report() -> Report {
    Report {
        checked_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_254_896_789),
        node: "node-1".into(),
        evidence: Evidence::Kernel,
        tables: vec![
            summary(Backend::IptablesNft, Family::Ip, "filter", 12, 0),
            summary(Backend::IptablesNft, Family::Ip, "nat", 1_192, 0),
            summary(Backend::Nftables, Family::Inet, "firewalld", 33, 4_000),
        ],
        violations: Vec::new(),
        violation_count: 0,
        violations_hash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
        ruleset_hash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
        problems: Vec::new(),
        blocked: None,
    }
}

fn summary(backend: Backend, family: Family, table: &str, rules: u64, set_elements: u64) -> TableSummary {
    TableSummary { backend, family, table: table.into(), rules, unexpected: 0, not_judged: 0, set_elements }
}

fn violation(line: &[u8]) -> Violation {
    Violation {
        backend: Backend::IptablesNft,
        family: Family::Ip,
        table: "filter".into(),
        chain: Some("INPUT".into()),
        position: Some(3),
        kind: Kind::Rule,
        line: line.into(),
        suggested_pattern: None,
        provenance: None,
    }
}

fn with_violations(violations: Vec<Violation>) -> Report {
    Report { violation_count: violations.len() as u64, violations, ..report() }
}

fn with_problems(reasons: &[Reason]) -> Report {
    let problems = reasons.iter().map(|reason| Problem::new(*reason, format!("about {}", reason.as_str())));
    Report { problems: problems.collect(), ..report() }
}

/// A rule that came while the agent watched, brought by a process in a pod or by another one.
fn provenance() -> Provenance {
    let parent =
        |pid, name: &str| Ancestor { pid, name: name.into(), command_line: Some(format!("-{name}")) };
    let iptables = Author {
        pid: 71,
        name: "ip6tables".into(),
        executable: Some("/usr/sbin/xtables-nft-multi".into()),
        command_line: Some("ip6tables -I INPUT -s fd00::/8 -p tcp --dport 22 -j ACCEPT".into()),
        parents: vec![parent(70, "bash"), parent(1, "sshd")],
        container: Some("0123abcd".into()),
        pod: Some(PodHint { uid: "u-1".into(), name: Some(("default".into(), "web".into())) }),
    };
    let other = Author {
        name: "kube-proxy".into(),
        executable: None,
        command_line: None,
        parents: Vec::new(),
        container: None,
        pod: None,
        ..iptables.clone()
    };
    let first_seen = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_254_800_500);
    Provenance { first_seen, is_older: false, authors: vec![Arc::new(iptables), Arc::new(other)] }
}

/// One of everything.
pub(crate) fn full() -> Report {
    let native = Violation {
        backend: Backend::Nftables,
        suggested_pattern: Some(r"^ip filter INPUT ip ttl set 1 counter jump TRUSTED$".into()),
        provenance: None,
        ..violation(b"ip filter INPUT ip ttl set 1 counter jump TRUSTED")
    };
    let v6 = Violation {
        provenance: Some(provenance()),
        family: Family::Ip6,
        suggested_pattern: Some(r"^-A INPUT -s fd00::/8 -p tcp -m tcp --dport 22 -j ACCEPT$".into()),
        ..violation(b"-A INPUT -s fd00::/8 -p tcp -m tcp --dport 22 -j ACCEPT")
    };
    let policy = Violation {
        kind: Kind::Policy,
        position: None,
        chain: Some("FORWARD".into()),
        suggested_pattern: Some("^-P FORWARD DROP$".into()),
        ..violation(b"-P FORWARD DROP")
    };
    let table = Violation {
        backend: Backend::Nftables,
        family: Family::Netdev,
        table: "edge, chain INPUT".into(),
        chain: None,
        position: None,
        kind: Kind::Table,
        suggested_pattern: Some(r#"^table netdev "edge, chain INPUT"$"#.into()),
        ..violation(br#"table netdev "edge, chain INPUT""#)
    };
    let hostile = violation(b"-A INPUT -m comment --comment \"\x1b[2J\xe2\x80\xae\nCOMPLIANT \xff\" -j DROP");
    let mut tables = report().tables;
    tables[0].unexpected = 1_005;
    Report {
        tables,
        problems: vec![
            Problem::new(
                Reason::IncompleteDump,
                "`iptables-nft-save` stopped before the COMMIT of table nat: its exit status was 3 and its last line on stderr was:\nParsing nftables rule failed",
            ),
            Problem::new(Reason::MixedBackends, "iptables-legacy holds 4 rules too"),
        ],
        blocked: Some(Blocked {
            counter: Some(503),
            count: 3,
            since: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_254_000)),
            read_at: None,
            last_at: None,
            error: Some("opening the pinned map: \u{202e}\n".into()),
        }),
        violation_count: 1_005,
        ..with_violations(vec![native, v6, policy, table, hostile])
    }
}

fn compliant_reports() -> Vec<Report> {
    vec![
        report(),
        Report { tables: Vec::new(), ..report() },
        Report { evidence: Evidence::Text, ..with_problems(&[Reason::MixedBackends]) },
    ]
}

fn other_reports() -> Vec<Report> {
    let mut reports =
        vec![full(), with_violations(vec![violation(b"-N caf\xe9")]), with_problems(&Reason::ALL)];
    for reason in Reason::ALL.into_iter().filter(|reason| reason.is_decisive()) {
        reports.push(with_problems(&[reason]));
    }
    for (backend, family) in Backend::ALL.into_iter().flat_map(|b| Family::ALL.map(|f| (b, f))) {
        let kinds = Kind::ALL.map(|kind| Violation { backend, family, kind, ..violation(b"-N x") });
        reports.push(with_violations(kinds.into()));
    }
    reports
}

#[test]
fn text_starts_with_the_verdict() {
    let first = |report: &Report| written(report, Format::Text, &TEXT).lines().next().map(str::to_owned);
    for (report, expected) in [
        (report(), "COMPLIANT  node-1: 1,237 rules read, all allowed"),
        (
            Report { evidence: Evidence::Text, ..with_problems(&[Reason::MixedBackends]) },
            "COMPLIANT  node-1: 1,237 rules read, all allowed, 1 note (saved text only)",
        ),
        (
            Report { evidence: Evidence::Namespace, ..report() },
            "COMPLIANT  node-1: 1,237 rules read, all allowed (saved text, loaded)",
        ),
        (
            with_problems(&[Reason::TornRead, Reason::KernelRead]),
            "UNKNOWN  node-1: nothing unexpected seen, 2 problems; 1,237 rules read",
        ),
        (full(), "VIOLATIONS  node-1: 1,005 unexpected lines, 1 problem, 1 note; 1,237 rules read"),
    ] {
        assert_eq!(first(&report).as_deref(), Some(expected));
    }
}

#[test]
fn quiet_text_is_the_verdict_line_alone() {
    for report in [report(), full(), with_problems(&Reason::ALL)] {
        let quiet = written(&report, Format::Text, &WriteOptions { quiet: true, ..TEXT });
        assert_eq!(quiet.lines().count(), 1);
        assert!(written(&report, Format::Text, &TEXT).starts_with(&quiet));
    }
}

#[test]
fn colour_is_only_decoration() {
    let plain = written(&full(), Format::Text, &TEXT);
    let coloured = written(&full(), Format::Text, &WriteOptions { color: true, ..TEXT });
    assert!(coloured.contains("\x1b["), "{coloured}");
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}

#[test]
fn text_says_how_many_violations_are_not_shown() {
    let page = written(&full(), Format::Text, &WriteOptions { limit: 2, ..TEXT });
    assert!(
        page.contains("\n  1,003 unexpected lines are not listed; SHA-256 of all 1,005:\n  e3b0c44298fc1c14"),
        "{page}"
    );
    assert!(page.contains("fd00::/8"), "{page}");
    assert!(!page.contains("FORWARD"), "{page}");
}

#[test]
fn no_format_looks_cleaner_than_the_verdict() {
    let reports = compliant_reports().into_iter().chain(other_reports());
    for (report, limit) in reports.flat_map(|report| [(report.clone(), 0), (report, 1_000)]) {
        let is_compliant = report.verdict() == Verdict::Compliant;
        let [_, failures, errors, _] = junit::counts(&report, limit);
        assert_eq!(failures + errors == 0, is_compliant, "JUnit: {report:?}");
        assert_eq!(
            sarif::levels(&report, limit).iter().all(|level| level == "note"),
            is_compliant,
            "SARIF: {report:?}"
        );
        let text = written(&report, Format::Text, &TEXT);
        assert_eq!(text.starts_with("COMPLIANT "), is_compliant, "{text}");
    }
}
