//! Rules that nft(8) adds to iptables' tables: untrusted, or printed as they are.
//! The rules are every match and statement of nft 1.0.6 that loads, alone and with others.

use std::collections::BTreeMap;

use iptables_monitor::domain::rules::Family;
use iptables_monitor::domain::rules::kernel::Shape;

use super::kernel::{Kept, is_equivalent, misprinted, read};
use crate::support::Netns;

const LISTS: &str = include_str!("../../data/nft_rules.txt");

/// The lines of one section of the list.
fn section(name: &str) -> Vec<&'static str> {
    let mut lines = LISTS
        .lines()
        .skip_while(|line| line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) != Some(name));
    lines.next().expect("the section is there");
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty()).collect()
}

fn rules(family: Family) -> Vec<String> {
    let (name, own, addresses) = match family {
        Family::Ip => ("ip", "conditions of ip", ["10.0.0.1", "10.9.9.9", "10.1.2.0/25"]),
        _ => ("ip6", "conditions of ip6", ["fd00::1", "fd00::9", "fd00::/33"]),
    };
    let (actions, statements) = (section("actions"), section("statements"));
    let mut rules: Vec<String> = statements.iter().chain(&actions).map(|rule| (*rule).to_owned()).collect();
    for condition in section("conditions").into_iter().chain(section(own)) {
        rules.extend(
            ["", "accept", "counter", "counter jump trusted"]
                .iter()
                .map(|action| format!("{condition} {action}")),
        );
    }
    for condition in ["IP saddr A", "tcp dport 80", "iifname \"lo\"", "meta mark 1", "limit rate 5/second"] {
        rules.extend(actions.iter().chain(&statements).map(|action| format!("{condition} {action}")));
    }
    let [a, b, n] = addresses;
    let spell = |word: &str| match word {
        "IP" => name.to_owned(),
        "A" => a.to_owned(),
        "B" => b.to_owned(),
        "N" => n.to_owned(),
        "A-B" => format!("{a}-{b}"),
        "A," => format!("{a},"),
        _ => word.to_owned(),
    };
    rules.retain(|rule| !rule.trim().is_empty());
    rules.iter().map(|rule| rule.split(' ').map(spell).collect::<Vec<_>>().join(" ")).collect()
}

/// Adds each rule that loads to a chain of its own, `r` and its number; returns them by number.
fn added(family: Family, rules: &[String]) -> BTreeMap<usize, Kept> {
    let (netns, address) = (Netns::new(), if family == Family::Ip { "ipv4_addr" } else { "ipv6_addr" });
    netns.sh(&format!(
        "nft 'table {family} filter {{ set s {{ type {address}; }}; set dyn {{ type {address}; flags dynamic,timeout; }};
          counter c {{ }}; limit l {{ rate 5/second; }}; chain trusted {{ }}; chain LOG {{ }}; chain ACCEPT {{ }}; chain MARK {{ }}; }}'"
    ));
    let mut script = String::new();
    for (index, rule) in rules.iter().enumerate() {
        let quoted = rule.replace('\'', r"'\''");
        script.push_str(&format!(
            "printf '%s\\n' 'add chain {family} filter r{index}' 'add rule {family} filter r{index} {quoted}' | nft -f - 2>/dev/null || true\n"
        ));
    }
    netns.feed("bash", &[], script.as_bytes());
    let number = |kept: &Kept| std::str::from_utf8(kept.chain.strip_prefix(b"r")?).ok()?.parse().ok();
    read(&netns, family).into_iter().filter_map(|kept| Some((number(&kept)?, kept))).collect()
}

/// Returns the rules that loaded and, of these, the trusted.
fn check(family: Family) -> (Vec<String>, Vec<String>) {
    let rules = rules(family);
    let added = added(family, &rules);
    let (mut loaded, mut trusted, mut expressions) = (Vec::new(), Vec::new(), Vec::new());
    for (index, kept) in added {
        loaded.push(rules[index].clone());
        if matches!(kept.shape(family), Shape::Iptables { .. }) {
            trusted.push(rules[index].clone());
            expressions.push(kept.expressions);
        }
    }
    let wrong = misprinted(family, "filter", &expressions, is_equivalent);
    assert!(wrong.is_empty(), "trusted, but printed wrong:\n{}", wrong.join("\n"));
    (loaded, trusted)
}

#[test]
fn native_ip_rules_are_untrusted_or_printed_right() {
    let (loaded, trusted) = check(Family::Ip);
    assert!(loaded.len() > 700, "{} rules loaded", loaded.len());
    for rule in [
        "ip saddr 10.0.0.1 counter accept",
        "tcp dport 80 counter",
        "iifname \"eth*\" counter",
        "counter drop",
    ] {
        assert!(trusted.iter().any(|trusted| trusted == rule), "not trusted: {rule}");
    }
}

#[test]
fn native_ip6_rules_are_untrusted_or_printed_right() {
    let (loaded, trusted) = check(Family::Ip6);
    assert!(loaded.len() > 600, "{} rules loaded", loaded.len());
    assert!(trusted.iter().any(|rule| rule == "ip6 saddr fd00::1 counter accept"));
}

/// Rules seen to be printed wrong by iptables-nft-save 1.8.9, silently.
#[test]
fn known_misprints_are_untrusted() {
    let rules: Vec<_> =
        section("misprinted by iptables-nft-save 1.8.9").iter().map(|rule| (*rule).to_owned()).collect();
    let added = added(Family::Ip, &rules);
    let mut missing = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        match added.get(&index) {
            None => missing.push(rule.clone()),
            Some(kept) => {
                assert!(matches!(kept.shape(Family::Ip), Shape::Untrusted { .. }), "trusted: {rule}")
            }
        }
    }
    assert!(missing.len() <= 2, "nft refuses these: {missing:?}");
    let ip6 = added_one(Family::Ip6, "ip6 nexthdr tcp counter accept");
    assert!(matches!(ip6.shape(Family::Ip6), Shape::Untrusted { .. }));
}

fn added_one(family: Family, rule: &str) -> Kept {
    added(family, &[rule.to_owned()]).remove(&0).expect("the rule loads")
}
