//! Reads nf_tables: what iptables-nft manages, native tables, or of both just what may have changed.
//! Decides nothing: which text may be trusted is said by `domain::rules::kernel`, what is allowed by the audit.

use std::collections::HashSet;
use std::sync::Arc;

use super::completeness::Uses;
use super::elements::Left;
use super::native::Declarations;
use super::unit::{Attempt, Draft, Key, Known, Unit, Wanted};
use super::{Context, iptables, native, refresh};
use crate::domain::changes::Part;
use crate::domain::judging::audit::Audit;
use crate::domain::rules::kernel::{Chain, Table, TableFault, check_table};
use crate::domain::rules::{Family, Problem, Reason};
use crate::domain::words::error_chain::chain_of;
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};

/// Reads what is wanted of nf_tables once. What goes wrong is a problem of the audit.
pub fn read(context: &Context<'_>, wanted: &Wanted<'_>, attempt: &mut Attempt<'_>) {
    match try_read(context, wanted, attempt) {
        Ok(()) | Err(NfnetlinkError::Absent) => {}
        Err(NfnetlinkError::Interrupted { .. }) => attempt.is_torn = true,
        Err(error) => attempt.draft(Key::Inventory).audit.problem(netlink_problem(&error)),
    }
}

/// What a failed read over netlink is to a report.
pub(super) fn netlink_problem(error: &NfnetlinkError) -> Problem {
    let reason = match error {
        NfnetlinkError::PermissionDenied { .. } => Reason::PermissionDenied,
        NfnetlinkError::Deadline { .. } => Reason::DumpTimeout,
        _ => Reason::KernelRead,
    };
    Problem::new(reason, chain_of(error))
}

/// What the kernel lists, read once for all families.
pub struct Inventory {
    pub tables: Vec<Table>,
    pub chains: Vec<Chain>,
}

impl Inventory {
    /// The tables of a family that iptables-nft manages.
    pub fn iptables(&self, family: Family) -> Vec<&Table> {
        self.tables.iter().filter(|table| table.family == family && is_iptables(table)).collect()
    }

    /// The chains of these tables.
    pub fn chains_of(&self, tables: &[&Table]) -> Vec<&Chain> {
        let is_in = |chain: &Chain, table: &Table| chain.family == table.family && chain.table == table.name;
        self.chains.iter().filter(|chain| tables.iter().any(|table| is_in(chain, table))).collect()
    }
}

fn is_iptables(table: &Table) -> bool {
    is_of_iptables(table.family, &table.name)
}

/// Whether iptables-nft manages a table of this name.
pub fn is_of_iptables(family: Family, table: &[u8]) -> bool {
    check_table(family, table, 0) != Err(TableFault::NotIptables)
}

fn try_read<'a>(
    context: &Context<'_>,
    wanted: &Wanted<'_>,
    attempt: &mut Attempt<'a>,
) -> Result<(), NfnetlinkError> {
    let mut kernel = Nfnetlink::open(context.deadline().moment())?;
    let generation = kernel.generation()?;
    let inventory = Inventory { tables: kernel.tables()?, chains: kernel.chains(None)? };
    // with the process that owns it a table goes, and the kernel tells nobody
    let owned = inventory.tables.iter().filter(|table| table.owner.is_some());
    attempt.silent =
        owned.map(|table| Part::NftTable { family: table.family, table: table.name.clone() }).collect();
    table_problems(&inventory.tables, &mut attempt.draft(Key::Inventory).audit);
    let mut whole = Vec::new();
    for family in [Family::Ip, Family::Ip6] {
        let is_there = !inventory.iptables(family).is_empty() && attempt.book.covers(family);
        if is_there && !is_refreshed(context, wanted, attempt, &mut kernel, (&inventory, family))? {
            attempt.replace(wanted, &Key::Iptables(family));
            whole.push(family);
        }
    }
    // the changed chains did not fit the others because there are newer rules: no reason to read all of them
    let was_kept = |family| wanted.kept(&Key::Iptables(family)).is_some();
    if attempt.is_repeated
        && whole.iter().any(|&family| was_kept(family))
        && kernel.generation()? != generation
    {
        attempt.is_torn = true;
        return Ok(());
    }
    let is_read =
        |table: &&Table| context.options.nftables && !is_iptables(table) && attempt.book.covers(table.family);
    let natives: Vec<_> = inventory.tables.iter().filter(is_read).collect();
    let natives: Vec<_> = natives.into_iter().filter(|table| !is_kept(wanted, attempt, table)).collect();
    if !whole.is_empty() || !natives.is_empty() {
        let declarations = Declarations::read(&mut kernel)?;
        for &family in &whole {
            let draft = attempt.draft(Key::Iptables(family));
            let tables = iptables::read(context, &mut kernel, (&inventory, family), &declarations, draft)?;
            for table in tables {
                leave(draft, &mut kernel, table, &declarations, generation)?;
            }
        }
        for table in natives {
            let key = Key::Native(table.family, table.name.clone());
            attempt.replace(wanted, &key);
            let draft = attempt.draft(key);
            draft.known = Known::Handle(table.handle);
            kernel.allow_until(context.deadline().moment());
            let of_table = (table, inventory.chains.as_slice());
            let uses = native::read_table(context, &mut draft.audit, &mut kernel, of_table, &declarations)?;
            leave(draft, &mut kernel, (table, uses), &declarations, generation)?;
        }
    }
    iptables::note_ipsets(&context.ipsets, &mut attempt.draft(Key::Inventory).audit);
    attempt.is_torn |= kernel.generation()? != generation || context.ipsets.have_changed(context);
    Ok(())
}

/// Notes what a table's sets leave to be read, and whether the kernel handed over all of it where that is known already.
fn leave(
    draft: &mut Draft<'_>,
    kernel: &mut Nfnetlink,
    (table, uses): (&Table, Uses),
    declarations: &Declarations,
    generation: u32,
) -> Result<(), NfnetlinkError> {
    let left = Left::new(table, uses, declarations, generation);
    if !left.has_jumps() {
        left.check_rules(&mut draft.audit, kernel)?;
    }
    if !left.is_nothing() {
        draft.left.push(Arc::new(left));
    }
    Ok(())
}

/// Keeps what iptables-nft manages in a family, with its changed chains read again; false if all must be read.
fn is_refreshed(
    context: &Context<'_>,
    wanted: &Wanted<'_>,
    attempt: &mut Attempt<'_>,
    kernel: &mut Nfnetlink,
    (inventory, family): (&Inventory, Family),
) -> Result<bool, NfnetlinkError> {
    let key = Key::Iptables(family);
    let Some(kept) = wanted.kept(&key) else { return Ok(false) };
    let tables = inventory.iptables(family);
    let is_ours = |name: &[u8]| tables.iter().any(|table| table.name == name);
    let mut touched = HashSet::new();
    for part in wanted.parts {
        match part {
            Part::NftTable { family: of, table } if *of == family && is_ours(table) => return Ok(false),
            Part::NftChain { family: of, table, chain } if *of == family && is_ours(table) => {
                touched.insert((table.as_slice(), chain.as_slice()));
            }
            _ => {}
        }
    }
    let unit = match &kept.known {
        Known::Chains(shadow) => {
            refresh::refresh(context, attempt, kernel, inventory, family, (kept, shadow), &touched)?
        }
        _ if touched.is_empty() => Some(Arc::clone(kept)),
        _ => None,
    };
    Ok(unit.map(|unit| attempt.keep(key, unit)).is_some())
}

/// Keeps a native table that nothing changed; false if it must be read.
fn is_kept(wanted: &Wanted<'_>, attempt: &mut Attempt<'_>, table: &Table) -> bool {
    let key = Key::Native(table.family, table.name.clone());
    let is_touched = wanted.parts.iter().any(|part| match part {
        Part::NftTable { family, table: name } | Part::NftChain { family, table: name, .. } => {
            *family == table.family && *name == table.name
        }
        Part::Legacy { .. } => false,
    });
    let is_same = |unit: &Unit| matches!(unit.known, Known::Handle(handle) if handle == table.handle);
    match wanted.kept(&key) {
        Some(unit) if !is_touched && is_same(unit) => {
            attempt.keep(key, Arc::clone(unit));
            true
        }
        _ => false,
    }
}

/// Tables of iptables that are loaded but not in force.
fn table_problems(tables: &[Table], audit: &mut Audit<'_>) {
    for table in tables {
        let name = String::from_utf8_lossy(&table.name);
        match check_table(table.family, &table.name, table.flags) {
            Ok(()) | Err(TableFault::NotIptables) => {}
            Err(fault) => audit.problem(Problem::new(
                Reason::TableInactive,
                format!(
                    "table {} {}: {fault}; its rules are printed as if they were in force",
                    table.family,
                    name.escape_default()
                ),
            )),
        }
    }
}
