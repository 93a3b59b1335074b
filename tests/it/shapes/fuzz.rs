//! Rules near the grammar of iptables-nft, written with bare netlink: untrusted, or printed as they are.
//! The random numbers have a fixed seed; extensions are left to `xt`.

use iptables_monitor::domain::rules::Family;
use iptables_monitor::domain::rules::kernel::{Shape, classify};

use super::kernel::{Random, is_equivalent, misprinted, trusted};
use super::listed::loaded;
use super::wire::{Expr, attribute, decode, encode};

/// Values at the edges of what iptables writes.
const BYTES: [u8; 12] = [0, 1, 2, 6, 17, 0x1f, 0x3f, 0x7f, 0x80, 0xff, b'+', b' '];

/// The listed rules without an extension, each split into the expressions before its counter and those after.
fn seeds(family: Family) -> Vec<Vec<Expr>> {
    let (_netns, kept) = loaded(family);
    let rules = kept.iter().filter(|kept| kept.table == b"filter").map(|kept| decode(&kept.expressions));
    rules.filter(|rule| rule.iter().all(|expr| !matches!(&expr.name[..], b"match\0" | b"target\0"))).collect()
}

/// The conditions of two rules before the action of the first.
fn join(first: &[Expr], second: &[Expr]) -> Vec<Expr> {
    let split = |rule: &[Expr]| rule.iter().position(|expr| expr.name == b"counter\0").unwrap_or(rule.len());
    let (at, other) = (split(first), split(second));
    [&first[..at], &second[..other], &first[at..]].concat()
}

fn mutate(rule: &mut Vec<Expr>, random: &mut Random) {
    let at = random.below(rule.len());
    let other = random.below(rule.len());
    match random.below(8) {
        0 => rule.swap(at, other),
        1 => drop(rule.remove(at)),
        2 => rule.insert(other, rule[at].clone()),
        3 if !rule[at].attributes.is_empty() => {
            let which = random.below(rule[at].attributes.len());
            drop(rule[at].attributes.remove(which));
        }
        4 => rule[at]
            .attributes
            .push((u16::try_from(random.below(9)).expect("small"), vec![0, 0, 0, BYTES[random.below(8)]])),
        _ => change_value(&mut rule[at], random),
    }
    if rule.is_empty() {
        rule.push(Expr::new("counter", &[]));
    }
}

/// Changes a byte of one attribute, or the length of nested data.
fn change_value(expr: &mut Expr, random: &mut Random) {
    let Some(which) = (!expr.attributes.is_empty()).then(|| random.below(expr.attributes.len())) else {
        return;
    };
    let value = &mut expr.attributes[which].1;
    let is_data = value.len() > 4 && value[2..4] == [1, 0];
    if is_data && random.one_in(3) {
        let mut data = value[4..].to_vec();
        data.truncate(usize::from(u16::from_ne_bytes([value[0], value[1]])).saturating_sub(4));
        if random.one_in(2) {
            data.push(BYTES[random.below(BYTES.len())])
        } else {
            data.pop();
        }
        *value = attribute(1, &data);
    } else if let Some(at) = value.len().checked_sub(1 + random.below(value.len().min(4))) {
        let at = if is_data { 4 + random.below(value.len() - 4) } else { at };
        value[at] = BYTES[random.below(BYTES.len())];
    }
}

fn mutants(family: Family, count: usize) -> Vec<Vec<u8>> {
    let seeds = seeds(family);
    let mut random = Random(0x5eed_0000 + u64::from(family.nfproto()));
    (0..count)
        .map(|_| {
            let mut rule = seeds[random.below(seeds.len())].clone();
            if random.one_in(2) {
                rule = join(&rule, &seeds[random.below(seeds.len())]);
            }
            for _ in 0..random.below(3) {
                mutate(&mut rule, &mut random);
            }
            encode(&rule)
        })
        .collect()
}

fn check(family: Family) {
    let (loaded, trusted) = trusted(family, "filter", mutants(family, 3000).into_iter());
    assert!(loaded > 1500, "{loaded} loaded");
    assert!(trusted.len() > 300, "{} trusted", trusted.len());
    let wrong = misprinted(family, "filter", &trusted, is_equivalent);
    assert!(wrong.is_empty(), "trusted, but printed wrong:\n{}", wrong.join("\n"));
}

#[test]
fn ip_rules_near_the_grammar_are_untrusted_or_printed_right() {
    check(Family::Ip);
}

#[test]
fn ip6_rules_near_the_grammar_are_untrusted_or_printed_right() {
    check(Family::Ip6);
}

/// Any bytes are classified, and what is cut off is not trusted as the whole.
#[test]
fn cut_and_random_bytes_do_not_panic() {
    let mut random = Random(99);
    for rule in mutants(Family::Ip, 500) {
        for end in 0..rule.len() {
            classify(Family::Ip, None, &rule[..end]);
        }
        let mut noise = rule.clone();
        for _ in 0..8 {
            let at = random.below(noise.len());
            noise[at] = u8::try_from(random.below(256)).expect("a byte");
            classify(Family::Ip6, None, &noise);
        }
        let shape = classify(Family::Ip, Some(b""), &rule);
        assert!(matches!(shape, Shape::Untrusted { .. }), "user data is never written by iptables");
    }
}
