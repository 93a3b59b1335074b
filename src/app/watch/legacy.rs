//! The thread that compares the legacy tables with what they were: the kernel tells nobody when they change.
//! Asks only for tables that exist, because asking for another creates it; with none, it looks at their list and sleeps.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Shared, Woken, count, fingerprint};
use crate::domain::pending::Touched;
use crate::domain::ruleset::Family;
use crate::host::command::Deadline;
use crate::host::xtables::{self, Info, Xtables};
use crate::host::xtables_lock::XtablesLock;

/// From one comparison of sizes to the next, where there are tables.
const POLL: Duration = Duration::from_millis(500);
/// From one look at the list of tables to the next, where there are none.
const LIST: Duration = Duration::from_secs(1);
/// The same where runs of iptables-legacy are seen: only a program that uses another lock file makes tables unseen.
const LIST_BEHIND_LOCK: Duration = Duration::from_secs(5);
/// However often iptables-legacy runs, sizes are compared after this time and not sooner.
const POLL_AFTER_RUN: Duration = Duration::from_millis(20);
/// The longest that reading the contents may take.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// The state of the thread.
pub(super) struct Poller {
    shared: Arc<Shared>,
    program: PathBuf,
    lock: Option<XtablesLock>,
    families: [Tables; 3],
    touched: Touched,
    polled: Instant,
    sees_runs: bool,
}

impl Poller {
    /// Takes the state that later ones are compared with.
    pub fn start(shared: Arc<Shared>, program: PathBuf, lock: &Path) -> Self {
        let lock = XtablesLock::new(lock)
            .inspect_err(|error| log::info!("runs of iptables-legacy are not seen as they happen: {error}"));
        let mut poller = Self {
            shared,
            program,
            lock: lock.ok(),
            families: [Family::Ip, Family::Ip6, Family::Arp].map(Tables::new),
            touched: Touched::default(),
            polled: Instant::now(),
            sees_runs: false,
        };
        poller.compare_sizes();
        poller.compare_contents();
        poller.touched = Touched::default();
        poller.say_what_fails();
        poller
    }

    /// Compares until stopped.
    pub fn run(mut self) {
        loop {
            let woken = {
                let lock = self.lock.as_ref().map(AsFd::as_fd);
                self.shared.wait(lock, Some(self.pause(Instant::now())))
            };
            let woken = match woken {
                Woken::Readable => self.shared.wait(None, Some(self.rest_after_run(Instant::now()))),
                other => other,
            };
            if woken == Woken::Stopped {
                return;
            }
            // sizes are told at once: contents take longer to read
            self.compare_sizes();
            self.shared.tell(&mut self.touched, None);
            self.compare_contents();
            self.shared.tell(&mut self.touched, None);
            if self.shared.is_stopped() {
                return;
            }
            self.say_what_fails();
        }
    }

    fn rest_after_run(&self, now: Instant) -> Duration {
        (self.polled + POLL_AFTER_RUN).saturating_duration_since(now)
    }

    /// Until the next comparison, unless iptables-legacy runs before.
    fn pause(&self, now: Instant) -> Duration {
        let has_tables = self.families.iter().any(|tables| !tables.sizes.is_empty());
        let next = self.polled
            + match (has_tables, self.sees_runs) {
                (true, _) => POLL,
                (false, false) => LIST,
                (false, true) => LIST_BEHIND_LOCK,
            };
        let due = self.families.iter().filter_map(Tables::due).min();
        due.map_or(next, |due| due.min(next)).saturating_duration_since(now)
    }

    fn compare_sizes(&mut self) {
        self.polled = Instant::now();
        self.sees_runs = self.lock.as_ref().is_some_and(XtablesLock::renew);
        let has_run = self.lock.as_ref().is_some_and(XtablesLock::has_run);
        count(&self.shared.counts.legacy_polls);
        for tables in &mut self.families {
            tables.contents.is_urgent |= has_run;
            if tables.compare_sizes() {
                self.touched.legacy(tables.family);
            }
        }
    }

    fn compare_contents(&mut self) {
        for tables in &mut self.families {
            if tables.due().is_some_and(|due| due <= Instant::now()) {
                count(&self.shared.counts.legacy_fingerprints);
                let deadline = Deadline::after(READ_LIMIT, Arc::clone(&self.shared.cancelled));
                if tables.compare_contents(&self.program, &deadline) {
                    self.touched.legacy(tables.family);
                }
            }
        }
    }

    fn say_what_fails(&self) {
        let failure = self
            .families
            .iter()
            .find_map(|tables| tables.failure.as_ref().or(tables.contents.failure.as_ref()).cloned());
        if failure.is_some() {
            count(&self.shared.counts.legacy_failures);
        }
        self.shared.works(|failures| &mut failures.legacy, failure);
    }
}

/// The tables of one family, as they were.
struct Tables {
    family: Family,
    kernel: Option<Xtables>,
    sizes: Vec<(String, Option<Info>)>,
    failure: Option<String>,
    contents: Contents,
}

impl Tables {
    fn new(family: Family) -> Self {
        Self { family, kernel: None, sizes: Vec::new(), failure: None, contents: Contents::default() }
    }

    /// Whether there are other tables or other sizes than before.
    fn compare_sizes(&mut self) -> bool {
        self.failure = None;
        let names = match xtables::loaded_tables(self.family) {
            Ok(names) => names,
            Err(error) => {
                self.failure = Some(format!("reading which legacy {} tables exist: {error}", self.family));
                return false;
            }
        };
        let mut sizes = Vec::with_capacity(names.len());
        for name in names {
            let size = self.size(&name).unwrap_or_else(|error| {
                self.failure =
                    Some(format!("asking the kernel for its legacy {} tables: {error}", self.family));
                None
            });
            sizes.push((name, size));
        }
        let has_changed = sizes != self.sizes;
        self.sizes = sizes;
        self.contents.is_urgent |= has_changed;
        if self.sizes.is_empty() {
            self.contents = Contents::default();
        }
        has_changed
    }

    /// The sizes of a table that is listed; arptables-legacy has none that anybody reads.
    fn size(&mut self, table: &str) -> io::Result<Option<Info>> {
        if self.family == Family::Arp {
            return Ok(None);
        }
        let kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => Xtables::open(self.family)?,
        };
        self.kernel.insert(kernel).info(table).map(Some)
    }

    /// When the contents are to be compared; never where there are none to be read.
    fn due(&self) -> Option<Instant> {
        let is_readable = self.sizes.iter().any(|(_, info)| info.is_some());
        is_readable.then(|| self.contents.due())
    }

    /// Whether the contents are other than before.
    fn compare_contents(&mut self, program: &Path, deadline: &Deadline) -> bool {
        let tables: Vec<&str> = self.sizes.iter().map(|(name, _)| name.as_str()).collect();
        let started = Instant::now();
        let read = fingerprint::run(program, self.family, &tables, deadline);
        self.contents.take(started, started.elapsed(), read)
    }
}

/// What the contents were, and how often to look at them: it may take a hundredth of a processor.
#[derive(Debug, Default)]
struct Contents {
    last: Option<String>,
    read: Option<Instant>,
    cost: Duration,
    is_urgent: bool,
    failure: Option<String>,
}

impl Contents {
    const LONGEST: Duration = Duration::from_secs(60);

    fn due(&self) -> Instant {
        let (share, shortest) =
            if self.is_urgent { (100, Duration::from_secs(1)) } else { (200, Duration::from_secs(5)) };
        let pause = self.cost.saturating_mul(share).clamp(shortest, Self::LONGEST);
        self.read.map_or_else(Instant::now, |read| read + pause)
    }

    /// Takes what was read from then on, at this cost. Whether it is other than before; if it could not be read, the next
    /// read will tell.
    fn take(&mut self, started: Instant, cost: Duration, read: Result<String, String>) -> bool {
        (self.read, self.cost, self.is_urgent) = (Some(started), cost, false);
        match read {
            Ok(found) => {
                self.failure = None;
                self.last.replace(found.clone()) != Some(found)
            }
            Err(error) => {
                self.failure = Some(error);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_looked_at_for_a_hundredth_of_the_time() {
        let zero = Instant::now();
        let due = |cost: u64, is_urgent: bool| {
            let mut contents = Contents::default();
            contents.take(zero, Duration::from_millis(cost), Ok(String::new()));
            contents.is_urgent = is_urgent;
            (contents.due() - zero).as_millis()
        };
        assert_eq!([due(5, false), due(5, true)], [5_000, 1_000]);
        assert_eq!([due(50, false), due(50, true)], [10_000, 5_000]);
        assert_eq!([due(5_000, false), due(5_000, true)], [60_000, 60_000]);
    }

    #[test]
    fn contents_that_could_not_be_read_are_compared_with_the_last_that_could() {
        let mut contents = Contents::default();
        let mut take = |read: Result<&str, &str>| {
            contents.take(Instant::now(), Duration::ZERO, read.map(str::to_owned).map_err(str::to_owned))
        };
        assert!(take(Ok("a")));
        assert!(!take(Ok("a")));
        assert!(!take(Err("no")));
        assert!(!take(Ok("a")));
        assert!(!take(Err("no")));
        assert!(take(Ok("b")));
        assert_eq!(contents.failure, None);
    }
}
