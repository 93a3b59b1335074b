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
        let mutants =
            rules.iter().flat_map(|rule| std::iter::repeat_n(rule, per_rule)).filter_map(|rule| mutate(rule, &mut random));
        let (loaded, trusted) = trusted(family, &table, mutants.map(|rule| encode(&rule)));
        total += loaded;
        inside += trusted.len();
        for batch in trusted.chunks(1000) {
            wrong.extend(misprinted(family, &table, batch, |kernel, reloaded| kernel == reloaded));
        }
    }
    (total, inside, wrong)
}

#[test]
fn dev() {
    let per: usize = std::env::var("PER").ok().and_then(|v| v.parse().ok()).unwrap_or(3);
    let seed: u64 = std::env::var("SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(7);
    for family in [Family::Ip, Family::Ip6] {
        let (total, inside, wrong) = fuzz(family, per, seed);
        println!("{family}: {total} loaded, {inside} inside, {} wrong", wrong.len());
        let _ = wrong;
    }
}
