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
use crate::domain::changes::Part;
use crate::domain::judging::audit::Audit;
use crate::domain::rules::saved::iptables_save::{Item, Mode, Parser};
use crate::domain::rules::{Backend, Family, Kind, Problem, Reason};
use crate::host::process::command::Running;
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
    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Policy => self.builtin += 1,
            Kind::Chain => self.user += 1,
            _ => self.rules += 1,
        }
    }

    /// The entries the kernel keeps for this many lines.
    ///
    /// *Source*: `iptcc_compile_table` in iptables' `libiptc.c`: a policy entry for each built-in chain, a head and a
    /// tail for each user chain, one entry for each rule, and one that ends the table.
    fn num_entries(&self) -> u64 {
        self.rules + self.builtin + 2 * self.user + 1
    }
}

/// A table whose text is being read.
struct Printed<'a> {
    table: String,
    draft: Draft<'a>,
    tally: Tally,
}

/// Reads what is wanted of the loaded legacy tables once. What goes wrong is a problem of the audit.
pub fn read(context: &Context<'_>, wanted: &Wanted<'_>, attempt: &mut Attempt<'_>) {
    for family in [Family::Ip, Family::Ip6] {
        if !attempt.book.covers(family) {
            continue;
        }
        match xtables::loaded_tables(family) {
            Ok(tables) if tables.is_empty() => {}
            Ok(tables) => {
                let kernel = Xtables::open(family);
                let mut changed = Vec::new();
                for table in &tables {
                    let key = Key::Legacy(family, table.clone());
                    match unchanged(wanted, &key, kernel.as_ref().ok()) {
                        Some(unit) => attempt.keep(key, unit),
                        None => {
                            attempt.replace(wanted, &key);
                            changed.push(table.clone());
                        }
                    }
                }
                match kernel {
                    _ if changed.is_empty() => {}
                    Ok(kernel) => {
                        let is_all = changed.len() == tables.len();
                        read_tables(context, attempt, (family, &kernel), &changed, is_all);
                    }
                    Err(error) => common(attempt).problem(kernel_problem(family, &error)),
                }
            }
            Err(error) => {
                let what = format!("reading which legacy {family} tables exist");
                common(attempt).problem(io_problem(&what, &error));
            }
        }
    }
}

/// What is wrong with no single table. Nothing is kept then: the next check reads again.
fn common<'t, 'a>(attempt: &'t mut Attempt<'a>) -> &'t mut Audit<'a> {
    &mut attempt.draft(Key::LegacyInventory).audit
}

/// The unit that was kept, if nobody says that it changed and the table has the size it had.
fn unchanged(wanted: &Wanted<'_>, key: &Key, kernel: Option<&Xtables>) -> Option<Arc<Unit>> {
    let (unit, Key::Legacy(family, table)) = (wanted.kept(key)?, key) else { return None };
    let Known::Legacy(known) = &unit.known else { return None };
    let is_touched = wanted.parts.contains(&&Part::Legacy { family: *family, table: table.clone() });
    let is_same = !is_touched && kernel?.info(table).is_ok_and(|info| info == *known);
    is_same.then(|| Arc::clone(unit))
}

/// Reads these tables, which may be all of the family.
fn read_tables(
    context: &Context<'_>,
    attempt: &mut Attempt<'_>,
    (family, kernel): (Family, &Xtables),
    tables: &[String],
    is_all: bool,
) {
    let before = infos(kernel, tables);
    let started = Instant::now();
    let mut dump = Dump::new(family, tables);
    if is_all {
        dump.print(context, attempt, None);
    } else {
        tables.iter().for_each(|table| dump.print(context, attempt, Some(table)));
    }
    attempt.dumps.push((program_of(family), started.elapsed()));
    let entries = dump.entries(context).and_then(entries::finish);
    let entries = entries.and_then(|entries| in_order(family, tables, entries));
    let after = infos(kernel, tables);
    let tallies = dump.finish(attempt);
    match (before, after) {
        (Ok(before), Ok(after)) => {
            attempt.is_torn |= before != after;
            for (table, info) in tables.iter().zip(&before) {
                let draft = attempt.draft(Key::Legacy(family, table.clone()));
                compare(family, table, info, tallies.get(table), &mut draft.audit);
            }
            match entries {
                Ok(entries) => {
                    for (entries, info) in entries.iter().zip(before) {
                        let draft = attempt.draft(Key::Legacy(family, entries.table().to_owned()));
                        if tallies.contains_key(entries.table()) {
                            draft.known = Known::Legacy(info);
                        }
                        judge_entries(context, family, entries, &mut draft.audit);
                    }
                }
                Err(problem) => common(attempt).problem(problem),
            }
        }
        (Err(error), _) | (_, Err(error)) => common(attempt).problem(kernel_problem(family, &error)),
    }
}

fn judge_entries(context: &Context<'_>, family: Family, entries: &TableEntries, audit: &mut Audit<'_>) {
    entries.problems(family).for_each(|problem| audit.problem(problem));
    if entries.has_ipset() {
        ipset::check_names(context, audit);
    }
}

/// What the process says of each of these tables.
fn in_order(
    family: Family,
    tables: &[String],
    read: Vec<TableEntries>,
) -> Result<Vec<TableEntries>, Problem> {
    if read.iter().map(TableEntries::table).eq(tables.iter().map(String::as_str)) {
        return Ok(read);
    }
    let what = format!("the entries of the legacy {family} tables were not all read");
    Err(Problem::new(Reason::KernelRead, what))
}

fn program_of(family: Family) -> &'static str {
    if family == Family::Ip6 { "ip6tables-legacy-save" } else { "iptables-legacy-save" }
}

/// What a family's program prints, in one run or several.
struct Dump<'a, 't> {
    family: Family,
    tables: &'t [String],
    generator: Option<Generator>,
    printed: Vec<Printed<'a>>,
    items: u32,
    entries: Option<Result<Running, Problem>>,
}

impl<'a, 't> Dump<'a, 't> {
    fn new(family: Family, tables: &'t [String]) -> Self {
        Self { family, tables, generator: None, printed: Vec::new(), items: 0, entries: None }
    }

    /// The process that reads the entries. The kernel answers one process at a time: it is asked for them when the program
    /// asks for little more itself.
    fn entries(&mut self, context: &Context<'_>) -> Result<Running, Problem> {
        let started = self.entries.take();
        started.unwrap_or_else(|| entries::start(context, self.family, self.tables))
    }

    /// Runs the program for one table, or for all of them.
    fn print(&mut self, context: &Context<'_>, attempt: &mut Attempt<'a>, table: Option<&str>) {
        let program = program_of(self.family);
        let args: Vec<&str> = table.into_iter().flat_map(|table| ["-t", table]).collect();
        let ended = dump::start(program, &args, &context.deadline()).and_then(|running| {
            dump::stream(running, Parser::new(Mode::Live), &mut |item| {
                self.items += 1;
                if self.items == ITEMS_BEFORE_ENTRIES {
                    self.entries = Some(self.entries(context));
                }
                self.take(item, attempt);
            })
        });
        let problems = match ended {
            Ok(ended) => dump::ending_problems(program, &ended, &[]),
            Err(error) => vec![dump::command_problem(&error)],
        };
        problems.into_iter().for_each(|problem| common(attempt).problem(problem));
    }

    fn take(&mut self, item: Item<'_>, attempt: &mut Attempt<'a>) {
        let problem = match item {
            Item::Header(header) => return self.generator = Generator::parse(header),
            Item::Table(name) if self.table(name).is_none() => {
                let mut draft = Draft::new(attempt.book, attempt.limit, attempt.budget);
                draft.tool(self.generator.take());
                draft.audit.table(Backend::IptablesLegacy, self.family, name);
                return self.printed.push(Printed { table: name.to_owned(), draft, tally: Tally::default() });
            }
            Item::Table(name) => {
                let what = format!("table {name} is printed twice by iptables-legacy-save");
                Problem::new(Reason::MalformedLine, what)
            }
            Item::Entry(entry) => {
                let family = self.family;
                match self.table(entry.table) {
                    Some(Printed { draft, tally, .. }) => {
                        tally.count(entry.kind);
                        return draft.audit.judge(Backend::IptablesLegacy, family, &entry, None);
                    }
                    None => Problem::new(Reason::MalformedLine, "a line belongs to no table"),
                }
            }
            Item::Commit => return,
            Item::Remark(remark) if remark.starts_with(b"# Completed on ") => return,
            Item::Remark(remark) => Problem::new(
                Reason::UnexpectedOutput,
                format!("iptables-legacy-save ({}) printed: {}", self.family, remark.escape_ascii()),
            ),
            Item::Problem(problem) => problem,
        };
        common(attempt).problem(problem);
    }

    fn table(&mut self, name: &str) -> Option<&mut Printed<'a>> {
        self.printed.iter_mut().rev().find(|printed| printed.table == name)
    }

    /// Hands over what was read; returns what it adds up to.
    fn finish(self, attempt: &mut Attempt<'a>) -> BTreeMap<String, Tally> {
        let family = self.family;
        let add = |Printed { table, draft, tally }| {
            attempt.add(Key::Legacy(family, table.clone()), draft);
            (table, tally)
        };
        self.printed.into_iter().map(add).collect()
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

fn infos(kernel: &Xtables, tables: &[String]) -> io::Result<Vec<Info>> {
    tables.iter().map(|table| kernel.info(table)).collect()
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

fn kernel_problem(family: Family, error: &io::Error) -> Problem {
    io_problem(&format!("asking the kernel for its legacy {family} tables"), error)
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
