//! Rule sets of the field, whole: every line is words, is that of iptables-save 1.8.9, and makes the same rule again.

use std::fmt::Write;

use iptables_monitor::domain::rules::Family;

use super::kernel;
use super::ours;
use super::reload::{Lines, chains, reload, saved, saved_of};
use super::same::normal;
use super::tools::{BACKENDS, Backend, FAMILIES, Tools, of_the_text, writers};
use crate::support::rules::kube_proxy;

/// What kube-proxy and cilium load.
fn sets(family: Family) -> Vec<(&'static str, String)> {
    macro_rules! data {
        ($name:literal) => {
            ($name, include_str!(concat!("../../data/", $name)).to_owned())
        };
    }
    match family {
        Family::Ip => {
            let cilium = include_str!("../../data/cilium.rules").replace("LOOPBACK", "127.0.0.1");
            vec![
                data!("kube-proxy/legacy-ip.save"),
                data!("kube-proxy/nft-ip.save"),
                data!("kube-proxy/nft-masquerade-all-ip.save"),
                data!("kube-proxy/newer-ip.save"),
                ("cilium.rules", cilium),
                ("1100 rules of kube-proxy", kube_proxy(100)),
            ]
        }
        _ => vec![
            data!("kube-proxy/legacy-ip6.save"),
            data!("kube-proxy/nft-ip6.save"),
            data!("kube-proxy/nft-masquerade-all-ip6.save"),
            data!("kube-proxy/newer-ip6.save"),
        ],
    }
}

/// What is wrong with the lines of a rule set that this writer loaded.
fn check(tools: &Tools, oracle: Option<&Tools>, backend: Backend, family: Family, set: &str) -> String {
    let netns = kernel::namespace(backend, family);
    tools.restore(&netns, backend, family, set.as_bytes()).expect("the rule set loads");
    let rules = ours::read(&netns, backend, family);
    assert!(rules.len() > 15, "{} rules", rules.len());
    let mut problems = String::new();
    let mut add = |what: &str, line: &[u8]| {
        writeln!(problems, "    {what}: {}", String::from_utf8_lossy(line)).expect("memory");
    };
    rules.iter().filter(|ours| ours.is_raw()).for_each(|ours| add("raw", &ours.line));
    let kept = rules.iter().map(|ours| &ours.kept);
    let theirs = oracle.map(|oracle| saved_of(kept, saved(&oracle.save(&netns, backend, family))));
    for (ours, theirs) in
        rules.iter().zip(theirs.iter().flatten()).filter(|(ours, theirs)| ours.line != **theirs)
    {
        add("ours", &ours.line);
        add("1.8.9", theirs);
    }
    let lines = rules.iter().map(|ours| (ours.kept.table.clone(), ours.line.clone())).collect();
    let made = reload(tools, backend, family, &Lines { chains: chains(set), lines });
    for (ours, made) in rules.iter().zip(made) {
        match made {
            Ok(made) if normal(backend, family, &made.rule) == normal(backend, family, &ours.kept.rule) => {}
            Ok(_) => add("becomes another rule", &ours.line),
            Err(message) => add(&message, &ours.line),
        }
    }
    problems
}

#[test]
fn every_line_of_rule_sets_of_the_field_is_that_of_1_8_9_and_becomes_the_same_rule_again() {
    let writers = writers();
    let oracle = of_the_text(&writers);
    let mut problems = String::new();
    for tools in &writers {
        for backend in BACKENDS {
            for family in FAMILIES {
                for (name, set) in sets(family) {
                    let found = check(tools, oracle, backend, family, &set);
                    if !found.is_empty() {
                        let version = tools.version;
                        writeln!(problems, "{version:?} {backend:?} {family:?} {name}\n{found}")
                            .expect("memory");
                    }
                }
            }
        }
    }
    assert!(problems.is_empty(), "{problems}");
}
