//! Runs programs: a fixed locale, a deadline, an output limit, no process of their group left behind.
//! The only place that starts a process. It does not look at what they print, and it does not find processes that left
//! the group (setsid(2)): those may keep the pipes open, and delay nothing.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    prlimit, waitid,
};

/// How much of a program's standard error is kept.
const STDERR_LIMIT_BYTES: usize = 4096;
/// How long a wait can last before a cancellation is noticed.
const SLICE: Duration = Duration::from_millis(100);
/// Fewer and larger reads: a dump of 99,000 rules is 15 MB.
const PIPE_BYTES: usize = 1 << 20;
/// How long a killed program may take to end before somebody else waits for it.
const DYING: Duration = Duration::from_secs(1);

/// When to stop waiting: at a moment, or when told to.
#[derive(Clone, Debug)]
pub struct Deadline {
    at: Instant,
    cancelled: Arc<AtomicBool>,
}

impl Deadline {
    /// A deadline this far from now, or as soon as `cancelled` is set.
    pub fn after(limit: Duration, cancelled: Arc<AtomicBool>) -> Self {
        Self { at: Instant::now() + limit, cancelled }
    }

    /// The moment itself.
    pub fn moment(&self) -> Instant {
        self.at
    }

    /// Whether someone asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// How long to wait at most before asking again; none when the time is over or a stop was asked for.
    pub fn slice(&self) -> Option<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        (!left.is_zero() && !self.is_cancelled()).then(|| left.min(SLICE))
    }

    /// Waits until `fd` is readable or hung up.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, `Interrupted` when cancelled, and what poll(2) says.
    pub fn wait_readable(&self, fd: &impl AsFd) -> io::Result<()> {
        self.wait(&mut [PollFd::new(fd, PollFlags::IN)])
    }

    /// Waits until one of them is readable or hung up, and marks which.
    fn wait(&self, fds: &mut [PollFd<'_>]) -> io::Result<()> {
        loop {
            let Some(slice) = self.slice() else {
                return Err(if self.is_cancelled() {
                    io::Error::other("stopped on request")
                } else {
                    io::ErrorKind::TimedOut.into()
                });
            };
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(slice.subsec_nanos()) };
            match poll(fds, Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Why a program did not give a whole answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is neither on `PATH` nor in the system directories.
    #[error("`{program}` is not installed; install the package that has it (iptables, nftables or systemd)")]
    Missing {
        /// Its name.
        program: String,
    },
    /// The kernel did not start it.
    #[error("starting `{program}`")]
    Spawn {
        /// Its name.
        program: String,
        /// What execve(2) said.
        source: io::Error,
    },
    /// It was still running at the deadline, and was killed.
    #[error("`{program}` did not end in time and was killed; raise --dump-timeout if this node is just slow")]
    Timeout {
        /// Its name.
        program: String,
    },
    /// It printed more than the limit, and was killed.
    #[error("`{program}` printed more than {limit} bytes and was killed")]
    TooLarge {
        /// Its name.
        program: String,
        /// The limit.
        limit: u64,
    },
    /// Its output could not be read.
    #[error("reading the output of `{program}`")]
    Read {
        /// Its name.
        program: String,
        /// What read(2) said.
        source: io::Error,
    },
}

/// Finds a program on `PATH`, or where the packages put it.
///
/// # Errors
/// [`CommandError::Missing`].
pub fn find(program: &str) -> Result<PathBuf, CommandError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| CommandError::Missing { program: program.to_owned() })
}

/// A program that is running; read its output, then [`finish`](Running::finish) it.
///
/// Dropping it kills its whole process group.
#[derive(Debug)]
pub struct Running {
    program: String,
    child: Child,
    pidfd: OwnedFd,
    is_reaped: bool,
    stdout: ChildStdout,
    stderr: Complaints,
    deadline: Deadline,
    left: u64,
    limit: u64,
}

/// The beginning of a standard error, taken as it comes, so that the program never waits for a reader.
#[derive(Debug, Default)]
struct Complaints {
    /// None once nobody can write to it any more. It never blocks.
    stream: Option<ChildStderr>,
    kept: Vec<u8>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// The first 4 KiB of its standard error.
    pub stderr: Vec<u8>,
}

/// Starts a program in a process group of its own, with an empty environment but `PATH`, `LC_ALL=C` and `TZ=UTC`.
///
/// # Errors
/// [`CommandError::Missing`] and [`CommandError::Spawn`].
pub fn start<S: AsRef<OsStr>>(
    program: &str,
    args: &[S],
    input: &[u8],
    deadline: &Deadline,
    limit: u64,
) -> Result<Running, CommandError> {
    let spawn_error = |source| CommandError::Spawn { program: program.to_owned(), source };
    let path = find(program)?;
    let input = standard_input(input).map_err(spawn_error)?;
    let mut child = command(&path, args, input).spawn().map_err(spawn_error)?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(spawn_error(io::ErrorKind::BrokenPipe.into()));
    };
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
    let opened = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
        .and_then(|pidfd| rustix::io::ioctl_fionbio(&stderr, true).map(|()| pidfd));
    let pidfd = match opened {
        Ok(pidfd) => pidfd,
        Err(error) => {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
            return Err(spawn_error(error.into()));
        }
    };
    Ok(Running {
        program: program.to_owned(),
        child,
        pidfd,
        is_reaped: false,
        stdout,
        stderr: Complaints { stream: Some(stderr), kept: Vec::new() },
        deadline: deadline.clone(),
        left: limit,
        limit,
    })
}

/// A file in memory: nobody waits until the program has read its input, however long that is.
fn standard_input(input: &[u8]) -> io::Result<Stdio> {
    if input.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file.into())
}

fn command<S: AsRef<OsStr>>(path: &Path, args: &[S], input: Stdio) -> Command {
    let mut command = Command::new(path);
    command
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into()))
        .env("LC_ALL", "C")
        // nft prints hours and days in local time
        .env("TZ", "UTC")
        .process_group(0)
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Complaints {
    /// Waits until `fd` is readable or hung up, and takes meanwhile what is complained of.
    fn take_until(&mut self, deadline: &Deadline, fd: &impl AsFd) -> io::Result<()> {
        while let Some(stream) = &self.stream {
            let mut fds = [PollFd::new(fd, PollFlags::IN), PollFd::new(stream, PollFlags::IN)];
            deadline.wait(&mut fds)?;
            let [is_there, is_said] = fds.map(|fd| !fd.revents().is_empty());
            if is_said {
                self.take_some();
            }
            if is_there {
                return Ok(());
            }
        }
        deadline.wait_readable(fd)
    }

    /// What has been said by now. More than is kept is not asked for: a process that goes on must not be listened to.
    fn take_rest(mut self) -> Vec<u8> {
        while self.kept.len() < STDERR_LIMIT_BYTES && self.take_some() {}
        self.kept
    }

    /// Reads once; false if there is nothing now.
    fn take_some(&mut self) -> bool {
        let mut buffer = [0; STDERR_LIMIT_BYTES];
        let Some(stream) = &mut self.stream else { return false };
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => {
                let room = STDERR_LIMIT_BYTES - self.kept.len();
                self.kept.extend_from_slice(buffer.get(..count.min(room)).unwrap_or_default());
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Ok(_) | Err(_) => {
                self.stream = None;
                false
            }
        }
    }
}

impl Read for Running {
    /// Fails with `TimedOut` at the deadline and with `FileTooLarge` at the output limit.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stderr.take_until(&self.deadline, &self.stdout)?;
        let count = self.stdout.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(count)
    }
}

impl Running {
    /// Lets the program have no more memory and processor time than this, also if nobody is left to watch it.
    ///
    /// # Errors
    /// What prlimit(2) says.
    pub fn confine(&self, memory_bytes: u64, processor_time: Duration) -> Result<(), CommandError> {
        let seconds = processor_time.as_secs().saturating_add(1);
        for (resource, most) in [(Resource::As, memory_bytes), (Resource::Cpu, seconds)] {
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            prlimit(Some(Pid::from_child(&self.child)), resource, limit).map_err(|error| {
                CommandError::Spawn { program: self.program.clone(), source: error.into() }
            })?;
        }
        Ok(())
    }

    /// Sets another time until when the next calls wait: for a program that runs on and on.
    pub fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// Whether the program has ended, though its output may still be open: a process that it left behind can hold it.
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|count| count > 0)
    }

    /// Waits until the program has ended. What it left behind in its process group is killed; nobody waits for the rest.
    ///
    /// # Errors
    /// [`CommandError::Timeout`] at the deadline.
    pub fn finish(mut self) -> Result<Ended, CommandError> {
        self.stderr.take_until(&self.deadline, &self.pidfd).map_err(|error| self.error(error))?;
        // before it is reaped: afterwards its number may be that of another group
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let status = self.child.wait().map_err(|error| self.error(error))?;
        self.is_reaped = true;
        Ok(Ended { status, stderr: std::mem::take(&mut self.stderr).take_rest() })
    }

    /// The error that a failed read stands for.
    pub fn error(&self, source: io::Error) -> CommandError {
        let program = self.program.clone();
        match source.kind() {
            io::ErrorKind::TimedOut => CommandError::Timeout { program },
            io::ErrorKind::FileTooLarge => CommandError::TooLarge { program, limit: self.limit },
            _ => CommandError::Read { program, source },
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            reap(&self.pidfd, DYING);
        }
    }
}

/// Waits so long for a child that was killed, and then leaves it to a thread: a process that hangs inside the kernel
/// ends when the kernel lets it go, and holds up nobody until then.
fn reap(pidfd: &OwnedFd, patience: Duration) {
    let wait = |pidfd: BorrowedFd<'_>| waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
    if Deadline::after(patience, Arc::default()).wait_readable(pidfd).is_ok() {
        let _ = wait(pidfd.as_fd());
    } else if let Ok(pidfd) = pidfd.try_clone() {
        // if no thread can be had it stays a zombie until this process ends
        let _ = std::thread::Builder::new().name("reaper".to_owned()).spawn(move || wait(pidfd.as_fd()));
    }
}

#[cfg(test)]
mod tests;
