//! The kernel's log while a test needs it: LOG in other network namespaces switched on, new records read.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

const SWITCH: &str = "/proc/sys/net/netfilter/nf_log_all_netns";

/// Lets namespaces log, then restores what was set before. Held by one test of any process: the log is one, and
/// a flood of another test would push records out of it.
pub struct Logging {
    before: String,
    _lock: File,
}

impl Logging {
    pub fn on() -> Self {
        let path = std::env::temp_dir().join("monitor-tests-kernel-log.lock");
        let lock = File::options().create(true).append(true).open(path).unwrap();
        lock.lock().expect("flock(2)");
        let before = fs::read_to_string(SWITCH).expect("a kernel with LOG");
        fs::write(SWITCH, "1").expect("root of the initial user namespace");
        Self { before, _lock: lock }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, &self.before);
    }
}

/// The records that the kernel writes from now on.
pub struct Records(File);

impl Records {
    pub fn from_now_on() -> Self {
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
        let mut file =
            OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg").expect("root");
        file.seek(SeekFrom::End(0)).unwrap();
        Self(file)
    }

    /// The messages that have come since, of those that contain `mark`.
    ///
    /// # Panics
    /// If the kernel overwrote some: the test cannot tell whether any were its own.
    pub fn read(&mut self, mark: &str, into: &mut Vec<String>) {
        let mut room = [0; 8192];
        loop {
            let record = match self.0.read(&mut room) {
                Ok(length) => String::from_utf8_lossy(&room[..length]).into_owned(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("/dev/kmsg: {error}"),
            };
            let message =
                record.split_once(';').map_or("", |(_, rest)| rest.lines().next().unwrap_or_default());
            if message.contains(mark) {
                into.push(message.to_owned());
            }
        }
    }
}
