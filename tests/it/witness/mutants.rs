//! Rules near those of the list: single bits flipped, bytes swapped, expressions dropped, doubled and moved.
//! The same ones in every run.

use std::collections::BTreeSet;

use iptables_monitor::domain::ruleset::Family;

use super::fields::{Field, fields};
use super::tools::Backend;
use super::wire;

/// Pseudo-random numbers (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).expect("64 bits") % end.max(1)
    }
}

/// Values that were changed before, so that a structure that many rules share is changed once.
#[derive(Default)]
pub struct Done(BTreeSet<(String, u16, Vec<u8>)>);

impl Done {
    fn is_new(&mut self, field: &Field, bytes: &[u8]) -> bool {
        !field.is_info || self.0.insert((field.of.clone(), field.kind, bytes[field.at.clone()].to_vec()))
    }
}

/// A value this long is mostly text or zeros: of its zero bytes only every few are changed.
const LONG: usize = 96;

/// Every rule that differs in one bit, one byte that is all ones or zeros, or two bytes that changed places.
pub fn near(backend: Backend, family: Family, rule: &[u8], done: &mut Done, mut take: impl FnMut(&[u8])) {
    let mut changed = rule.to_vec();
    for field in fields(backend, family, rule) {
        if !done.is_new(&field, rule) {
            continue;
        }
        let is_long = field.at.len() > LONG;
        for at in field.at.clone() {
            let is_skipped = is_long && rule[at] == 0 && rule[at - 1] == 0 && at % 5 != 0;
            if is_skipped {
                continue;
            }
            let mut values: BTreeSet<u8> = (0..8).map(|bit| rule[at] ^ 1 << bit).collect();
            values.extend([0, 0xff]);
            values.remove(&rule[at]);
            for value in values {
                changed[at] = value;
                take(&changed);
            }
            changed[at] = rule[at];
            if at + 1 < field.at.end && rule[at] != rule[at + 1] {
                changed.swap(at, at + 1);
                take(&changed);
                changed.swap(at, at + 1);
            }
        }
    }
}

/// Every rule of nf_tables with an expression dropped, doubled or moved, or an attribute dropped, renamed, cut or extended.
pub fn rearranged(rule: &[u8], mut take: impl FnMut(&[u8])) {
    let rule = wire::decode(rule);
    for at in 0..rule.len() {
        let mut other = rule.clone();
        other.remove(at);
        take(&wire::encode(&other));
        other.insert(at, rule[at].clone());
        other.insert(at, rule[at].clone());
        take(&wire::encode(&other));
        for to in at + 1..rule.len() {
            let mut other = rule.clone();
            other.swap(at, to);
            take(&wire::encode(&other));
        }
        for which in 0..rule[at].attributes.len() {
            let mut other = rule.clone();
            let (kind, value) = other[at].attributes.remove(which);
            take(&wire::encode(&other));
            for (kind, value) in [
                (kind + 1, value.clone()),
                (kind, value[..value.len() - 1].to_vec()),
                (kind, [&value[..], b"\0"].concat()),
                (kind, [&value[..], b"\x01\0\0\0\0\0\0\0"].concat()),
            ] {
                other[at].attributes.insert(which, (kind, value));
                take(&wire::encode(&other));
                other[at].attributes.remove(which);
            }
        }
    }
}

/// A rule with one to three of its values changed.
pub fn some(backend: Backend, family: Family, rule: &[u8], random: &mut Random) -> Vec<u8> {
    let mut changed = rule.to_vec();
    let fields = fields(backend, family, rule);
    for _ in 0..=random.below(3) {
        let field = &fields[random.below(fields.len())];
        // in a long one mostly where something stands
        let ends = [field.at.len(), field.at.len().min(16), field.at.len().min(64)];
        let at = field.at.start + random.below(ends[random.below(ends.len())]);
        let values = [0, 1, 2, 0x7f, 0xff, b' ', b'"', changed[at] ^ 1 << random.below(8)];
        changed[at] = values[random.below(values.len())];
    }
    changed
}
