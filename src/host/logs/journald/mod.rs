//! Reads the kernel's log lines from systemd's journal: runs journalctl, and starts it again when it dies.
//! Hands over lines and where to go on; it neither parses them nor stores that place.
//!
//! journalctl reads every form of journal that its version knows, which no library of ours would. Entries are taken if
//! they came from the kernel: journald alone sets `_TRANSPORT`, while any process may call itself `kernel`.
//!
//! *Source*: journalctl(1), systemd.journal-fields(7).

mod entry;

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::domain::drops::batch::{Batch, Status};
use crate::domain::drops::lines::Lines;
use crate::domain::words::backoff::{Pace, delay};
use crate::domain::words::escape;
use crate::host::process::command::{self, CommandError, Deadline, Running};
use entry::{Entry, MISSED, What};

const PROGRAM: &str = "journalctl";
/// An entry's JSON may take so much; four bytes for each of a message that is not UTF-8.
const ENTRY_LIMIT: usize = 256 * 1024;
/// How much is read at once; more than an entry.
const BUFFER_BYTES: usize = 2 * ENTRY_LIMIT;
/// How long a program that closed its output may take to end.
const END: Duration = Duration::from_secs(5);
/// Entries of a journal that only has to be read come without a pause; one that is big or cold may need a while.
const SILENCE: Duration = Duration::from_secs(30);
/// One that ran so long did not fail to start.
const STABLE: Duration = Duration::from_secs(60);
/// What journalctl says of a cursor that it cannot read.
const NO_CURSOR: &str = "seek to cursor";

/// Where to begin when nobody says where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest entry.
    Beginning,
    /// With what is logged from now on.
    End,
    /// With what was logged at this time.
    Since(SystemTime),
}

/// Which entries are read.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// A directory of journal files instead of this machine's: `/var/log/journal` of a host, or a saved one.
    pub directory: Option<PathBuf>,
    /// Where to begin without a position.
    pub start: Start,
    /// Whether to wait for more at the end.
    pub is_following: bool,
    /// Whether to take entries of any process that calls itself `kernel`, such as `logger -t kernel`.
    pub trusts_identifier: bool,
    /// How much of a line is kept, in bytes.
    pub line_limit: usize,
    /// How long journalctl may say nothing when it is not following.
    pub silence: Duration,
}

impl Default for JournalOptions {
    /// Follows this machine's journal from the end, the kernel only, lines of 16 KiB.
    fn default() -> Self {
        Self {
            directory: None,
            start: Start::End,
            is_following: true,
            trusts_identifier: false,
            line_limit: 16 * 1024,
            silence: SILENCE,
        }
    }
}

/// Where to go on after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPosition {
    /// The last entry that was handed over; it names its boot (`b=`).
    pub cursor: Option<String>,
    /// When journald got it, in microseconds since 1970: for a journal that does not have it any more.
    pub since_us: u64,
}

/// Why the journal cannot be read now. It is tried again, ever less often: call again.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// journalctl could not be started.
    #[error("reading the journal; give the agent's image journalctl, or read another source")]
    Start(#[source] CommandError),
    /// It ended though there may be more.
    #[error("`{PROGRAM}` ended with {status}: {stderr}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// What it said, escaped.
        stderr: String,
    },
    /// It said nothing for so long, and was killed.
    #[error(
        "reading the journal: `{PROGRAM}` printed nothing for {} s and was killed; see whether it ends when run by hand, \
         or read another source", .waited.as_secs_f32()
    )]
    Silent {
        /// How long.
        waited: Duration,
    },
    /// There is nothing that could be read.
    #[error("reading the journal: there are no journal files{}; name their directory, or read another source", .within)]
    NoFiles {
        /// ` in DIRECTORY`, if one was named.
        within: String,
    },
    /// Its output could not be read.
    #[error("reading the journal")]
    Read(#[source] CommandError),
}

/// A journal that is being read.
#[derive(Debug)]
pub struct Journal {
    options: JournalOptions,
    position: JournalPosition,
    process: Option<Process>,
    failures: u32,
    retry: Option<Instant>,
    has_ended: bool,
    /// Found before there was a batch to count them in.
    gaps: u64,
    raw: Batch,
}

#[derive(Debug)]
struct Process {
    running: Running,
    begun: Instant,
    /// How long it was waited for since it said something.
    silent: Duration,
    /// Whether it had ended when it was silent last.
    has_ended: bool,
    lines: Lines,
    buffer: Box<[u8]>,
    /// How much of the buffer is the beginning of an entry.
    kept: usize,
    /// The entry from which it was told to begin, until it has shown one.
    expected: Option<String>,
}

impl Journal {
    /// Begins at a position, or where the options say; journalctl is started by [`Journal::read`].
    pub fn open(options: JournalOptions, position: Option<JournalPosition>) -> Self {
        let mut position =
            position.unwrap_or_else(|| JournalPosition { cursor: None, since_us: since_us(options.start) });
        let gaps = u64::from(position.cursor.as_ref().is_some_and(|cursor| !is_cursor(cursor)));
        position.cursor = position.cursor.filter(|cursor| is_cursor(cursor));
        Self {
            options,
            position,
            process: None,
            failures: 0,
            retry: None,
            has_ended: false,
            gaps,
            raw: Batch::default(),
        }
    }

    /// Replaces `batch` by the next lines; waits for some until the deadline.
    ///
    /// # Errors
    /// Once each time journalctl cannot be started, ends, or says nothing though it is not following.
    pub fn read(&mut self, batch: &mut Batch, deadline: Instant) -> Result<Status, JournalError> {
        batch.clear();
        if self.has_ended {
            return Ok(Status::Ended);
        }
        loop {
            if !self.is_running(deadline)? {
                return Ok(Status::CaughtUp);
            }
            let status = self.advance(batch, deadline)?;
            batch.gaps += std::mem::take(&mut self.gaps);
            let is_over = Instant::now() >= deadline;
            if batch.has_news() || status == Status::Ended || is_over {
                return Ok(status);
            }
        }
    }

    /// Where to go on once everything that was handed over is safe.
    pub fn position(&self) -> JournalPosition {
        self.position.clone()
    }

    /// Starts journalctl if it does not run; false if it is too early to try again.
    fn is_running(&mut self, deadline: Instant) -> Result<bool, JournalError> {
        if self.process.is_some() {
            return Ok(true);
        }
        let pause =
            self.retry.map(|retry| retry.saturating_duration_since(Instant::now())).unwrap_or_default();
        std::thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
        if self.retry.is_some_and(|retry| retry > Instant::now()) {
            return Ok(false);
        }
        let arguments = arguments(&self.options, &self.position);
        let started = command::start(PROGRAM, &arguments, b"", &until(deadline), u64::MAX);
        let running = started.map_err(|error| {
            self.failed();
            JournalError::Start(error)
        })?;
        self.process = Some(Process {
            running,
            begun: Instant::now(),
            silent: Duration::ZERO,
            has_ended: false,
            lines: Lines::new(ENTRY_LIMIT, false),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            kept: 0,
            expected: self.position.cursor.clone(),
        });
        Ok(true)
    }

    fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.retry = Some(Instant::now() + delay(Pace::Soon, self.failures, None, u64::MAX));
    }

    /// Reads once.
    fn advance(&mut self, batch: &mut Batch, deadline: Instant) -> Result<Status, JournalError> {
        let Some(process) = &mut self.process else { return Ok(Status::CaughtUp) };
        let waited = deadline.saturating_duration_since(Instant::now());
        process.running.set_deadline(until(deadline));
        let room = process.buffer.get_mut(process.kept..).unwrap_or_default();
        let (capacity, read) = (room.len(), process.running.read(room));
        match read {
            Ok(0) => self.end(batch),
            Ok(count) => {
                process.silent = Duration::ZERO;
                self.take(count, batch);
                Ok(if count == capacity { Status::Behind } else { Status::CaughtUp })
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => self.silence(batch, waited),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Status::CaughtUp),
            Err(error) => {
                let error = JournalError::Read(process.running.error(error));
                self.process = None;
                self.failed();
                Err(error)
            }
        }
    }

    /// Nothing was to be read for so long: a journal that is not followed has no reason for a long pause.
    fn silence(&mut self, batch: &mut Batch, waited: Duration) -> Result<Status, JournalError> {
        let Some(process) = &mut self.process else { return Ok(Status::CaughtUp) };
        // a process that it left behind may hold its output: what it wrote itself is read when nothing has come since
        if std::mem::replace(&mut process.has_ended, process.running.has_ended()) {
            return self.end(batch);
        }
        process.silent += waited;
        if self.options.is_following || process.silent < self.options.silence {
            return Ok(Status::CaughtUp);
        }
        self.process = None;
        self.failed();
        Err(JournalError::Silent { waited: self.options.silence })
    }

    /// Hands over the entries that have been read whole.
    fn take(&mut self, count: usize, batch: &mut Batch) {
        let Some(process) = &mut self.process else { return };
        let (mut from, to) = (0, process.kept + count);
        loop {
            self.raw.clear();
            let read = process.buffer.get(from..to).unwrap_or_default();
            let used = process.lines.split(read, &mut self.raw);
            from += used;
            for (line, _) in self.raw.lines() {
                match entry::parse(line) {
                    Some(entry) => {
                        enter(&entry, process.expected.take(), &self.options, batch);
                        self.position = JournalPosition {
                            cursor: Some(entry.cursor.into_owned()),
                            since_us: entry.received_us,
                        };
                    }
                    None => batch.lost += 1,
                }
            }
            if used == 0 || !self.raw.is_full() {
                break;
            }
        }
        process.buffer.copy_within(from..to, 0);
        process.kept = to - from;
    }

    /// It closed its output: what does that mean?
    fn end(&mut self, batch: &mut Batch) -> Result<Status, JournalError> {
        let Some(mut process) = self.process.take() else { return Ok(Status::CaughtUp) };
        let has_shown_nothing = process.expected.is_some();
        if process.begun.elapsed() > STABLE {
            self.failures = 0;
        }
        process.running.set_deadline(until(Instant::now() + END));
        let ended = process.running.finish().map_err(|error| {
            self.failed();
            JournalError::Read(error)
        })?;
        let stderr = String::from_utf8_lossy(&ended.stderr);
        if has_shown_nothing && stderr.contains(NO_CURSOR) {
            batch.gaps += 1;
            self.position.cursor = None;
            return Ok(Status::CaughtUp);
        }
        if !self.options.is_following && ended.status.success() {
            self.expect_files()?;
            self.has_ended = true;
            return Ok(Status::Ended);
        }
        self.failed();
        let stderr = escape::line(stderr.trim().as_bytes()).text.into_owned();
        Err(JournalError::Ended { status: ended.status, stderr })
    }

    /// A journal without an entry of ours ends just as one without a file: only the latter has no headers.
    fn expect_files(&self) -> Result<(), JournalError> {
        if self.position.cursor.is_some() {
            return Ok(());
        }
        let mut arguments = vec![OsString::from("--header"), OsString::from("--no-pager")];
        arguments.extend(self.options.directory.as_deref().map(directory_argument));
        let deadline = until(Instant::now() + self.options.silence);
        let mut running =
            command::start(PROGRAM, &arguments, b"", &deadline, u64::MAX).map_err(JournalError::Start)?;
        match running.read(&mut [0]) {
            Ok(0) => {
                let directory = self.options.directory.as_deref().map(Path::to_string_lossy);
                let within = directory.map(|directory| format!(" in {}", escape::name(&directory)));
                Err(JournalError::NoFiles { within: within.unwrap_or_default() })
            }
            Ok(_) => Ok(()),
            Err(error) => Err(JournalError::Read(running.error(error))),
        }
    }
}

/// Adds an entry's line, unless it is the one that was handed over last.
fn enter(entry: &Entry<'_>, expected: Option<String>, options: &JournalOptions, batch: &mut Batch) {
    match expected {
        Some(expected) if expected == entry.cursor => return,
        // the journal does not have it any more, and nobody knows what else is gone
        Some(_) => batch.gaps += 1,
        None => {}
    }
    match &entry.what {
        What::Forged(_) if !options.trusts_identifier => {}
        What::Line(line) | What::Forged(line) => {
            batch.cut += u64::from(line.len() > options.line_limit);
            batch.push(line.get(..options.line_limit).unwrap_or(line), entry.at);
        }
        What::Missed(Some(count)) => batch.lost += count,
        What::Missed(None) => batch.gaps += 1,
        What::Nothing => batch.lost += 1,
    }
}

fn since_us(start: Start) -> u64 {
    let at = match start {
        Start::Beginning => return 0,
        Start::End => SystemTime::now(),
        Start::Since(at) => at,
    };
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn until(deadline: Instant) -> Deadline {
    Deadline::after(deadline.saturating_duration_since(Instant::now()), Arc::default())
}

/// What a cursor may look like; it comes from a file and goes onto a command line.
///
/// *Source*: `sd_journal_get_cursor(3)`: opaque, but made of `key=value` pairs, separated by semicolons.
fn is_cursor(cursor: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"=;-".contains(&byte);
    !cursor.is_empty() && cursor.len() <= 1024 && cursor.bytes().all(is_known)
}

/// The arguments of journalctl.
///
/// The last entry is asked for again, not what comes after it: `--after-cursor` skips an entry unseen if the journal
/// does not have that one any more. `--follow` means this boot only since systemd 250, unless `--boot=all` comes after
/// it; some versions heed that only with `--merge`. `--since` or a cursor is always given, for nothing else reads all.
fn arguments(options: &JournalOptions, position: &JournalPosition) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["--output=json", "--all", "--no-pager"].map(OsString::from).into();
    let fields = "MESSAGE,MESSAGE_ID,_TRANSPORT,SYSLOG_FACILITY,_SOURCE_REALTIME_TIMESTAMP,_SOURCE_MONOTONIC_TIMESTAMP";
    arguments.push(format!("--output-fields={fields}").into());
    if options.is_following {
        arguments.extend(["--merge", "--follow", "--no-tail", "--boot=all"].map(OsString::from));
    }
    if let Some(directory) = &options.directory {
        arguments.push(directory_argument(directory));
    }
    let from = match &position.cursor {
        Some(cursor) => format!("--cursor={cursor}"),
        None => format!("--since=@{}.{:06}", position.since_us / 1_000_000, position.since_us % 1_000_000),
    };
    arguments.push(from.into());
    let local = (options.is_following && options.directory.is_none()).then(machine_id).flatten();
    let kernel = vec!["_TRANSPORT=kernel".to_owned()];
    let missed = vec!["_TRANSPORT=driver".to_owned(), format!("MESSAGE_ID={MISSED}")];
    let called_kernel = options.trusts_identifier.then(|| vec!["SYSLOG_IDENTIFIER=kernel".to_owned()]);
    for (index, matches) in [Some(kernel), Some(missed), called_kernel].into_iter().flatten().enumerate() {
        arguments.extend((index > 0).then(|| "+".into()));
        arguments.extend(matches.into_iter().chain(local.clone()).map(OsString::from));
    }
    arguments
}

fn directory_argument(directory: &Path) -> OsString {
    let mut argument = OsString::from("--directory=");
    argument.push(directory);
    argument
}

/// `--merge` would read other machines' journals too, where they are collected.
fn machine_id() -> Option<String> {
    let id = std::fs::read_to_string("/etc/machine-id").ok()?;
    let id = id.trim();
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| format!("_MACHINE_ID={id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &JournalOptions, cursor: Option<&str>) -> String {
        let position = JournalPosition { cursor: cursor.map(str::to_owned), since_us: 1_700_000_000_000_042 };
        let arguments = arguments(options, &position);
        arguments.join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn a_journal_is_followed_through_all_boots() {
        let options = JournalOptions { directory: Some("/j".into()), ..JournalOptions::default() };
        let followed = line(&options, None);
        // the order matters to some versions
        assert!(followed.contains("--merge --follow --no-tail --boot=all --directory=/j"), "{followed}");
        assert!(followed.contains(" --since=@1700000000.000042 "), "{followed}");
        let kernel = format!(" _TRANSPORT=kernel + _TRANSPORT=driver MESSAGE_ID={MISSED}");
        assert!(followed.ends_with(&kernel), "{followed}");
        let trusting = JournalOptions { trusts_identifier: true, is_following: false, ..options };
        let read = line(&trusting, Some("s=1;i=2"));
        assert!(read.ends_with(" + SYSLOG_IDENTIFIER=kernel") && !read.contains("--follow"), "{read}");
        assert!(read.contains(" --cursor=s=1;i=2 ") && !read.contains("--since"), "{read}");
    }

    #[test]
    fn without_a_directory_only_this_machine_is_followed() {
        let matches = machine_id().map_or(0, |_| 2);
        assert_eq!(line(&JournalOptions::default(), None).matches("_MACHINE_ID=").count(), matches);
    }

    #[test]
    fn a_forged_cursor_is_a_gap_and_no_argument() {
        for forged in ["", "--file=/etc/shadow", "s=1 --all", "s=1\n", &"a".repeat(2000)] {
            let position = JournalPosition { cursor: Some(forged.to_owned()), since_us: 7 };
            let journal = Journal::open(JournalOptions::default(), Some(position));
            assert_eq!((journal.position().cursor, journal.gaps), (None, 1), "{forged}");
        }
    }
}
