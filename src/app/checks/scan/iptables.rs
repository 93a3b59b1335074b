//! Reads what iptables-nft manages in a family, chain by chain: every line is made of the kernel's own bytes.
//! Asks nft only for what no iptables could have written.

use super::completeness::{self, Uses};
use super::native::{self, Natives};
use super::nft::Inventory;
use super::unit::{Draft, Known};
use super::{Context, ipset};
use crate::domain::judging::audit::Audit;
use crate::domain::rules::kernel::{Chain, ChainFault, ChainShape, Table, check_chain};
use crate::domain::rules::lines::{Place, Written, write_rule};
use crate::domain::rules::saved::nft_json::BaseChains;
use crate::domain::rules::shadow::{Content, Shadow};
use crate::domain::rules::text::line::Line;
use crate::domain::rules::{Backend, Entry, Family, Kind, Problem, Reason};
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};

/// Reads and judges all of it.
///
/// # Errors
/// What the kernel answers.
pub fn read(
    context: &Context<'_>,
    kernel: &mut Nfnetlink,
    (inventory, family): (&Inventory, Family),
    bases: &BaseChains,
    draft: &mut Draft<'_>,
) -> Result<(), NfnetlinkError> {
    let mut shadow = Shadow::default();
    let mut is_plain = true;
    let tables = inventory.iptables(family);
    for table in &tables {
        let name = String::from_utf8_lossy(&table.name);
        let (mut uses, mut natives) = (Uses::default(), Natives::default());
        draft.audit.table(Backend::IptablesNft, family, &name);
        shadow.add_table(table);
        for chain in inventory.chains_of(&[table]) {
            uses.add_chain(chain);
            let content = read_chain(context, kernel, chain, &mut draft.audit, &mut natives)?;
            uses.add_rules(content);
            shadow.add_chain(chain, content);
        }
        completeness::check(&mut draft.audit, kernel, family, &name, uses)?;
        is_plain &= natives.is_empty() && is_of_iptables(inventory, table);
        native::read_foreign(context, draft, kernel, (family, &name), natives, bases)?;
    }
    let chains = inventory.chains_of(&tables);
    let is_readable = is_plain && draft.audit.is_without_problem();
    if is_readable && shadow.compare(&tables, &chains, |_| false).is_some() {
        draft.known = Known::Chains(shadow);
    }
    Ok(())
}

fn is_of_iptables(inventory: &Inventory, table: &Table) -> bool {
    let shape = |chain: &&Chain| check_chain(chain.family, &table.name, chain);
    inventory.chains_of(&[table]).iter().all(|chain| !matches!(shape(chain), ChainShape::Foreign(_)))
}

/// Reads and judges one chain. What no iptables could have written is added to `natives`.
///
/// # Errors
/// What the kernel answers.
pub fn read_chain(
    context: &Context<'_>,
    kernel: &mut Nfnetlink,
    chain: &Chain,
    audit: &mut Audit<'_>,
    natives: &mut Natives,
) -> Result<Content, NfnetlinkError> {
    let (table, name) = (String::from_utf8_lossy(&chain.table), String::from_utf8_lossy(&chain.name));
    let shape = check_chain(chain.family, &chain.table, chain);
    let declaration = match shape {
        ChainShape::Builtin { policy } => Some((Kind::Policy, format!("-P {name} {}", policy.as_str()))),
        ChainShape::User => Some((Kind::Chain, format!("-N {name}"))),
        ChainShape::Foreign(fault) => {
            declare_foreign(chain, fault, audit, natives);
            None
        }
    };
    let is_foreign = declaration.is_none();
    if let Some((kind, text)) = declaration {
        let line = text.as_bytes();
        let entry = Entry { kind, table: &table, chain: Some(&name), position: None, line };
        audit.judge(Backend::IptablesNft, chain.family, &entry, None);
    }
    let (mut content, mut line) = (Content::default(), Line::default());
    kernel.for_each_rule(chain.family, &chain.table, &chain.name, |handle, userdata, expressions| {
        content.rules += 1;
        let place = |ipsets| Place { family: chain.family, chain: &chain.name, ipsets };
        line.truncate(0);
        let mut read = write_rule(place(context.ipsets.known()), expressions, userdata, &mut line);
        if read.references.names_ipset && context.ipsets.ask(context) {
            line.truncate(0);
            read = write_rule(place(context.ipsets.known()), expressions, userdata, &mut line);
        }
        content.jumps += read.references.jumps;
        if read.written == Written::Iptables && !is_foreign {
            let (position, line) = (Some(content.rules), line.as_bytes());
            let entry = Entry { kind: Kind::Rule, table: &table, chain: Some(&name), position, line };
            audit.judge(Backend::IptablesNft, chain.family, &entry, None);
        } else {
            natives.add_rule(chain, content.rules, handle, (userdata, expressions), context.ipsets.known());
        }
    })?;
    Ok(content)
}

/// A chain that iptables does not know, or that hangs elsewhere than its name says.
fn declare_foreign(chain: &Chain, fault: ChainFault, audit: &mut Audit<'_>, natives: &mut Natives) {
    match fault {
        ChainFault::ForeignHook | ChainFault::UnknownFlags => natives.add_base(chain),
        ChainFault::Name => {}
        ChainFault::Detached => {
            let (table, name) = (chain.table.escape_ascii(), chain.name.escape_ascii());
            let what = format!("chain {name} of table {} {table}: {fault}", chain.family);
            audit.problem(Problem::new(Reason::TableInactive, what));
        }
    }
}

/// Notes what is wrong with the names of ipsets, if rules name some.
pub fn note_ipsets(names: &ipset::Names, audit: &mut Audit<'_>) {
    names.problem().into_iter().for_each(|problem| audit.problem(problem));
}
