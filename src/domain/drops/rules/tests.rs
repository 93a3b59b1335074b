use std::collections::HashMap;

use super::*;
use crate::domain::rules::{Backend, Entry, Family, Kind};

/// An index of one iptables table, `filter`, of these lines.
fn filter(lines: &[&str]) -> RuleIndex {
    let mut builder = RuleIndex::builder();
    let mut positions = HashMap::<&str, u32>::new();
    for line in lines {
        let chain = line.split(' ').nth(1);
        let (kind, position) = match line.get(..2) {
            Some("-P") => (Kind::Policy, None),
            Some("-N") => (Kind::Chain, None),
            _ => {
                let position = positions.entry(chain.unwrap_or_default()).or_default();
                *position += 1;
                (Kind::Rule, Some(*position))
            }
        };
        let entry = Entry { kind, table: "filter", chain, position, line: line.as_bytes() };
        builder.line(Backend::IptablesNft, Family::Ip, &entry);
    }
    builder.build()
}

/// An index of the chain `in` of the native table `inet t`.
fn native(rules: &[&str]) -> RuleIndex {
    let mut builder = RuleIndex::builder();
    let declaration = b"chain inet t in type filter hook input priority 0 policy drop";
    let mut line = |kind, position, line: &[u8]| {
        let entry = Entry { kind, table: "t", chain: Some("in"), position, line };
        builder.line(Backend::Nftables, Family::Inet, &entry);
    };
    line(Kind::Chain, None, declaration);
    for (position, rule) in (1..).zip(rules) {
        line(Kind::Rule, Some(position), format!("inet t in {rule}").as_bytes());
    }
    builder.build()
}

fn after(index: &RuleIndex) -> Vec<Option<After>> {
    index.rules().iter().map(|rule| rule.after.clone()).collect()
}

fn certain(verdict: Verdict, by: By) -> Option<After> {
    Some(After { verdict, by, is_certain: true })
}

fn place<'a>(found: &RuleMatch<'a>) -> Option<(&'a str, u32)> {
    match found {
        RuleMatch::One(rule) => Some((&rule.chain, rule.position)),
        _ => None,
    }
}

#[test]
fn names_the_rule_and_what_follows_it() {
    let index = filter(&[
        "-P INPUT ACCEPT",
        "-A INPUT -i lo -j ACCEPT",
        r#"-A INPUT -p tcp -m limit --limit 5/min -j LOG --log-prefix "drop: ""#,
        "-A INPUT -p tcp -j DROP",
    ]);
    let found = index.find(&Facts::new(Via::Log, b"drop:"));
    assert_eq!(place(&found), Some(("INPUT", 2)));
    assert_eq!(after(&index), [certain(Verdict::Drop, By::Rule(3))]);
    assert_eq!(index.find(&Facts::new(Via::Log, b"other: ")), RuleMatch::None);
    assert_eq!(index.find(&Facts::new(Via::Nflog(0), b"drop: ")), RuleMatch::None);
}

#[test]
fn the_policy_or_the_callers_decide_at_the_end_of_a_chain() {
    let index = filter(&[
        "-P INPUT DROP",
        "-N X",
        "-A INPUT -j LOG --log-prefix a",
        "-A X -j NFLOG --nflog-prefix b --nflog-group 7",
        "-A X -m mark --mark 1 -j MARK --set-mark 2",
    ]);
    assert_eq!(after(&index), [certain(Verdict::Drop, By::Policy), certain(Verdict::Return, By::End)]);
}

#[test]
fn a_rule_between_makes_the_verdict_uncertain() {
    let index = filter(&[
        "-A X -j LOG --log-prefix a",
        "-A X -s 10.0.0.0/8 -j ACCEPT",
        "-A X -j DROP",
        "-A Y -p tcp -j LOG --log-prefix b",
        "-A Y -j Z",
    ]);
    let uncertain = After { verdict: Verdict::Drop, by: By::Rule(3), is_certain: false };
    assert_eq!(after(&index), [Some(uncertain), certain(Verdict::Elsewhere("Z".into()), By::Rule(2))]);
}

#[test]
fn lines_of_other_chains_may_stand_between() {
    let index = filter(&["-A X -j LOG", "-A Y -j ACCEPT", "-A X -j DROP"]);
    assert_eq!(after(&index), [certain(Verdict::Drop, By::Rule(2))]);
}

#[test]
fn a_native_rule_may_decide_itself() {
    let index = native(&[
        r#"tcp dport 22 log prefix "ssh " drop"#,
        r#"limit rate 5/minute burst 5 packets log prefix "rest " group 3"#,
    ]);
    assert_eq!(after(&index), [certain(Verdict::Drop, By::Itself), certain(Verdict::Drop, By::Policy)]);
    assert_eq!(place(&index.find(&Facts::new(Via::Nflog(3), b"rest "))), Some(("in", 2)));
}

#[test]
fn the_packet_tells_rules_with_one_prefix_apart() {
    let index = filter(&[
        "-P INPUT DROP",
        "-P FORWARD DROP",
        "-A INPUT -p udp -j LOG --log-prefix \"drop: \"",
        "-A INPUT -p tcp -j LOG --log-prefix \"drop: \"",
        "-A FORWARD -j LOG --log-prefix \"drop: \"",
    ]);
    let facts = Facts::new(Via::Log, b"drop: ");
    let RuleMatch::Ambiguous { count: 3, first } = index.find(&facts) else { panic!("three rules") };
    assert_eq!(first.len(), 3);
    let forwarded = Facts { in_dev: Some(b"a"), out_dev: Some(b"b"), ..facts };
    assert_eq!(place(&index.find(&forwarded)), Some(("FORWARD", 1)));
    let local = Facts { in_dev: Some(b"a"), out_dev: Some(b""), protocol: Some(6), ..facts };
    assert_eq!(place(&index.find(&local)), Some(("INPUT", 2)));
    let hooked = Facts { hook: Some(Hook::Input), protocol: Some(17), ..facts };
    assert_eq!(place(&index.find(&hooked)), Some(("INPUT", 1)));
    assert_eq!(index.find(&Facts { family: Some(Family::Ip6), ..facts }), RuleMatch::None);
}

#[test]
fn blanks_decide_only_between_equals() {
    let index = filter(&["-A X -j LOG --log-prefix a", "-A Y -j LOG --log-prefix \"a \""]);
    assert_eq!(place(&index.find(&Facts::new(Via::Log, b"a"))), Some(("X", 1)));
    assert_eq!(place(&index.find(&Facts::new(Via::Log, b"a "))), Some(("Y", 1)));
    assert!(matches!(index.find(&Facts::new(Via::Log, b" a")), RuleMatch::Ambiguous { count: 2, .. }));
}

#[test]
fn a_family_of_both_matches_either() {
    let index = native(&["log prefix \"x\" drop"]);
    for (family, expected) in [(Family::Ip, true), (Family::Ip6, true), (Family::Arp, false)] {
        let facts = Facts { family: Some(family), ..Facts::new(Via::Log, b"x") };
        assert_eq!(place(&index.find(&facts)).is_some(), expected, "{family}");
    }
}

#[test]
fn rules_that_are_not_kept_make_every_answer_uncertain() {
    let mut lines = vec!["-A X -j LOG --log-prefix a".to_owned()];
    lines.extend((0..10_000).map(|number| format!("-A Y{number} -j LOG --log-prefix b{number}")));
    let index = filter(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((index.rules().len(), index.untold()), (10_000, 1));
    let found = index.find(&Facts::new(Via::Log, b"a"));
    assert!(matches!(&found, RuleMatch::Ambiguous { count: 2, first } if first.len() == 1), "{found:?}");
}

#[test]
fn many_logging_rules_in_a_row_are_bounded() {
    let mut lines = vec!["-P INPUT DROP".to_owned()];
    lines.extend(
        (0..100).map(|number| format!("-A INPUT -s 10.0.0.{number}/32 -j LOG --log-prefix b{number}")),
    );
    let index = filter(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let decided = after(&index).into_iter().filter(|after| *after == certain(Verdict::Drop, By::Policy));
    assert_eq!(decided.count(), 64);
    assert_eq!(after(&index)[0], None);
}

#[test]
fn ordinary_rules_leave_nothing_behind() {
    let mut builder = RuleIndex::builder();
    for position in 1..=100_000 {
        let line = format!(
            "-A KUBE-SERVICES -d 10.0.0.1/32 -p tcp -m tcp --dport {} -j KUBE-SVC-X",
            position % 65536
        );
        let (table, chain) = ("nat", Some("KUBE-SERVICES"));
        let entry = Entry { kind: Kind::Rule, table, chain, position: Some(position), line: line.as_bytes() };
        builder.line(Backend::IptablesNft, Family::Ip, &entry);
    }
    let index = builder.build();
    assert!(index.rules().is_empty() && index.by_prefix.is_empty());
}
