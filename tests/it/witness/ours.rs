//! The lines that the product makes of what the kernel holds.

use std::collections::BTreeMap;

use iptables_monitor::domain::rules::lines::{Hooks, Place, Table, Written, read_legacy, write_rule};
use iptables_monitor::domain::rules::text::line::Line;
use iptables_monitor::domain::rules::{Family, Kind};

use super::kernel::{self, IPSETS, Kept};
use super::tools::Backend;
use crate::support::Netns;

/// A rule and its line.
#[derive(Clone, Debug)]
pub struct Ours {
    pub kept: Kept,
    pub line: Vec<u8>,
}

impl Ours {
    pub fn is_raw(&self) -> bool {
        is_raw(&self.line)
    }
}

/// Whether a line shows bytes instead of words.
pub fn is_raw(line: &[u8]) -> bool {
    line.windows(6).any(|bytes| bytes == b" --raw")
}

pub fn ipsets() -> BTreeMap<u16, Vec<u8>> {
    (0..).zip(IPSETS).map(|(index, name)| (index, name.into())).collect()
}

/// The line of a rule of nf_tables.
///
/// # Panics
/// If the product says that no iptables wrote it.
pub fn line_of(family: Family, kept: &Kept, ipsets: &BTreeMap<u16, Vec<u8>>) -> Vec<u8> {
    let mut line = Line::default();
    let place = Place { family, chain: kept.chain.as_bytes(), ipsets };
    let read = write_rule(place, &kept.bytes, kept.userdata.as_deref(), &mut line);
    assert_eq!(read.written, Written::Iptables, "{} {}: {:02x?}", kept.table, kept.chain, kept.bytes);
    line.as_bytes().to_vec()
}

/// The lines of a legacy table, its policies and chains left out.
///
/// # Panics
/// If the product says that the table is broken.
pub fn lines_of(family: Family, table: &kernel::Table, ipsets: &BTreeMap<u16, Vec<u8>>) -> Vec<Vec<u8>> {
    let info = &table.info;
    let hooks = Hooks { valid: info.valid_hooks, entry: info.hook_entry, underflow: info.underflow };
    let whole = Table { family, name: &table.name, hooks, count: info.num_entries, entries: &table.entries };
    let mut lines = Vec::new();
    read_legacy(&whole, ipsets, |line| {
        if line.kind == Kind::Rule {
            lines.push(line.line.to_vec());
        }
    })
    .unwrap_or_else(|fault| panic!("{}: {fault}", table.name));
    lines
}

/// Every rule of the namespace, in the kernel's order.
pub fn read(netns: &Netns, backend: Backend, family: Family) -> Vec<Ours> {
    let ipsets = ipsets();
    let kept = kernel::read(netns, backend, family);
    let lines: Vec<_> = match backend {
        Backend::Nft => kept.iter().map(|kept| line_of(family, kept, &ipsets)).collect(),
        Backend::Legacy => {
            let tables = netns.within(|| kernel::legacy_tables(family));
            tables.iter().flat_map(|table| lines_of(family, table, &ipsets)).collect()
        }
    };
    assert_eq!(lines.len(), kept.len(), "as many lines as rules");
    kept.into_iter().zip(lines).map(|(kept, line)| Ours { kept, line }).collect()
}
