//! The thread that compares the legacy tables with what they were: the kernel tells nobody when they change.
//! Asks only for tables that exist, because asking for another creates it; with none, it looks at their list and sleeps.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fingerprint;
use super::shared::{Shared, Woken, count};
use crate::domain::changes::carried::News;
use crate::domain::changes::pending::Touched;
use crate::domain::rules::Family;
use crate::host::xtables::lock::XtablesLock;
use crate::host::xtables::{self, Info, Xtables};

/// From one comparison of sizes to the next, where there are tables: up to half as long again, or as much shorter, so that
/// nobody can know when.
const POLL: Duration = Duration::from_millis(500);
/// From one look at the list of tables to the next, where there are none.
const LIST: Duration = Duration::from_secs(1);
/// The same where runs of iptables-legacy are seen: only a program that uses another lock file makes tables unseen.
const LIST_BEHIND_LOCK: Duration = Duration::from_secs(5);
/// However often iptables-legacy runs, sizes are compared after this time and not sooner.
const POLL_AFTER_RUN: Duration = Duration::from_millis(20);

/// The middle of what [`draw`] draws.
const EVEN: u8 = 128;

/// A number that nobody can know before.
fn draw() -> u8 {
    let [drawn, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    drawn
}

/// A pause that is up to half as long again, or up to half as long.
fn at_random(pause: Duration, chance: u8) -> Duration {
    pause / 2 + pause * u32::from(chance) / 256
}

/// The state of the thread.
pub(super) struct Poller {
    shared: Arc<Shared>,
    lock: Option<XtablesLock>,
    families: [Tables; 3],
    touched: Touched,
    polled: Instant,
    /// When the next comparison of sizes comes: see [`at_random`].
    chance: u8,
    sees_runs: bool,
}

impl Poller {
    /// Takes the state that later ones are compared with.
    pub fn start(shared: Arc<Shared>, lock: &Path) -> Self {
        let lock = XtablesLock::new(lock)
            .inspect_err(|error| log::info!("runs of iptables-legacy are not seen as they happen: {error}"));
        let mut poller = Self {
            shared,
            lock: lock.ok(),
            families: [Family::Ip, Family::Ip6, Family::Arp].map(Tables::new),
            touched: Touched::default(),
            polled: Instant::now(),
            chance: EVEN,
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
            self.shared.tell(&mut self.touched, None, News::default());
            self.compare_contents();
            self.shared.tell(&mut self.touched, None, News::default());
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
        let has_tables = self.families.iter().any(|tables| !tables.known.is_empty());
        let pause = match (has_tables, self.sees_runs) {
            (true, _) => POLL,
            (false, false) => LIST,
            (false, true) => LIST_BEHIND_LOCK,
        };
        let next = self.polled + at_random(pause, self.chance);
        let due = self.families.iter().filter_map(|tables| tables.due(now)).min();
        due.map_or(next, |due| due.min(next)).saturating_duration_since(now)
    }

    fn compare_sizes(&mut self) {
        self.polled = Instant::now();
        self.chance = draw();
        self.sees_runs = self.lock.as_ref().is_some_and(XtablesLock::renew);
        let has_run = self.lock.as_ref().is_some_and(XtablesLock::has_run);
        count(&self.shared.counts.legacy_polls);
        for tables in &mut self.families {
            tables.compare_sizes(has_run, &mut self.touched);
        }
    }

    fn compare_contents(&mut self) {
        for tables in &mut self.families {
            let now = Instant::now();
            if tables.due(now).is_some_and(|due| due <= now) {
                count(&self.shared.counts.legacy_fingerprints);
                tables.compare_contents(&mut self.touched);
            }
        }
    }

    fn say_what_fails(&self) {
        let failure = self
            .families
            .iter()
            .find_map(|tables| tables.failure.as_ref().or(tables.contents_failure.as_ref()).cloned());
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
    known: BTreeMap<String, Table>,
    failure: Option<String>,
    contents_failure: Option<String>,
}

/// A table, as it was.
#[derive(Default)]
struct Table {
    /// None where it is not known.
    info: Option<Info>,
    contents: Contents,
}

impl Tables {
    fn new(family: Family) -> Self {
        Self { family, kernel: None, known: BTreeMap::new(), failure: None, contents_failure: None }
    }

    /// Looks for other tables and other sizes than before. After a run of iptables-legacy contents are soon due too.
    fn compare_sizes(&mut self, has_run: bool, touched: &mut Touched) {
        self.failure = None;
        let names = match xtables::loaded_tables(self.family) {
            Ok(names) => names,
            Err(error) => {
                self.failure = Some(format!("reading which legacy {} tables exist: {error}", self.family));
                return;
            }
        };
        let mut before = std::mem::take(&mut self.known);
        for name in names {
            let info = self.info(&name).unwrap_or_else(|error| {
                self.failure =
                    Some(format!("asking the kernel for its legacy {} tables: {error}", self.family));
                None
            });
            let known = before.remove(&name);
            let is_other = known.as_ref().is_none_or(|known| known.info != info);
            if is_other {
                touched.legacy(self.family, &name);
            }
            let mut contents = known.map(|known| known.contents).unwrap_or_default();
            contents.is_urgent |= is_other || has_run;
            self.known.insert(name, Table { info, contents });
        }
        before.keys().for_each(|name| touched.legacy(self.family, name));
        if self.known.is_empty() {
            self.contents_failure = None;
        }
    }

    /// The sizes of a table that is listed.
    fn info(&mut self, table: &str) -> io::Result<Option<Info>> {
        let kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => Xtables::open(self.family)?,
        };
        self.kernel.insert(kernel).info(table).map(Some)
    }

    /// When contents are to be compared; never where there are none to be read.
    fn due(&self, now: Instant) -> Option<Instant> {
        self.known.values().filter_map(|table| table.due(now)).min()
    }

    /// Looks for contents that are other than before, of all tables that are due.
    fn compare_contents(&mut self, touched: &mut Touched) {
        let started = Instant::now();
        let is_due = |table: &Table| table.due(started).is_some_and(|due| due <= started);
        let names: Vec<String> =
            self.known.iter().filter(|(_, table)| is_due(table)).map(|(name, _)| name.clone()).collect();
        let read = fingerprint::read(self.family, &names);
        let took = started.elapsed();
        let told =
            |error: &io::Error| format!("reading the contents of legacy {} tables: {error}", self.family);
        self.contents_failure = read.as_ref().err().map(told);
        let hashes = read.unwrap_or_default();
        let bytes: u64 = names.iter().filter_map(|name| self.known.get(name)).map(Table::bytes).sum();
        for name in names {
            let Some(table) = self.known.get_mut(&name) else { continue };
            let share = took.mul_f64(table.bytes() as f64 / bytes as f64);
            let hash = hashes.get(&name).map(String::as_str);
            table.contents.chance = draw();
            if table.contents.take(started, share, hash) {
                touched.legacy(self.family, &name);
            }
        }
    }
}

impl Table {
    /// Its size, and what any table costs beside.
    fn bytes(&self) -> u64 {
        4096 + self.info.as_ref().map_or(0, |info| u64::from(info.size))
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        self.info.as_ref().map(|_| self.contents.due(now))
    }
}

/// What the contents were, and how often to look at them: it may take half a hundredth of a processor.
#[derive(Debug)]
struct Contents {
    last: Option<String>,
    read: Option<Instant>,
    cost: Duration,
    is_urgent: bool,
    /// When the next comparison comes: see [`at_random`].
    chance: u8,
}

impl Default for Contents {
    fn default() -> Self {
        Self { last: None, read: None, cost: Duration::ZERO, is_urgent: false, chance: EVEN }
    }
}

impl Contents {
    const SHARE: u32 = 200;
    const LONGEST: Duration = Duration::from_secs(60);

    /// When they are to be looked at next: now, if they never were.
    fn due(&self, now: Instant) -> Instant {
        let shortest = if self.is_urgent { Duration::from_millis(250) } else { Duration::from_secs(5) };
        let pause = self.cost.saturating_mul(Self::SHARE).clamp(shortest, Self::LONGEST);
        self.read.map_or(now, |read| read + at_random(pause, self.chance))
    }

    /// Takes the hash of what was read from then on, at this cost. Whether it is other than before; if there is none, the
    /// next read will tell.
    fn take(&mut self, started: Instant, cost: Duration, hash: Option<&str>) -> bool {
        (self.read, self.cost, self.is_urgent) = (Some(started), cost, false);
        hash.is_some_and(|hash| self.last.replace(hash.to_owned()).is_none_or(|last| last != hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_looked_at_for_half_a_hundredth_of_the_time() {
        let zero = Instant::now();
        let due = |cost: u64, is_urgent: bool| {
            let mut contents = Contents::default();
            contents.take(zero, Duration::from_millis(cost), Some(""));
            contents.is_urgent = is_urgent;
            (contents.due(zero) - zero).as_millis()
        };
        assert_eq!([due(1, false), due(1, true)], [5_000, 250]);
        assert_eq!([due(50, false), due(50, true)], [10_000, 10_000]);
        assert_eq!([due(5_000, false), due(5_000, true)], [60_000, 60_000]);
    }

    #[test]
    fn contents_that_could_not_be_read_are_compared_with_the_last_that_could() {
        let mut contents = Contents::default();
        let mut take = |hash: Option<&str>| contents.take(Instant::now(), Duration::ZERO, hash);
        assert!(take(Some("a")));
        assert!(!take(Some("a")));
        assert!(!take(None));
        assert!(!take(Some("a")));
        assert!(!take(None));
        assert!(take(Some("b")));
    }
}
