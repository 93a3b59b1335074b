//! Hashes of the contents of legacy tables, made by a short-lived process of this program.
//! Says nothing about what they hold.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::app::checks::scan::contents::{self, Contents};
use crate::domain::rules::Family;
use crate::domain::words::error_chain::chain_of;
use crate::host::process::command::Deadline;
use crate::host::xtables::Xtables;

/// The hidden subcommand of that process.
pub const SUBCOMMAND: &str = "legacy-fingerprint";
const OUTPUT_LIMIT_BYTES: u64 = 4096;

/// Hashes of tables, by name.
pub type Hashes = BTreeMap<String, String>;

/// Reads the tables and prints their hashes as JSON; the work of the short-lived process.
///
/// # Errors
/// What socket(2), getsockopt(2) and write(2) say, `WouldBlock` if a table changes meanwhile, and `InvalidData` for
/// entries that do not follow the kernel's format.
pub fn run(family: Family, tables: &[String], output: impl Write) -> io::Result<()> {
    let kernel = Xtables::open(family)?;
    let hashes = tables
        .iter()
        .map(|table| Ok((table.clone(), Contents::read(&kernel, table)?.hash(family)?)))
        .collect::<io::Result<Hashes>>()?;
    Ok(serde_json::to_writer(output, &hashes)?)
}

/// Runs the process and waits for it.
///
/// # Errors
/// Why there are no hashes, for a person.
pub(super) fn ask(
    program: &Path,
    family: Family,
    tables: &[String],
    deadline: &Deadline,
) -> Result<Hashes, String> {
    let mut running = contents::start(program, SUBCOMMAND, (family, tables), deadline, OUTPUT_LIMIT_BYTES)
        .map_err(|error| chain_of(&error))?;
    let mut text = String::new();
    if let Err(error) = running.read_to_string(&mut text) {
        return Err(chain_of(&running.error(error)));
    }
    let ended = running.finish().map_err(|error| chain_of(&error))?;
    if ended.status.success() {
        return serde_json::from_str(&text).map_err(|error| error.to_string());
    }
    Err(format!(
        "reading the contents of legacy {family} tables ended with {}: {}",
        ended.status,
        ended.stderr.escape_ascii()
    ))
}
