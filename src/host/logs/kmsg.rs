//! Follows the kernel's own log through /dev/kmsg, on a thread of its own that a slow caller cannot stall.
//! Hands over every line of the kernel, and none of anybody else; which of them tell of packets is not known here.
//!
//! The kernel numbers its records, and overwrites the oldest when its buffer is full: what was missed is known exactly.
//! Counted are records: an overwritten one may have been any line of the log.
//!
//! *Source*: `Documentation/ABI/testing/dev-kmsg`; `devkmsg_read` in `kernel/printk/printk.c`.

mod record;
mod sequence_gaps;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};
use rustix::io::{Errno, read, write};
use serde::{Deserialize, Serialize};

use crate::domain::drops::batch::Batch;
use record::Record;
pub use sequence_gaps::Status;
use sequence_gaps::{Pending, SequenceGaps};

const DEVICE: &str = "/dev/kmsg";
/// A random id of the running kernel. *Source*: proc_sys_kernel(5), `random/boot_id`.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// No kernel makes a longer record. *Source*: `CONSOLE_EXT_LOG_MAX`, `PRINTK_MESSAGE_MAX` in `include/linux/printk.h`.
const RECORD_BYTES: usize = 8192;

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that the kernel still has.
    Oldest,
    /// With what is written from now on.
    End,
    /// Behind this record; with the oldest if it belongs to another boot, which counts as one gap.
    After(KmsgPosition),
}

/// A place in the kernel's log that survives this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KmsgPosition {
    /// The kernel's random id of its boot.
    pub boot_id: String,
    /// The number of the last record that was read.
    pub sequence: u64,
}

/// Why the kernel's log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KmsgError {
    /// The process lacks CAP_SYSLOG, and `kernel.dmesg_restrict` asks for it.
    #[error("opening {DEVICE}: permission denied, CAP_SYSLOG is needed")]
    PermissionDenied,
    /// The device is not there, as in a container that was not given it.
    #[error("opening {DEVICE}: there is no such device here")]
    Absent,
    /// The device cannot be opened.
    #[error("opening {DEVICE}")]
    Open(#[source] io::Error),
    /// The boot id cannot be read.
    #[error("reading {BOOT_ID}")]
    BootId(#[source] io::Error),
    /// The reading thread did not start.
    #[error("starting to read {DEVICE}")]
    Start(#[source] io::Error),
    /// The device failed while it was read.
    #[error("reading {DEVICE}")]
    Read(#[source] io::Error),
}

/// The kernel's log. A thread reads it until this value is dropped.
#[derive(Debug)]
pub struct Kmsg {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    boot_id: String,
    last: Option<u64>,
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
    is_stopped: AtomicBool,
    wake: OwnedFd,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kmsg {
    /// Opens the log, and starts to read it.
    ///
    /// # Errors
    /// If the device or the boot id cannot be read, or no thread can be had.
    pub fn open(start: Start) -> Result<Self, KmsgError> {
        let boot_id = fs::read_to_string(BOOT_ID).map_err(KmsgError::BootId)?.trim_end().to_owned();
        let device = open_device()?;
        let (mut pending, mut last) = (Pending::default(), None);
        match start {
            Start::Oldest => {}
            Start::End => {
                seek(&device, SeekFrom::End(0)).map_err(|error| KmsgError::Open(error.into()))?;
            }
            Start::After(position) if position.boot_id == boot_id => last = Some(position.sequence),
            Start::After(_) => pending.batch.gaps = 1,
        }
        let start = |error: Errno| KmsgError::Start(error.into());
        let shared = Arc::new(Shared {
            pending: Mutex::new(pending),
            changed: Condvar::new(),
            is_stopped: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC).map_err(start)?,
        });
        let reader = Reader { device, shared: Arc::clone(&shared), sequence_gaps: SequenceGaps::new(last) };
        let thread = std::thread::Builder::new().name("kmsg".into()).spawn(|| reader.run());
        Ok(Self { shared, thread: Some(thread.map_err(KmsgError::Start)?), boot_id, last })
    }

    /// Replaces `batch` by what has arrived since the last call; waits until `deadline` for something to arrive, or for
    /// the log's end to be reached.
    ///
    /// # Errors
    /// [`KmsgError::Read`] if the device failed, after everything that was read before.
    ///
    /// # Panics
    /// As the thread that reads has: nobody reads any more, and to say nothing would look like a quiet kernel.
    pub fn read(&mut self, batch: &mut Batch, deadline: Instant) -> Result<Status, KmsgError> {
        batch.clear();
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
        {
            resume_unwind(panic);
        }
        let mut pending = self.shared.pending();
        while !pending.has_news() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(pending, left);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let status = pending.hand_over(batch).map_err(|error| KmsgError::Read(error.into()))?;
        self.last = pending.last.or(self.last);
        Ok(status)
    }

    /// Behind everything that [`Kmsg::read`] has handed over or counted; none before the first record.
    pub fn position(&self) -> Option<KmsgPosition> {
        let sequence = self.last?;
        Some(KmsgPosition { boot_id: self.boot_id.clone(), sequence })
    }
}

impl Drop for Kmsg {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        let is_woken = write(&self.shared.wake, &1u64.to_ne_bytes()).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| is_woken) {
            let _ = thread.join();
        }
    }
}

fn open_device() -> Result<OwnedFd, KmsgError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open(DEVICE, flags, Mode::empty()).map_err(|error| match error {
        Errno::PERM | Errno::ACCESS => KmsgError::PermissionDenied,
        Errno::NOENT | Errno::NXIO | Errno::NODEV => KmsgError::Absent,
        error => KmsgError::Open(error.into()),
    })
}

/// What the thread owns.
struct Reader {
    device: OwnedFd,
    shared: Arc<Shared>,
    sequence_gaps: SequenceGaps,
}

impl Reader {
    fn run(mut self) {
        if let Err(error) = self.follow() {
            self.shared.pending().failure = Some(error);
            self.shared.changed.notify_one();
        }
    }

    /// Reads until asked to stop.
    fn follow(&mut self) -> Result<(), Errno> {
        let mut buffer = vec![0; RECORD_BYTES];
        // a record that had to be waited for is as old as the wait's end
        let mut was_awaited = false;
        while !self.shared.is_stopped.load(Ordering::Relaxed) {
            match read(&self.device, buffer.as_mut_slice()) {
                // some containers have /dev/null in its place, which would be read for ever
                Ok(0) => return Err(Errno::NODEV),
                Ok(length) => self.take(buffer.get(..length).unwrap_or_default(), was_awaited),
                Err(Errno::AGAIN) => {
                    self.sequence_gaps.caught_up(&mut self.shared.pending());
                    self.shared.changed.notify_one();
                    was_awaited = self.wait()?;
                    continue;
                }
                Err(Errno::PIPE) => self.sequence_gaps.overwritten(&mut self.shared.pending()),
                // the kernel has passed over a record that does not fit: the next one's number tells
                Err(Errno::INVAL | Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            was_awaited = false;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], was_awaited: bool) {
        let record = Record::parse(bytes);
        if let Some(record) = record.filter(|_| was_awaited) {
            self.sequence_gaps.clock.set(SystemTime::now(), record.since_boot);
        }
        self.sequence_gaps.prepare(record);
        self.sequence_gaps.enter(record, &mut self.shared.pending());
        self.shared.changed.notify_one();
    }

    /// Waits for a record; true unless the wait was cut short.
    fn wait(&self) -> Result<bool, Errno> {
        let mut ready =
            [PollFd::new(&self.device, PollFlags::IN), PollFd::new(&self.shared.wake, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) => Ok(true),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
