//! What legacy tables hold, as the kernel gives it, and a hash of it. Counters and what matches remember are not part
//! of the hash. Runs in short-lived processes of this program, which give the memory back: 60 MB for 99,000 rules.

use std::error::Error;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::domain::rules::Family;
use crate::domain::rules::kernel::clear_state;
use crate::domain::words::escape::hex;
use crate::host::process::command::{self, CommandError, Deadline, Running};
use crate::host::xtables::{Info, Xtables};

/// A table at one moment.
#[derive(Debug)]
pub struct Contents {
    /// Its name.
    pub table: String,
    /// Its sizes.
    pub info: Info,
    /// Its entries, as [`Xtables::entries`] gives them.
    pub entries: Vec<u8>,
}

impl Contents {
    /// Reads a table that the kernel lists.
    ///
    /// # Errors
    /// What getsockopt(2) says, and `WouldBlock` if the table changes again and again meanwhile.
    pub fn read(kernel: &Xtables, table: &str) -> io::Result<Self> {
        const ATTEMPTS: usize = 5;
        // its size may change between the two questions
        let mut read = || {
            let info = kernel.info(table)?;
            let entries = kernel.entries(table, &info)?;
            Ok(Self { table: table.to_owned(), info, entries })
        };
        let changed =
            |read: &io::Result<_>| matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        (1..ATTEMPTS).map(|_| read()).find(|read| !changed(read)).unwrap_or_else(&mut read)
    }

    /// The hash of what the table holds.
    ///
    /// # Errors
    /// `InvalidData` for entries that do not follow the kernel's format.
    pub fn hash(mut self, family: Family) -> io::Result<String> {
        clear_state(family, &mut self.entries).map_err(invalid)?;
        let mut hash = Sha256::new();
        let info = &self.info;
        for word in [info.valid_hooks, info.size].iter().chain(&info.hook_entry).chain(&info.underflow) {
            hash.update(word.to_ne_bytes());
        }
        hash.update(&self.entries);
        Ok(hex(&hash.finalize()))
    }
}

/// Starts a hidden subcommand of this program, which reads tables that the kernel lists.
///
/// # Errors
/// As [`command::start`].
pub fn start(
    program: &Path,
    subcommand: &str,
    (family, tables): (Family, &[String]),
    deadline: &Deadline,
    limit_bytes: u64,
) -> Result<Running, CommandError> {
    let tables = tables.iter().map(String::as_str);
    let args: Vec<&str> = [subcommand, family.as_str()].into_iter().chain(tables).collect();
    command::start(&program.to_string_lossy(), &args, b"", deadline, limit_bytes)
}

/// What does not follow the kernel's format.
pub(super) fn invalid(error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
