//! The kernel's own entries of the legacy tables, read by a short-lived process of this program.
//! The kernel hands a table over in one piece, 60 MB for 99,000 rules, which the agent itself need not hold.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::contents::{self, Contents, invalid};
use super::{Context, dump};
use crate::domain::rules::kernel::{Hooks, check_entries};
use crate::domain::rules::{Family, Problem, Reason};
use crate::host::process::command::Running;
use crate::host::xtables::Xtables;

/// The hidden subcommand of that process.
pub const SUBCOMMAND: &str = "legacy-entries";
/// Misprints told one by one for each table.
const TOLD: usize = 20;
const OUTPUT_LIMIT_BYTES: u64 = 1 << 20;

/// What the process says of one table.
#[derive(Debug, Deserialize, Serialize)]
pub struct TableEntries {
    table: String,
    misprints: Vec<String>,
    misprint_count: u64,
    has_ipset: bool,
}

/// Reads the tables and says as JSON what there is to say of them; the work of the short-lived process.
///
/// # Errors
/// What socket(2), getsockopt(2) and write(2) say, `WouldBlock` if a table changes again and again meanwhile, and
/// `InvalidData` for entries that do not follow the kernel's format.
pub fn run(family: Family, tables: &[String], output: impl Write) -> io::Result<()> {
    let kernel = Xtables::open(family)?;
    let read = |table: &String| TableEntries::of(family, &Contents::read(&kernel, table)?);
    let found = tables.iter().map(read).collect::<io::Result<Vec<_>>>()?;
    Ok(serde_json::to_writer(output, &found)?)
}

/// Starts the process for these tables.
///
/// # Errors
/// The problem that a failed start is.
pub(super) fn start(context: &Context<'_>, family: Family, tables: &[String]) -> Result<Running, Problem> {
    let program = context.program.map_or_else(std::env::current_exe, |program| Ok(program.to_owned()));
    let program = program.map_err(|error| {
        let what = format!("finding this program itself, to read legacy entries: {error}");
        Problem::new(Reason::MissingTool, what)
    })?;
    contents::start(&program, SUBCOMMAND, (family, tables), &context.deadline(), OUTPUT_LIMIT_BYTES)
        .map_err(|error| dump::command_problem(&error))
}

/// Waits for the process and reads what it says.
///
/// # Errors
/// The problem that a failed read is.
pub fn finish(mut running: Running) -> Result<Vec<TableEntries>, Problem> {
    let mut text = Vec::new();
    if let Err(error) = running.read_to_end(&mut text) {
        return Err(dump::command_problem(&running.error(error)));
    }
    let ended = running.finish().map_err(|error| dump::command_problem(&error))?;
    if let Some(problem) = dump::ending_problems("monitor legacy-entries", &ended, &[]).pop() {
        return Err(problem);
    }
    serde_json::from_slice(&text)
        .map_err(|error| Problem::new(Reason::KernelRead, format!("reading the legacy entries: {error}")))
}

impl TableEntries {
    fn of(family: Family, held: &Contents) -> io::Result<Self> {
        let Contents { table, info, entries } = held;
        let (mut misprints, mut misprint_count) = (Vec::new(), 0);
        let hooks = Hooks { valid: info.valid_hooks, entry: &info.hook_entry, underflow: &info.underflow };
        let seen = check_entries(family, hooks, entries, |misprint| {
            misprint_count += 1;
            if misprints.len() < TOLD {
                let place = match misprint.position {
                    Some(number) => format!("rule {number} of chain {}", misprint.chain.escape_ascii()),
                    None => format!("chain {}", misprint.chain.escape_ascii()),
                };
                misprints.push(format!("{place}: {}", misprint.reason));
            }
        });
        let seen = seen.map_err(invalid)?;
        if seen.count != info.num_entries {
            return Err(invalid("the kernel counts other entries than it gave"));
        }
        Ok(Self { table: table.clone(), misprints, misprint_count, has_ipset: seen.has_ipset })
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Whether a rule shows names of ipsets.
    pub fn has_ipset(&self) -> bool {
        self.has_ipset
    }

    /// Rules and chains whose text may say something else.
    pub fn problems(&self, family: Family) -> impl Iterator<Item = Problem> {
        let more = self.misprint_count - self.misprints.len() as u64;
        let more = (more > 0).then(|| format!("and {more} more rules"));
        self.misprints.iter().cloned().chain(more).map(move |what| {
            let table = &self.table;
            Problem::new(Reason::UntrustedRule, format!("legacy table {family} {table}: {what}"))
        })
    }
}
