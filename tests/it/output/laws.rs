//! Laws that hold for any bytes in any name, line or detail.

use std::sync::Arc;

use iptables_monitor::domain::changes::Provenance;
use iptables_monitor::domain::changes::author::{Ancestor, Author, PodHint};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Bytes that writers get wrong, and any others.
fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"\x1b[2J",
        b"\n",
        b"\r\n",
        b"\t",
        b"\0",
        b"\x7f",
        b"\xc2\x9b31m",
        b"\xe2\x80\xae",
        b"\xe2\x80\x8b",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbf\xbf",
        b"\"",
        b"'",
        b"<",
        b"&",
        b"]]>",
        b"\\",
        b"{0}",
        b"}",
        b"[a](b)",
        b" ",
        b"| ",
        b"COMPLIANT",
        b"\n\nCOMPLIANT  node-1: ",
        b"-A INPUT",
        b"\xf0\x9f\x98\x80",
        b"\xd7\x90",
        "é".as_bytes(),
    ];
    let piece = prop_oneof![3 => select(pieces).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 1..4)];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn hostile_text() -> impl Strategy<Value = String> {
    hostile_bytes().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

prop_compose! {
    fn hostile_author()(
        pid in any::<u32>(),
        name in hostile_text(),
        (executable, command_line) in (proptest::option::of(hostile_text()), proptest::option::of(hostile_text())),
        parents in vec((any::<u32>(), hostile_text()), 0..3),
        container in proptest::option::of(hostile_text()),
        pod in proptest::option::of((hostile_text(), proptest::option::of((hostile_text(), hostile_text())))),
    ) -> Arc<Author> {
        let parents = parents.into_iter().map(|(pid, name)| Ancestor { pid, name, command_line: None });
        let pod = pod.map(|(uid, name)| PodHint { uid, name });
        Arc::new(Author { pid, name, executable, command_line, parents: parents.collect(), container, pod })
    }
}

prop_compose! {
    fn hostile_provenance()(
        seconds in any::<u32>(),
        is_older in any::<bool>(),
        authors in vec(hostile_author(), 0..5),
    ) -> Provenance {
        Provenance { first_seen: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into()), is_older, authors }
    }
}

prop_compose! {
    fn hostile_violation()(
        (backend, family, kind) in (select(&Backend::ALL), select(&Family::ALL), select(&Kind::ALL)),
        table in hostile_text(),
        chain in proptest::option::of(hostile_text()),
        position in proptest::option::of(1_u32..),
        line in hostile_bytes(),
        suggested_pattern in proptest::option::of(hostile_text()),
        provenance in proptest::option::of(hostile_provenance()),
    ) -> Violation {
        Violation { backend, family, table, chain, position, kind, line, suggested_pattern, provenance }
    }
}

prop_compose! {
    pub(crate) fn hostile_report()(
        node in hostile_text(),
        table in hostile_text(),
        violations in vec(hostile_violation(), 0..4),
        more in 0_u64..3,
        problems in vec((select(&Reason::ALL), hostile_text()), 0..3),
        seconds in any::<u32>(),
    ) -> Report {
        Report {
            checked_at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into()) * 1_000,
            node,
            tables: vec![summary(Backend::Nftables, Family::Inet, &table, u64::MAX, u64::MAX)],
            violation_count: violations.len() as u64 + more,
            violations,
            problems: problems.into_iter().map(|(reason, detail)| Problem::new(reason, detail)).collect(),
            ..report()
        }
    }
}

/// The beginnings of the lines of ours; what follows a bar is not ours.
fn is_ours(line: &str, report: &Report) -> bool {
    let starts = [
        "COMPLIANT  ",
        "VIOLATIONS  ",
        "UNKNOWN  ",
        "checked ",
        "No table was read",
        "  BACKEND",
        "  nftables ",
        "     | ",
        "     (with escapes",
        "     iptables-nft-save prints",
        "     allow it: ",
        "     no pattern may",
        "     since ",
        "     reported process ",
        "     or reported process ",
        "     or one of ",
        "  (a reported process is a hint",
    ];
    let is_counted = line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let is_reason = report.problems.iter().any(|problem| line == format!("  {}", problem.reason.as_str()));
    let is_hash = line.strip_prefix("  ") == Some(&report.violations_hash);
    line.is_empty()
        || is_hash
        || is_counted
        || is_reason
        || starts.iter().any(|start| line.starts_with(start))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_text_stays_behind_its_bar(report in hostile_report()) {
        let text = written(&report, Format::Text, &TEXT);
        prop_assert!(text.chars().all(|c| c == '\n' || matches!(c, ' '..='~') || c.is_alphabetic()), "{text:?}");
        for (number, line) in text.lines().enumerate() {
            prop_assert!(is_ours(line, &report), "{number}: {line:?}");
            let is_verdict = ["COMPLIANT", "VIOLATIONS", "UNKNOWN"].iter().any(|word| line.starts_with(word));
            prop_assert_eq!(is_verdict, number == 0);
        }
    }

    #[test]
    fn hostile_text_keeps_every_format_well_formed(report in hostile_report(), limit in 0_usize..4) {
        let options = WriteOptions { limit, ..TEXT };
        for format in [Format::Json, Format::Sarif] {
            let text = written(&report, format, &options);
            prop_assert!(text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')));
        }
        let value = parsed(&report, Format::Json, &options);
        prop_assert!(json::schema().1.is_valid(&value), "{value:#}");
        for (wire, violation) in value["violations"].as_array().unwrap().iter().zip(&report.violations) {
            let exact = std::str::from_utf8(&violation.line).map(Value::from).ok();
            prop_assert_eq!(wire.get("line_hex").is_none(), exact.is_some());
            prop_assert!(exact.is_none_or(|line| line == wire["line"]));
        }
        sarif::assert_sarif(&parsed(&report, Format::Sarif, &options));
        junit::counts(&report, limit);
    }
}
