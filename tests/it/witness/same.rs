//! Which rules do the same although their bytes differ: what iptables itself writes in more than one way.
//! This list is the tests' own. The product has its own, and both must agree.

use std::ops::Range;

use iptables_monitor::domain::ruleset::Family;

use super::fields::fields;
use super::tools::Backend;
use super::wire::{self, Expr};

/// Masks of which IPv4 uses the first four bytes: filled with ones if no option gave them, else with zeros.
const MASK_TAILS: [(&str, &[Range<usize>]); 3] =
    [("connlimit", &[4..16]), ("recent", &[216..228]), ("HMARK", &[4..16, 20..32])];

/// The rule in the one of its spellings that is compared.
pub fn normal(backend: Backend, family: Family, rule: &[u8]) -> Vec<u8> {
    let mut rule = match backend {
        Backend::Nft => wire::encode(&greater_as_range(without_idle_loads(wire::decode(rule)))),
        Backend::Legacy => without_idle_names(family, rule),
    };
    if family == Family::Ip {
        for field in fields(backend, family, &rule).into_iter().filter(|field| field.is_info) {
            let tails =
                MASK_TAILS.iter().find(|(name, _)| *name == field.of).map_or(&[][..], |(_, tails)| tails);
            let info = &mut rule[field.at];
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
        let (true, true, Some(from)) = (expr.name == b"cmp\0", *operator == GREATER, from) else { return expr };
        match from {
            u16::MAX => Expr::new("cmp", &[(1, &REGISTER), (2, &EQUAL), (3, &wire::attribute(1, &[0xff; 2]))]),
            _ => {
                let [from, to] = [from.to_be_bytes(), [0xff; 2]].map(|port| wire::attribute(1, &port));
                Expr::new("range", &[(1, &REGISTER), (2, &EQUAL), (3, &from), (4, &to)])
            }
        }
    };
    rule.into_iter().map(range).collect()
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
