//! Why a log file cannot be read now.
//! Tries nothing again.

use std::io;
use std::path::{Path, PathBuf};

/// Why a log file cannot be read now. It may be later: call again.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TailError {
    #[error("{} does not exist: is the log written, and its directory mounted?", path.display())]
    Missing { path: PathBuf },
    #[error("no permission to read {}: let this process's user read the log and its directory", path.display())]
    Denied { path: PathBuf },
    #[error("{} is not a regular file: name a log file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} was renamed whenever it was looked at", path.display())]
    Changing { path: PathBuf },
    #[error("reading {}", path.display())]
    Read { path: PathBuf, source: io::Error },
}

impl TailError {
    pub(super) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            _ => Self::Read { path, source },
        }
    }
}
