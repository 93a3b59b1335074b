//! Rules near those of the list: single bits flipped, bytes swapped, expressions dropped, doubled and moved.
//! The same ones in every run.

use std::collections::{BTreeMap, BTreeSet};

use iptables_monitor::domain::rules::Family;

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

/// What was changed before: structures and frames that many rules share are changed once.
#[derive(Default)]
pub struct Done {
    infos: BTreeMap<String, BTreeSet<Vec<u8>>>,
    frames: BTreeSet<Vec<u8>>,
}

/// So many structures of an extension, and so many frames, are changed in every bit, further ones in one bit of each byte.
const WHOLE: usize = 4;
const WHOLE_FRAMES: usize = 100;

impl Done {
    /// How many structures of the extension were met, if this is a new one.
    fn new_info(&mut self, field: &Field, rule: &[u8]) -> Option<usize> {
        let met = self.infos.entry(field.of.clone()).or_default();
        let is_new = met.insert(rule[field.at.clone()].to_vec());
        is_new.then_some(met.len())
    }

    /// How many frames were met, if no other rule was the same but for the infos of its parts.
    fn new_frame(&mut self, fields: &[Field], rule: &[u8]) -> Option<usize> {
        let mut frame = rule.to_vec();
        let infos = fields.iter().filter(|field| field.is_info);
        infos.for_each(|field| frame[field.at.clone()].fill(0));
        let is_new = self.frames.insert(frame);
        is_new.then_some(self.frames.len())
    }
}

/// A value this long is mostly text or zeros: of its zero bytes only every few are changed.
const LONG: usize = 96;

/// Every rule that differs in one bit, one byte that is all ones or zeros, or two bytes that changed places; of nf_tables also
/// those whose expressions are [`rearranged`].
pub fn near(backend: Backend, family: Family, rule: &[u8], done: &mut Done, mut take: impl FnMut(&[u8])) {
    let fields = fields(backend, family, rule);
    let new_frame = done.new_frame(&fields, rule);
    for field in fields {
        if field.is_info {
            if let Some(met) = done.new_info(&field, rule) {
                near_in(&field, rule, (met > WHOLE).then_some(met), &mut take);
            }
        } else if let Some(met) = new_frame {
            near_in(&field, rule, (met > WHOLE_FRAMES).then_some(met), &mut take);
        }
    }
    if backend == Backend::Nft && new_frame.is_some() {
        rearranged(rule, take);
    }
}

/// With `one`, one bit of each byte.
fn near_in(field: &Field, rule: &[u8], one: Option<usize>, take: &mut impl FnMut(&[u8])) {
    let mut changed = rule.to_vec();
    let is_long = field.at.len() > LONG;
    for at in field.at.clone() {
        let is_skipped = is_long && at > 0 && rule[at - 1..=at] == [0, 0] && at % 5 != 0;
        if is_skipped {
            continue;
        }
        if let Some(one) = one {
            changed[at] = rule[at] ^ 1 << ((one + at) % 8);
            take(&changed);
            changed[at] = rule[at];
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

/// Every rule of nf_tables with an expression dropped, doubled or moved, or an attribute dropped, renamed, cut or extended.
fn rearranged(rule: &[u8], mut take: impl FnMut(&[u8])) {
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
    let mut fields = fields(backend, family, rule);
    fields.retain(|field| !field.at.is_empty());
    for _ in 0..=random.below(3) {
        let field = &fields[random.below(fields.len())];
        // in a long one mostly where something stands
        let ends = [field.at.len(), field.at.len().min(16), field.at.len().min(64)];
        let end = ends[random.below(ends.len())];
        let at = field.at.start + random.below(end);
        let values = [0, 1, 2, 0x7f, 0xff, b' ', b'"', changed[at] ^ 1 << (random.next() & 7)];
        let which = random.below(values.len());
        changed[at] = values[which];
    }
    changed
}
