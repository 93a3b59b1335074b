//! Hashes of the contents of legacy tables.
//! Says nothing about what they hold.

use std::collections::BTreeMap;
use std::io;

use crate::app::checks::scan::contents::Contents;
use crate::domain::rules::Family;
use crate::host::xtables::Xtables;

/// Hashes of tables, by name.
pub type Hashes = BTreeMap<String, String>;

/// Reads the tables.
///
/// # Errors
/// What socket(2) and getsockopt(2) say, `WouldBlock` if a table changes meanwhile, and `InvalidData` for entries that do
/// not follow the kernel's format.
pub fn read(family: Family, tables: &[String]) -> io::Result<Hashes> {
    let kernel = Xtables::open(family)?;
    let hash = |table: &String| {
        let contents = Contents::read(&kernel, family, table)?;
        let hash = contents.hash().map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        Ok((table.clone(), hash))
    };
    tables.iter().map(hash).collect()
}
