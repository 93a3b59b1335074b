//! Older revisions of extensions, which iptables writes where the kernel has no newer ones; this kernel takes them still.
//! Each line is that of iptables-save 1.8.9, or raw.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use iptables_monitor::domain::rules::Family;

use super::injective::{NEAR, is_thorough, with_near};
use super::kernel;
use super::matrix::loaded;
use super::ours::{self, is_raw};
use super::reload::{saved, saved_of};
use super::tools::{Backend, Tools, of_the_text, writers};
use super::wire::{self, Expr, Writer};

/// Types of the attributes of `match` and `target`.
const REVISION: u16 = 2;
const INFO: u16 = 3;

/// No revision of a part that rules of the list have is higher.
const REVISIONS: u8 = 5;

/// So many rules of a revision are compared.
const ENOUGH: usize = 3;

/// What iptables-nft-save 1.8.9 takes for a structure of a newer revision, or refuses.
const MISREAD: [(&str, u8); 2] = [("SET", 1), ("cgroup", 0)];

/// So many structures are tried in every size before a revision counts as unknown to the kernel.
const SEARCHES: usize = 2;

/// The name and the revision of a part.
fn part(expr: &Expr) -> Option<(Vec<u8>, u8)> {
    let [(_, name), (REVISION, revision), (INFO, _)] = &expr.attributes[..] else { return None };
    matches!(&expr.name[..], b"match\0" | b"target\0").then(|| (name.clone(), revision[3]))
}

/// The rule with another revision of one of its parts, and its structure cut or extended to this size.
fn with(rule: &[Expr], at: usize, revision: u8, size: usize) -> Vec<u8> {
    let mut rule = rule.to_vec();
    rule[at].attributes[1].1 = vec![0, 0, 0, revision];
    rule[at].attributes[2].1.resize(size, 0);
    wire::encode(&rule)
}

/// By extension and revision: the table and the expressions of each rule that the kernel took.
type Taken = BTreeMap<(String, u8), Vec<(String, Vec<u8>)>>;

/// Loads each rule with every other revision of its parts that the kernel takes.
fn load(family: Family, rules: &[(String, Vec<Expr>)]) -> Taken {
    let mut writer = Writer::open();
    let mut sizes: BTreeMap<(Vec<u8>, u8), BTreeSet<usize>> = BTreeMap::new();
    let mut found = Taken::new();
    let mut fruitless: BTreeMap<(Vec<u8>, u8), usize> = BTreeMap::new();
    for (table, rule) in rules {
        for at in 0..rule.len() {
            let Some((name, own)) = part(&rule[at]) else { continue };
            for revision in (0..REVISIONS).filter(|revision| *revision != own) {
                // each answer of the kernel takes a while
                let shown = (String::from_utf8_lossy(&name[..name.len() - 1]).into_owned(), revision);
                let tries = fruitless.entry((name.clone(), revision)).or_default();
                if *tries == SEARCHES || found.get(&shown).is_some_and(|found| found.len() >= ENOUGH) {
                    continue;
                }
                // it takes one size of each revision
                let known = sizes.entry((name.clone(), revision)).or_default();
                let length = rule[at].attributes[2].1.len();
                let tried: Vec<_> = match known.is_empty() {
                    true => (0..=length.max(320)).step_by(8).collect(),
                    false => known.iter().copied().collect(),
                };
                for size in tried {
                    let rule = with(rule, at, revision, size);
                    match writer.rule(family, table, NEAR, &rule) {
                        Ok(()) => {
                            known.insert(size);
                            found.entry(shown.clone()).or_default().push((table.clone(), rule));
                        }
                        // there is no such revision, whatever the size
                        Err(libc::ENOENT) => {
                            *tries = SEARCHES;
                            break;
                        }
                        Err(_) => {}
                    }
                }
                *tries = SEARCHES.min(*tries + usize::from(known.is_empty()));
            }
        }
    }
    found
}

fn check(oracle: &Tools, family: Family) -> (usize, String) {
    let (_netns, cases) = loaded(oracle, Backend::Nft, family);
    let rules: Vec<_> = cases
        .iter()
        .map(|case| (case.ours.kept.table.clone(), wire::decode(&case.ours.kept.bytes)))
        .filter(|(_, rule)| {
            !rule.iter().any(|expr| expr.attributes.iter().any(|(_, name)| name == b"hashlimit\0"))
        })
        .collect();
    let namespace = || {
        let netns = kernel::namespace(Backend::Nft, family);
        oracle.restore(&netns, Backend::Nft, family, &with_near().text(&[])).expect("chains");
        netns
    };
    let found = namespace().within(|| load(family, &rules));
    let (mut words, mut problems) = (0, String::new());
    for (of, taken) in &found {
        let netns = namespace();
        netns.within(|| {
            let mut writer = Writer::open();
            for (table, rule) in taken {
                writer.rule(family, table, NEAR, rule).expect("it was taken before");
            }
        });
        let rules = ours::read(&netns, Backend::Nft, family);
        let shown: Vec<_> = rules.iter().filter(|ours| !is_raw(&ours.line)).collect();
        println!("{family:?} {of:?}: {} of {} in words", shown.len(), rules.len());
        words += shown.len();
        if MISREAD.iter().any(|(name, revision)| (*name, *revision) == (&of.0[..], of.1)) {
            continue;
        }
        let Ok(text) = oracle.try_save(&netns, Backend::Nft, family) else {
            writeln!(problems, "1.8.9 prints no {of:?}").expect("memory");
            continue;
        };
        let theirs = saved_of(rules.iter().map(|ours| &ours.kept), saved(&text));
        for (ours, theirs) in rules.iter().zip(&theirs) {
            if ours.line != *theirs && !is_raw(&ours.line) {
                let [ours, theirs] = [&ours.line, theirs].map(|line| String::from_utf8_lossy(line));
                writeln!(problems, "ours  {ours}\n1.8.9 {theirs}").expect("memory");
            }
        }
    }
    (words, problems)
}

fn lines_are_those_of_1_8_9_or_raw(family: Family) {
    if !is_thorough() {
        println!("the kernel takes minutes to say which revisions it knows: only `make test-versions` asks");
        return;
    }
    let writers = writers();
    let Some(oracle) = of_the_text(&writers) else {
        println!("no iptables 1.8.9 here: nothing is compared");
        return;
    };
    let (words, problems) = check(oracle, family);
    assert!(words > 10, "{words} in words");
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn ip_lines_of_older_revisions_are_those_of_1_8_9_or_raw() {
    lines_are_those_of_1_8_9_or_raw(Family::Ip);
}

#[test]
fn ip6_lines_of_older_revisions_are_those_of_1_8_9_or_raw() {
    lines_are_those_of_1_8_9_or_raw(Family::Ip6);
}
