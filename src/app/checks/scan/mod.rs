//! Reads of the node: both iptables backends, native nftables, and what nobody reads.
//! Judges through the audit and prints nothing.

mod completeness;
pub mod contents;
pub mod dump;
mod ipset;
mod iptables;
mod legacy;
mod native;
mod nft;
mod reader;
mod refresh;
pub mod saved;
mod side;
mod unit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::domain::changes::RuleChange;
use crate::domain::judging::audit::Outcome;
use crate::host::process::command::Deadline;
pub use reader::Reader;

/// How to read the node.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest a single dump may take.
    pub dump_timeout: Duration,
    /// Whether tables that no iptables tool manages are judged.
    pub nftables: bool,
    /// Violations whose text is kept.
    pub limit: usize,
    /// Set from elsewhere to stop at once.
    pub cancelled: Arc<AtomicBool>,
}

/// What one read of the node found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Judged lines and problems.
    pub outcome: Outcome,
    /// Versions of the programs that printed, by program.
    pub tools: BTreeMap<String, String>,
    /// Whether the rules changed while they were read, so that only violations are certain.
    pub is_torn: bool,
    /// How long each dump took, by program, from its start to the end of its text.
    pub dumps: Vec<(&'static str, Duration)>,
    /// What is other than it was when it was read well last; nothing at the first read. See [`Reader::check`].
    pub changes: Vec<RuleChange>,
    /// Changes that are not listed.
    pub untold: u64,
    /// About how much processor time it took: that of this program's threads, and the time its dumps took.
    pub cost: Duration,
}

/// Shared by the readers of one scan.
struct Context<'a> {
    options: &'a Options,
    /// Names of ipsets, once a rule names one.
    ipsets: ipset::Names,
}

impl Context<'_> {
    fn deadline(&self) -> Deadline {
        Deadline::after(self.options.dump_timeout, Arc::clone(&self.options.cancelled))
    }
}
