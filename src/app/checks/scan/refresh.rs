//! Reads again only the changed chains of what iptables-nft manages in a family, and takes the rest as it was.
//! Gives up, so that all is read from scratch, at anything that is not as iptables alone leaves it.
//!
//! The list of chains is read whole each time and shows what exists, where it hangs, what ends it and how often it is
//! used.

use std::collections::HashSet;
use std::sync::Arc;

use super::Context;
use super::iptables::read_chain;
use super::native::Surroundings;
use super::nft::Inventory;
use super::unit::{Attempt, Known, Unit};
use crate::domain::judging::audit::{Audit, Slot};
use crate::domain::rules::kernel::Chain;
use crate::domain::rules::shadow::Shadow;
use crate::domain::rules::{Backend, Family};
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};

/// The unit as it is now; none if only a whole read will do.
///
/// # Errors
/// What the kernel answers.
pub fn refresh(
    context: &Context<'_>,
    attempt: &mut Attempt<'_>,
    kernel: &mut Nfnetlink,
    inventory: &Inventory,
    family: Family,
    (kept, shadow): (&Arc<Unit>, &Shadow),
    touched: &HashSet<(&[u8], &[u8])>,
) -> Result<Option<Arc<Unit>>, NfnetlinkError> {
    let tables = inventory.iptables(family);
    let chains = inventory.chains_of(&tables);
    let is_touched = |chain: &Chain| touched.contains(&(chain.table.as_slice(), chain.name.as_slice()));
    let Some(difference) = shadow.compare(&tables, &chains, is_touched) else { return Ok(None) };
    if difference.changed.is_empty() && difference.gone.is_empty() {
        return Ok(Some(Arc::clone(kept)));
    }
    let mut now = shadow.clone();
    let mut is_plain = true;
    let mut audit = Audit::new(attempt.book, attempt.limit, attempt.budget);
    for chain in difference.changed {
        // what needs more than its own bytes is not plain
        let surroundings = Surroundings::none(family, &chain.table);
        match read_chain(context, kernel, chain, &mut audit, &surroundings) {
            Ok(read) => {
                is_plain &= read.is_plain;
                now.add_chain(chain, read.content);
            }
            Err(error) => {
                attempt.budget.give_back(audit.seal().taken());
                return Err(error);
            }
        }
    }
    difference.gone.iter().for_each(|(table, chain)| now.remove_chain(table, chain));
    is_plain &= audit.is_without_problem() && context.ipsets.problem().is_none();
    let audited = audit.seal();
    if !is_plain || !now.is_complete() {
        attempt.budget.give_back(audited.taken());
        return Ok(None);
    }
    let key = |table: &[u8]| (Backend::IptablesNft, family, String::from_utf8_lossy(table).into_owned());
    let gone: Vec<_> = difference
        .gone
        .iter()
        .map(|(table, chain)| (key(table), Slot::chain(&String::from_utf8_lossy(chain))))
        .collect();
    let reading = kept.reading.with(audited, &gone);
    Ok(Some(Arc::new(Unit { reading, known: Known::Chains(now), left: Vec::new() })))
}
