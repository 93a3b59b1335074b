//! The journal, open for writing.
//! Reads and writes no rule.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::error::{FILE, StoreError};
use super::file::{COMPANIONS, DAMAGED, connect, create, lock};
use super::schema;

/// The smallest limit, in bytes: the largest transaction must fit into a quarter of it.
pub const MIN_LIMIT_BYTES: u64 = 16 << 20;
pub(super) const PAGE_BYTES: u64 = 1024;

/// The journal, open for writing.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    pub(super) directory: PathBuf,
    /// Device and inode of the file that is open.
    pub(super) identity: (u64, u64),
    pub(super) limit_bytes: u64,
    /// Since the last transaction that was committed.
    pub(super) usage_bytes: u64,
    /// The directory, locked while this lives; none if another process has locked it.
    pub(super) lock: Option<File>,
}

impl Store {
    /// Opens the journal, and makes it and the directory it is in if they are not there. `limit_bytes` is for all files
    /// together, but for a damaged one that was set aside; at least [`MIN_LIMIT_BYTES`] are taken.
    ///
    /// # Errors
    /// If the directory cannot be used, or the file is damaged, foreign or of a newer version.
    pub fn open(directory: &Path, limit_bytes: u64) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        let identity = create(directory, &path)?;
        let lock =
            lock(directory).map_err(|source| StoreError::File { path: directory.to_owned(), source })?;
        // three quarters for the database, the rest for its write-ahead log
        let limit_bytes = limit_bytes.max(MIN_LIMIT_BYTES) / 4 * 3;
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // before anything that writes: a journal that is not ours, or not for us, stays as it is
        if schema::version(&connection)? == 0 {
            connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -2048)?;
        let log_bytes = limit_bytes / 48;
        connection.pragma_update_and_check(
            None,
            "wal_autocheckpoint",
            (log_bytes / PAGE_BYTES) as i64,
            |_| Ok(()),
        )?;
        connection.pragma_update_and_check(None, "journal_size_limit", log_bytes as i64, |_| Ok(()))?;
        let pages = (limit_bytes / PAGE_BYTES) as i64;
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        schema::migrate(&mut connection)?;
        let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if sound != "ok" {
            return Err(StoreError::Damaged { source: rusqlite::Error::InvalidQuery });
        }
        let mut store =
            Self { connection, directory: directory.to_owned(), identity, limit_bytes, usage_bytes: 0, lock };
        store.measure()?;
        Ok(store)
    }

    /// Puts a damaged journal under another name, and says which.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn set_aside(directory: &Path) -> Result<PathBuf, StoreError> {
        let (path, aside) = (directory.join(FILE), directory.join(DAMAGED));
        std::fs::rename(&path, &aside).map_err(|source| StoreError::File { path, source })?;
        for companion in COMPANIONS {
            let path = directory.join(companion);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::File { path, source: error });
                }
                _ => {}
            }
        }
        Ok(aside)
    }

    /// Whether another process has it open for writing too.
    pub const fn is_shared(&self) -> bool {
        self.lock.is_none()
    }

    /// Whether the file that is open is still the one that others would open.
    pub fn is_in_place(&self) -> bool {
        std::fs::metadata(self.directory.join(FILE))
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }

    /// The size of the database without the pages that are free, in bytes.
    pub const fn usage_bytes(&self) -> u64 {
        self.usage_bytes
    }

    pub(super) fn measure(&mut self) -> Result<(), StoreError> {
        let pages = self.number("page_count")?.saturating_sub(self.number("freelist_count")?);
        self.usage_bytes = pages * PAGE_BYTES;
        Ok(())
    }

    pub(super) fn number(&self, pragma: &str) -> Result<u64, StoreError> {
        let number: i64 = self.connection.pragma_query_value(None, pragma, |row| row.get(0))?;
        Ok(number.unsigned_abs())
    }
}
