//! Whether the kernel handed over all of a table.
//! Judges nothing.
//!
//! A dump leaves out, without an error, a rule that does not fit one netlink message (32 KiB; some twenty `-m u32` are
//! enough) and every rule behind it, for every tool alike. The kernel's own use counts tell: a chain is used by each of
//! its rules, and by each jump to it from a rule or a verdict map.

use std::time::Duration;

use crate::domain::judging::audit::Audit;
use crate::domain::rules::kernel::{Chain, Table};
use crate::domain::rules::shadow::Content;
use crate::domain::rules::{Problem, Reason};
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};

/// Counts are higher for a moment while a transaction is only tried out (`nft -c`).
const REPEATS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(20);

/// How often the kernel says that a table's chains are used, and how many rules and jumps of rules were handed over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uses {
    /// The sum of the chains' use counts.
    pub said: u64,
    /// Rules, and jumps and gotos in them and in maps.
    pub seen: u64,
    /// Chains.
    pub chains: u64,
}

impl Uses {
    /// Adds a chain. One that a rule made for itself (`jump { … }`) is used by being bound, too.
    pub fn add_chain(&mut self, chain: &Chain) {
        self.chains += 1;
        self.said += u64::from(chain.uses);
        self.seen += u64::from(chain.is_bound());
    }

    /// Adds a chain's rules.
    pub fn add_rules(&mut self, content: Content) {
        self.seen += u64::from(content.rules) + u64::from(content.jumps);
    }

    /// Adds jumps and gotos of maps.
    pub fn add_jumps(&mut self, jumps: u64) {
        self.seen += jumps;
    }
}

/// Compares the two, and how many chains, sets, flowtables and objects (`declared` are those that are no chains) the kernel
/// says that the table has.
///
/// # Errors
/// What the kernel answers.
pub fn check(
    audit: &mut Audit<'_>,
    kernel: &mut Nfnetlink,
    table: &Table,
    uses: Uses,
    declared: usize,
) -> Result<(), NfnetlinkError> {
    let listed = uses.chains + u64::try_from(declared).unwrap_or(u64::MAX);
    let mut said = (uses.said, u64::from(table.uses));
    for _ in 0..REPEATS {
        if said == (uses.seen, listed) {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
        let chains = kernel.chains(Some(table.family))?;
        let of_table = chains.iter().filter(|chain| chain.table == table.name);
        let tables = kernel.tables()?;
        let now = tables.iter().find(|now| now.family == table.family && now.name == table.name);
        said = (of_table.map(|chain| u64::from(chain.uses)).sum(), now.map_or(0, |now| u64::from(now.uses)));
    }
    let (family, name) = (table.family, table.name.escape_ascii());
    if said.0 != uses.seen {
        audit.problem(Problem::new(
            Reason::CountMismatch,
            format!(
                "the kernel counts {} uses of the chains of table {family} {name} and handed over {}: a rule too large for one \
                 netlink message, and all behind it in its chain, are shown by no tool; find it and split it",
                said.0, uses.seen
            ),
        ));
    }
    if said.1 != listed {
        audit.problem(Problem::new(
            Reason::CountMismatch,
            format!(
                "the kernel counts {} chains, sets, flowtables and objects in table {family} {name} and handed over {listed}",
                said.1
            ),
        ));
    }
    Ok(())
}
