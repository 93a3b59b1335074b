//! Reads a directory of allowlist files, such as a mounted ConfigMap, as one generation.
//! Does not look into the files: see [`crate::domain::judging::allowlist`].
//!
//! Kubelet writes a new hidden directory, moves the link `..data` onto it, and deletes the old one. A reader that
//! opens `dir/filter` and then `dir/nat` may so see two generations, or none: a file that is being deleted is not a
//! missing file. Here everything is read through one open directory, which must still be `..data` afterwards.
//!
//! *Source*: `pkg/volume/util/atomic_writer.go` of Kubernetes.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::domain::judging::allowlist::{List, MAX_FILE_BYTES, PatternFile};

/// The link that kubelet moves from one generation to the next.
const GENERATION: &str = "..data";

/// How often a directory may change under the reader before it gives up. Kubelet changes it once a minute at most.
const MAX_ATTEMPTS: u32 = 100;

/// How many unknown names are returned.
const MAX_UNKNOWN: usize = 20;

/// One generation of an allowlist directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternDir {
    /// The known files that exist, in the order of [`List::ALL`]. A missing file is a list without patterns.
    pub files: Vec<PatternFile>,
    /// The first few other names, sorted: nothing reads them, so each may be a misspelt list. Hidden files and
    /// those that start with `README` are left out. Untrusted text: escape it when shown.
    pub unknown: Vec<String>,
}

/// Why a directory could not be read; nothing of it may be used then.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DirError {
    #[error("{} does not exist: create the directory or mount the ConfigMap there", path.display())]
    Missing { path: PathBuf },
    #[error("{} is not a directory: name the directory that holds the pattern files", path.display())]
    NotADirectory { path: PathBuf },
    #[error("no permission to read {}: let this process's user read the directory and its files", path.display())]
    Denied { path: PathBuf },
    #[error("{} is not a regular file: remove it or replace it by one", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} is larger than {MAX_FILE_BYTES} bytes: make the list shorter", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} changed whenever it was read, or its link {GENERATION} leads nowhere", path.display())]
    Changing { path: PathBuf },
    #[error("reading {}", path.display())]
    Read { path: PathBuf, source: io::Error },
}

/// Reads the pattern files of a directory.
///
/// # Errors
/// When the directory or one of the files it does have cannot be read whole.
pub fn read_patterns(dir: &Path) -> Result<PatternDir, DirError> {
    for _ in 0..MAX_ATTEMPTS {
        let mount = open_dir(CWD, dir).map_err(|errno| dir_error(dir, errno))?;
        let Some(generation) = open_generation(&mount, dir)? else { continue };
        let result = read_generation(&generation, dir);
        if is_current(&mount, &generation, dir)? {
            return result;
        }
    }
    Err(DirError::Changing { path: dir.to_owned() })
}

/// An open directory to read from.
enum Generation {
    /// A directory without a `..data`.
    Plain(OwnedFd),
    /// What `..data` led to.
    Linked(OwnedFd),
}

impl AsFd for Generation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let (Self::Plain(fd) | Self::Linked(fd)) = self;
        fd.as_fd()
    }
}

/// None while the link leads to a directory that is gone.
fn open_generation(mount: &OwnedFd, dir: &Path) -> Result<Option<Generation>, DirError> {
    match open_dir(mount.as_fd(), Path::new(GENERATION)) {
        Ok(fd) => Ok(Some(Generation::Linked(fd))),
        Err(Errno::NOENT) => match rustix::fs::statat(mount, GENERATION, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(None),
            Err(Errno::NOENT) => {
                let fd = mount.try_clone().map_err(|error| read_error(dir, error))?;
                Ok(Some(Generation::Plain(fd)))
            }
            Err(errno) => Err(dir_error(&dir.join(GENERATION), errno)),
        },
        Err(errno) => Err(dir_error(&dir.join(GENERATION), errno)),
    }
}

/// Whether a reader that comes now would open the same directory. One that is open keeps its inode number.
fn is_current(mount: &OwnedFd, generation: &Generation, dir: &Path) -> Result<bool, DirError> {
    let error = |errno| dir_error(&dir.join(GENERATION), errno);
    let now = match rustix::fs::statat(mount, GENERATION, AtFlags::empty()) {
        Ok(now) => now,
        Err(Errno::NOENT) => return Ok(matches!(generation, Generation::Plain(_))),
        Err(errno) => return Err(error(errno)),
    };
    let read = rustix::fs::fstat(generation).map_err(error)?;
    Ok(matches!(generation, Generation::Linked(_)) && (now.st_dev, now.st_ino) == (read.st_dev, read.st_ino))
}

fn read_generation(generation: &Generation, dir: &Path) -> Result<PatternDir, DirError> {
    let mut files = Vec::new();
    for list in List::ALL {
        let path = dir.join(list.as_str());
        if let Some(text) = read_file(generation.as_fd(), list.as_str(), &path)? {
            files.push(PatternFile { list, origin: path.to_string_lossy().into_owned(), text });
        }
    }
    Ok(PatternDir { files, unknown: unknown_names(generation.as_fd(), dir)? })
}

/// None if there is no such file.
fn read_file(dir: BorrowedFd<'_>, name: &str, path: &Path) -> Result<Option<Vec<u8>>, DirError> {
    // Without O_NONBLOCK, opening a FIFO waits for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return absent_or_dangling(dir, name, path),
        Err(Errno::ACCESS | Errno::PERM) => return Err(DirError::Denied { path: path.to_owned() }),
        // A socket, or a device without a driver.
        Err(Errno::NXIO | Errno::NODEV) => return Err(DirError::NotAFile { path: path.to_owned() }),
        Err(errno) => return Err(read_error(path, errno.into())),
    };
    let stat = rustix::fs::fstat(&fd).map_err(|errno| read_error(path, errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(DirError::NotAFile { path: path.to_owned() });
    }
    let mut text = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    File::from(fd).take(limit).read_to_end(&mut text).map_err(|error| read_error(path, error))?;
    if text.len() > MAX_FILE_BYTES {
        return Err(DirError::TooLarge { path: path.to_owned() });
    }
    Ok(Some(text))
}

/// A link that leads nowhere is not a missing file: somebody meant it to be one.
fn absent_or_dangling(dir: BorrowedFd<'_>, name: &str, path: &Path) -> Result<Option<Vec<u8>>, DirError> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        _ => Err(DirError::NotAFile { path: path.to_owned() }),
    }
}

fn unknown_names(dir: BorrowedFd<'_>, path: &Path) -> Result<Vec<String>, DirError> {
    let error = |errno: Errno| read_error(path, errno.into());
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name().to_string_lossy();
        let is_expected =
            name.starts_with('.') || name.starts_with("README") || List::from_name(&name).is_some();
        if !is_expected && names.len() < MAX_UNKNOWN {
            names.push(name.into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn open_dir(at: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn dir_error(path: &Path, errno: Errno) -> DirError {
    let path = path.to_owned();
    match errno {
        Errno::NOENT => DirError::Missing { path },
        Errno::NOTDIR => DirError::NotADirectory { path },
        Errno::ACCESS | Errno::PERM => DirError::Denied { path },
        errno => DirError::Read { path, source: errno.into() },
    }
}

fn read_error(path: &Path, source: io::Error) -> DirError {
    DirError::Read { path: path.to_owned(), source }
}
