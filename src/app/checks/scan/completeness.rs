//! Whether the kernel handed over all of a table, and nft shows all of it.
//! Judges nothing.
//!
//! A dump leaves out, without an error, a rule that does not fit one netlink message (32 KiB; some twenty `-m u32` are
//! enough) and every rule behind it, for every tool alike. The kernel's own use counts tell: a chain is used by each of
//! its rules, and by each jump to it from a rule or a verdict map.

use std::time::Duration;

use crate::domain::judging::audit::Audit;
use crate::domain::rules::kernel::Chain;
use crate::domain::rules::saved::nft_json;
use crate::domain::rules::shadow::Content;
use crate::domain::rules::{Family, Problem, Reason};
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};

/// Counts are higher for a moment while a transaction is only tried out (`nft -c`).
const REPEATS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(20);

/// How often the kernel says that a table's chains are used, and how many rules and jumps of rules were handed over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uses {
    /// The sum of the chains' use counts.
    pub said: u64,
    /// Rules, and jumps and gotos in them.
    pub seen: u64,
}

impl Uses {
    /// Adds a chain. One that a rule made for itself (`jump { … }`) is used by being bound, too.
    pub fn add_chain(&mut self, chain: &Chain) {
        const BINDING: u32 = 4;
        self.said += u64::from(chain.uses);
        self.seen += u64::from(chain.flags & BINDING != 0);
    }

    /// Adds a chain's rules.
    pub fn add_rules(&mut self, content: Content) {
        self.seen += u64::from(content.rules) + u64::from(content.jumps);
    }
}

/// Compares the two, with the jumps of verdict maps, and looks for elements that nft does not show.
///
/// # Errors
/// What the kernel answers.
pub fn check(
    audit: &mut Audit<'_>,
    kernel: &mut Nfnetlink,
    family: Family,
    table: &str,
    uses: Uses,
) -> Result<(), NfnetlinkError> {
    let seen = uses.seen + check_elements(audit, kernel, family, table)?;
    let mut said = uses.said;
    for _ in 0..REPEATS {
        if said == seen {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
        let chains = kernel.chains(Some(family))?;
        let of_table = chains.iter().filter(|chain| chain.table == table.as_bytes());
        said = of_table.map(|chain| u64::from(chain.uses)).sum();
    }
    if said == seen {
        return Ok(());
    }
    audit.problem(Problem::new(
        Reason::CountMismatch,
        format!(
            "the kernel counts {said} uses of the chains of table {family} {} and handed over {seen}: a rule too large \
             for one netlink message, and all behind it in its chain, are shown by no tool; find it and split it",
            table.escape_default()
        ),
    ));
    Ok(())
}

/// Returns how many elements of verdict maps jump.
fn check_elements(
    audit: &mut Audit<'_>,
    kernel: &mut Nfnetlink,
    family: Family,
    table: &str,
) -> Result<u64, NfnetlinkError> {
    let mut jumps = 0;
    for set in kernel.sets(family, table.as_bytes())? {
        if !set.is_verdict_map() && !nft_json::has_names(set.key_type) {
            continue;
        }
        let mut unshown = 0u64;
        kernel.for_each_element(family, table.as_bytes(), &set.name, |element| {
            jumps += u64::from(element.is_jump);
            unshown += u64::from(element.key.is_some_and(|key| !nft_json::is_key_shown(set.key_type, key)));
        })?;
        if unshown > 0 {
            audit.problem(Problem::new(
                Reason::UnrenderedRule,
                format!(
                    "set {family} {} {} has {unshown} elements that are not UTF-8, which nft does not show",
                    table.escape_default(),
                    set.name.escape_ascii()
                ),
            ));
        }
    }
    Ok(jumps)
}
