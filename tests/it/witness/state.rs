//! What of the kernel's bytes is no rule: counters, and what the kernel notes in an entry for itself.
//! Reads by itself what a legacy entry is. Linux since 4.11 shows what matches remember as zeros; nothing is left out of them.

use iptables_monitor::domain::rules::Family;

use super::kernel::PART_HEAD;
use super::wire;

/// Offsets in `struct ipt_entry` and `struct ip6t_entry`: `nfcache`, `target_offset`, `comefrom`, the counters, the end.
pub const fn offsets(family: Family) -> [usize; 4] {
    match family {
        Family::Ip6 => [140, 144, 152, 168],
        _ => [88, 92, 96, 112],
    }
}

pub fn target_offset(family: Family, entry: &[u8]) -> usize {
    let [at, ..] = offsets(family);
    usize::from(u16::from_ne_bytes([entry[at], entry[at + 1]]))
}

/// The expressions of a rule without their counters.
pub fn without(expressions: &[u8]) -> Vec<u8> {
    let mut rule = wire::decode(expressions);
    for expr in rule.iter_mut().filter(|expr| expr.name == b"counter\0") {
        expr.attributes.iter_mut().for_each(|(_, value)| value.fill(0));
    }
    wire::encode(&rule)
}

/// An entry without its counters, `nfcache` and `comefrom`; a jump is the name that `chain_at` gives to its offset.
///
/// Behind the NUL of a part's name stands what the reader's buffer held: the kernel does not write there.
pub fn of_entry(family: Family, entry: &[u8], chain_at: impl FnOnce(usize) -> String) -> Vec<u8> {
    let [target, comefrom, counters, matches] = offsets(family);
    let mut bytes = entry.to_vec();
    bytes[target - 4..target].fill(0);
    bytes[comefrom..comefrom + 4].fill(0);
    bytes[counters..matches].fill(0);
    let mut part = matches;
    while part < bytes.len() {
        let size = usize::from(u16::from_ne_bytes([bytes[part], bytes[part + 1]]));
        let name = &mut bytes[part + 2..part + PART_HEAD - 1];
        let end = name.iter().position(|byte| *byte == 0).expect("a name that ends");
        name[end..].fill(0);
        part += size;
    }
    let at = target_offset(family, entry);
    let is_standard = entry[at + 2] == 0;
    if is_standard {
        let verdict = entry[at + PART_HEAD..].first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
        if let Ok(offset) = usize::try_from(verdict.expect("a verdict")) {
            bytes.truncate(at + PART_HEAD);
            bytes.extend(chain_at(offset).bytes());
        }
    }
    bytes
}
