//! The database's files and the directory they are in: made, locked, opened.
//! Knows no table.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};

use super::error::StoreError;

/// Where a damaged one goes; an older damaged one is replaced.
pub(super) const DAMAGED: &str = "history.db.damaged";
/// SQLite's own files beside it, which belong to it.
pub(super) const COMPANIONS: [&str; 2] = ["history.db-wal", "history.db-shm"];
/// The longest wait for another process that writes.
pub(super) const BUSY: Duration = Duration::from_secs(2);

/// Only its owner may read it: command lines can hold secrets.
pub(super) fn create(directory: &Path, path: &Path) -> Result<(u64, u64), StoreError> {
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
pub(super) fn lock(directory: &Path) -> io::Result<Option<File>> {
    let file = File::open(directory)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(_) => Ok(None),
    }
}

/// Takes from others what rights they have to a file; it must be a regular one.
pub(super) fn open_own(path: &Path, is_made: bool) -> io::Result<Metadata> {
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

pub(super) fn require_file(found: &Metadata) -> io::Result<()> {
    if found.is_file() { Ok(()) } else { Err(io::Error::other("it is not a regular file")) }
}

pub(super) fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(()))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}
