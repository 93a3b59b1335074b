//! Reads the legacy (x_tables) tables of ip, ip6 and arp, where there are any, and says what nobody reads.
//! Never asks for a table that is not loaded: that would create it.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Context;
use super::contents::Contents;
use super::iptables::note_ipsets;
use super::native::hidden_program;
use super::unit::{Attempt, Draft, Key, Known, Unit, Wanted};
use crate::domain::changes::Part;
use crate::domain::judging::audit::Audit;
use crate::domain::rules::kernel::Ipsets;
use crate::domain::rules::lines::{Chains, Fault, LegacyLine, Table, TableRead, read_legacy_chains};
use crate::domain::rules::{Backend, Entry, Family, Kind, Problem, Reason};
use crate::host::xtables::{self, Xtables};

/// Families with legacy tables that this program reads.
pub const FAMILIES: [Family; 3] = [Family::Ip, Family::Ip6, Family::Arp];

/// Reads what is wanted of the loaded legacy tables once. What goes wrong is a problem of the audit.
pub fn read(context: &Context<'_>, wanted: &Wanted<'_>, attempt: &mut Attempt<'_>) {
    for family in FAMILIES {
        if !attempt.book.covers(family) {
            continue;
        }
        match xtables::loaded_tables(family) {
            Ok(tables) if tables.is_empty() => {}
            Ok(tables) => match Xtables::open(family) {
                Ok(kernel) => {
                    for table in tables {
                        read_table(context, wanted, attempt, (family, &kernel), table);
                    }
                }
                Err(error) => common(attempt).problem(kernel_problem(family, &error)),
            },
            Err(error) => {
                let what = format!("reading which legacy {family} tables exist");
                common(attempt).problem(io_problem(&what, &error));
            }
        }
    }
    attempt.is_torn |= context.ipsets.have_changed(context);
}

/// What is wrong with no single table. Nothing is kept then: the next check reads again.
fn common<'t, 'a>(attempt: &'t mut Attempt<'a>) -> &'t mut Audit<'a> {
    &mut attempt.draft(Key::LegacyInventory).audit
}

fn read_table<'a>(
    context: &Context<'_>,
    wanted: &Wanted<'_>,
    attempt: &mut Attempt<'a>,
    (family, kernel): (Family, &Xtables),
    table: String,
) {
    let key = Key::Legacy(family, table.clone());
    if let Some(unit) = unchanged(wanted, &key, kernel) {
        return attempt.keep(key, unit);
    }
    attempt.replace(wanted, &key);
    let contents = match Contents::read(kernel, family, &table) {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return attempt.is_torn = true,
        Err(error) => return common(attempt).problem(kernel_problem(family, &error)),
    };
    let (book, limit, budget) = (attempt.book, attempt.limit, attempt.budget);
    let mut draft = Draft::new(book, limit, budget);
    let begin_again = |draft: &mut Draft<'a>| {
        budget.give_back(std::mem::replace(draft, Draft::new(book, limit, budget)).audit.seal().taken());
    };
    let ipsets = context.ipsets.known();
    let mut read = judge(context, &contents, ipsets, &mut draft.audit);
    if let Ok(TableRead { names_ipset: true, .. }) = read
        && let Some(names) = context.ipsets.other_than(ipsets, context)
    {
        begin_again(&mut draft);
        read = judge(context, &contents, names, &mut draft.audit);
    }
    match read {
        Err(fault) => {
            begin_again(&mut draft);
            draft.audit.table(Backend::IptablesLegacy, family, &table);
            draft.audit.problem(broken(family, &table, &fault));
        }
        Ok(TableRead { hides_program: Some((chain, rule)), .. }) => {
            let chain = String::from_utf8_lossy(&chain);
            draft.audit.problem(hidden_program(family, table.as_bytes(), chain.as_bytes(), rule));
        }
        Ok(_) => {}
    }
    note_ipsets(&context.ipsets, &mut draft.audit);
    draft.known = Known::Legacy(contents.info);
    attempt.add(key, draft);
}

/// The unit that was kept, if nobody says that it changed and the table has the size it had.
fn unchanged(wanted: &Wanted<'_>, key: &Key, kernel: &Xtables) -> Option<Arc<Unit>> {
    let (unit, Key::Legacy(family, table)) = (wanted.kept(key)?, key) else { return None };
    let Known::Legacy(known) = &unit.known else { return None };
    let is_touched = wanted.parts.contains(&&Part::Legacy { family: *family, table: table.clone() });
    let is_same = !is_touched && kernel.info(table).is_ok_and(|info| info == *known);
    is_same.then(|| Arc::clone(unit))
}

/// So many entries are judged by two threads in less time than by one.
const MANY_ENTRIES: u32 = 2_000;

fn judge(
    context: &Context<'_>,
    contents: &Contents,
    ipsets: &Ipsets,
    audit: &mut Audit<'_>,
) -> Result<TableRead, Fault> {
    let table = contents.table();
    audit.table(Backend::IptablesLegacy, table.family, table.name);
    let chains = Chains::of(&table)?;
    let read = |which, audit: &mut Audit<'_>| judge_chains(context, &table, (&chains, which), ipsets, audit);
    if table.count < MANY_ENTRIES || !chains.are_text() {
        return read(0..chains.count(), audit);
    }
    let middle = chains.middle();
    let (found, others) =
        context.both(audit, |audit| read(0..middle, audit), |audit| read(middle..chains.count(), audit));
    Ok(found?.and(others?))
}

fn judge_chains(
    context: &Context<'_>,
    table: &Table<'_>,
    (chains, which): (&Chains<'_>, Range<usize>),
    ipsets: &Ipsets,
    audit: &mut Audit<'_>,
) -> Result<TableRead, Fault> {
    let mut rules = 0;
    let take = |LegacyLine { kind, chain, position, line }: LegacyLine<'_>| {
        let chain = String::from_utf8_lossy(chain);
        let entry = Entry { kind, table: table.name, chain: Some(&chain), position, line };
        rules += u64::from(kind == Kind::Rule);
        audit.judge(Backend::IptablesLegacy, table.family, &entry);
    };
    let read = read_legacy_chains(table, chains, which, ipsets, take);
    context.rules_read.fetch_add(rules, Ordering::Relaxed);
    read
}

fn broken(family: Family, table: &str, fault: &Fault) -> Problem {
    Problem::new(
        Reason::BrokenTable,
        format!(
            "the legacy {family} table {table} is none that {} writes: {fault}; its rules were not judged, and the program \
             that wrote it is not known. Save what is there, then flush the table (-F, -X) and load it again",
            if family == Family::Arp { "arptables" } else { "iptables" }
        ),
    )
}

/// Tables of other programs that this program cannot read.
pub fn find_unread(audit: &mut Audit<'_>) {
    match xtables::loaded_ebtables() {
        Ok(modules) if modules.is_empty() => {}
        Ok(modules) => audit.problem(Problem::new(
            Reason::UnreadTables,
            format!(
                "ebtables-legacy tables may be loaded (kernel modules {}) and nothing reads them; move their rules \
                 to nftables, or unload the modules",
                modules.join(", ")
            ),
        )),
        Err(error) => audit.problem(io_problem("reading which kernel modules are loaded", &error)),
    }
}

fn kernel_problem(family: Family, error: &io::Error) -> Problem {
    io_problem(&format!("asking the kernel for its legacy {family} tables"), error)
}

fn io_problem(attempt: &str, error: &io::Error) -> Problem {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Problem::new(
            Reason::PermissionDenied,
            format!("{attempt}: the kernel refused; run as root with the capability NET_ADMIN"),
        );
    }
    Problem::new(Reason::KernelRead, format!("{attempt}: {error}"))
}
