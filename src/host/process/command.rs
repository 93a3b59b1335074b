//! Runs the dump programs: a fixed locale, a deadline, an output limit, no process left behind.
//! The only place that starts a process. It does not look at what they print.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How much of a program's standard error is kept.
const STDERR_LIMIT_BYTES: usize = 4096;
/// How long a wait can last before a cancellation is noticed.
const SLICE: Duration = Duration::from_millis(100);
/// Fewer and larger reads: a dump of 99,000 rules is 15 MB.
const PIPE_BYTES: usize = 1 << 20;

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
        loop {
            let Some(slice) = self.slice() else {
                return Err(if self.is_cancelled() {
                    io::Error::other("stopped on request")
                } else {
                    io::ErrorKind::TimedOut.into()
                });
            };
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(slice.subsec_nanos()) };
            let mut fds = [PollFd::new(fd, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
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
    stdout: ChildStdout,
    stderr: Option<JoinHandle<Vec<u8>>>,
    deadline: Deadline,
    left: u64,
    limit: u64,
    ended: bool,
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
    let mut child = command(&find(program)?, args, input).spawn().map_err(spawn_error)?;
    if let Some(mut stdin) = child.stdin.take() {
        // inputs are a few hundred bytes and fit the pipe; a program that ended early has its own message
        let _ = stdin.write_all(input);
    }
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(spawn_error(io::ErrorKind::BrokenPipe.into()));
    };
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
    Ok(Running {
        program: program.to_owned(),
        child,
        stdout,
        stderr: Some(std::thread::spawn(move || keep_some(stderr))),
        deadline: deadline.clone(),
        left: limit,
        limit,
        ended: false,
    })
}

fn command<S: AsRef<OsStr>>(path: &Path, args: &[S], input: &[u8]) -> Command {
    let mut command = Command::new(path);
    command
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into()))
        .env("LC_ALL", "C")
        // nft prints hours and days in local time
        .env("TZ", "UTC")
        .process_group(0)
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Reads to the end, so that the program never blocks, and keeps the beginning.
fn keep_some(mut stream: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let room = STDERR_LIMIT_BYTES - kept.len();
        kept.extend_from_slice(buffer.get(..count.min(room)).unwrap_or_default());
    }
    kept
}

impl Read for Running {
    /// Fails with `TimedOut` at the deadline and with `FileTooLarge` at the output limit.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.deadline.wait_readable(&self.stdout)?;
        let count = self.stdout.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(count)
    }
}

impl Running {
    /// Sets another time until when the next calls wait: for a program that runs on and on.
    pub fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// Waits until the program has ended.
    ///
    /// # Errors
    /// [`CommandError::Timeout`] at the deadline.
    pub fn finish(mut self) -> Result<Ended, CommandError> {
        let waited = Pid::from_child(&self.child);
        let pidfd = pidfd_open(waited, PidfdFlags::empty()).map_err(|error| self.error(error.into()))?;
        self.deadline.wait_readable(&pidfd).map_err(|error| self.error(error))?;
        let status = self.child.wait().map_err(|error| self.error(error))?;
        self.ended = true;
        // a stray child may still hold stderr: kill the group before joining the thread that reads it
        let _ = kill_process_group(waited, Signal::KILL);
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Ok(Ended { status, stderr })
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
        if !self.ended {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration, bytes: u64) -> Result<(Vec<u8>, Ended), CommandError> {
        let deadline = Deadline::after(limit, Arc::default());
        let mut running = start("sh", &["-c", script], b"", &deadline, bytes)?;
        let mut output = Vec::new();
        if let Err(error) = running.read_to_end(&mut output) {
            return Err(running.error(error));
        }
        Ok((output, running.finish()?))
    }

    #[test]
    fn output_status_and_stderr_are_returned() {
        let (output, ended) = run("echo out; echo err >&2; exit 3", Duration::from_secs(10), 100).unwrap();
        assert_eq!((output.as_slice(), ended.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(ended.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        // a duration of this process's own: other test runs search the same /proc
        let nap = format!("{}.25", 1_000_000 + std::process::id());
        let error = run(&format!("sleep {nap} & sleep {nap}"), Duration::from_millis(200), 100).unwrap_err();
        assert!(matches!(error, CommandError::Timeout { .. }), "{error}");
        let line_of_nap = format!("sleep\0{nap}\0");
        let is_nap = |process: std::fs::DirEntry| {
            std::fs::read(process.path().join("cmdline")).is_ok_and(|line| line == line_of_nap.as_bytes())
        };
        // the kernel ends a killed process when it comes to run
        let end = Instant::now() + Duration::from_secs(20);
        while std::fs::read_dir("/proc").unwrap().flatten().any(is_nap) {
            assert!(Instant::now() < end, "a child outlived the deadline");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_program_that_closes_its_output_and_hangs_is_killed() {
        let error = run("exec >&- 2>&-; sleep 1000", Duration::from_millis(200), 100).unwrap_err();
        assert!(matches!(error, CommandError::Timeout { .. }), "{error}");
    }

    #[test]
    fn output_is_limited() {
        let error = run("yes", Duration::from_secs(10), 10_000).unwrap_err();
        assert!(matches!(error, CommandError::TooLarge { limit: 10_000, .. }), "{error}");
    }

    #[test]
    fn stderr_is_limited_and_never_blocks() {
        let (_, ended) = run("yes | head -c 300000 >&2", Duration::from_secs(10), 100).unwrap();
        assert_eq!(ended.stderr.len(), STDERR_LIMIT_BYTES);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run_missing().unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"), "{error}");
    }

    fn run_missing() -> Result<Running, CommandError> {
        let deadline = Deadline::after(Duration::from_secs(1), Arc::default());
        start::<&str>("no-such-program-here", &[], b"", &deadline, 1)
    }
}
