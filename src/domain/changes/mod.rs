//! What changed between two reads of the node, and what may have changed since the last.
//! Reads nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

pub mod author;
pub mod between;
pub mod carried;
pub mod debounce;
pub mod diff;
pub mod filter;
pub mod history;
pub mod json;
pub mod judged;
pub mod pending;
pub mod wording;

use super::rules::{Backend, Family, Kind};
use super::verdict::Verdict;
use author::Author;
use judged::Judged;

/// A part of the node's firewall that may have changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A chain of an nf_tables table: its rules, its policy, or whether it exists. Names are bytes, as the kernel's are.
    NftChain {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: Vec<u8>,
        /// The chain's name.
        chain: Vec<u8>,
    },
    /// An nf_tables table: whether it exists, its flags, sets, elements, objects or flowtables; not its chains.
    NftTable {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: Vec<u8>,
    },
    /// A legacy table.
    Legacy {
        /// `Ip`, `Ip6` or `Arp`.
        family: Family,
        /// Its name.
        table: String,
    },
}

/// What is to be read again, and who is said to have changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everything: the first check, the interval, or events that were lost.
    #[default]
    Everything,
    /// These parts, each with its authors in order; the rest is certainly as it was read last.
    Parts(BTreeMap<Part, Vec<Arc<Author>>>),
}

/// How a rule changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// It was not there before.
    Added,
    /// It is no longer there.
    Removed,
    /// It stands elsewhere among the rules of its chain that stayed.
    Moved,
    /// It was in force and is no longer there, both since the read before.
    CameAndWent,
}

impl What {
    /// Every way.
    pub const ALL: [Self; 4] = every!(What: Added, Removed, Moved, CameAndWent);

    /// The name used in JSON and in the journal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Moved => "moved",
            Self::CameAndWent => "came_and_went",
        }
    }

    /// The same for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::CameAndWent => "came and went",
            other => other.as_str(),
        }
    }
}

/// One judged line that changed. All its text is untrusted: escape it when shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleChange {
    /// How.
    pub what: What,
    /// Who shows the rule.
    pub backend: Backend,
    /// Its family.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its chain, or the set, map or object it declares.
    pub chain: Option<String>,
    /// What the line declares.
    pub kind: Kind,
    /// 1-based number in the chain; the former one of a removed rule.
    pub position: Option<u32>,
    /// The line.
    pub line: Vec<u8>,
    /// What the allowlists say of it.
    pub judged: Judged,
    /// Who is said to have changed its chain since the read before.
    pub authors: Vec<Arc<Author>>,
}

/// What one check found to be other than the check before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSet {
    /// When the check ended.
    pub at: SystemTime,
    /// The verdict before; none at the first check of a process.
    pub before: Option<Verdict>,
    /// The verdict after.
    pub after: Verdict,
    /// The first changes, those of lines that are not allowed first.
    pub changes: Vec<RuleChange>,
    /// Changes that are not listed.
    pub untold: u64,
}

/// Since when a violation stands, and who is said to have brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// When it was first seen.
    pub first_seen: SystemTime,
    /// It was there when this program first looked, so it may be older.
    pub is_older: bool,
    /// Who is said to have changed its chain just then.
    pub authors: Vec<Arc<Author>>,
}
