//! Waits until the allowlists may have changed on disk.
//! Reads none of them: see [`super::allowlists`]. What it misses is found before the next check all the same.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, timeout_at};

use crate::domain::words::error_chain::chain_of;
use crate::host::files::directory_watch::{DirectoryWatch, Stamp, WatchError};

/// A change counts when nothing followed it for so long: files are written one after the other.
const QUIET: Duration = Duration::from_millis(100);
/// A change counts after this, even if it goes on: it is to be in force within two seconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// Where the kernel tells of no changes, the directories are looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Watches the directories of allowlists.
#[derive(Debug)]
pub struct Reload {
    directories: Vec<PathBuf>,
    source: Source,
    /// What the caller was not told of yet.
    pending: Option<Pending>,
}

/// When the first and the last of some changes came.
#[derive(Clone, Copy, Debug)]
struct Pending {
    first: Instant,
    last: Instant,
}

impl Pending {
    fn new() -> Self {
        let now = Instant::now();
        Self { first: now, last: now }
    }
}

/// How changes are learnt of.
#[derive(Debug)]
enum Source {
    /// The kernel tells.
    Told(AsyncFd<DirectoryWatch>),
    /// It does not: times and sizes are compared.
    Compared(Stamp),
}

impl Reload {
    /// Watches from now on. If the kernel does not tell of changes, that is said once, and the directories are looked at
    /// every second.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(directories: Vec<PathBuf>) -> Self {
        match told(&directories) {
            Ok(watch) => Self { directories, source: Source::Told(watch), pending: None },
            Err(error) => {
                complain(&error);
                Self::comparing(directories)
            }
        }
    }

    /// Without the help of the kernel: compares times and sizes.
    pub fn comparing(directories: Vec<PathBuf>) -> Self {
        let source = Source::Compared(Stamp::of(&directories));
        Self { directories, source, pending: None }
    }

    /// Waits until something changed and then nothing for a tenth of a second, or one second in all. If the future is
    /// dropped before, the next one goes on from there.
    pub async fn changed(&mut self) {
        loop {
            let Some(Pending { first, last }) = self.pending else {
                self.pending = self.next_change().await.then(Pending::new);
                continue;
            };
            let due = (first + PATIENCE).min(last + QUIET);
            match timeout_at(due, self.next_change()).await {
                Ok(is_changed) if Instant::now() < due => {
                    let last = if is_changed { Instant::now() } else { last };
                    self.pending = Some(Pending { first, last });
                }
                Ok(_) | Err(_) => {
                    self.pending = None;
                    return;
                }
            }
        }
    }

    /// Waits for something to happen; false if it does not matter.
    async fn next_change(&mut self) -> bool {
        let taken = match &mut self.source {
            Source::Told(watch) => take(watch).await,
            Source::Compared(last) => {
                sleep(LOOK).await;
                let now = Stamp::of(&self.directories);
                let is_changed = now != *last;
                *last = now;
                Ok(is_changed)
            }
        };
        taken.unwrap_or_else(|error| {
            complain(&error);
            self.source = Source::Compared(Stamp::of(&self.directories));
            true
        })
    }
}

#[expect(
    deprecated,
    reason = "what replaces it is unsafe; the watch keeps the one descriptor it owns until it is dropped"
)]
fn told(directories: &[PathBuf]) -> Result<AsyncFd<DirectoryWatch>, WatchError> {
    let watch = DirectoryWatch::new(directories.to_vec())?;
    AsyncFd::with_interest(watch, Interest::READABLE).map_err(WatchError::Start)
}

async fn take(watch: &mut AsyncFd<DirectoryWatch>) -> Result<bool, WatchError> {
    let mut ready = watch.readable_mut().await.map_err(WatchError::Read)?;
    let is_changed = ready.get_inner_mut().take()?;
    ready.clear_ready();
    Ok(is_changed)
}

fn complain(error: &WatchError) {
    log::warn!("changes of the allowlists are looked for every second: {}", chain_of(error));
}
