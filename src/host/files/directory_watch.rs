//! Hears that directories of allowlists changed: files written, renamed over or deleted, kubelet's link moved, the whole
//! directory replaced, made or removed, also behind symbolic links.
//! Reads none of the files, and never waits: the caller waits for the descriptor.
//!
//! inotify follows a path once, when the watch is added. So every directory that the path leads through is watched
//! for the one name that matters there, and after each event the path is followed again.
//!
//! *Source*: inotify(7), path_resolution(7).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{AtFlags, CWD, FileType, Stat};
use rustix::io::Errno;

use crate::domain::judging::allowlist::List;

/// The link that kubelet moves from one generation to the next.
const GENERATION: &str = "..data";
/// More links than the kernel itself would follow.
///
/// *Source*: path_resolution(7).
const MAX_LINKS: u32 = 40;
/// Directories that are watched at most; the paths of two directories and of their links need a dozen.
const MAX_WATCHES: usize = 256;
/// A buffer for some hundred events; those that do not fit come with the next read.
const BUFFER_BYTES: usize = 16 * 1024;

/// Names come and go. A directory that is watched twice is watched for both.
const NAMES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::MASK_ADD);
/// Files are written, too. Not while they are being written: half a list allows half of the rules.
const CONTENTS: WatchFlags = NAMES.union(WatchFlags::CLOSE_WRITE).union(WatchFlags::ATTRIB);

/// Why changes cannot be heard of.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum WatchError {
    #[error("starting inotify: raise fs.inotify.max_user_instances if it is a limit")]
    Start(#[source] std::io::Error),
    #[error("watching {}: raise fs.inotify.max_user_watches if it is a limit", path.display())]
    Add { path: PathBuf, source: std::io::Error },
    #[error("reading what changed")]
    Read(#[source] std::io::Error),
    #[error("the path of {} leads through more than {MAX_WATCHES} directories", path.display())]
    TooMany { path: PathBuf },
}

/// Watches directories, whether they exist or not. Its descriptor becomes readable when something happened.
#[derive(Debug)]
pub struct DirectoryWatch {
    inotify: OwnedFd,
    directories: Vec<PathBuf>,
    /// What matters in each watched directory, by the number of its watch.
    watches: BTreeMap<i32, Interest>,
}

/// What matters in a watched directory.
#[derive(Debug, PartialEq, Eq)]
enum Interest {
    Everything,
    Names(BTreeSet<OsString>),
}

impl AsFd for DirectoryWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl AsRawFd for DirectoryWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}

impl DirectoryWatch {
    /// Watches these directories from now on.
    ///
    /// # Errors
    /// When the kernel has no inotify, or a limit is reached.
    pub fn new(directories: Vec<PathBuf>) -> Result<Self, WatchError> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(|errno| WatchError::Start(errno.into()))?;
        let mut watch = Self { inotify, directories, watches: BTreeMap::new() };
        watch.follow_paths()?;
        Ok(watch)
    }

    /// Whether something that matters happened since the last call.
    ///
    /// # Errors
    /// When events cannot be read any more, or the paths cannot be watched as they are now.
    pub fn take(&mut self) -> Result<bool, WatchError> {
        let is_changed = self.drain()?;
        if is_changed {
            self.follow_paths()?;
        }
        Ok(is_changed)
    }

    fn drain(&self) -> Result<bool, WatchError> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut is_changed = false;
        loop {
            match reader.next() {
                Ok(event) => is_changed |= self.matters(&event),
                Err(Errno::AGAIN) => return Ok(is_changed),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(WatchError::Read(errno.into())),
            }
        }
    }

    fn matters(&self, event: &inotify::Event<'_>) -> bool {
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            return true;
        }
        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
        match (self.watches.get(&event.wd()), name) {
            // the watched directory itself: gone, moved, or its file system unmounted
            (Some(_), None) | (Some(Interest::Everything), Some(_)) => true,
            (Some(Interest::Names(names)), Some(name)) => names.contains(name),
            // left from a watch that was given up
            (None, _) => false,
        }
    }

    /// Watches what the paths lead through now, and nothing else.
    ///
    /// Each directory is watched before it is looked into, so that what changes behind our back is heard of.
    fn follow_paths(&mut self) -> Result<(), WatchError> {
        let mut found = BTreeMap::new();
        for directory in &self.directories {
            if let Some(directory) = self.follow(directory, &mut found)? {
                self.follow_contents(&directory, &mut found)?;
            }
        }
        for old in self.watches.keys().filter(|watch| !found.contains_key(watch)) {
            // it may be gone already with its directory
            let _ = inotify::remove_watch(&self.inotify, *old);
        }
        self.watches = found;
        Ok(())
    }

    /// Watches everything in a directory, and what its links lead to.
    fn follow_contents(
        &self,
        directory: &Path,
        found: &mut BTreeMap<i32, Interest>,
    ) -> Result<(), WatchError> {
        if !self.add(directory, None, CONTENTS, found)? {
            return Ok(());
        }
        if let Some(generation) = self.follow(&directory.join(GENERATION), found)? {
            self.add(&generation, None, CONTENTS, found)?;
        }
        for list in List::ALL {
            self.follow(&directory.join(list.as_str()), found)?;
        }
        Ok(())
    }

    /// Watches every step of a path; returns the directory it leads to, if it does lead to one.
    fn follow(
        &self,
        path: &Path,
        found: &mut BTreeMap<i32, Interest>,
    ) -> Result<Option<PathBuf>, WatchError> {
        let mut here = PathBuf::from("/");
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut ahead: VecDeque<OsString> = names(&absolute);
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let flags = if ahead.is_empty() { CONTENTS } else { NAMES };
            if !self.add(&here, Some(&name), flags, found)? {
                return Ok(None);
            }
            let step = here.join(&name);
            match file_type(&step) {
                Some(FileType::Directory) => here = step,
                Some(FileType::Symlink) if links < MAX_LINKS => {
                    links += 1;
                    let Ok(target) = rustix::fs::readlink(&step, Vec::new()) else { return Ok(None) };
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    for name in names(&target).into_iter().rev() {
                        ahead.push_front(name);
                    }
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// Watches a directory for one name or for all; false if there is no such directory any more.
    fn add(
        &self,
        directory: &Path,
        name: Option<&OsStr>,
        flags: WatchFlags,
        found: &mut BTreeMap<i32, Interest>,
    ) -> Result<bool, WatchError> {
        if found.len() >= MAX_WATCHES {
            return Err(WatchError::TooMany { path: directory.to_owned() });
        }
        let watch = match inotify::add_watch(&self.inotify, directory, flags) {
            Ok(watch) => watch,
            // the directories before it are watched: should it come or be opened, that is heard of
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NAMETOOLONG) => {
                return Ok(false);
            }
            Err(errno) => return Err(WatchError::Add { path: directory.to_owned(), source: errno.into() }),
        };
        let interest = found.entry(watch).or_insert_with(|| Interest::Names(BTreeSet::new()));
        match (interest, name) {
            (interest, None) => *interest = Interest::Everything,
            (Interest::Names(names), Some(name)) => drop(names.insert(name.to_owned())),
            (Interest::Everything, Some(_)) => {}
        }
        Ok(true)
    }
}

/// The names of a path, `..` among them.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn file_type(path: &Path) -> Option<FileType> {
    let stat = rustix::fs::lstat(path).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

/// What can be told of directories without being told of changes: equal while nothing changed, as far as times of
/// files can be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Vec<Option<[u64; 7]>>);

impl Stamp {
    /// Looks at the directories and at the files that allowlists are read from.
    pub fn of(directories: &[PathBuf]) -> Self {
        let names = || [".", GENERATION].into_iter().chain(List::ALL.map(List::as_str));
        let stat = |path: PathBuf| rustix::fs::statat(CWD, path, AtFlags::empty()).ok();
        let all = directories.iter().flat_map(|directory| names().map(|name| directory.join(name)));
        Self(all.map(|path| stat(path).as_ref().map(stamp)).collect())
    }
}

#[expect(clippy::unnecessary_cast, clippy::cast_sign_loss, reason = "the types differ by architecture")]
fn stamp(stat: &Stat) -> [u64; 7] {
    [
        stat.st_dev as u64,
        stat.st_ino as u64,
        stat.st_size as u64,
        stat.st_mtime as u64,
        stat.st_mtime_nsec as u64,
        stat.st_ctime as u64,
        stat.st_ctime_nsec as u64,
    ]
}
