//! Which rules do the same although their bytes differ: what iptables itself writes in more than one way.
//! This list is the tests' own. The product has its own, and both must agree.

use std::ops::Range;

use iptables_monitor::domain::ruleset::Family;

use super::fields::fields;
use super::tools::Backend;
use super::wire;

/// Masks of which IPv4 uses the first four bytes: filled with ones if no option gave them, else with zeros.
const MASK_TAILS: [(&str, &[Range<usize>]); 3] =
    [("connlimit", &[4..16]), ("recent", &[216..228]), ("HMARK", &[4..16, 20..32])];

/// The rule in the one of its spellings that is compared.
pub fn normal(backend: Backend, family: Family, rule: &[u8]) -> Vec<u8> {
    let mut rule = match backend {
        Backend::Nft => without_idle_loads(rule),
        Backend::Legacy => rule.to_vec(),
    };
    if family == Family::Ip {
        for field in fields(backend, family, &rule).into_iter().filter(|field| field.is_info) {
            let tails = MASK_TAILS.iter().find(|(name, _)| *name == field.of).map_or(&[][..], |(_, tails)| tails);
            let info = &mut rule[field.at];
            for tail in tails {
                if info[tail.clone()].iter().all(|byte| *byte == 0xff) {
                    info[tail.clone()].fill(0);
                }
            }
        }
    }
    rule
}

/// Without interfaces that are loaded and not compared: `-i +`.
fn without_idle_loads(rule: &[u8]) -> Vec<u8> {
    const KEY: u16 = 2;
    const NAMES: [[u8; 4]; 2] = [[0, 0, 0, 6], [0, 0, 0, 7]];
    let rule = wire::decode(rule);
    let is_idle = |at: usize| {
        let is_name = |(kind, value): &(u16, Vec<u8>)| *kind == KEY && NAMES.iter().any(|name| name[..] == value[..]);
        rule[at].name == b"meta\0"
            && rule[at].attributes.iter().any(is_name)
            && rule.get(at + 1).is_none_or(|next| next.name != b"cmp\0")
    };
    let kept: Vec<_> = (0..rule.len()).filter(|at| !is_idle(*at)).map(|at| rule[at].clone()).collect();
    wire::encode(&kept)
}
