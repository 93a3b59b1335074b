//! Dumps that are not whole, not dumps, or of other forms than today's tools write: iptables-save and the JSON of nft.

use std::io::{Seek, SeekFrom, Write};

use super::{DUMP, check, run};
use crate::support::{AllowlistDir, Checked, Netns, lossy};

const BASE: &[&str] = &["--profile", "base"];

/// What `nft ARGUMENTS` prints where these rules are loaded.
fn listed(rules: &str, arguments: &str) -> String {
    let netns = Netns::new();
    let output = netns.feed("nft", &["-f", "-"], rules.as_bytes());
    assert!(output.status.success(), "{}", lossy(&output));
    netns.sh(&format!("nft {arguments}"))
}

fn everything_allowed() -> AllowlistDir {
    AllowlistDir::new(&[("global", "^(ip|chain|set|map|counter|element|-[A-Z]) ")])
}

const RULES: &str = "
table ip t {
  set s { type ipv4_addr; elements = { 192.0.2.1 } ; }
  map m { type inet_service : verdict; elements = { 22 : drop } ; }
  chain u { drop; }
  chain c { type filter hook input priority 0; ip saddr @s accept; tcp dport vmap @m; jump u; }
}
";

#[test]
fn a_listing_of_less_than_all_is_never_compliant() {
    let allow = everything_allowed();
    let args = ["--profile", "base", "--input", allow.path()];
    check(&args, &listed(RULES, "-j list ruleset")).expect("compliant", 0);
    check(&args, &listed(RULES, "list ruleset")).expect("compliant", 0);
    for what in
        ["list chains", "list tables", "list sets", "list maps", "-t list ruleset", "list chain ip t c"]
    {
        let checked = check(&args, &listed(RULES, &format!("-j {what}")));
        checked.expect("unknown", 3);
        assert!(checked.reasons().contains(&"IncompleteDump"), "{what}: {:#}", checked.json);
    }
    for what in ["list chains", "list tables", "-t list ruleset", "list chain ip t c"] {
        check(&args, &listed(RULES, what)).expect("unknown", 3);
    }
}

/// What an ordinary node has is never taken for part of a listing.
#[test]
fn a_listing_of_little_is_whole() {
    let allow = everything_allowed();
    let args = ["--profile", "base", "--input", allow.path()];
    for rules in [
        "table ip t { chain c { type filter hook input priority 0; policy accept; } ; }",
        "table ip t { chain c { } ; } ; table ip6 empty { }",
        "table ip t { counter k { } ; }",
        "table ip t { set s { type ipv4_addr; flags dynamic; } ; chain c { update @s { ip saddr } drop; } ; }",
        "table ip t { set s { type ipv4_addr; flags timeout; } ; chain c { ip saddr @s drop; } ; }",
        "table ip t { set e { type ipv4_addr; } ; set s { type ipv4_addr; elements = { 192.0.2.1 } ; } ; }",
    ] {
        check(&args, &listed(rules, "-j list ruleset")).expect("compliant", 0);
    }
}

/// Two rules that nft prints alike, and times of another zone.
#[test]
fn what_nft_prints_ambiguously_is_not_believed() {
    let allow = everything_allowed();
    let args = ["--profile", "base", "--input", allow.path()];
    for (field, value, right) in [
        (
            r#"{"payload": {"protocol": "ip", "field": "version"}}, {"payload": {"protocol": "ip", "field": "saddr"}}"#,
            "0",
            "\"4.0.0.0\"",
        ),
        (
            r#"{"payload": {"protocol": "tcp", "field": "doff"}}, {"payload": {"protocol": "tcp", "field": "dport"}}"#,
            "0",
            "1280",
        ),
    ] {
        let expression = format!(
            r#"{{"match": {{"op": "==", "left": {{"concat": [{field}]}}, "right": {{"set": [{{"concat": [{value}, {right}]}}]}}}}}}"#
        );
        let checked = check(&args, &json(&expression));
        checked.expect("unknown", 3);
        assert_eq!(checked.reasons(), ["UnrenderedRule"], "{:#}", checked.json);
    }
    for rules in [
        "meta hour \"10:00\"-\"11:00\" drop",
        "meta time < \"2026-01-01 00:00:00\" drop",
        "ip version . ip saddr { 4 . 192.0.2.1 } drop",
    ] {
        let rules = format!("table ip t {{ chain c {{ type filter hook input priority 0; {rules}; }} ; }}");
        let checked = check(&args, &listed(&rules, "-j list ruleset"));
        assert_eq!((checked.code, checked.reasons()), (3, vec!["UnrenderedRule"]), "{:#}", checked.json);
    }
    check(&args, &json(r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "version"}}, "right": 4}}"#))
        .expect("compliant", 0);
}

/// nft 0.9.8 prints `update @s { ip saddr limit rate 10/second }` without its limit.
#[test]
fn json_of_versions_that_leave_out_parts_is_not_believed() {
    let allow = everything_allowed();
    let old = json(r#"{"accept": null}"#).replace("1.1.3", "0.9.8");
    let checked = check(&["--profile", "base", "--input", allow.path()], &old);
    assert_eq!((checked.code, checked.reasons()), (3, vec!["UntestedTool"]), "{:#}", checked.json);
}

fn json(expression: &str) -> String {
    format!(
        r#"{{"nftables": [{{"metainfo": {{"version": "1.1.3", "release_name": "x", "json_schema_version": 1}}}},
        {{"table": {{"family": "ip", "name": "t", "handle": 1}}}},
        {{"chain": {{"family": "ip", "table": "t", "name": "c", "handle": 2}}}},
        {{"rule": {{"family": "ip", "table": "t", "chain": "c", "handle": 3, "expr": [{expression}, {{"drop": null}}]}}}}]}}"#
    )
}

/// Wherever a dump stops, the half line behind the last newline is not judged.
#[test]
fn half_a_line_is_a_problem_and_no_rule() {
    let allow = everything_allowed();
    let args = ["--profile", "base", "--input", allow.path()];
    check(&args, DUMP).expect("compliant", 0);
    for end in DUMP.find("-A").unwrap()..DUMP.len() {
        check(&args, &DUMP[..end]).expect("unknown", 3);
    }
    let half = DUMP.replace("-j ACCEPT\nCOMMIT\n", "-j ACC");
    let checked = check(BASE, &half);
    assert_eq!((checked.code, checked.lines(), checked.reasons()), (3, vec![], vec!["IncompleteDump"]));
}

#[test]
fn dumps_of_the_field_are_read() {
    let ssh = AllowlistDir::new(&[(
        "filter",
        "^-A INPUT -p tcp -m tcp --dport 22 -m comment --comment \"a b\"$\n",
    )]);
    let args = ["--profile", "base", "--input", ssh.path()];
    let quoted = DUMP.replace("-j ACCEPT", "-m comment --comment \"a b\"");
    check(&args, &quoted).expect("compliant", 0);
    check(&args, &quoted.replace('\n', "\r\n")).expect("compliant", 0);
    let old = quoted.replace("iptables-save v1.8.9 (nf_tables)", "xtables-save v1.8.2");
    let checked = check(&args, &old);
    checked.expect("compliant", 0);
    assert_eq!(checked.json["tables"][0]["backend"], "iptables-nft");
}

#[test]
fn what_is_no_dump_is_refused_and_not_repeated() {
    let refused = |text: &[u8], what: &str| {
        let output = run(&["--profile", "base", "--rules", "-"], text);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{}", lossy(&output));
        assert!(lossy(&output).contains(what), "{}", lossy(&output));
        assert!(output.stderr.len() < 1000, "{}", lossy(&output));
    };
    refused(format!("{DUMP}\0").as_bytes(), "is no dump but a binary file");
    refused(&std::fs::read(crate::support::MONITOR).unwrap()[..1 << 20], "is no dump");
    refused(DUMP.replace("*filter", "*broute").as_bytes(), "it has a table \"broute\"");
    refused(DUMP.replace("*filter", &format!("*{}", "x".repeat(9000))).as_bytes(), "xxx...\"");
    let long = DUMP.replace("-A INPUT", &format!("{} INPUT", "?".repeat(9000)));
    let checked = check(BASE, &long);
    let problem = checked.json["problems"][0]["detail"].as_str().unwrap();
    assert!(problem.len() < 500 && problem.contains("..."), "{problem}");
}

/// Sparse, so it takes no room: all but its end is NUL bytes, or one line without end.
#[test]
fn a_file_of_more_than_a_gigabyte_is_refused() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(DUMP.as_bytes()).unwrap();
    file.as_file_mut().set_len((1 << 30) + 1).unwrap();
    file.as_file_mut().seek(SeekFrom::End(-1)).unwrap();
    file.write_all(b"\n").unwrap();
    let output = run(&["--profile", "base", "--rules", file.path().to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(2), "{}", lossy(&output));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(json("{\"accept\": null}").as_bytes()).unwrap();
    let whole = Checked::of(&run(
        &["--profile", "base", "--format", "json", "--rules", file.path().to_str().unwrap()],
        b"",
    ));
    whole.expect("violations", 1);
    file.as_file_mut().set_len((1 << 30) + 1).unwrap();
    let output = run(&["--profile", "base", "--rules", file.path().to_str().unwrap()], b"");
    assert_ne!(output.status.code(), Some(0), "{}", lossy(&output));
}
