//! Reads again only the changed chains of what iptables-nft manages in a family, and takes the rest as it was.
//! Gives up, so that all is read from scratch, at anything that is not as iptables alone leaves it.
//!
//! The list of chains is read whole each time and shows what exists, where it hangs, what ends it and how often it is
//! used. Changed chains' rules are read from the kernel; only those with other content are printed by the program.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use super::iptables::{LEGACY_WARNINGS, VERIFIED_VERSIONS};
use super::nft::Inventory;
use super::unit::{Attempt, Known, Unit};
use super::{Context, dump};
use crate::domain::judging::audit::{Audit, Slot};
use crate::domain::rules::kernel::{Chain, Shape, check_chain, classify, has_ipset};
use crate::domain::rules::pairing::{KernelRule, KernelTable, Use};
use crate::domain::rules::saved::iptables_save::{Item, Parser};
use crate::domain::rules::shadow::{Content, Contents, Shadow};
use crate::domain::rules::{Backend, Family};
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};
use crate::host::process::command;

/// Printing a chain alone costs as much as printing this many more rules with all others.
const RULES_PER_PROGRAM: u64 = 300;
const VERSION_BYTES: u64 = 4096;

/// A chain whose rules are not what they were.
struct Changed<'c> {
    chain: &'c Chain,
    rules: Vec<KernelRule>,
}

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
    let mut changed = Vec::new();
    for chain in difference.changed {
        let Some((rules, content)) = read_chain(kernel, chain)? else { return Ok(None) };
        if shadow.content(chain) != Some(content) {
            changed.push(Changed { chain, rules });
        }
        now.add_chain(chain, content);
    }
    difference.gone.iter().for_each(|(table, chain)| now.remove_chain(table, chain));
    if !now.is_complete() || is_much(&changed, &now) {
        return Ok(None);
    }
    let mut audit = Audit::new(attempt.book, attempt.limit, attempt.budget);
    if !changed.is_empty() && print(context, attempt, family, &changed, &mut audit).is_none() {
        attempt.budget.give_back(audit.seal().taken());
        return Ok(None);
    }
    let key = |table: &[u8]| (Backend::IptablesNft, family, String::from_utf8_lossy(table).into_owned());
    let gone: Vec<_> = difference
        .gone
        .iter()
        .map(|(table, chain)| (key(table), Slot::chain(&String::from_utf8_lossy(chain))))
        .collect();
    let reading = kept.reading.with(audit.seal(), &gone);
    Ok(Some(Arc::new(Unit { reading, tools: kept.tools.clone(), known: Known::Chains(now) })))
}

/// The rules of a chain and their content; none if one of them is not surely what iptables prints of it.
fn read_chain(
    kernel: &mut Nfnetlink,
    chain: &Chain,
) -> Result<Option<(Vec<KernelRule>, Content)>, NfnetlinkError> {
    let mut rules = Vec::new();
    let mut contents = Contents::default();
    let mut is_plain = true;
    kernel.for_each_rule(chain.family, &chain.table, &chain.name, |handle, userdata, expressions| {
        match classify(chain.family, userdata, expressions) {
            Shape::Iptables { action } if !has_ipset(expressions) => {
                contents.add_rule(userdata, expressions);
                rules.push(KernelRule { handle, standing: Ok(action) });
            }
            _ => is_plain = false,
        }
    })?;
    Ok(is_plain.then(|| (rules, contents.finish())))
}

/// Whether printing everything costs less.
fn is_much(changed: &[Changed<'_>], all: &Shadow) -> bool {
    let cost = |changed: &Changed<'_>| changed.rules.len() as u64 + RULES_PER_PROGRAM;
    changed.iter().map(cost).sum::<u64>() > all.rules() + RULES_PER_PROGRAM
}

/// Judges the text of the changed chains; none if something about it is odd.
fn print(
    context: &Context<'_>,
    attempt: &mut Attempt<'_>,
    family: Family,
    changed: &[Changed<'_>],
    audit: &mut Audit<'_>,
) -> Option<()> {
    let program = if family == Family::Ip6 { "ip6tables-nft" } else { "iptables-nft" };
    let started = Instant::now();
    check_version(context, program)?;
    changed.iter().try_for_each(|changed| print_chain(context, program, changed, audit))?;
    attempt.dumps.push((program, started.elapsed()));
    Some(())
}

/// `iptables v1.8.9 (nf_tables)`. Asked each time: another program may have been installed meanwhile.
fn check_version(context: &Context<'_>, program: &str) -> Option<()> {
    let mut running =
        command::start(program, &["--version"], b"", &context.deadline(), VERSION_BYTES).ok()?;
    let mut text = String::new();
    running.read_to_string(&mut text).ok()?;
    let is_well = running.finish().ok()?.status.success();
    let mut words = text.split_ascii_whitespace().skip(1);
    let version = words.next()?.strip_prefix('v')?;
    (is_well && VERIFIED_VERSIONS.contains(&version) && words.next() == Some("(nf_tables)")).then_some(())
}

fn print_chain(
    context: &Context<'_>,
    program: &str,
    Changed { chain, rules }: &Changed<'_>,
    audit: &mut Audit<'_>,
) -> Option<()> {
    // `check_chain` has made sure that both names are plain words
    let (table, name) = (str::from_utf8(&chain.table).ok()?, str::from_utf8(&chain.name).ok()?);
    let shape = check_chain(chain.family, &chain.table, chain);
    let mut pairs = KernelTable::new(chain.family, table);
    pairs.print();
    pairs.add_chain(name, shape, rules.clone());
    let args = ["-t", table, "-S", name];
    let running = dump::start(program, &args, &context.deadline()).ok()?;
    let mut is_plain = true;
    let ended = dump::stream(running, Parser::listing(table), &mut |item| match item {
        Item::Entry(entry) if pairs.pair(&entry) == Use::Judge => {
            audit.judge(Backend::IptablesNft, chain.family, &entry, None);
        }
        _ => is_plain = false,
    });
    let is_well = dump::ending_problems(program, &ended.ok()?, &LEGACY_WARNINGS).is_empty();
    (is_plain && is_well && pairs.missing().is_empty()).then_some(())
}
