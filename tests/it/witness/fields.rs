//! Where the values of a rule stand in its bytes: for tests that change them, and that compare rules but for some.
//! Reads by itself what the kernel wrote.

use std::ops::Range;

use iptables_monitor::domain::ruleset::Family;

use super::kernel::PART_HEAD;
use super::state;
use super::tools::Backend;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The expression or part that it belongs to; `head` for what a legacy entry asks of every packet.
    pub of: String,
    /// The type of the attribute; in legacy entries that of the `match` expression which means the same.
    pub kind: u16,
    /// Whether it is the structure of an x_tables part.
    pub is_info: bool,
    pub at: Range<usize>,
}

/// Every value of a rule.
pub fn fields(backend: Backend, family: Family, bytes: &[u8]) -> Vec<Field> {
    match backend {
        Backend::Nft => nft(bytes),
        Backend::Legacy => legacy(family, bytes),
    }
}

/// Where the value of each attribute in this range stands.
fn attributes(bytes: &[u8], range: Range<usize>) -> Vec<(u16, Range<usize>)> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at + 4 <= range.end {
        let length = usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        let kind = u16::from_ne_bytes([bytes[at + 2], bytes[at + 3]]) & 0x3fff;
        if length < 4 || at + length > range.end {
            break;
        }
        found.push((kind, at + 4..at + length));
        at += length.next_multiple_of(4);
    }
    found
}

fn nft(bytes: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    for (_, expression) in attributes(bytes, 0..bytes.len()) {
        let mut of = String::new();
        for (kind, range) in attributes(bytes, expression) {
            if kind == 1 {
                of = String::from_utf8_lossy(&bytes[range.start..range.end - 1]).into_owned();
                continue;
            }
            let is_part = matches!(&of[..], "match" | "target");
            let mut part = of.clone();
            for (kind, range) in attributes(bytes, range) {
                if is_part && kind == 1 {
                    part = String::from_utf8_lossy(&bytes[range.start..range.end - 1]).into_owned();
                }
                leaves(bytes, &part, kind, range, is_part && kind == 3, &mut fields);
            }
        }
    }
    fields
}

fn leaves(
    bytes: &[u8],
    of: &str,
    kind: u16,
    range: Range<usize>,
    is_info: bool,
    fields: &mut Vec<Field>,
) {
    let is_nest = matches!((of, kind), ("cmp", 3) | ("bitwise", 4 | 5) | ("immediate", 2) | ("range", 3 | 4));
    if !is_nest {
        return fields.push(Field { of: of.to_owned(), kind, is_info, at: range });
    }
    for (inner, range) in attributes(bytes, range) {
        // a verdict holds its code and its chain
        if (of, inner) == ("immediate", 2) {
            let verdict = attributes(bytes, range).into_iter();
            fields.extend(verdict.map(|(kind, at)| Field { of: of.to_owned(), kind, is_info, at }));
        } else {
            fields.push(Field { of: of.to_owned(), kind, is_info, at: range });
        }
    }
}

fn legacy(family: Family, bytes: &[u8]) -> Vec<Field> {
    const HEAD: &str = "head";
    const NAME: Range<usize> = 2..31;
    let [head, _, _, matches] = state::offsets(family);
    let field = |of: &str, kind, is_info, at| Field { of: of.to_owned(), kind, is_info, at };
    // nfcache stands between
    let mut fields = vec![field(HEAD, 0, false, 0..head - 4)];
    let mut at = matches;
    while at + PART_HEAD <= bytes.len() {
        let size = usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        let name = bytes[at + NAME.start..at + NAME.end].split(|byte| *byte == 0).next().unwrap_or_default();
        let of = String::from_utf8_lossy(name);
        fields.push(field(&of, 1, false, at + NAME.start..at + NAME.start + name.len()));
        fields.push(field(&of, 2, false, at + NAME.end..at + PART_HEAD));
        let end = at + size.max(PART_HEAD);
        fields.push(field(&of, 3, true, at + PART_HEAD..end.min(bytes.len())));
        at = end;
    }
    fields
}
