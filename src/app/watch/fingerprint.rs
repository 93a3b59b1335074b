//! The contents of legacy tables as one hash, made by a short-lived process of this program.
//! Counters and what matches remember are not part of it. The process gives the memory back: 60 MB for 99,000 rules.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::app::scan::dump::chain_of;
use crate::domain::escape::hex;
use crate::domain::ruleset::Family;
use crate::domain::shapes::clear_state;
use crate::host::command::{self, Deadline};
use crate::host::xtables::{Info, Xtables};

/// The hidden subcommand of that process.
pub const SUBCOMMAND: &str = "legacy-fingerprint";
const OUTPUT_LIMIT_BYTES: u64 = 4096;

/// Reads the tables; runs in the short-lived process.
///
/// # Errors
/// What socket(2) and getsockopt(2) say, `WouldBlock` if a table changes meanwhile, and `InvalidData` for entries that do
/// not follow the kernel's format.
pub fn read(family: Family, tables: &[String]) -> io::Result<String> {
    let kernel = Xtables::open(family)?;
    let mut hash = Sha256::new();
    for table in tables {
        let (info, mut entries) = read_table(&kernel, table)?;
        clear_state(family, &mut entries)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        hash.update(table);
        // ends the name, which cannot have it
        hash.update([0]);
        for word in [info.valid_hooks, info.size].iter().chain(&info.hook_entry).chain(&info.underflow) {
            hash.update(word.to_ne_bytes());
        }
        hash.update(&entries);
    }
    Ok(hex(&hash.finalize()))
}

/// The table at one moment: its size may change between the two questions.
fn read_table(kernel: &Xtables, table: &str) -> io::Result<(Info, Vec<u8>)> {
    const ATTEMPTS: usize = 5;
    let mut read = || {
        let info = kernel.info(table)?;
        let entries = kernel.entries(table, &info)?;
        Ok((info, entries))
    };
    let changed =
        |read: &io::Result<_>| matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    (1..ATTEMPTS).map(|_| read()).find(|read| !changed(read)).unwrap_or_else(&mut read)
}

/// Runs the process and waits for it.
///
/// # Errors
/// Why there is no hash, for a person.
pub(super) fn run(
    program: &Path,
    family: Family,
    tables: &[&str],
    deadline: &Deadline,
) -> Result<String, String> {
    let mut args = vec![OsString::from(SUBCOMMAND), family.as_str().into()];
    args.extend(tables.iter().map(OsString::from));
    let mut running = command::start(&program.to_string_lossy(), &args, b"", deadline, OUTPUT_LIMIT_BYTES)
        .map_err(|error| chain_of(&error))?;
    let mut text = String::new();
    if let Err(error) = running.read_to_string(&mut text) {
        return Err(chain_of(&running.error(error)));
    }
    let ended = running.finish().map_err(|error| chain_of(&error))?;
    if ended.status.success() {
        return Ok(text);
    }
    Err(format!(
        "reading the contents of legacy {family} tables ended with {}: {}",
        ended.status,
        ended.stderr.escape_ascii()
    ))
}
