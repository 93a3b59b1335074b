//! A legacy table of one rule, as bytes.
//! Loads nothing.

use iptables_monitor::domain::rules::lines::{Hooks, Place, Table, read_legacy};
use iptables_monitor::domain::rules::text::line::Line;
use iptables_monitor::domain::rules::{Family, Kind};

use super::kernel::PART_HEAD;
use super::state::{offsets, target_offset};

const ACCEPT: i32 = -2;
const RETURN: i32 = -5;

/// An entry without conditions that has this target.
fn entry(family: Family, target: &[u8]) -> Vec<u8> {
    let [at, _, _, size] = offsets(family);
    let mut bytes = vec![0; size];
    let length = u16::try_from(size + target.len()).expect("short");
    bytes[at..at + 2].copy_from_slice(&u16::try_from(size).expect("short").to_ne_bytes());
    bytes[at + 2..at + 4].copy_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(target);
    bytes
}

fn standard(verdict: i32) -> Vec<u8> {
    let mut target = vec![0; PART_HEAD + 8];
    target[0] = 40;
    target[PART_HEAD..PART_HEAD + 4].copy_from_slice(&verdict.to_ne_bytes());
    target
}

fn error(name: &str) -> Vec<u8> {
    let mut target = vec![0; PART_HEAD + 32];
    target[0] = 64;
    target[2..7].copy_from_slice(b"ERROR");
    target[PART_HEAD..PART_HEAD + name.len()].copy_from_slice(name.as_bytes());
    target
}

/// Writes the line of a rule as `state::of_entry` leaves it, in a table with the chain `user`. False if that is none.
pub fn line_of(place: Place<'_>, rule: &[u8], line: &mut Line) -> bool {
    let Place { family, ipsets, .. } = place;
    let mut rule = rule.to_vec();
    let at = target_offset(family, &rule);
    let policy = entry(family, &standard(ACCEPT));
    let head = entry(family, &error("user"));
    let name = rule.get(at + PART_HEAD..).unwrap_or_default().to_vec();
    if rule[at + 2] == 0 && (name.is_empty() || name == b"user") {
        rule.truncate(at);
        rule.extend(standard(0));
        let to = if name.is_empty() { rule.len() } else { rule.len() + policy.len() + head.len() };
        let to = i32::try_from(to).expect("short").to_ne_bytes();
        rule[at + PART_HEAD..at + PART_HEAD + 4].copy_from_slice(&to);
    }
    let is_standard = rule[at + 2] == 0;
    if is_standard && rule.len() != at + PART_HEAD + 8 {
        // a name was changed to that of the standard target
        return false;
    }
    let underflow = u32::try_from(rule.len()).expect("short");
    let end = [entry(family, &standard(RETURN)), entry(family, &error("ERROR"))].concat();
    let entries = [rule, policy, head, end].concat();
    let hooks = Hooks { valid: 1, entry: [0; 5], underflow: [underflow, 0, 0, 0, 0] };
    let table = Table { family, name: "filter", hooks, count: 5, entries: &entries };
    let mut is_rule = false;
    let read = read_legacy(&table, ipsets, |read| {
        if read.kind == Kind::Rule {
            is_rule = true;
            line.truncate(0);
            line.push(read.line);
        }
    });
    read.is_ok() && is_rule
}
