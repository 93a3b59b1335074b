//! What a legacy table holds, as the kernel gives it, and a hash of it. What the kernel counts, and what matches remember,
//! is not part of the hash. The buffer goes back to the system: 60 MB for 99,000 rules.

use std::io;

use sha2::{Digest, Sha256};

use crate::domain::rules::Family;
use crate::domain::rules::lines::{Fault, Hooks, Table, stable};
use crate::domain::words::escape::hex;
use crate::host::xtables::{Entries, Info, Xtables};

/// A table at one moment.
#[derive(Debug)]
pub struct Contents {
    /// Its sizes.
    pub info: Info,
    family: Family,
    table: String,
    entries: Entries,
}

impl Contents {
    /// Reads a table that the kernel lists.
    ///
    /// # Errors
    /// What getsockopt(2) says, and `WouldBlock` if the table changes again and again meanwhile.
    pub fn read(kernel: &Xtables, family: Family, table: &str) -> io::Result<Self> {
        const ATTEMPTS: usize = 5;
        for _ in 0..ATTEMPTS {
            let info = kernel.info(table)?;
            match kernel.entries(table, &info) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                // another table of the same size may have come between the two questions
                Ok(entries) if kernel.info(table)? == info => {
                    return Ok(Self { info, family, table: table.to_owned(), entries });
                }
                Ok(_) => {}
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "the table changes whenever it is read"))
    }

    /// The table as lines are made of it.
    pub fn table(&self) -> Table<'_> {
        let Info { valid_hooks, hook_entry, underflow, num_entries, .. } = self.info;
        Table {
            family: self.family,
            name: &self.table,
            hooks: Hooks { valid: valid_hooks, entry: hook_entry, underflow },
            count: num_entries,
            entries: self.entries.as_bytes(),
        }
    }

    /// The hash of what the table holds.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for entries that do not follow the kernel's format.
    pub fn hash(&self) -> Result<String, Fault> {
        let mut hash = Sha256::new();
        let info = &self.info;
        for word in [info.valid_hooks, info.size].iter().chain(&info.hook_entry).chain(&info.underflow) {
            hash.update(word.to_ne_bytes());
        }
        stable(self.family, self.entries.as_bytes(), |bytes| hash.update(bytes))?;
        Ok(hex(&hash.finalize()))
    }
}
