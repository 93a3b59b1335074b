//! Rules and tables that kernels held, for tests.

use std::sync::LazyLock;

use super::kernel::Ipsets;
use super::kernel::expressions::form::{Data, Slot, Text};
use super::kernel::expressions::numbers::*;
use super::kernel::expressions::{Bitwise, Cmp, Expression, Extension, Range, meta, payload};
use super::kernel::legacy::{Hooks, Table};
use super::kernel::rule::NotIptables;
use super::lines::{Place, Written, write_rule};
use super::text::line::Line;
use crate::domain::rules::Family;

/// Bytes from hexadecimal digits.
pub fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A rule that iptables-nft wrote.
#[derive(Debug)]
pub struct Form {
    pub family: Family,
    /// The versions that wrote it.
    pub writers: &'static str,
    /// The value of `NFTA_RULE_EXPRESSIONS`.
    pub expressions: Vec<u8>,
    pub line: &'static str,
}

/// The rules of `tests/data/kernel/forms.txt`.
pub fn forms() -> &'static [Form] {
    static FORMS: LazyLock<Vec<Form>> = LazyLock::new(read_forms);
    &FORMS
}

fn read_forms() -> Vec<Form> {
    let data = include_str!("../../../tests/data/kernel/forms.txt");
    let rows = data.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let (head, line) = row
            .split_once(" | ")
            .or_else(|| row.split_once(" ! -A").map(|(head, _)| (head, &row[head.len() + 3..])))
            .unwrap();
        let [family, writers, digits] = head.split(' ').collect::<Vec<_>>().try_into().unwrap();
        Form { family: Family::from_name(family).unwrap(), writers, expressions: bytes(digits), line }
    })
    .collect()
}

/// A legacy table.
#[derive(Debug)]
pub struct Legacy {
    pub family: Family,
    pub name: &'static str,
    pub hooks: Hooks,
    pub count: u32,
    pub entries: Vec<u8>,
    pub lines: Vec<&'static str>,
}

impl Legacy {
    pub fn table(&self) -> Table<'_> {
        let Self { family, name, hooks, count, entries, .. } = self;
        Table { family: *family, name, hooks: *hooks, count: *count, entries }
    }
}

/// The tables of `tests/data/kernel/legacy.txt`.
pub fn legacy_tables() -> Vec<Legacy> {
    let data = include_str!("../../../tests/data/kernel/legacy.txt");
    let mut tables: Vec<Legacy> = Vec::new();
    for row in data.lines().filter(|line| !line.starts_with('#')) {
        let Some(head) = row.strip_prefix("table ") else {
            tables.last_mut().unwrap().lines.push(row);
            continue;
        };
        let [family, name, numbers, digits] = head.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let numbers: Vec<u32> = numbers.split(',').map(|number| number.parse().unwrap()).collect();
        tables.push(Legacy {
            family: Family::from_name(family).unwrap(),
            name,
            hooks: Hooks {
                valid: numbers[0],
                entry: numbers[1..6].try_into().unwrap(),
                underflow: numbers[6..11].try_into().unwrap(),
            },
            count: numbers[11],
            entries: bytes(digits),
            lines: Vec::new(),
        });
    }
    tables
}

/// An attribute with this type and value.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    value.put(kind, &mut out);
    out
}

/// One expression of a list.
pub fn element(name: &[u8], attributes: &[u8]) -> Vec<u8> {
    let name = attribute(1, &[name, b"\0"].concat());
    attribute(1, &[name, attribute(2, attributes)].concat())
}

/// The value of `NFTA_RULE_EXPRESSIONS`.
pub fn list(expressions: &[Expression<'_>]) -> Vec<u8> {
    expressions.iter().flat_map(|expression| element(expression.name(), &expression.encode())).collect()
}

/// `meta load KEY` to register 1.
pub fn load(key: u32) -> Expression<'static> {
    Expression::Meta(meta(key))
}

/// `payload load` of the network header to register 1.
pub fn network(offset: u32, length: u32) -> Expression<'static> {
    Expression::Payload(payload(NETWORK_HEADER, offset, length))
}

/// `payload load` of the transport header to register 1.
pub fn transport(offset: u32, length: u32) -> Expression<'static> {
    Expression::Payload(payload(TRANSPORT_HEADER, offset, length))
}

/// A comparison of register 1.
pub fn cmp(op: u32, value: &[u8]) -> Expression<'_> {
    Expression::Cmp(Cmp { sreg: REG_1, op, data: Data::Value(value) })
}

/// A comparison of register 1 with a range.
pub fn range<'a>(op: u32, from: &'a [u8], to: &'a [u8]) -> Expression<'a> {
    Expression::Range(Range { sreg: REG_1, op, from: Data::Value(from), to: Data::Value(to) })
}

/// What leaves the bits of a mask in register 1.
pub fn mask(mask: &[u8], op: Option<u32>) -> Expression<'_> {
    const NONE: [u8; 16] = [0; 16];
    Expression::Bitwise(Bitwise {
        sreg: REG_1,
        dreg: REG_1,
        length: u32::try_from(mask.len()).unwrap(),
        op,
        mask: Some(Data::Value(mask)),
        xor: Some(Data::Value(&NONE[..mask.len()])),
        data: None,
        sreg2: None,
    })
}

/// An x_tables part.
pub fn part<'a>(name: &'a [u8], revision: u32, info: &'a [u8]) -> Extension<'a> {
    Extension { name: Text(name), revision, info }
}

/// The line of a rule in chain INPUT.
pub fn line(family: Family, expressions: &[u8]) -> Result<String, NotIptables> {
    let ipsets = Ipsets::new();
    let place = Place { family, chain: b"INPUT", ipsets: &ipsets };
    let mut line = Line::default();
    match write_rule(place, expressions, None, &mut line).written {
        Written::Iptables => Ok(match str::from_utf8(line.as_bytes()) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("{}", line.as_bytes().escape_ascii()),
        }),
        Written::Native(reason) => {
            assert!(line.is_empty());
            Err(reason)
        }
    }
}
