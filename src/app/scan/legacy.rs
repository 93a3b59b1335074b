//! Reads the legacy (x_tables) tables of both families, where there are any, and other tables nobody reads.
//! Never asks for a table that is not loaded: that would create it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::dump::{self, Generator};
use super::entries::{self, TableEntries};
use super::unit::{Attempt, Draft, Key, Known, Unit, Wanted};
use super::{Context, ipset};
use crate::domain::audit::Audit;
use crate::domain::change::Part;
use crate::domain::iptables_save::{Item, Mode, Parser};
use crate::domain::ruleset::{Backend, Family, Kind, Problem, Reason};
use crate::host::xtables::{self, Info, Xtables};

/// So many lines of a dump have shown most of the extensions that its program asks the kernel about.
const ITEMS_BEFORE_ENTRIES: u32 = 5_000;

/// What one table's text adds up to, to be compared with the kernel's number.
#[derive(Default)]
struct Tally {
    rules: u64,
    builtin: u64,
    user: u64,
}

impl Tally {
    /// The entries the kernel keeps for this many lines.
    ///
    /// *Source*: `iptcc_compile_table` in iptables' `libiptc.c`: a policy entry for each built-in chain, a head and a
    /// tail for each user chain, one entry for each rule, and one that ends the table.
    fn num_entries(&self) -> u64 {
        self.rules + self.builtin + 2 * self.user + 1
    }
}

/// Reads what is wanted of the loaded legacy tables once. What goes wrong is a problem of the audit.
pub fn read(context: &Context<'_>, wanted: &Wanted<'_>, attempt: &mut Attempt<'_>) {
    for family in [Family::Ip, Family::Ip6] {
        if !attempt.book.covers(family) {
            continue;
        }
        let key = Key::Legacy(family);
        match xtables::loaded_tables(family) {
            Ok(tables) if tables.is_empty() => {}
            Ok(tables) => match unchanged(wanted, family, &tables) {
                Some(unit) => attempt.keep(key, unit),
                None => {
                    attempt.replace(wanted, &key);
                    attempt.is_torn |= read_family(context, attempt.draft(key), family, &tables);
                }
            },
            Err(error) => {
                let what = format!("reading which legacy {family} tables exist");
                attempt.draft(key).audit.problem(io_problem(&what, &error));
            }
        }
    }
}

/// The unit that was kept, if nobody says that it changed and the tables have the sizes they had.
fn unchanged(wanted: &Wanted<'_>, family: Family, tables: &[String]) -> Option<Arc<Unit>> {
    let unit = wanted.kept(&Key::Legacy(family))?;
    let Known::Legacy(known) = &unit.known else { return None };
    let is_touched = wanted.parts.contains(&&Part::Legacy { family });
    let is_same = !is_touched && infos(family, tables).is_ok_and(|infos| infos == *known);
    is_same.then(|| Arc::clone(unit))
}

/// Returns whether the tables changed meanwhile.
fn read_family(context: &Context<'_>, draft: &mut Draft<'_>, family: Family, tables: &[String]) -> bool {
    let program = if family == Family::Ip6 { "ip6tables-legacy-save" } else { "iptables-legacy-save" };
    let started = Instant::now();
    let before = infos(family, tables);
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    // the kernel answers one process at a time: the entries are asked for when the program asks for little more itself
    let mut entries = None;
    let mut items = 0u32;
    let ended = dump::start(program, &context.deadline()).and_then(|running| {
        dump::stream(running, Parser::new(Mode::Live), &mut |item| {
            items += 1;
            if items == ITEMS_BEFORE_ENTRIES {
                entries = Some(entries::start(context, family, tables));
            }
            take(item, family, draft, &mut tallies);
        })
    });
    let entries = entries.unwrap_or_else(|| entries::start(context, family, tables));
    let audit = &mut draft.audit;
    match ended {
        Ok(ended) => dump::ending_problems(program, &ended, &[]).into_iter().for_each(|p| audit.problem(p)),
        Err(error) => audit.problem(dump::command_problem(&error)),
    }
    draft.dumps.push((program, started.elapsed()));
    match entries.and_then(entries::finish) {
        Ok(read) => {
            judge_entries(audit, family, tables, &read);
            if read.iter().any(TableEntries::has_ipset) {
                ipset::check_names(context, audit);
            }
        }
        Err(problem) => audit.problem(problem),
    }
    match (before, infos(family, tables)) {
        (Ok(before), Ok(after)) => {
            for (table, info) in &before {
                compare(family, table, info, tallies.get(table), audit);
            }
            let is_torn = before != after;
            draft.known = Known::Legacy(before);
            is_torn
        }
        (Err(error), _) | (_, Err(error)) => {
            audit.problem(io_problem(&format!("asking the kernel for its legacy {family} tables"), &error));
            false
        }
    }
}

fn judge_entries(audit: &mut Audit<'_>, family: Family, tables: &[String], read: &[TableEntries]) {
    for table in read {
        table.problems(family).for_each(|problem| audit.problem(problem));
    }
    if !read.iter().map(TableEntries::table).eq(tables.iter().map(String::as_str)) {
        let what = format!("the entries of the legacy {family} tables were not all read");
        audit.problem(Problem::new(Reason::KernelRead, what));
    }
}

fn take(item: Item<'_>, family: Family, draft: &mut Draft<'_>, tallies: &mut BTreeMap<String, Tally>) {
    let audit = &mut draft.audit;
    match item {
        Item::Header(header) => draft.tool(Generator::parse(header)),
        Item::Table(name) => {
            audit.table(Backend::IptablesLegacy, family, name);
            if tallies.insert(name.to_owned(), Tally::default()).is_some() {
                let what = format!("table {name} is printed twice by iptables-legacy-save");
                audit.problem(Problem::new(Reason::MalformedLine, what));
            }
        }
        Item::Entry(entry) => {
            if let Some(tally) = tallies.get_mut(entry.table) {
                match entry.kind {
                    Kind::Policy => tally.builtin += 1,
                    Kind::Chain => tally.user += 1,
                    _ => tally.rules += 1,
                }
            }
            audit.judge(Backend::IptablesLegacy, family, &entry, None);
        }
        Item::Remark(remark) if remark.starts_with(b"# Completed on ") => {}
        Item::Remark(remark) => audit.problem(Problem::new(
            Reason::UnexpectedOutput,
            format!("iptables-legacy-save ({family}) printed: {}", remark.escape_ascii()),
        )),
        Item::Commit => {}
        Item::Problem(problem) => audit.problem(problem),
    }
}

fn compare(family: Family, table: &str, info: &Info, tally: Option<&Tally>, audit: &mut Audit<'_>) {
    let Some(tally) = tally else {
        let what = format!("the legacy {family} table {table} is loaded but was not printed");
        return audit.problem(Problem::new(Reason::TableUnreadable, what));
    };
    if tally.num_entries() != u64::from(info.num_entries) {
        audit.problem(Problem::new(
            Reason::CountMismatch,
            format!(
                "the legacy {family} table {table} has {} entries in the kernel and {} in the text of its dump: \
                 the text is forged or cut",
                info.num_entries,
                tally.num_entries()
            ),
        ));
    }
}

fn infos(family: Family, tables: &[String]) -> io::Result<Vec<(String, Info)>> {
    let kernel = Xtables::open(family)?;
    tables.iter().map(|table| Ok((table.clone(), kernel.info(table)?))).collect()
}

/// Tables of other programs that this program cannot read.
pub fn find_unread(audit: &mut Audit<'_>) {
    match xtables::loaded_tables(Family::Arp) {
        Ok(tables) if tables.is_empty() => {}
        Ok(tables) => audit.problem(Problem::new(
            Reason::UnreadTables,
            format!(
                "arptables-legacy tables are loaded ({}) and nothing reads them; move their rules to nftables, or \
                 unload the module arptable_filter",
                tables.join(", ")
            ),
        )),
        Err(error) => audit.problem(io_problem("reading which arptables-legacy tables exist", &error)),
    }
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

fn io_problem(attempt: &str, error: &io::Error) -> Problem {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Problem::new(
            Reason::PermissionDenied,
            format!("{attempt}: the kernel refused; run as root with the capabilities NET_ADMIN and NET_RAW"),
        );
    }
    Problem::new(Reason::KernelRead, format!("{attempt}: {error}"))
}
