//! Where the values of a rule stand in its bytes: for tests that change them, and that compare rules but for some.
//! Reads by itself what the kernel wrote.

use std::ops::Range;

use iptables_monitor::domain::rules::Family;

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
    /// The revision of that part.
    pub revision: u8,
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
                of = text(&bytes[range]);
                continue;
            }
            let is_part = matches!(&of[..], "match" | "target");
            let (mut part, mut revision) = (of.clone(), 0);
            for (kind, range) in attributes(bytes, range) {
                match kind {
                    1 if is_part => part = text(&bytes[range.clone()]),
                    2 if is_part => revision = bytes[range.clone()].last().copied().unwrap_or_default(),
                    _ => {}
                }
                let is_info = is_part && kind == 3;
                leaves(bytes, Field { of: part.clone(), kind, is_info, revision, at: range }, &mut fields);
            }
        }
    }
    fields
}

/// What stands before the NUL.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn leaves(bytes: &[u8], field: Field, fields: &mut Vec<Field>) {
    let is_nest = matches!(
        (&field.of[..], field.kind),
        ("cmp", 3) | ("bitwise", 4 | 5) | ("immediate", 2) | ("range", 3 | 4)
    );
    if !is_nest {
        return fields.push(field);
    }
    for (inner, at) in attributes(bytes, field.at.clone()) {
        // a verdict holds its code and its chain
        if (&field.of[..], inner) == ("immediate", 2) {
            let verdict = attributes(bytes, at).into_iter();
            fields.extend(verdict.map(|(kind, at)| Field { kind, at, ..field.clone() }));
        } else {
            fields.push(Field { at, ..field.clone() });
        }
    }
}

fn legacy(family: Family, bytes: &[u8]) -> Vec<Field> {
    const HEAD: &str = "head";
    const NAME: Range<usize> = 2..31;
    let [head, _, _, matches] = state::offsets(family);
    let field =
        |of: &str, kind, revision, at| Field { of: of.to_owned(), kind, is_info: kind == 3, revision, at };
    // nfcache stands between
    let mut fields = vec![field(HEAD, 0, 0, 0..head - 4)];
    let mut at = matches;
    while at + PART_HEAD <= bytes.len() {
        let size = usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        let name = bytes[at + NAME.start..at + NAME.end].split(|byte| *byte == 0).next().unwrap_or_default();
        let (of, revision) = (text(name), bytes[at + NAME.end]);
        fields.push(field(&of, 1, revision, at + NAME.start..at + NAME.start + name.len()));
        fields.push(field(&of, 2, revision, at + NAME.end..at + PART_HEAD));
        let end = at + size.max(PART_HEAD);
        fields.push(field(&of, 3, revision, at + PART_HEAD..end.min(bytes.len())));
        at = end;
    }
    fields
}
