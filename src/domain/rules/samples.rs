//! Rules and tables that kernels held, for tests.

use std::sync::LazyLock;

use super::kernel::Ipsets;
use super::kernel::expressions::Expression;
use super::kernel::expressions::form::Slot;
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

/// The value of `NFTA_RULE_EXPRESSIONS`.
pub fn list(expressions: &[Expression<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for expression in expressions {
        let mut element = Vec::new();
        [expression.name(), b"\0"].concat().as_slice().put(1, &mut element);
        expression.encode().as_slice().put(2, &mut element);
        element.as_slice().put(1, &mut out);
    }
    out
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
