//! Reads what iptables-nft manages in a family, chain by chain: every line is made of the kernel's own bytes.
//! What no iptables could have written is a native line.

use std::sync::atomic::Ordering;

use super::completeness::Uses;
use super::native::hidden_program;
use super::native::{self, Declarations, Surroundings};
use super::nft::Inventory;
use super::unit::{Draft, Known};
use super::{Context, ipset};
use crate::domain::judging::audit::Audit;
use crate::domain::rules::kernel::{Chain, ChainFault, ChainShape, Table, check_chain};
use crate::domain::rules::lines::{Place, Written, write_rule};
use crate::domain::rules::shadow::{Content, Shadow};
use crate::domain::rules::text::line::Line;
use crate::domain::rules::text::rule as text;
use crate::domain::rules::{Backend, Entry, Family, Kind, Problem, Reason};
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};

/// Reads and judges all of it but what sets hold; how often the chains of each table are used.
///
/// # Errors
/// What the kernel answers.
pub fn read<'a>(
    context: &Context<'_>,
    kernel: &mut Nfnetlink,
    (inventory, family): (&'a Inventory, Family),
    declarations: &Declarations,
    draft: &mut Draft<'_>,
) -> Result<Vec<(&'a Table, Uses)>, NfnetlinkError> {
    let mut shadow = Shadow::default();
    let mut is_plain = true;
    let mut read = Vec::new();
    let tables = inventory.iptables(family);
    for table in &tables {
        kernel.allow_until(context.deadline().moment());
        let name = String::from_utf8_lossy(&table.name);
        let mut uses = Uses::default();
        draft.audit.table(Backend::IptablesNft, family, &name);
        shadow.add_table(table);
        let chains = inventory.chains_of(&[table]);
        let surroundings = Surroundings::read(kernel, declarations, (table, &inventory.chains))?;
        let contents = read_chains(context, kernel, &chains, &mut draft.audit, &surroundings)?;
        for (chain, read) in chains.iter().zip(contents) {
            uses.add_chain(chain);
            uses.add_rules(read.content);
            shadow.add_chain(chain, read.content);
            is_plain &= read.is_plain;
        }
        uses.add_jumps(surroundings.jumps());
        is_plain &= declarations.count(family, &table.name) == 0;
        native::declare(&mut draft.audit, table, declarations);
        read.push((*table, uses));
    }
    let chains = inventory.chains_of(&tables);
    let is_readable = is_plain && draft.audit.is_without_problem();
    if is_readable && shadow.compare(&tables, &chains, |_| false).is_some() {
        draft.known = Known::Chains(shadow);
    }
    Ok(read)
}

/// So many rules and jumps are read by two threads in less time than by one.
const MANY_USES: u64 = 2_000;

/// Reads and judges chains of one table; what each holds. A second thread reads about half of the rules where there are
/// many.
fn read_chains(
    context: &Context<'_>,
    kernel: &mut Nfnetlink,
    chains: &[&Chain],
    audit: &mut Audit<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<ChainRead>, NfnetlinkError> {
    let read = |kernel: &mut Nfnetlink, chains: &[&Chain], audit: &mut Audit<'_>| {
        chains.iter().map(|chain| read_chain(context, kernel, chain, audit, surroundings)).collect()
    };
    let (first, second) = chains.split_at(middle(chains));
    if second.is_empty() {
        return read(kernel, first, audit);
    }
    let (contents, others) = context.both(
        audit,
        |audit| read(kernel, first, audit),
        |audit| read(&mut Nfnetlink::open(context.deadline().moment())?, second, audit),
    );
    let (mut contents, mut others): (Vec<_>, Vec<_>) = (contents?, others?);
    contents.append(&mut others);
    Ok(contents)
}

/// Where the chains for a second thread begin.
fn middle(chains: &[&Chain]) -> usize {
    let uses: u64 = chains.iter().map(|chain| u64::from(chain.uses)).sum();
    if uses < MANY_USES || !chains.iter().all(|chain| std::str::from_utf8(&chain.name).is_ok()) {
        return chains.len();
    }
    let mut before = 0;
    chains
        .iter()
        .take_while(|chain| {
            before += u64::from(chain.uses);
            before <= uses / 2
        })
        .count()
}

/// What one chain held.
#[derive(Clone, Copy, Debug)]
pub struct ChainRead {
    /// Its rules and jumps.
    pub content: Content,
    /// Whether iptables could have made the chain and all of its rules.
    pub is_plain: bool,
}

/// Reads and judges one chain.
///
/// # Errors
/// What the kernel answers.
pub fn read_chain(
    context: &Context<'_>,
    kernel: &mut Nfnetlink,
    chain: &Chain,
    audit: &mut Audit<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<ChainRead, NfnetlinkError> {
    let (table, name) = (String::from_utf8_lossy(&chain.table), String::from_utf8_lossy(&chain.name));
    let shape = check_chain(chain.family, &chain.table, chain);
    let (mut content, mut line) = (Content::default(), Line::default());
    let declared = match shape {
        ChainShape::Builtin { policy } => {
            text::policy(&name, policy, &mut line);
            Some(Kind::Policy)
        }
        ChainShape::User => {
            text::declaration(&chain.name, &mut line);
            Some(Kind::Chain)
        }
        ChainShape::Foreign(fault) => {
            declare_foreign(chain, fault, audit);
            None
        }
    };
    let is_foreign = declared.is_none();
    let mut is_plain = !is_foreign;
    if let Some(kind) = declared {
        let line = line.as_bytes();
        let entry = Entry { kind, table: &table, chain: Some(&name), position: None, line };
        audit.judge(Backend::IptablesNft, chain.family, &entry);
    }
    kernel.for_each_rule(chain.family, &chain.table, &chain.name, |_, userdata, expressions| {
        content.rules += 1;
        let place = |ipsets| Place { family: chain.family, chain: &chain.name, ipsets };
        line.truncate(0);
        let mut ipsets = context.ipsets.known();
        let mut read = write_rule(place(ipsets), expressions, userdata, &mut line);
        if read.references.names_ipset
            && let Some(names) = context.ipsets.other_than(ipsets, context)
        {
            ipsets = names;
            line.truncate(0);
            read = write_rule(place(ipsets), expressions, userdata, &mut line);
        }
        content.jumps += read.references.jumps;
        if read.references.hides_program {
            audit.problem(hidden_program(chain.family, &chain.table, &chain.name, content.rules));
        }
        // the line of iptables would not say what a chain of the rule's own does
        let has_own = surroundings.jumps_to_own(expressions);
        if read.written == Written::Iptables && !is_foreign && !has_own {
            let (position, line) = (Some(content.rules), line.as_bytes());
            let entry = Entry { kind: Kind::Rule, table: &table, chain: Some(&name), position, line };
            audit.judge(Backend::IptablesNft, chain.family, &entry);
        } else if !chain.is_bound() {
            is_plain = false;
            let rule = (userdata, expressions);
            let names = (ipsets, context.cgroups(read.references.names_cgroup));
            surroundings.judge_rule(audit, (chain, content.rules), rule, names, &mut line);
        }
    })?;
    context.rules_read.fetch_add(content.rules.into(), Ordering::Relaxed);
    Ok(ChainRead { content, is_plain })
}

/// A chain that iptables does not know, or that hangs elsewhere than its name says.
fn declare_foreign(chain: &Chain, fault: ChainFault, audit: &mut Audit<'_>) {
    match fault {
        ChainFault::ForeignHook | ChainFault::UnknownFlags => native::declare_base(audit, chain),
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
