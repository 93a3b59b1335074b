//! Wakes a reader when a file or its directory changes: inotify, and now and then a look all the same.
//! Does not say what changed: the reader looks itself.
//!
//! *Source*: inotify(7). It hears nothing of other nodes' writes to a network filesystem, and a user may have no more
//! instances; both cost promptness only.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// How long nothing may be heard before the reader looks itself.
const LOOK: Duration = Duration::from_secs(1);
/// The same where inotify cannot be had.
const LOOK_WITHOUT_INOTIFY: Duration = Duration::from_millis(250);
/// How long to let lines gather after the first was heard of: a flood must not wake the reader for each.
const GATHER: Duration = Duration::from_millis(5);

/// What is listened to; nothing before the first call.
#[derive(Debug, Default)]
pub(super) struct Watch {
    inotify: Option<OwnedFd>,
    files: Vec<i32>,
}

impl Watch {
    /// Listens to these files only, and to the directory for files that come and go.
    ///
    /// Says whether a file is new: what happened to it before was not heard.
    pub(super) fn listen(&mut self, path: &Path, files: &[&File]) -> bool {
        if self.inotify.is_none() {
            self.inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok();
        }
        let Some(inotify) = &self.inotify else { return false };
        let in_directory = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        let real = path.canonicalize().ok();
        for parent in [Some(path), real.as_deref()].into_iter().flatten().filter_map(Path::parent) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            let _ = inotify::add_watch(inotify, parent, in_directory);
        }
        let to_file = WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::MOVE_SELF;
        let watch = |file: &&File| {
            inotify::add_watch(inotify, format!("/proc/self/fd/{}", file.as_raw_fd()), to_file).ok()
        };
        let watched: Vec<_> = files.iter().filter_map(watch).collect();
        for gone in self.files.iter().filter(|descriptor| !watched.contains(descriptor)) {
            // a deleted file's watch is gone already
            let _ = inotify::remove_watch(inotify, *gone);
        }
        let is_new = watched.iter().any(|descriptor| !self.files.contains(descriptor));
        self.files = watched;
        is_new
    }

    /// Waits until something may have changed; false if the deadline came first.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let Some(inotify) = &self.inotify else {
            std::thread::sleep(left.min(LOOK_WITHOUT_INOTIFY));
            return true;
        };
        let pause = left.min(LOOK);
        let timeout = Timespec::try_from(pause).ok();
        if let Ok(1..) = poll(&mut [PollFd::new(inotify, PollFlags::IN)], timeout.as_ref()) {
            std::thread::sleep(GATHER.min(left));
            drain(inotify);
        }
        true
    }
}

fn drain(inotify: &OwnedFd) {
    let mut buffer = [0; 8192];
    while let Ok(1..) = rustix::io::read(inotify, &mut buffer) {}
}
