//! The lock file of iptables-legacy, as a sign of life: each run of it opens the file and closes it again.
//! Takes no lock, and cannot tell a change from a read.
//!
//! *Source*: iptables(8), `--wait` and `XTABLES_LOCKFILE`; inotify(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Where the lock file is.
pub const PATH: &str = "/run/xtables.lock";

/// A watch of the lock file, readable when iptables-legacy has run.
#[derive(Debug)]
pub struct XtablesLock {
    queue: OwnedFd,
    path: PathBuf,
}

impl XtablesLock {
    /// Prepares to watch this file; nothing is seen before [`XtablesLock::renew`].
    ///
    /// # Errors
    /// What `inotify_init1(2)` says, such as that this user has too many already.
    pub fn new(path: &Path) -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { queue, path: path.to_owned() })
    }

    /// Watches the file that is there now. To be repeated: it may come later, or be replaced. False while there is none.
    pub fn renew(&self) -> bool {
        inotify::add_watch(&self.queue, &self.path, WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE)
            .is_ok()
    }

    /// Whether iptables-legacy has run since this was last asked.
    pub fn has_run(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        let mut has_run = false;
        loop {
            match reader.next() {
                Ok(_) => has_run = true,
                Err(Errno::INTR) => {}
                Err(_) => return has_run,
            }
        }
    }
}

impl AsFd for XtablesLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_the_file_being_closed_wherever_it_comes_from() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let lock = XtablesLock::new(&path).unwrap();
        assert!(!lock.renew() && !lock.has_run(), "there is no file yet");
        std::fs::write(&path, "").unwrap();
        assert!(lock.renew() && !lock.has_run());
        drop(std::fs::File::open(&path).unwrap());
        assert!(lock.has_run() && !lock.has_run(), "once");
        let other = directory.path().join("other");
        std::fs::write(&other, "").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(lock.renew());
        lock.has_run();
        drop(std::fs::File::open(&path).unwrap());
        assert!(lock.has_run(), "the file was replaced");
    }
}
