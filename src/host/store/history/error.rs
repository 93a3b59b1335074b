//! Why the history cannot be used.
//! Mends nothing.

use std::io;
use std::path::PathBuf;

use rusqlite::{ErrorCode, ffi};

/// The database's file in the state directory.
pub(super) const FILE: &str = "history.db";

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StoreError {
    /// The directory or the file cannot be used.
    #[error("using {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A program newer than this wrote it.
    #[error(
        "the journal has version {found}, and this program knows versions up to {known}: a newer one wrote it"
    )]
    Newer { found: i32, known: i32 },
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
