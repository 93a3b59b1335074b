//! Finds a log file and its rotated siblings: `kern.log.1`, `kern.log-20240131`, `kern-20240131.log`.
//! Reads the directory only; compressed siblings are known to exist, and left alone.
//!
//! *Source* of the names: logrotate(8), `start`, `dateext`, `dateformat` and `extension`.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::error::TailError;
use super::place::{Facts, HEAD_BYTES, TRAIL_BYTES, read_piece};

/// What logrotate's `compressext` and others add.
const COMPRESSED: [&[u8]; 8] = [b".gz", b".bz2", b".xz", b".zst", b".lz4", b".lzma", b".lzo", b".Z"];
/// How often the file may be rotated while its directory is read.
const MAX_ATTEMPTS: u32 = 10;
/// No log has more siblings; a directory that does is read so far.
const MAX_SIBLINGS: usize = 10_000;

/// A log file and its siblings at one moment.
#[derive(Debug)]
pub(super) struct Listing {
    directory: OwnedFd,
    path: PathBuf,
    /// The file at the path, if there is one.
    pub current: Option<(File, Facts)>,
    /// The others but empty ones, those with a rotated file's name in the order in which they were written.
    siblings: Vec<Sibling>,
}

/// A file next to a log file, whose name begins like the log file's.
#[derive(Clone, Debug)]
pub(super) struct Sibling {
    name: OsString,
    pub facts: Facts,
    rank: Option<Rank>,
    is_compressed: bool,
}

/// Some rotated files in the order in which they were written.
#[derive(Debug)]
pub(super) struct Successors<'a>(Vec<&'a Sibling>);

impl<'a> Successors<'a> {
    /// Those that can be read.
    pub(super) fn readable(&self) -> impl Iterator<Item = &'a Sibling> {
        self.0.iter().copied().filter(|sibling| !sibling.is_compressed)
    }

    /// How many that cannot be read come before the first that can.
    pub(super) fn unreadable(&self) -> u64 {
        self.0.iter().take_while(|sibling| sibling.is_compressed).count() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a rotated file's name says of its age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The larger, the older.
    Number(u32),
    /// The larger as text, the younger.
    Date(Vec<u8>),
}

impl Sibling {
    fn new(name: &OsStr, own_name: &OsStr, facts: Facts) -> Self {
        let plain = COMPRESSED.iter().find_map(|extension| name.as_bytes().strip_suffix(*extension));
        let rank = rank(plain.unwrap_or(name.as_bytes()), own_name.as_bytes());
        Self { name: name.to_owned(), facts, rank, is_compressed: plain.is_some() }
    }

    /// What changes when it is replaced, or when it was compressed to the end.
    fn key(&self) -> (&OsStr, u64, Option<i64>) {
        (&self.name, self.facts.inode, self.is_compressed.then_some(self.facts.modified))
    }
}

impl Listing {
    /// Reads the directory in which the file is, or would be. A symlink is followed.
    ///
    /// # Errors
    /// If the directory or the file at the path cannot be read; not if there is no such file.
    pub(super) fn read(path: &Path) -> Result<Self, TailError> {
        for _ in 0..MAX_ATTEMPTS {
            let real = real_path(path)?;
            let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
                return Err(TailError::NotAFile { path: path.to_owned() });
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = rustix::fs::open(parent, flags, Mode::empty())
                .map_err(|errno| TailError::from_io(parent, errno.into()))?;
            let current = open_current(&directory, name, path)?;
            let own = current.as_ref().map(|(_, facts)| *facts);
            let read =
                || read_siblings(&directory, name, own).map_err(|error| TailError::from_io(parent, error));
            let siblings = read()?;
            let now = Facts::read(&directory, name, AtFlags::empty()).ok();
            let is_unchanged = match (own, now) {
                (Some(before), Some(now)) => before.is_same_file(&now),
                (before, now) => before.is_none() && now.is_none(),
            };
            // a directory is not read at one moment: files may be renamed, compressed and deleted meanwhile
            if is_unchanged && siblings.iter().map(Sibling::key).eq(read()?.iter().map(Sibling::key)) {
                let mut listing = Self { directory, path: path.to_owned(), current, siblings };
                listing.forget_copy();
                return Ok(listing);
            }
        }
        Err(TailError::Changing { path: path.to_owned() })
    }

    /// Forgets the youngest rotated file if it is a copy of the file at the path, which will be truncated in a moment.
    fn forget_copy(&mut self) {
        let youngest = self.siblings.iter().rposition(|sibling| sibling.rank.is_some());
        let (Some(youngest), Some((current, _))) = (youngest, &self.current) else { return };
        let Some(sibling) = self.siblings.get(youngest).filter(|sibling| !sibling.is_compressed) else {
            return;
        };
        let is_copy = |(copy, facts): (File, Facts)| -> io::Result<bool> {
            let end = facts.size_bytes.saturating_sub(TRAIL_BYTES as u64);
            let is_same = |offset, bytes| {
                Ok::<_, io::Error>(read_piece(current, offset, bytes)? == read_piece(&copy, offset, bytes)?)
            };
            let head_bytes = usize::try_from(facts.size_bytes).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
            Ok(head_bytes > 0 && is_same(0, head_bytes)? && is_same(end, TRAIL_BYTES.min(head_bytes))?)
        };
        if self.open(sibling).ok().is_some_and(|opened| is_copy(opened).unwrap_or(false)) {
            self.siblings.remove(youngest);
        }
    }

    /// When the youngest rotated file was written to last.
    pub(super) fn newest(&self) -> Option<i64> {
        self.rotated().map(|sibling| sibling.facts.modified).max()
    }

    /// The rotated files that were written after this file, by their names; none if this file is not among them.
    pub(super) fn after(&self, file: &Facts) -> Option<Successors<'_>> {
        let position = self.rotated().position(|sibling| sibling.facts.is_same_file(file))?;
        Some(Successors(self.rotated().skip(position + 1).collect()))
    }

    /// The rotated files that were written to at this time or later.
    ///
    /// A compressed file keeps its time: one of just this time is the very file that ended then.
    pub(super) fn since(&self, modified: i64) -> Successors<'_> {
        let is_later = |sibling: &&Sibling| {
            sibling.facts.modified > modified
                || (sibling.facts.modified == modified && !sibling.is_compressed)
        };
        Successors(self.rotated().filter(is_later).collect())
    }

    /// Every sibling that can be read, whatever it is called.
    pub(super) fn readable(&self) -> impl Iterator<Item = &Sibling> {
        self.siblings.iter().filter(|sibling| !sibling.is_compressed)
    }

    fn rotated(&self) -> impl Iterator<Item = &Sibling> {
        self.siblings.iter().filter(|sibling| sibling.rank.is_some())
    }

    /// Opens a sibling.
    ///
    /// # Errors
    /// If it cannot be read, or was renamed since the directory was read.
    pub(super) fn open(&self, sibling: &Sibling) -> Result<(File, Facts), TailError> {
        let opened = open(&self.directory, &sibling.name);
        let path = self.path.with_file_name(&sibling.name);
        let (file, facts) = opened.map_err(|error| TailError::from_io(&path, error))?;
        if !facts.is_same_file(&sibling.facts) {
            return Err(TailError::Changing { path });
        }
        Ok((file, facts))
    }
}

fn real_path(path: &Path) -> Result<PathBuf, TailError> {
    let error = |error| TailError::from_io(path, error);
    match path.canonicalize() {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or_else(|| Path::new("."));
            Ok(parent.canonicalize().map_err(error)?.join(path.file_name().unwrap_or_default()))
        }
        found => found.map_err(error),
    }
}

fn open_current(directory: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<(File, Facts)>, TailError> {
    match open(directory, name) {
        Ok((_, facts)) if !facts.is_regular => Err(TailError::NotAFile { path: path.to_owned() }),
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // a socket, or a device without a driver
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            Err(TailError::NotAFile { path: path.to_owned() })
        }
        Err(error) => Err(TailError::from_io(path, error)),
    }
}

fn open(directory: &OwnedFd, name: &OsStr) -> io::Result<(File, Facts)> {
    // without O_NONBLOCK, opening a FIFO waits for its writer
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
    let facts = Facts::of(&file)?;
    Ok((file, facts))
}

fn read_siblings(directory: &OwnedFd, own_name: &OsStr, own: Option<Facts>) -> io::Result<Vec<Sibling>> {
    let stem = stem_of(own_name.as_bytes());
    let mut siblings = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == own_name.as_bytes() || !name.starts_with(stem) || siblings.len() >= MAX_SIBLINGS {
            continue;
        }
        let name = OsStr::from_bytes(name);
        // one that is gone by now is no sibling
        let Ok(facts) = Facts::read(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        // an empty file says nothing, not even that its writer has left the one before
        if facts.is_regular && facts.size_bytes > 0 && !own.is_some_and(|own| own.is_same_file(&facts)) {
            siblings.push(Sibling::new(name, own_name, facts));
        }
    }
    forget_twins(&mut siblings);
    sort(&mut siblings);
    Ok(siblings)
}

/// Forgets a compressed file that is being made still: what it is made of is there.
fn forget_twins(siblings: &mut Vec<Sibling>) {
    let plain = siblings.iter().filter(|sibling| !sibling.is_compressed);
    let plain: BTreeSet<_> = plain.filter_map(|sibling| sibling.rank.clone()).collect();
    siblings.retain(|sibling| {
        !sibling.is_compressed || !sibling.rank.as_ref().is_some_and(|rank| plain.contains(rank))
    });
}

/// By age: the oldest first. Names are surer than times, but those of two kinds cannot be compared.
fn sort(siblings: &mut [Sibling]) {
    let has_numbers = siblings.iter().any(|sibling| matches!(sibling.rank, Some(Rank::Number(_))));
    let has_dates = siblings.iter().any(|sibling| matches!(sibling.rank, Some(Rank::Date(_))));
    let by_time = has_numbers && has_dates;
    siblings.sort_by(|a, b| match (&a.rank, &b.rank) {
        _ if by_time => a.facts.modified.cmp(&b.facts.modified),
        (Some(Rank::Number(a)), Some(Rank::Number(b))) => b.cmp(a),
        (Some(Rank::Date(a)), Some(Rank::Date(b))) => a.cmp(b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    });
}

fn stem_of(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot @ 1..) => name.get(..dot).unwrap_or(name),
        _ => name,
    }
}

/// None if this is not how rotation names the log file's older parts.
fn rank(name: &[u8], own_name: &[u8]) -> Option<Rank> {
    let stem = stem_of(own_name);
    let extension = own_name.strip_prefix(stem)?;
    let infix = || name.strip_prefix(stem)?.strip_suffix(extension);
    let added = name.strip_prefix(own_name).or_else(infix)?;
    let is_date = |byte: &u8| byte.is_ascii_digit() || b"-._:+TZ".contains(byte);
    let (separator, digits) = added.split_first()?;
    if separator.is_ascii_digit() || !added.iter().all(is_date) || !added.iter().any(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok().filter(|digits| *separator == b'.' && digits.len() <= 5);
    let number = number.and_then(|digits| digits.parse().ok());
    Some(number.map_or_else(|| Rank::Date(added.to_owned()), Rank::Number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, own_name: &str, expect: Option<Rank>) {
        assert_eq!(rank(name.as_bytes(), own_name.as_bytes()), expect, "{name}");
    }

    #[test]
    fn rotated_files_are_known_by_their_names() {
        let date = |text: &str| Some(Rank::Date(text.into()));
        check("kern.log.1", "kern.log", Some(Rank::Number(1)));
        check("kern.1.log", "kern.log", Some(Rank::Number(1)));
        check("syslog.12", "syslog", Some(Rank::Number(12)));
        check("kern.log-20240131", "kern.log", date("-20240131"));
        check("kern-20240131.log", "kern.log", date("-20240131"));
        check("kern.log-2024", "kern.log", date("-2024"));
        check("kern.log-2024-01-31T10:00:00", "kern.log", date("-2024-01-31T10:00:00"));
        check("kern.log-1706659200", "kern.log", date("-1706659200"));
        for other in ["kern.log.1.gz", "kern.log.old", "kern.log~", "kern.log.pos", "kern.log2", "kern.log."]
        {
            check(other, "kern.log", None);
        }
        check("kernel.log.1", "kern.log", None);
        check("a", "b", None);
    }

    #[test]
    fn the_oldest_comes_first() {
        let order = |names: &[(&str, i64)]| {
            let facts = |modified| Facts {
                device: (0, 0),
                inode: 0,
                born: None,
                modified,
                size_bytes: 0,
                is_regular: true,
            };
            let sibling = |(name, modified): &(&str, i64)| {
                Sibling::new(name.as_ref(), "log".as_ref(), facts(*modified))
            };
            let mut siblings: Vec<_> = names.iter().map(sibling).collect();
            sort(&mut siblings);
            siblings.iter().map(|sibling| sibling.name.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(order(&[("log.1", 1), ("log.10", 3), ("log.2.gz", 2)]), ["log.10", "log.2.gz", "log.1"]);
        assert_eq!(order(&[("log-20240201", 1), ("log-20240131", 2)]), ["log-20240131", "log-20240201"]);
        assert_eq!(order(&[("log.1", 2), ("log-20240131", 1)]), ["log-20240131", "log.1"]);
    }
}
