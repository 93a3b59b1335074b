//! Which lines a pattern may allow: the lists, their files and the patterns in them.
//! Reads none.

use std::sync::Arc;

/// The most patterns, broken ones included, that one allowlist may hold.
pub const MAX_PATTERNS: usize = 10_000;
/// The largest pattern file, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Which lines a pattern may allow; each list is a file of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum List {
    /// Lines of every iptables table, and native lines with their quoted strings emptied.
    Global,
    /// Lines of the iptables table nat.
    Nat,
    /// Lines of the iptables table mangle.
    Mangle,
    /// Lines of the iptables table filter.
    Filter,
    /// Lines of the iptables table raw.
    Raw,
    /// Lines of the iptables table security.
    Security,
    /// Native nftables lines.
    Nftables,
}

impl List {
    /// Every list, in the order they are read and shown.
    pub const ALL: [Self; 7] =
        [Self::Global, Self::Nat, Self::Mangle, Self::Filter, Self::Raw, Self::Security, Self::Nftables];

    /// The name of its file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Nat => "nat",
            Self::Mangle => "mangle",
            Self::Filter => "filter",
            Self::Raw => "raw",
            Self::Security => "security",
            Self::Nftables => "nftables",
        }
    }

    /// The list whose file has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.as_str() == name)
    }

    /// The list of this iptables table; none for another name.
    pub fn for_table(table: &str) -> Option<Self> {
        Self::from_name(table).filter(|list| !matches!(list, Self::Global | Self::Nftables))
    }
}

pub(super) fn lists_of(table: Option<&str>) -> impl Iterator<Item = List> {
    table.and_then(List::for_table).into_iter().chain([List::Global])
}

/// The content of one pattern file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternFile {
    /// Which lines its patterns may allow.
    pub list: List,
    /// Where it comes from, for people: a path, or the name of a profile.
    pub origin: String,
    /// The whole file.
    pub text: Vec<u8>,
}

/// One pattern that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The list it is in.
    pub list: List,
    /// Where its file comes from.
    pub origin: Arc<str>,
    /// Its line in that file, 1-based.
    pub line: usize,
    /// As written.
    pub text: Box<str>,
}
