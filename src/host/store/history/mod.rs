//! The journal on disk: an SQLite database in the state directory, written by the agent and read by whoever asks.
//! Decides nothing about rules; what becomes of a rule and what is forgotten first is [`crate::domain::changes::history`]'s.
//!
//! *Source*: <https://www.sqlite.org/wal.html>: with a write-ahead log a reader never waits for the writer nor the writer
//! for a reader, a process may be killed at any point, and what was committed is there when the file is opened again.

mod forget;
mod read;
mod reconcile;
mod schema;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use rustix::fs::{FlockOperation, flock};

pub use self::read::{HistoryReader, Remembered};
pub use self::reconcile::Reconciliation;
#[cfg(test)]
pub(crate) use self::tests::block_writers;

/// The database's file in the state directory.
const FILE: &str = "history.db";
/// Where a damaged one goes; an older damaged one is replaced.
const DAMAGED: &str = "history.db.damaged";
/// SQLite's own files beside it, which belong to it.
const COMPANIONS: [&str; 2] = ["history.db-wal", "history.db-shm"];
/// The smallest limit, in bytes: the largest transaction must fit into a quarter of it.
pub const MIN_LIMIT_BYTES: u64 = 16 << 20;
const PAGE_BYTES: u64 = 1024;
/// The longest wait for another process that writes.
const BUSY: Duration = Duration::from_secs(2);

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StoreError {
    /// The directory or the file cannot be used.
    #[error("using {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A program newer than this wrote it.
    #[error(
        "the journal has version {found}, and this program knows versions up to {}: a newer one wrote it",
        schema::VERSION
    )]
    Newer { found: i32 },
    /// A database, but not a journal.
    #[error("{FILE} is no journal of this program")]
    Foreign,
    /// What is in it cannot be read.
    #[error("the journal is damaged")]
    Damaged { source: rusqlite::Error },
    /// Neither the limit nor the disk leave room.
    #[error("no room for the journal")]
    Full { source: rusqlite::Error },
    /// Anything else that SQLite cannot do.
    #[error("using the journal")]
    Sql { source: rusqlite::Error },
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        match source.sqlite_error() {
            Some(error) => match error.code {
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damaged { source },
                ErrorCode::DiskFull => Self::Full { source },
                // our statements are right for our tables
                _ if error.extended_code == ffi::SQLITE_ERROR => Self::Damaged { source },
                _ => Self::Sql { source },
            },
            // a value of another type, or a row that must be there and is not
            None => Self::Damaged { source },
        }
    }
}

impl StoreError {
    /// Whether the file has to go before there can be a journal again.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Foreign)
    }
}

/// The journal, open for writing.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    directory: PathBuf,
    /// Device and inode of the file that is open.
    identity: (u64, u64),
    limit_bytes: u64,
    /// Since the last transaction that was committed.
    usage_bytes: u64,
    /// The directory, locked while this lives; none if another process has locked it.
    lock: Option<File>,
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

    fn measure(&mut self) -> Result<(), StoreError> {
        let pages = self.number("page_count")?.saturating_sub(self.number("freelist_count")?);
        self.usage_bytes = pages * PAGE_BYTES;
        Ok(())
    }

    fn number(&self, pragma: &str) -> Result<u64, StoreError> {
        let number: i64 = self.connection.pragma_query_value(None, pragma, |row| row.get(0))?;
        Ok(number.unsigned_abs())
    }
}

/// Only its owner may read it: command lines can hold secrets.
fn create(directory: &Path, path: &Path) -> Result<(u64, u64), StoreError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StoreError::File { path: directory.to_owned(), source });
        }
        _ => {}
    }
    let found = open_own(path, true).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
    for companion in COMPANIONS {
        let path = directory.join(companion);
        match open_own(&path, false) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::File { path, source });
            }
            _ => {}
        }
    }
    Ok((found.dev(), found.ino()))
}

/// The directory, locked; none if it is already.
fn lock(directory: &Path) -> io::Result<Option<File>> {
    let file = File::open(directory)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(_) => Ok(None),
    }
}

/// Takes from others what rights they have to a file; it must be a regular one.
fn open_own(path: &Path, is_made: bool) -> io::Result<Metadata> {
    let file = OpenOptions::new()
        .create(is_made)
        .append(true)
        .mode(0o600)
        // does not wait for whoever reads a named pipe, and goes nowhere else
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(path)?;
    let found = file.metadata()?;
    require_file(&found)?;
    if found.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(found)
}

fn require_file(found: &Metadata) -> io::Result<()> {
    if found.is_file() { Ok(()) } else { Err(io::Error::other("it is not a regular file")) }
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(()))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Milliseconds since 1970; earlier times are 0.
fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The time of so many milliseconds since 1970, at most the year 9999.
fn time(millis: i64) -> SystemTime {
    const YEAR_9999: u64 = 253_370_764_800_000;
    let millis = u64::try_from(millis).unwrap_or_default().min(YEAR_9999);
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}
