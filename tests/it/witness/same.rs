//! Which rules do the same although their bytes differ: what iptables itself writes in more than one way.
//! This list is the tests' own. The product has its own, and both must agree.

use std::ops::Range;

use iptables_monitor::domain::rules::Family;

use super::fields::fields;
use super::kernel::PART_HEAD;
use super::private;
use super::state::{self, target_offset};
use super::tools::Backend;
use super::wire::{self, Expr};

/// Masks of which IPv4 uses the first four bytes: filled with ones if no option gave them, else with zeros.
const MASK_TAILS: [(&str, &[Range<usize>]); 3] =
    [("connlimit", &[4..16]), ("recent", &[216..228]), ("HMARK", &[4..16, 20..32])];

/// The rule in the one of its spellings that is compared.
pub fn normal(backend: Backend, family: Family, rule: &[u8]) -> Vec<u8> {
    let mut rule = match backend {
        Backend::Nft => {
            let rule = greater_as_range(without_idle_loads(wire::decode(rule)));
            wire::encode(&without_zero_thresholds(rule))
        }
        Backend::Legacy => {
            let rule = without_idle_flags(family, without_idle_names(family, rule));
            without_name_tails(family, rule)
        }
    };
    let fields = fields(backend, family, &rule);
    // both revisions of nfacct are the same structure on 64-bit machines
    for field in fields.iter().filter(|field| field.of == "nfacct" && field.kind == 2) {
        if let Some(revision @ 0) = rule[field.at.clone()].last_mut() {
            *revision = 1;
        }
    }
    // CONNMARK since revision 2 shifts, too, and holds its mode behind that
    for pair in
        fields.windows(2).filter(|pair| pair[0].of == "CONNMARK" && pair[0].kind == 2 && pair[1].is_info)
    {
        if let (Some(revision @ 1), 16) = (rule[pair[0].at.clone()].last_mut(), pair[1].at.len()) {
            *revision = 2;
            let info = &mut rule[pair[1].at.clone()];
            if info[13..] == [0; 3] {
                info.swap(12, 14);
            }
        }
    }
    for field in fields.into_iter().filter(|field| field.is_info) {
        let info = &mut rule[field.at];
        private::mask(&field.of, field.revision, info);
        if family == Family::Ip {
            let tails =
                MASK_TAILS.iter().find(|(name, _)| *name == field.of).map_or(&[][..], |(_, tails)| tails);
            for tail in tails {
                if info.get(tail.clone()).is_some_and(|tail| tail.iter().all(|byte| *byte == 0xff)) {
                    info[tail.clone()].fill(0);
                }
            }
        }
    }
    rule
}

/// Without interfaces that are loaded and not compared: `-i +`.
fn without_idle_loads(rule: Vec<Expr>) -> Vec<Expr> {
    const KEY: u16 = 2;
    const NAMES: [[u8; 4]; 2] = [[0, 0, 0, 6], [0, 0, 0, 7]];
    let is_name = |(kind, value): &(u16, Vec<u8>)| *kind == KEY && NAMES.iter().any(|name| value == name);
    let is_idle = |at: usize| {
        rule[at].name == b"meta\0"
            && rule[at].attributes.len() == 2
            && rule[at].attributes.iter().any(is_name)
            && rule.get(at + 1).is_none_or(|next| next.name != b"cmp\0")
    };
    (0..rule.len()).filter(|at| !is_idle(*at)).map(|at| rule[at].clone()).collect()
}

/// `! --dport 0:80` is `> 80`, and `--dport 81:65535` a range.
fn greater_as_range(rule: Vec<Expr>) -> Vec<Expr> {
    const EQUAL: [u8; 4] = [0; 4];
    const GREATER: [u8; 4] = [0, 0, 0, 4];
    const REGISTER: [u8; 4] = [0, 0, 0, 1];
    let range = |expr: Expr| {
        let [(1, _), (2, operator), (3, value)] = &expr.attributes[..] else { return expr };
        let [6, 0, 1, 0, high, low, ..] = value[..] else { return expr };
        let from = u16::from_be_bytes([high, low]).checked_add(1);
        let (true, true, Some(from)) = (expr.name == b"cmp\0", *operator == GREATER, from) else {
            return expr;
        };
        match from {
            u16::MAX => {
                Expr::new("cmp", &[(1, &REGISTER), (2, &EQUAL), (3, &wire::attribute(1, &[0xff; 2]))])
            }
            _ => {
                let [from, to] = [from.to_be_bytes(), [0xff; 2]].map(|port| wire::attribute(1, &port));
                Expr::new("range", &[(1, &REGISTER), (2, &EQUAL), (3, &from), (4, &to)])
            }
        }
    };
    rule.into_iter().map(range).collect()
}

/// Without the threshold of an NFLOG that is 0, which the kernel leaves out.
fn without_zero_thresholds(mut rule: Vec<Expr>) -> Vec<Expr> {
    const THRESHOLD: u16 = 4;
    for expr in rule.iter_mut().filter(|expr| expr.name == b"log\0") {
        expr.attributes.retain(|(kind, value)| *kind != THRESHOLD || *value != [0; 2]);
    }
    rule
}

/// Without the name of an interface of which nothing is compared: `-i +`.
fn without_idle_names(family: Family, entry: &[u8]) -> Vec<u8> {
    const LENGTH: usize = 16;
    let (names, masks, inverted) = match family {
        Family::Ip6 => ([64, 80], [96, 112], 132),
        _ => ([16, 32], [48, 64], 83),
    };
    let mut entry = entry.to_vec();
    for (which, (name, mask)) in names.into_iter().zip(masks).enumerate() {
        let is_any = entry[mask..mask + LENGTH] == [0; LENGTH] && entry[inverted] & 1 << which == 0;
        if is_any && entry[name..name + LENGTH].starts_with(b"+\0") {
            entry[name] = 0;
        }
    }
    entry
}

/// Without what stands behind the NUL of a part's name: the kernel hands out what the reader's buffer held.
fn without_name_tails(family: Family, mut entry: Vec<u8>) -> Vec<u8> {
    const NAME: Range<usize> = 2..31;
    let [_, _, _, mut at] = state::offsets(family);
    while at + PART_HEAD <= entry.len() {
        let size = usize::from(u16::from_ne_bytes([entry[at], entry[at + 1]]));
        let name = &mut entry[at + NAME.start..at + NAME.end];
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name[length..].fill(0);
        at += size.max(PART_HEAD);
    }
    entry
}

/// Without what asks nothing: `-p all` of ip6tables; and without the padding and the revision of the standard target.
fn without_idle_flags(family: Family, mut entry: Vec<u8>) -> Vec<u8> {
    const PROTOCOL: Range<usize> = 128..130;
    const FLAGS: usize = 131;
    const INVERTED: usize = 132;
    const ANY_PROTOCOL: u8 = 1;
    const INVERTED_PROTOCOL: u8 = 0x40;
    const REVISION: usize = 31;
    if family == Family::Ip6 && entry[PROTOCOL] == [0; 2] && entry[INVERTED] & INVERTED_PROTOCOL == 0 {
        entry[FLAGS] &= !ANY_PROTOCOL;
    }
    let at = target_offset(family, &entry);
    if entry[at + 2] == 0 {
        entry[at + REVISION] = 0;
        if let Some(padding) = entry.get_mut(at + PART_HEAD + 4..at + PART_HEAD + 8) {
            padding.fill(0);
        }
    }
    entry
}
