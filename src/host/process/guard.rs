//! Runs one program for the process that started this one: with a deadline, bounded output, and nothing of it left
//! behind, however this process or that one ends. Does not look at what the program prints.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, kill_process, pidfd_open, set_child_subreaper,
    wait,
};

use super::kin::{children, has_elder_twin};

/// How long a wait can last before it is noticed that nobody needs the program any more.
const SLICE: Duration = Duration::from_millis(100);
/// From one look at descendants that were killed to the next.
const LOOK: Duration = Duration::from_millis(5);
/// The kernel ends a killed process when it comes to run; one that waits for a dead disk is not waited for.
const GRACE: Duration = Duration::from_secs(2);
/// No credential is larger.
const OUTPUT_BYTES: u64 = 1 << 20;
/// What a program has to say on its standard error is passed on up to here.
const STDERR_BYTES: u64 = 64 << 10;

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The kernel did not start it.
    #[error("starting `{program}`")]
    Spawn {
        /// Its name.
        program: String,
        /// What execve(2) said.
        source: io::Error,
    },
    /// The one that an earlier call started is still running.
    #[error("`{program}` was not started: what an earlier call has started is still running")]
    Busy {
        /// Its name.
        program: String,
    },
    /// It was still running at the deadline, and was killed with all that it started.
    #[error("`{program}` did not end within {} s and was killed", limit.as_secs())]
    Timeout {
        /// Its name.
        program: String,
        /// The time it had.
        limit: Duration,
    },
    /// It was killed because nobody needs it any more.
    #[error("`{program}` was killed, as nobody waits for it any more")]
    Unneeded {
        /// Its name.
        program: String,
    },
    /// It printed more than any answer is.
    #[error("`{program}` printed more than {OUTPUT_BYTES} bytes")]
    TooLarge {
        /// Its name.
        program: String,
    },
    /// It ended without success.
    #[error("`{program}` ended with {status}")]
    Failed {
        /// Its name.
        program: String,
        /// How.
        status: ExitStatus,
    },
    /// Waiting for it or reading its output failed.
    #[error("waiting for `{program}`")]
    Wait {
        /// Its name.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// For whom a program runs, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The process that started this one; the program ends with it.
    pub master: u32,
    /// How long the program may take.
    pub limit: Duration,
    /// Set when it is to end at once.
    pub is_cancelled: &'a AtomicBool,
}

/// Runs the program with this process's environment and standard input, and returns what it printed. When this returns,
/// nothing that the program has started is running any more, in its own session or not.
///
/// # Errors
/// See [`GuardError`].
pub fn run(program: &OsStr, args: &[OsString], terms: Terms<'_>) -> Result<Vec<u8>, GuardError> {
    let name = || program.to_string_lossy().into_owned();
    if has_elder_twin(terms.master) {
        return Err(GuardError::Busy { program: name() });
    }
    // whatever loses its parent becomes a child of this process
    let wait_error = |source| GuardError::Wait { program: name(), source };
    set_child_subreaper(Some(getpid())).map_err(|error| wait_error(error.into()))?;
    // somebody may have to read on a terminal what is to be done
    let is_terminal = io::stderr().is_terminal();
    let mut child = Command::new(program)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(if is_terminal { Stdio::inherit() } else { Stdio::piped() })
        .spawn()
        .map_err(|source| GuardError::Spawn { program: name(), source })?;
    let output = child.stdout.take().map(|stream| in_background(move || keep(stream)));
    let errors = child.stderr.take().map(|stream| in_background(move || pass_on(stream)));
    let ended = wait_for(&mut child, program, terms);
    kill_descendants();
    let output = output.and_then(|output| output.recv_timeout(GRACE).ok()).transpose();
    if let Some(errors) = errors {
        let _ = errors.recv_timeout(GRACE);
    }
    let status = ended?;
    let output = output.map_err(wait_error)?.ok_or_else(|| wait_error(io::ErrorKind::TimedOut.into()))?;
    match status.success() {
        _ if output.len() as u64 > OUTPUT_BYTES => Err(GuardError::TooLarge { program: name() }),
        true => Ok(output),
        false => Err(GuardError::Failed { program: name(), status }),
    }
}

fn wait_for(child: &mut Child, program: &OsStr, terms: Terms<'_>) -> Result<ExitStatus, GuardError> {
    let program = || program.to_string_lossy().into_owned();
    let failed = |source| GuardError::Wait { program: program(), source };
    let deadline = Instant::now() + terms.limit;
    let pidfd =
        pidfd_open(Pid::from_child(child), PidfdFlags::empty()).map_err(|error| failed(error.into()))?;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        let has_master =
            getppid().is_some_and(|parent| parent.as_raw_nonzero().get().unsigned_abs() == terms.master);
        if !has_master || terms.is_cancelled.load(Ordering::Relaxed) {
            return Err(GuardError::Unneeded { program: program() });
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(GuardError::Timeout { program: program(), limit: terms.limit });
        }
        let slice = Timespec { tv_sec: 0, tv_nsec: i64::from(left.min(SLICE).subsec_nanos()) };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&slice)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// Kills what is left until there are no children: those of a killed process become children of this one.
fn kill_descendants() {
    let end = Instant::now() + GRACE;
    let this = getpid();
    while Instant::now() < end {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => continue,
            Ok(None) => {}
            Err(_) => return,
        }
        for child in children(this) {
            let _ = kill_process(child, Signal::KILL);
        }
        std::thread::sleep(LOOK);
    }
}

fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(work()));
    receiver
}

/// One byte more than is allowed tells that there was more; who goes on printing finds nobody who reads.
fn keep(stream: impl Read) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    stream.take(OUTPUT_BYTES + 1).read_to_end(&mut output)?;
    Ok(output)
}

/// Passes the beginning on, and reads to the end, so that the program never blocks.
fn pass_on(mut stream: impl Read) {
    let _ = io::copy(&mut stream.by_ref().take(STDERR_BYTES), &mut io::stderr());
    let _ = io::copy(&mut stream, &mut io::sink());
}
