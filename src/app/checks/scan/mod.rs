//! Reads of the node: both iptables backends, native nftables, and what nobody reads.
//! Judges through the audit and prints nothing.

mod beside;
mod completeness;
pub mod contents;
pub mod dump;
mod elements;
mod expectations;
pub mod heard;
mod hooks;
mod ipset;
mod iptables;
mod lane;
mod later;
mod legacy;
mod native;
mod nft;
mod reader;
mod refresh;
pub mod saved;
mod side;
mod unit;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::domain::changes::RuleChange;
use crate::domain::judging::audit::{Audit, Outcome};
use crate::host::process::command::Deadline;
use crate::host::process::{cgroups, processor_time};
pub use reader::NodeReader;

/// How to read the node.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// The longest that reading one table, or a list of all, may take.
    pub dump_timeout: Duration,
    /// Whether tables that no iptables tool manages are judged.
    pub nftables: bool,
    /// Whether what acts beside rules is read.
    pub hooks: Hooks,
    /// Violations whose text is kept.
    pub limit: usize,
    /// Set from elsewhere to stop at once.
    pub cancelled: Arc<AtomicBool>,
}

/// Whether what is called at netfilter hooks beside rules is read, and expectations of connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hooks {
    /// Neither: only rules are asked for.
    Unread,
    /// Both, and hooks where the kernel lists them.
    Listed,
    /// Both; a kernel that does not list hooks leaves the verdict unknown.
    Required,
}

/// What one read of the node found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Judged lines and problems.
    pub outcome: Outcome,
    /// Whether the rules changed while they were read, so that only violations are certain.
    pub is_torn: bool,
    /// What is other than it was when it was read well last; nothing at the first read. See [`NodeReader::check`].
    pub changes: Vec<RuleChange>,
    /// Changes that are not listed.
    pub untold: u64,
    /// Rules that were read; the others are known from before.
    pub rules_read: u64,
    /// About how much processor time its threads took, but for what sets hold, which is read with rests of its own.
    pub cost: Duration,
}

impl Scan {
    /// What both found: the later one what there is, both what it took and what changed.
    fn followed_by(mut self, later: Self) -> Self {
        self.changes.extend(later.changes);
        Self {
            changes: self.changes,
            untold: self.untold + later.untold,
            rules_read: self.rules_read + later.rules_read,
            cost: self.cost + later.cost,
            ..later
        }
    }
}

/// Shared by the readers of one scan.
#[derive(Debug)]
struct Context<'a> {
    options: Cow<'a, ScanOptions>,
    /// Names of ipsets, once a rule names one.
    ipsets: ipset::Names,
    /// Paths of cgroups, once a rule names one.
    cgroups: OnceLock<BTreeMap<u64, Vec<u8>>>,
    rules_read: AtomicU64,
    /// Processor time of the threads of [`Self::both`], in nanoseconds.
    helped: AtomicU64,
}

impl<'a> Context<'a> {
    fn new(options: &'a ScanOptions) -> Self {
        Self::of(Cow::Borrowed(options))
    }

    fn of(options: Cow<'a, ScanOptions>) -> Self {
        Self {
            options,
            ipsets: ipset::Names::default(),
            cgroups: OnceLock::new(),
            rules_read: AtomicU64::default(),
            helped: AtomicU64::default(),
        }
    }

    /// Does two things at once, the second on a thread of its own. The audit takes over what that one judges, which must be
    /// of other chains than the first: also as reports show their names, where all bytes that are not UTF-8 look alike.
    fn both<R: Send>(
        &self,
        audit: &mut Audit<'_>,
        first: impl FnOnce(&mut Audit<'_>) -> R,
        second: impl FnOnce(&mut Audit<'_>) -> R + Send,
    ) -> (R, R) {
        let mut other_audit = audit.fresh();
        let found = std::thread::scope(|threads| {
            let other = threads.spawn(|| {
                let found = second(&mut other_audit);
                let cost = u64::try_from(processor_time::of_this_thread().as_nanos()).unwrap_or(u64::MAX);
                self.helped.fetch_add(cost, Ordering::Relaxed);
                found
            });
            let found = first(audit);
            (found, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        audit.absorb(other_audit);
        found
    }

    /// The paths of cgroups, read if a rule names one.
    fn cgroups(&self, is_needed: bool) -> &BTreeMap<u64, Vec<u8>> {
        /// Where cgroups of version 2 are, alone or beside those of version 1.
        const ROOTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        static NONE: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        if !is_needed {
            return self.cgroups.get().unwrap_or(&NONE);
        }
        self.cgroups.get_or_init(|| {
            let root = ROOTS.map(Path::new).into_iter().find(|root| root.join("cgroup.procs").exists());
            root.map(cgroups::below).unwrap_or_default()
        })
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.options.dump_timeout, Arc::clone(&self.options.cancelled))
    }
}
