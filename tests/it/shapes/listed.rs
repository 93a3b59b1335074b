//! Rules that iptables-nft writes itself are trusted, and pair with their lines.
//! The rules are those of `tests/data/iptables_rules.txt` and a set like kube-proxy's.

use std::fmt::Write;

use iptables_monitor::domain::ruleset::Family;
use iptables_monitor::domain::shapes::{Shape, action_of_text};

use super::kernel::{Kept, lines_of, namespace, read, restore, save};
use crate::support::Netns;

const RULES: &str = include_str!("../../data/iptables_rules.txt");

/// Behind this stand rules that the shape check does not know.
const EDGES: &str = "\n# Edges:";

pub struct Listed {
    pub loads: bool,
    pub table: &'static str,
    /// What follows `-A`.
    pub specification: String,
}

/// The rules of the list for one family.
pub fn listed(family: Family) -> Vec<Listed> {
    let (digit, address, bracket, other) = match family {
        Family::Ip => ("4", "10.0.0.1", "10.0.0.1", "10.0.0.9"),
        _ => ("6", "fd00::1", "[fd00::1]", "fd00::9"),
    };
    let mut rules = Vec::new();
    let (rules_of_shapes, _) = RULES.split_once(EDGES).expect("the edges");
    for line in rules_of_shapes.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (families, rest) = line.split_once(' ').expect("families");
        let (table, specification) = rest.split_once(' ').expect("a table");
        if families.contains(digit) {
            let specification = specification
                .replace("@ADDR@", address)
                .replace("@ADDR2@", other)
                .replace("@BRACKET@", bracket);
            rules.push(Listed { loads: !families.starts_with('!'), table, specification });
        }
    }
    rules
}

fn script(rules: &[&Listed]) -> String {
    let mut script = String::new();
    for table in ["filter", "nat", "mangle", "raw", "security"] {
        write!(script, "*{table}\n:user - [0:0]\n").expect("memory");
        for rule in rules.iter().filter(|rule| rule.table == table) {
            writeln!(script, "-A {}", rule.specification).expect("memory");
        }
        script.push_str("COMMIT\n");
    }
    script
}

/// A namespace with every listed rule that loads.
pub fn loaded(family: Family) -> (Netns, Vec<Kept>) {
    let netns = namespace(family);
    let rules = listed(family);
    let rules: Vec<_> = rules.iter().filter(|rule| rule.loads).collect();
    restore(&netns, family, script(&rules).as_bytes()).expect("every rule of the list loads");
    let kept = read(&netns, family);
    assert!(kept.len() >= rules.len(), "{} rules of {}", kept.len(), rules.len());
    (netns, kept)
}

/// Every rule is trusted, and the n-th of each chain has the action of its n-th line.
fn assert_trusted(netns: &Netns, family: Family, kept: &[Kept]) {
    let text = save(netns, family);
    let text = String::from_utf8(text).expect("the list is UTF-8");
    let tables: Vec<_> = text.split("\n*").map(str::as_bytes).collect();
    let mut problems = String::new();
    for chain in kept.chunk_by(|a, b| (&a.table, &a.chain) == (&b.table, &b.chain)) {
        let table =
            tables.iter().find(|text| text.starts_with(&chain[0].table)).expect("the table is printed");
        let lines = lines_of(table, &chain[0].chain);
        assert_eq!(lines.len(), chain.len(), "{}", String::from_utf8_lossy(&chain[0].chain));
        for (rule, line) in chain.iter().zip(lines) {
            let shape = rule.shape(family);
            if shape != (Shape::Iptables { action: action_of_text(line) }) {
                writeln!(problems, "{shape:?}: {}", String::from_utf8_lossy(line)).expect("memory");
            }
        }
    }
    assert!(problems.is_empty(), "not trusted, or another action:\n{problems}");
}

#[test]
fn listed_ip_rules_are_trusted() {
    let (netns, kept) = loaded(Family::Ip);
    assert!(kept.len() > 450, "{}", kept.len());
    assert_trusted(&netns, Family::Ip, &kept);
}

#[test]
fn listed_ip6_rules_are_trusted() {
    let (netns, kept) = loaded(Family::Ip6);
    assert!(kept.len() > 450, "{}", kept.len());
    assert_trusted(&netns, Family::Ip6, &kept);
}

/// If one loads after all, its mark in the list is to be removed, and its extension verified.
#[test]
fn rules_listed_as_not_loading_do_not_load() {
    for family in [Family::Ip, Family::Ip6] {
        let netns = namespace(family);
        let rules = listed(family);
        let absent: Vec<_> = rules.iter().filter(|rule| !rule.loads).collect();
        assert!(!absent.is_empty());
        for rule in absent {
            let result = restore(&netns, family, script(&[rule]).as_bytes());
            assert!(result.is_err(), "loads: {}", rule.specification);
        }
    }
}

#[test]
fn rules_like_those_of_kube_proxy_are_trusted() {
    let netns = Netns::new();
    restore(&netns, Family::Ip, kube_proxy(150).as_bytes()).expect("restored");
    let kept = read(&netns, Family::Ip);
    assert!(kept.len() > 150 * 8, "{}", kept.len());
    assert_trusted(&netns, Family::Ip, &kept);
}

/// A rule set shaped like that of kube-proxy's iptables mode, two endpoints for each service.
fn kube_proxy(services: usize) -> String {
    let mut chains =
        String::from("*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:KUBE-POSTROUTING - [0:0]\n");
    let mut rules = String::from(concat!(
        "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n",
        "-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n",
        "-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\n",
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n",
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n",
        "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0\n",
        "-A KUBE-POSTROUTING -m comment --comment \"requiring SNAT\" -j MASQUERADE --random-fully\n",
    ));
    for service in 0..services {
        let (high, low) = (service / 250, service % 250);
        writeln!(chains, ":KUBE-SVC-{service:016} - [0:0]").expect("memory");
        writeln!(
            rules,
            "-A KUBE-SERVICES -d 10.96.{high}.{low}/32 -p tcp -m comment --comment \"ns/svc-{service}:http cluster IP\" \
             -m tcp --dport 80 -j KUBE-SVC-{service:016}\n\
             -A KUBE-SVC-{service:016} ! -s 10.244.0.0/16 -d 10.96.{high}.{low}/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ"
        )
        .expect("memory");
        for endpoint in 0..2 {
            let chain = format!("KUBE-SEP-{:016}", service * 2 + endpoint);
            let chance = ["-m statistic --mode random --probability 0.50000000000 ", ""][endpoint];
            writeln!(chains, ":{chain} - [0:0]").expect("memory");
            writeln!(
                rules,
                "-A KUBE-SVC-{service:016} -m comment --comment \"ns/svc-{service} -> 10.244.{high}.{low}:8080\" {chance}-j {chain}\n\
                 -A {chain} -s 10.244.{high}.{low}/32 -m comment --comment \"ns/svc-{service}\" -j KUBE-MARK-MASQ\n\
                 -A {chain} -p tcp -m tcp -j DNAT --to-destination 10.244.{high}.{low}:8080"
            )
            .expect("memory");
        }
    }
    format!(
        "{chains}{rules}COMMIT\n*filter\n:KUBE-FORWARD - [0:0]\n:KUBE-FIREWALL - [0:0]\n-A INPUT -j KUBE-FIREWALL\n\
         -A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n\
         -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n\
         -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n\
         -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n\
         COMMIT\n"
    )
}
