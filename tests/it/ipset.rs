//! Rules that use ipsets and nfacct objects, with both backends: their text may be judged while all names are one word.
//! The values inside such rules are tested in `shapes`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use iptables_monitor::host::netlink::nfnetlink::Nfnetlink;

use super::support::{AllowlistDir, Checked, Netns, lossy};

const BACKENDS: [&str; 2] = ["nft", "legacy"];
const TOOLS: [(&str, &str); 4] = [
    ("iptables-nft", "inet"),
    ("ip6tables-nft", "inet6"),
    ("iptables-legacy", "inet"),
    ("ip6tables-legacy", "inet6"),
];
const SETS: &str = "ipset create hosts hash:ip family $FAMILY timeout 0 counters skbinfo
ipset create pairs hash:ip,port,ip family $FAMILY timeout 0 counters skbinfo
nfacct add ct_state_invalid_dropped_pkts";
/// Table and rule, as both backends print them.
const RULES: [(&str, &str); 23] = [
    ("filter", "-A INPUT -m set --match-set hosts src -j DROP"),
    ("filter", "-A INPUT -m set ! --match-set hosts dst -j ACCEPT"),
    ("filter", "-A FORWARD -m set --match-set pairs src,dst,src -j DROP"),
    ("filter", "-A INPUT -m set --match-set hosts src,dst,src,dst,src,dst"),
    ("filter", "-A INPUT -m set --match-set hosts src --return-nomatch"),
    ("filter", "-A INPUT -m set ! --match-set hosts src --return-nomatch"),
    ("filter", "-A INPUT -m set --match-set hosts src ! --update-counters"),
    ("filter", "-A INPUT -m set --match-set hosts src ! --update-counters ! --update-subcounters"),
    ("filter", "-A INPUT -m set --match-set hosts src --packets-eq 5"),
    ("filter", "-A INPUT -m set --match-set hosts src ! --packets-eq 5"),
    ("filter", "-A INPUT -m set --match-set hosts src --packets-lt 5 --bytes-gt 7"),
    ("filter", "-A INPUT -m set --match-set hosts src ! --bytes-eq 0"),
    ("filter", "-A INPUT -m set --match-set hosts src --bytes-lt 18446744073709551615"),
    ("filter", "-A INPUT -m set --match-set hosts src -m set ! --match-set pairs dst,dst -j DROP"),
    ("filter", "-A INPUT -j SET --add-set hosts src"),
    ("filter", "-A INPUT -j SET --add-set hosts src --exist"),
    ("filter", "-A INPUT -j SET --add-set hosts src --exist --timeout 60 --del-set pairs src,dst"),
    ("filter", "-A INPUT -j SET --add-set hosts src --timeout 0"),
    ("filter", "-A INPUT -j SET --del-set pairs src,dst"),
    ("mangle", "-A FORWARD -j SET --map-set hosts src --map-mark --map-prio --map-queue"),
    ("mangle", "-A FORWARD -j SET --map-set hosts dst --map-prio"),
    ("mangle", "-A FORWARD -j SET --add-set hosts src --map-set pairs dst,src --map-mark"),
    ("filter", "-A FORWARD -m nfacct --nfacct-name  ct_state_invalid_dropped_pkts -j DROP"),
];

/// Loads rules of one table with one backend, as they are in a saved dump.
fn restore(netns: &Netns, tool: &str, table: &str, rules: &[&str]) {
    let text = format!("*{table}\n{}\nCOMMIT\n", rules.join("\n"));
    let output = netns.feed(&format!("{tool}-restore"), &["--noflush"], text.as_bytes());
    assert!(output.status.success(), "{tool}: {text}{}", lossy(&output));
}

fn check(netns: &Netns, list: &AllowlistDir) -> Checked {
    netns.check(&["--input", list.path(), "--input6", list.path(), "--ipv6", "true"])
}

fn allow_text() -> AllowlistDir {
    AllowlistDir::new(&[("global", "^-\n")])
}

#[test]
fn rules_with_sets_are_judged_by_their_text() {
    let patterns: String =
        RULES.iter().map(|(_, rule)| format!("^{}$\n", rule.replace('.', "\\."))).collect();
    let list = AllowlistDir::new(&[("global", &format!("^-P [A-Z]+ ACCEPT$\n{patterns}"))]);
    for (tool, set_family) in TOOLS {
        let netns = Netns::new();
        netns.sh(&format!("FAMILY={set_family}\n{SETS}"));
        for table in ["filter", "mangle"] {
            let rules: Vec<_> = RULES.iter().filter(|rule| rule.0 == table).map(|rule| rule.1).collect();
            restore(&netns, tool, table, &rules);
        }
        let checked = check(&netns, &list);
        assert_eq!(checked.rules(), RULES.len() as u64, "{tool}");
        checked.expect("compliant", 0);
        restore(&netns, tool, "filter", &["-A INPUT -m set --match-set pairs dst -j DROP"]);
        let checked = check(&netns, &list);
        checked.expect("violations", 1);
        assert_eq!(checked.lines(), ["-A INPUT -m set --match-set pairs dst -j DROP"], "{tool}");
    }
}

#[test]
fn set_names_that_forge_text_are_no_compliance() {
    for backend in BACKENDS {
        for name in [
            "A src -m set --match-set B",
            "A src\n-N x",
            "A src -j ACCEPT",
            "\"A",
            "it's",
            "back\\slash",
            "!A",
            "tab\tA",
            "\u{e9}",
        ] {
            let rule = format!("ipset create \"$NAME\" hash:ip; iptables-{backend} -A INPUT");
            for use_of_set in ["-m set --match-set \"$NAME\" src -j DROP", "-j SET --add-set \"$NAME\" src"] {
                let script = format!("NAME=$'{}'\n{rule} {use_of_set}", name.as_bytes().escape_ascii());
                let netns = Netns::new();
                netns.sh(&script);
                let checked = check(&netns, &AllowlistDir::new(&[]));
                checked.expect("violations", 1);
                let rules: Vec<_> =
                    checked.lines().into_iter().filter(|line| line.starts_with("-A ")).collect();
                let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
                let names = format!(" --raw-set {digits}");
                assert!(rules.iter().all(|line| line.contains(&names)), "{backend} {name:?}: {rules:?}");
                let raw = if use_of_set.starts_with("-m") {
                    "-A INPUT -m set --raw "
                } else {
                    "-A INPUT -j SET --raw "
                };
                assert!(
                    rules.len() == 1 && rules[0].starts_with(raw),
                    "{backend} {name:?}: {:#}",
                    checked.json
                );
            }
            let netns = Netns::new();
            // a set that no rule can show harms nothing
            netns.sh(&format!("ipset create $'{}' hash:ip", name.as_bytes().escape_ascii()));
            check(&netns, &allow_text()).expect("compliant", 0);
        }
    }
}

#[test]
fn nfacct_names_that_forge_text_are_no_compliance() {
    for backend in BACKENDS {
        for name in ["a -m nfacct --nfacct-name b", "\"a", "a\tb", "a -j ACCEPT"] {
            let netns = Netns::new();
            netns.sh(&format!(
                "NAME=$'{}'; nfacct add \"$NAME\"
                 iptables-{backend} -A INPUT -m nfacct --nfacct-name \"$NAME\" -j DROP",
                name.escape_default()
            ));
            let checked = check(&netns, &AllowlistDir::new(&[]));
            checked.expect("violations", 1);
            let rules: Vec<_> = checked.lines().into_iter().filter(|line| line.starts_with("-A ")).collect();
            // iptables-save writes two blanks
            let is_one_name = |line: &str| {
                line.starts_with("-A INPUT -m nfacct --raw ")
                    || line
                        == format!(
                            "-A INPUT -m nfacct --nfacct-name  \"{}\" -j DROP",
                            name.replace('"', "\\\"")
                        )
            };
            assert!(rules.len() == 1 && is_one_name(rules[0]), "{backend} {name:?}: {:#}", checked.json);
        }
    }
}

/// Its number says nothing: another set may have it by now.
#[test]
fn a_raw_line_allows_no_other_set() {
    for backend in BACKENDS {
        let line = |name: &str| {
            let netns = Netns::new();
            netns.sh(&format!(
                "ipset create '{name}' hash:ip; iptables-{backend} -A INPUT -m set --match-set '{name}' src -j ACCEPT"
            ));
            let checked = check(&netns, &AllowlistDir::new(&[]));
            checked.lines().into_iter().find(|line| line.starts_with("-A")).unwrap().to_owned()
        };
        assert_ne!(line("good boys"), line("the world"));
    }
}

/// Why it is enough to look at the names once while the rules stand still.
#[test]
fn a_set_that_a_rule_uses_keeps_its_name() {
    let netns = Netns::new();
    netns.sh("ipset create used hash:ip; ipset create 'x y' hash:ip; iptables-nft -A INPUT -m set --match-set used src");
    assert!(!netns.try_sh("ipset rename used other").status.success());
    assert!(!netns.try_sh("ipset destroy used").status.success());
    netns.sh("ipset swap used 'x y'");
    assert!(netns.sh("iptables-nft -S INPUT").contains("--match-set used src"));
}

#[test]
fn every_ipset_is_named_by_the_kernel() {
    let netns = Netns::new();
    let mut made: BTreeSet<Vec<u8>> =
        (0..3000).map(|number| format!("a set with number {number}").into_bytes()).collect();
    let mut script: String =
        made.iter().map(|name| format!("create \"{}\" hash:ip\n", String::from_utf8_lossy(name))).collect();
    script.push_str("create members list:set\n");
    made.insert(b"members".to_vec());
    let read = |netns: &Netns| {
        netns.within(|| Nfnetlink::open(Instant::now() + Duration::from_secs(30)).unwrap().ipset_names())
    };
    assert_eq!(read(&netns).unwrap(), Vec::<Vec<u8>>::new());
    let output = netns.feed("ipset", &["restore"], script.as_bytes());
    assert!(output.status.success(), "{}", lossy(&output));
    let names = read(&netns).unwrap();
    assert_eq!(names.len(), made.len());
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), made);
}
