//! `monitor why`: the real program with allowlists, typed rules against the real iptables, and the journal.

use std::process::{Command, Output};

use iptables_monitor::domain::changes::{RuleChange, What};
use iptables_monitor::domain::judging::typed_rule;
use serde_json::Value;

use super::history::{at, author, change, close, open, set};
use super::support::{AllowlistDir, MONITOR, Netns, lossy};

const SCHEMA: &str = include_str!("../../docs/schema/why.v2.json");

fn why(rule: &str, args: &[&str]) -> Output {
    Command::new(MONITOR).args(["why", rule, "--ipv6", "false"]).args(args).output().unwrap()
}

fn allowlist() -> AllowlistDir {
    AllowlistDir::new(&[
        ("filter", "^-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT$\n-j LOG"),
        ("global", "^-P "),
        ("nat", "^-A INPUT -j DROP$"),
        ("nftables", "^inet shop "),
    ])
}

#[track_caller]
fn check(rule: &str, args: &[&str], code: i32, expected: &[&str]) {
    let allowlist = allowlist();
    let output = why(rule, &[&["--input", allowlist.path()], args].concat());
    let text = lossy(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for expected in expected {
        assert!(text.contains(expected), "{expected}\n---\n{text}");
    }
}

#[test]
fn an_allowed_rule_names_its_patterns() {
    check(
        "-P INPUT ACCEPT",
        &[],
        0,
        &["ALLOWED  a pattern allows it", "global\", line 1", "without $", "| ^-P "],
    );
    check("inet shop in tcp dport 22 accept", &[], 0, &["files nftables and global", "nftables\", line 1"]);
    check(
        "iptables -I INPUT -j LOG --log-prefix x",
        &[],
        0,
        &["filter\", line 2", "not as it was given", "without ^ and $"],
    );
}

#[test]
fn what_iptables_may_print_otherwise_is_not_said_to_be_as_it_prints_it() {
    let allowlist = allowlist();
    let rule = "iptables -A INPUT -p tcp --dport https -j LOG";
    let text = lossy(&why(rule, &["--input", allowlist.path()]));
    assert!(text.contains("iptables may print it otherwise, because of https"), "{text}");
    assert!(!text.contains("as iptables prints it"), "{text}");
    let json = why(rule, &["--input", allowlist.path(), "--format", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["may_be_printed_otherwise"], "https");
}

#[test]
fn an_unexpected_rule_is_told_what_is_nearest() {
    check(
        "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
        &[],
        1,
        &[
            "UNEXPECTED  no pattern of the files filter and global matches it",
            "filter\", line 1",
            "column 32: 22, where it wants 443",
            "table filter, as iptables assumes",
        ],
    );
    check(
        "-A INPUT -p tcp --dport 22 -j ACCEPT",
        &["--table", "filter"],
        1,
        &["-p tcp -m tcp --dport 22", "not as it was given"],
    );
    check("-A INPUT -j DROP", &[], 1, &["judge other rules", "nat\", line 1"]);
    check("-A INPUT -j DROP", &["--table", "nat"], 0, &["judged by the files nat and global"]);
    check("-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT ", &["--family", "ip6"], 3, &["NOT JUDGED"]);
    check("inet shopping in accept \u{1b}[2J", &[], 1, &["control character", "\\x{1b}"]);
}

#[test]
fn wrong_use_and_broken_allowlists_are_no_answer() {
    check("  ", &[], 2, &["an empty rule"]);
    check("-A X", &["--family", "ipv7"], 2, &["no such family"]);
    check("-A INPUT -j DROP -j LOG", &[], 2, &["monitor: -j: a rule has one target"]);
    check("iptables -P INPUT ACCEPT; iptables -F", &[], 2, &[": a shell takes it"]);
    check("iptables -F", &[], 2, &["monitor: -F: only rules (-A, -I)"]);
    check("hello", &[], 2, &["monitor: hello: is no rule: give a line of a report"]);
    check(
        "-A INPUT -j DROP",
        &["--table", "fliter"],
        2,
        &["monitor: fliter: iptables has no such table; there are filter"],
    );
    check("nft list ruleset", &[], 2, &["monitor: list: of nft's commands only those that add one rule"]);
    let broken = AllowlistDir::new(&[("filter", "(\n^-A OK")]);
    let output = why("-A INPUT -j DROP", &["--input", broken.path()]);
    assert_eq!(output.status.code(), Some(3), "{}", lossy(&output));
    assert!(lossy(&output).contains("What is wrong with the allowlists"), "{}", lossy(&output));
    let output = why("-A INPUT -j DROP", &["--input", "/no/such"]);
    assert_eq!(output.status.code(), Some(3), "{}", lossy(&output));
    let output = why("-A INPUT -j DROP", &["--input", broken.path(), "--state-dir", "/no/such"]);
    assert_eq!(output.status.code(), Some(2), "{}", lossy(&output));
}

#[test]
fn the_journal_says_since_when_and_who() {
    let (directory, allowlist) = (tempfile::tempdir().unwrap(), allowlist());
    let journal = open(directory.path());
    let added = RuleChange { authors: vec![author()], ..change(What::Added, "-A INPUT -j DROP", false) };
    journal.record(&set(at(0), vec![added]));
    close(journal);
    let args = ["--input", allowlist.path(), "--state-dir", directory.path().to_str().unwrap()];
    let text = lossy(&why("-A INPUT -j DROP", &args));
    for expected in [
        "iptables-nft: stands since 20",
        "; first seen 20",
        "added (unexpected)",
        "reported process iptables (pid 4711",
        "pod default/web-0",
    ] {
        assert!(text.contains(expected), "{expected}\n---\n{text}");
    }
    let text = lossy(&why("-A INPUT -j LOG", &args));
    assert!(text.contains("does not know this rule"), "{text}");
}

#[test]
fn the_json_follows_its_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let (directory, allowlist) = (tempfile::tempdir().unwrap(), allowlist());
    let journal = open(directory.path());
    journal.record(&set(
        at(0),
        vec![RuleChange { authors: vec![author()], ..change(What::Added, "-A INPUT -j DROP", false) }],
    ));
    journal.record(&set(at(9), vec![change(What::Removed, "-A INPUT -j DROP", false)]));
    close(journal);
    let state = directory.path().to_str().unwrap();
    for (rule, more) in [
        ("-A INPUT -j DROP", &["--state-dir", state][..]),
        ("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", &[]),
        ("-P INPUT ACCEPT", &[]),
        ("iptables -A INPUT -j MARK --set-mark 1", &[]),
        ("inet other c accept \u{1b}\u{e9}", &[]),
    ] {
        let output = why(rule, &[&["--input", allowlist.path(), "--format", "json"], more].concat());
        assert!(output.stdout.iter().all(|byte| *byte == b'\n' || (0x20..0x7f).contains(byte)));
        let value: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", lossy(&output)));
        let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{value:#}");
        if more.is_empty() {
            continue;
        }
        assert_eq!(value["journal"][0]["changes"][1]["change"], "removed");
        let mut bad = value;
        bad["journal"][0]["gone_at"] = "then".into();
        assert!(!validator.is_valid(&bad));
    }
}

/// Typed rules, read by this program and by the kernel's own.
#[test]
fn lines_that_show_bytes_are_taken_as_they_are() {
    for line in [
        "-N --raw-chain 612062",
        "-A --raw-chain 612062 -j DROP",
        "-A INPUT --raw-head 00ff -j DROP",
        "-A INPUT -m set --raw 4:000001020000 --raw-set 612062 -j DROP",
    ] {
        assert_eq!(typed_rule::read(line).unwrap().unwrap().line, line);
    }
}

#[test]
fn a_line_is_asked_about_as_it_was_copied_or_typed() {
    check("     | -P INPUT ACCEPT", &[], 0, &["ALLOWED  a pattern allows it", "     | -P INPUT ACCEPT\n"]);
    check(
        "nft add rule inet shop in tcp dport 22 drop",
        &[],
        0,
        &["| inet shop in tcp dport 22 drop\n", "as reports and allowlists have rules of nft"],
    );
    check(
        "nft add rule inet filter input tcp dport 22 drop",
        &[],
        1,
        &["allow it: add to the file nftables:\n     | ^inet filter input tcp dport 22 drop$\n"],
    );
    check(
        "nft add rule ip t c tcp dport ssh drop",
        &[],
        1,
        &["a report may have it otherwise, because of ssh"],
    );
    check("-A INPUT -j DROP", &[], 1, &["allow it: add to the file filter:\n     | ^-A INPUT -j DROP$\n"]);
}

/// What nft gives the kernel of typed rules is what a check reads there.
#[test]
fn typed_rules_of_nft_become_what_a_check_reads() {
    let netns = Netns::new();
    netns.sh("nft add table inet t; nft add chain inet t other; nft add chain inet t c; nft add table ip u; nft add chain ip u c");
    let typed = [
        "nft add rule inet t c tcp dport 22 drop",
        "nft add rule inet t c tcp dport '{22,80}' counter accept",
        "nft add rule inet t c tcp sport '{ 1, 2, 3 }' drop",
        "nft add rule inet t c udp dport 53 ip saddr 1.2.3.4 drop",
        "nft add rule inet t c ip6 daddr fd00::1 return",
        "nft add rule inet t c iifname eth0 oifname != lo accept",
        "nft insert rule inet t c ct state established accept",
        "nft add rule inet t c log prefix '\"dropped: \"' drop",
        "nft add rule inet t c tcp dport == 443 jump other",
        "nft add rule inet t c tcp dport 8080 accept comment '\"for tests\"'",
        "nft add rule u c udp sport 5353 goto other",
    ];
    for typed in &typed[..10] {
        netns.sh(typed);
    }
    netns.sh("nft add chain u other; nft add rule u c udp sport 5353 goto other");
    let none = AllowlistDir::new(&[("nftables", "^chain ")]);
    let output = netns
        .command(MONITOR)
        .args(["check", "--ipv6", "false", "--format", "json", "--input", none.path()])
        .output();
    let report: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    let lines: Vec<_> = report["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["line"].as_str().unwrap())
        .collect();
    for typed in typed {
        let read = typed_rule::nft::read(typed).unwrap().unwrap();
        assert_eq!(read.doubt, None, "{typed}");
        assert!(lines.contains(&read.line.as_str()), "{typed}\n{}\n{lines:#?}", read.line);
    }
}

#[test]
fn typed_rules_become_what_iptables_prints() {
    let netns = Netns::new();
    for (program, typed) in [
        ("iptables", "-A INPUT -j DROP -p tcp --dport 22 -s 10.1.2.3/8"),
        ("iptables", "--append INPUT --protocol 6 --destination-port 22 --in-interface eth0 --jump ACCEPT"),
        ("iptables", "-I INPUT 1 -p UDP --sport 53 -m comment --comment 'it''s a.b' -j ACCEPT"),
        ("iptables", "-A INPUT -m comment --comment plain_word -j ACCEPT"),
        ("iptables", "-A INPUT -m comment --comment \"a \\\"quoted\\\" word\" -j ACCEPT"),
        ("iptables", "-A OUTPUT ! -s 192.168.0.0/255.255.0.0 -o eth0+ -j DROP"),
        ("iptables", "-A FORWARD -d 10.0.0.1 -s 0.0.0.0/0 -o eth1 -i eth0 -j REJECT"),
        ("iptables", "-A INPUT -m conntrack --ctstate established,RELATED -j ACCEPT"),
        ("iptables", "-A INPUT -m state --state NEW,INVALID -j DROP"),
        ("iptables", "-A INPUT -p tcp --syn -j DROP"),
        ("iptables", "-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT"),
        ("iptables", "-A INPUT -p icmp --icmp-type 8 -j ACCEPT"),
        ("iptables", "-A INPUT -j LOG --log-prefix 'dropped: '"),
        ("iptables", "-t nat -A PREROUTING -p tcp --dport 80 -j REDIRECT --to-port 8080"),
        ("iptables", "-A INPUT -p tcp --sport :1024 --dport 22:22 -c 5 6 -j ACCEPT"),
        ("iptables", "-A INPUT -s 0/0 -d 10/8 -i + -j MARK --set-xmark 0x4000/0x4000"),
        ("iptables", "-A INPUT -p tcp --tcp-flags FIN,SYN SYN -m mark --mark 0x1/0xff -j DROP"),
        ("iptables", "-P FORWARD DROP"),
        ("iptables", "-N CUSTOM"),
        ("ip6tables", "-A INPUT -s fe80::1:2/10 -p icmpv6 --icmpv6-type 128 -j ACCEPT"),
        ("ip6tables", "-A INPUT -d ::1 -j REJECT"),
    ] {
        let read =
            typed_rule::read(&format!("{program} {typed}")).unwrap().unwrap_or_else(|| panic!("{typed}"));
        assert_eq!((&read.doubt, &read.unknown), (&None, &None), "{typed}");
        let table = read.table.as_deref().unwrap_or("filter");
        for table in ["filter", "nat"] {
            netns.sh(&format!("{program} -t {table} -F; {program} -t {table} -X"));
        }
        netns.sh(&format!("{program} {}", typed.replace("'it''s a.b'", "'its a.b'")));
        let printed = netns.sh(&format!("{program} -t {table} -S"));
        assert!(printed.lines().any(|line| line == read.line), "{typed}\n{}\n{printed}", read.line);
    }
}
