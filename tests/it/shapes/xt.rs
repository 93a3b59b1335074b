//! x_tables extensions with random values: what is trusted must be printed in full.
//! The values are those of the listed rules, with some bytes changed.

use std::collections::BTreeMap;

use iptables_monitor::domain::rules::Family;

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

/// Of the listed rules, those whose last extension `is_meant` by its name, each changed `per_rule` times.
fn fuzz(
    family: Family,
    per_rule: usize,
    seed: u64,
    is_meant: fn(&[u8]) -> bool,
) -> (usize, usize, Vec<String>) {
    let (_netns, kept) = loaded(family);
    let mut by_table: BTreeMap<Vec<u8>, Vec<Vec<Expr>>> = BTreeMap::new();
    for rule in kept {
        let expressions = decode(&rule.expressions);
        let last = expressions.iter().rfind(|expr| matches!(&expr.name[..], b"match\0" | b"target\0"));
        if last.is_some_and(|expr| is_meant(&expr.attributes[0].1)) {
            by_table.entry(rule.table).or_default().push(expressions);
        }
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
    let (loaded, inside, wrong) = fuzz(family, 4, 2026, |_| true);
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

/// What a rule with an ipset shows depends on numbers of sets, too: those of the tests are 0 to 3.
#[test]
fn extensions_that_name_ipsets_with_random_values_are_untrusted_or_printed_in_full() {
    for (family, seed) in [(Family::Ip, 5), (Family::Ip6, 6)] {
        let is_meant = |name: &[u8]| matches!(name, b"set\0" | b"SET\0" | b"nfacct\0");
        let (loaded, inside, wrong) = fuzz(family, 60, seed, is_meant);
        assert!(loaded > 1500, "{loaded} loaded");
        assert!(inside > 200, "{inside} trusted");
        assert!(wrong.is_empty(), "trusted, but printed wrong:\n{}", wrong.join("\n"));
    }
}

/// Older kernels have revision 0 of `-m nfacct` only, which on 64-bit machines is revision 1 by another number.
#[test]
fn both_revisions_of_nfacct_are_printed_alike() {
    const REVISION: u16 = 2;
    fn renumbered(expressions: &[u8], revision: u8) -> Vec<Expr> {
        let mut rule = decode(expressions);
        for expr in rule.iter_mut().filter(|expr| expr.name == b"match\0") {
            let is_nfacct = expr.attributes[0].1 == b"nfacct\0";
            let number = expr.attributes.iter_mut().filter(|(kind, _)| *kind == REVISION && is_nfacct);
            number.for_each(|(_, value)| *value = vec![0, 0, 0, revision]);
        }
        rule
    }
    let (_netns, kept) = loaded(Family::Ip);
    let is_nfacct = |expr: &Expr| expr.attributes.first().is_some_and(|(_, name)| name == b"nfacct\0");
    let rules = kept.iter().filter(|rule| decode(&rule.expressions).iter().any(is_nfacct));
    let older: Vec<_> = rules.map(|rule| encode(&renumbered(&rule.expressions, 0))).collect();
    let (loaded, trusted) = trusted(Family::Ip, "filter", older.into_iter());
    assert_eq!((loaded, trusted.len()), (5, 5));
    let is_same = |kernel: &[u8], again: &[u8]| kernel != again && renumbered(kernel, 1) == decode(again);
    let wrong = misprinted(Family::Ip, "filter", &trusted, is_same);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
