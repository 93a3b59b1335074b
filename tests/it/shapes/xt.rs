//! x_tables extensions with random values: what is trusted must be printed in full.
//! The values are those of the listed rules, with some bytes changed.

use std::collections::BTreeMap;

use iptables_monitor::domain::ruleset::Family;

use super::kernel::{Random, misprinted, trusted};
use super::listed::loaded;
use super::wire::{Expr, decode, encode};

const INFO: u16 = 3;

/// Changes one to three bytes of the last extension's info.
fn mutate(rule: &[Expr], random: &mut Random) -> Option<Vec<Expr>> {
    let mut rule = rule.to_vec();
    let extension = rule.iter_mut().rev().find(|expr| matches!(&expr.name[..], b"match\0" | b"target\0"))?;
    let (_, info) = extension.attributes.iter_mut().find(|(kind, _)| *kind == INFO)?;
    for _ in 0..=random.below(3) {
        let at = random.below(info.len());
        let value = [0, 1, 2, 0x7f, 0xff, b' ', b'"', info[at] ^ 1 << random.below(8)];
        info[at] = value[random.below(value.len())];
    }
    Some(rule)
}

/// Equal, but for the bytes of an IPv4 mask that only an IPv6 one fills.
fn is_same(kernel: &[u8], reloaded: &[u8]) -> bool {
    let plain = |expressions: &[u8]| -> Vec<Expr> {
        let mut rule = decode(expressions);
        for expr in &mut rule {
            let tails: &[(usize, usize)] = match expr.attributes.first().map(|(_, name)| &name[..]) {
                Some(b"connlimit\0") => &[(4, 16)],
                Some(b"HMARK\0") => &[(4, 16), (20, 32)],
                Some(b"recent\0") => &[(216, 228)],
                _ => &[],
            };
            for &(from, to) in tails {
                if expr.attributes[2].1[from..to].iter().all(|byte| *byte == 0xff) {
                    expr.attributes[2].1[from..to].fill(0);
                }
            }
        }
        rule
    };
    plain(kernel) == plain(reloaded)
}

fn fuzz(family: Family, per_rule: usize, seed: u64) -> (usize, usize, Vec<String>) {
    let (_netns, kept) = loaded(family);
    let mut by_table: BTreeMap<Vec<u8>, Vec<Vec<Expr>>> = BTreeMap::new();
    for rule in kept {
        by_table.entry(rule.table).or_default().push(decode(&rule.expressions));
    }
    let (mut total, mut inside, mut wrong) = (0, 0, Vec::new());
    for (table, rules) in by_table {
        let table = String::from_utf8(table).expect("a table of iptables");
        let mut random = Random(seed);
        let mutants = rules
            .iter()
            .flat_map(|rule| std::iter::repeat_n(rule, per_rule))
            .filter_map(|rule| mutate(rule, &mut random));
        let (loaded, trusted) = trusted(family, &table, mutants.map(|rule| encode(&rule)));
        total += loaded;
        inside += trusted.len();
        for batch in trusted.chunks(1000) {
            wrong.extend(misprinted(family, &table, batch, is_same));
        }
    }
    (total, inside, wrong)
}

fn check(family: Family) {
    let (loaded, inside, wrong) = fuzz(family, 4, 2026);
    assert!(loaded > 800, "{loaded} loaded");
    assert!(inside > 300, "{inside} trusted");
    assert!(wrong.is_empty(), "trusted, but printed wrong:\n{}", wrong.join("\n"));
}

#[test]
fn ip_extensions_with_random_values_are_untrusted_or_printed_in_full() {
    check(Family::Ip);
}

#[test]
fn ip6_extensions_with_random_values_are_untrusted_or_printed_in_full() {
    check(Family::Ip6);
}
