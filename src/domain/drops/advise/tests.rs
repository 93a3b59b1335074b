use proptest::prelude::*;

use super::*;

fn survey(lines: &[(&str, &str, u32)]) -> Survey {
    let mut survey = Survey::default();
    for &(chain, rule, position) in lines {
        let (kind, line, position) = match position {
            0 => (Kind::Policy, format!("-P {chain} {rule}"), None),
            _ => (Kind::Rule, format!("-A {chain} {rule}"), Some(position)),
        };
        let entry = Entry { kind, table: "filter", chain: Some(chain), position, line: line.as_bytes() };
        survey.line(Backend::IptablesNft, Family::Ip, &entry);
    }
    survey
}

/// The commands, and their undoing.
fn commands(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

const LIMIT: &str = "-m limit --limit 5/minute --limit-burst 10";

#[test]
fn logs_before_each_drop_from_the_last_to_the_first() {
    let survey = survey(&[
        ("INPUT", "DROP", 0),
        ("INPUT", "-p tcp -j DROP", 1),
        ("INPUT", "-i lo -j ACCEPT", 2),
        ("INPUT", "-p udp -j REJECT --reject-with icmp-port-unreachable", 3),
    ]);
    let text = render(&survey, Via::Log);
    let expected = [
        format!("iptables-nft -w -t filter -A INPUT {LIMIT} -j LOG --log-prefix 'drop1-INPUT: '"),
        format!("iptables-nft -w -t filter -I INPUT 3 -p udp {LIMIT} -j LOG --log-prefix 'reject2-INPUT: '"),
        format!("iptables-nft -w -t filter -I INPUT 1 -p tcp {LIMIT} -j LOG --log-prefix 'drop3-INPUT: '"),
    ];
    assert_eq!(commands(&text), expected, "{text}");
    assert!(
        text.contains(&format!("# undo: iptables-nft -w -t filter -D INPUT -p udp {LIMIT} -j LOG")),
        "{text}"
    );
}

#[test]
fn chains_of_others_are_logged_before_the_jump() {
    let survey = survey(&[
        ("INPUT", "-m comment --comment x -j KUBE-FIREWALL", 4),
        ("KUBE-FIREWALL", "-m mark --mark 0x8000/0x8000 -j DROP", 1),
        ("cali-fw-x", "-j DROP", 1),
        ("KUBE-EXTERNAL-SERVICES", "-j KUBE-FIREWALL", 1),
    ]);
    let text = render(&survey, Via::Nflog(7));
    let rule = format!("-m mark --mark 0x8000/0x8000 {LIMIT} -j NFLOG --nflog-group 7 --nflog-size 128");
    let expected = format!("iptables-nft -w -t filter -I INPUT 4 {rule} --nflog-prefix 'drop1-INPUT: '");
    assert_eq!(commands(&text), [expected], "{text}");
    assert!(text.contains("chain cali-fw-x: Calico rewrites this chain"), "{text}");
}

#[test]
fn what_is_logged_or_cannot_be_written_is_said() {
    let survey = survey(&[
        ("INPUT", "-p tcp -m limit --limit 1/sec -j LOG", 1),
        ("INPUT", "-s 10.0.0.0/8 -p tcp -j DROP", 2),
        ("OUTPUT", "DROP", 0),
        ("OUTPUT", "-m limit --limit 1/sec -j LOG", 1),
        ("FORWARD", "-m string --string \"a\" --algo bm -j DROP", 1),
        ("x; reboot", "-j DROP", 1),
    ]);
    let text = render(&survey, Via::Log);
    assert_eq!(commands(&text), Vec::<&str>::new(), "{text}");
    assert!(text.contains("before rule 2, which drops: that is logged already"), "{text}");
    assert!(
        text.contains("chain FORWARD: before rule 1, which drops: a rule for it is to be made by hand"),
        "{text}"
    );
    assert!(text.contains("chain \"x; reboot\": before rule 1"), "{text}");
    assert!(text.contains("No rule to propose"), "{text}");
}

#[test]
fn a_rule_that_logs_others_does_not_count() {
    let survey = survey(&[
        ("INPUT", "DROP", 0),
        ("INPUT", "-p udp -j LOG", 1),
        ("INPUT", "-j DROP", 2),
        ("INPUT", "-p udp -j LOG", 3),
    ]);
    assert_eq!(commands(&render(&survey, Via::Log)).len(), 2);
}

#[test]
fn conditions_that_cannot_be_joined_are_not() {
    let survey = survey(&[
        ("INPUT", "-s 10.0.0.0/8 -j KUBE-FIREWALL", 1),
        ("KUBE-FIREWALL", "! -s 127.0.0.0/8 -j DROP", 1),
    ]);
    assert_eq!(commands(&render(&survey, Via::Log)), Vec::<&str>::new());
}

#[test]
fn native_chains_get_native_rules() {
    let mut survey = Survey::default();
    let mut line = |kind, chain, position, line: &[u8]| {
        survey.line(
            Backend::Nftables,
            Family::Inet,
            &Entry { kind, table: "t", chain: Some(chain), position, line },
        );
    };
    line(Kind::Chain, "in", None, b"chain inet t in type filter hook input priority 0 policy drop");
    line(Kind::Rule, "in", Some(1), b"inet t in ct state invalid counter drop");
    line(Kind::Rule, "in", Some(2), b"inet t in tcp dport 22 log prefix \"x\" drop");
    let text = render(&survey, Via::Log);
    let limit = "limit rate 5/minute burst 10 packets";
    let expected = [
        format!(r#"nft 'add rule inet t in {limit} log prefix "drop1-in: " comment "monitor-advise-1"'"#),
        format!(
            r#"nft 'insert rule inet t in index 0 ct state invalid {limit} log prefix "drop2-in: " comment "monitor-advise-2"'"#
        ),
    ];
    assert_eq!(commands(&text), expected, "{text}");
}

#[test]
fn rules_that_drop_some_packets_are_named() {
    let mut survey = Survey::default();
    let mut line = |kind, table, chain, position, line: &[u8]| {
        let entry = Entry { kind, table, chain, position, line };
        survey.line(Backend::Nftables, Family::Inet, &entry);
    };
    let rules: [&[u8]; 6] = [
        b"inet t in udp dport vmap { 1000 : drop, 1001 : accept }",
        b"inet t in udp dport vmap { 1000 : jump out, 1001 : accept } comment \"drop\"",
        b"inet t in udp dport vmap @drops",
        b"inet t in udp dport vmap @passes",
        b"inet t in log prefix \"x\" udp dport vmap @drops",
        b"inet t in udp dport vmap @elsewhere",
    ];
    for (at, rule) in (1..).zip(rules) {
        line(Kind::Rule, "t", Some("in"), Some(at), rule);
    }
    line(Kind::Rule, "kube-proxy", Some("x"), Some(9), b"inet kube-proxy x udp dport vmap { 1 : drop }");
    line(Kind::Element, "t", None, None, b"element inet t drops 7 : drop");
    line(Kind::Element, "t", None, None, b"element inet t passes 7 : accept");
    line(Kind::Element, "u", None, None, b"element inet u elsewhere 7 : drop");
    let text = render(&survey, Via::Log);
    assert_eq!(commands(&text), Vec::<&str>::new(), "{text}");
    let named: Vec<_> = text.lines().filter_map(|line| line.split_once(", chain ")).collect();
    let what = "which drops some packets, as a verdict map does";
    let expected = [
        format!(
            "x: before rule 9, {what}: kube-proxy or the kubelet rewrites this chain: {}",
            owner::instead("x")
        ),
        format!("in: before rule 1, {what}: a rule for them is to be made by hand"),
        format!("in: before rule 3, {what}: a rule for them is to be made by hand"),
        format!("in: before rule 5, {what}: that is logged already"),
    ];
    assert!(named.iter().map(|(_, named)| *named).eq(expected.iter().map(String::as_str)), "{text}");
}

#[test]
fn a_huge_firewall_makes_no_huge_advice() {
    let names: Vec<String> = (0..5000).map(|number| format!("X{number}")).collect();
    let lines: Vec<_> = names.iter().map(|name| (name.as_str(), "-j DROP", 1)).collect();
    let text = render(&survey(&lines), Via::Log);
    assert_eq!(commands(&text).len(), SHOWN);
    assert!(text.ends_with("# 4900 more are not shown.\n"), "{}", text.len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Whatever a rule and a chain are made of, each line is a remark or one of our commands, in plain characters.
    #[test]
    fn nothing_reaches_the_shell(chain in "[a-zA-Z $;`'\"\n\\\\-]{0,8}", rule in "[a-z $;`'\"\n\\\\(){}!-]{0,20}( -j DROP)?") {
        let text = render(&survey(&[(&chain, &rule, 1), (&chain, "DROP", 0)]), Via::Log);
        for line in text.lines().filter(|line| !line.is_empty()) {
            let command = line.strip_prefix("# undo: ").unwrap_or(line);
            prop_assert!(command.starts_with('#') || command.starts_with("iptables-nft -w -t filter -"), "{}", line);
            prop_assert!(command.starts_with('#') || !command.contains(['$', ';', '`', '"', '\\', '(', '{']), "{}", line);
            prop_assert!(command.starts_with('#') || command.matches('\'').count() == 2, "{}", line);
        }
    }
}
