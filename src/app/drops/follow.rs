//! Follows one source on a thread of its own: lines become packets, each with its fate, and the checkpoint moves behind
//! what was delivered. Names nobody and tells nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::folding::Arrival;
use super::positions::Positions;
use super::source::{How, Logged, Nflogged, Source, SourceError, SourceSpec};
use crate::domain::drops::Clock;
use crate::domain::drops::accounting::{Accounting, Fate};
use crate::domain::drops::batch::{Batch, Status};
use crate::domain::drops::kernel_log::{LogParser, Parsed};
use crate::domain::words::error_chain::chain_of;
use crate::host::files::checkpoint::Checkpoints;

/// A thread that waits looks this often whether it is to end, and whether something was delivered.
const LOOK: Duration = Duration::from_millis(250);
/// A source that cannot be opened is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// The checkpoints of all sources, in one file.
pub type SharedCheckpoints = Arc<Mutex<Checkpoints>>;

/// A source to be followed.
#[derive(Debug)]
pub struct Follower {
    /// The source.
    pub spec: SourceSpec,
    /// How it is read.
    pub how: How,
    /// What reads its lines.
    pub parser: Arc<LogParser>,
    /// Its counters.
    pub accounting: Arc<Accounting>,
    /// Where its checkpoint is kept; none if it is not.
    pub checkpoints: Option<SharedCheckpoints>,
    /// Seconds that local time is ahead of UTC, for lines without a zone.
    pub utc_offset_seconds: i32,
    /// Whether it was said that the checkpoint cannot be kept.
    pub has_warned: AtomicBool,
}

/// Where packets go. Returns how many were refused: none unless packets cannot wait.
pub type Deliver<'a> = dyn FnMut(Vec<Arrival>) -> u64 + 'a;

impl Follower {
    /// Runs until it is stopped, or to the end of a source that is not followed. What is in `positions` then was not
    /// delivered yet: [`save`](Self::save) once more when it was.
    ///
    /// # Errors
    /// If a source that is not followed cannot be read; one that is followed is tried again.
    pub fn run(
        &self,
        positions: &mut Positions<Value>,
        is_stopped: &AtomicBool,
        deliver: &mut Deliver<'_>,
    ) -> Result<(), SourceError> {
        let mut trouble = Trouble::default();
        while !is_stopped.load(Ordering::Relaxed) {
            let result = Source::open(&self.spec, self.how, self.load())
                .and_then(|source| self.read_all(source, positions, &mut trouble, is_stopped, deliver));
            match result {
                Ok(()) => break,
                Err(error) if !self.how.is_following => return Err(error),
                Err(error) => {
                    trouble.said(&self.spec, &error);
                    wait(RETRY, is_stopped);
                }
            }
        }
        Ok(())
    }

    fn read_all(
        &self,
        mut source: Source,
        positions: &mut Positions<Value>,
        trouble: &mut Trouble,
        is_stopped: &AtomicBool,
        deliver: &mut Deliver<'_>,
    ) -> Result<(), SourceError> {
        let (mut batch, mut packets) = (Batch::default(), Vec::new());
        while !is_stopped.load(Ordering::Relaxed) {
            let status = match source.read(&self.parser, &mut batch, &mut packets, Instant::now() + LOOK) {
                Ok(status) => {
                    // journalctl that has said nothing yet may still fail
                    if batch.has_news() || !matches!(source, Source::Journal(_)) {
                        trouble.over(&self.spec);
                    }
                    status
                }
                Err(error) if error.is_passing() && self.how.is_following => {
                    trouble.said(&self.spec, &error);
                    Status::CaughtUp
                }
                Err(error) => return Err(error),
            };
            let hold = Arc::new(());
            let arrivals = self.arrivals(&batch, &mut packets, &hold);
            self.accounting.add_losses(batch.lost, batch.gaps, batch.cut);
            if !arrivals.is_empty() {
                self.accounting.add(Fate::Shed, deliver(arrivals));
            }
            if let Some(checkpoint) = source.checkpoint() {
                positions.enter(checkpoint, hold);
            }
            self.save(positions);
            let is_at_end =
                status == Status::CaughtUp && matches!(source, Source::Kmsg(_)) && batch.is_empty();
            if status == Status::Ended || (is_at_end && !self.how.is_following) {
                break;
            }
        }
        Ok(())
    }

    /// The packets among what was read; everything else has its fate at once.
    fn arrivals(&self, batch: &Batch, packets: &mut Vec<Nflogged>, hold: &Arc<()>) -> Vec<Arrival> {
        let arrival =
            |logged| Arrival { logged, accounting: Arc::clone(&self.accounting), hold: Arc::clone(hold) };
        let (mut ignored, mut unparsed) = (0, 0);
        let mut arrivals = Vec::new();
        let clock = Clock { now: SystemTime::now(), utc_offset_seconds: self.utc_offset_seconds };
        for (line, at) in batch.lines() {
            match self.parser.parse(line, at, clock) {
                Parsed::Packet(packet) => arrivals.push(arrival(Logged::of_line(packet.into_owned()))),
                Parsed::NotOurs => ignored += 1,
                Parsed::Unparsed => unparsed += 1,
            }
        }
        for packet in packets.drain(..) {
            match packet {
                Nflogged::Packet(logged) => arrivals.push(arrival(*logged)),
                Nflogged::NotOurs => ignored += 1,
                Nflogged::Unparsed => unparsed += 1,
            }
        }
        self.accounting.add(Fate::Ignored, ignored);
        self.accounting.add(Fate::Unparsed, unparsed);
        arrivals
    }

    fn load(&self) -> Option<Value> {
        let checkpoints = self.checkpoints.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        checkpoints.load(&self.spec.to_string()).unwrap_or_else(|error| {
            let error = chain_of(&error);
            log::warn!("a checkpoint is not used: {error}");
            None
        })
    }

    /// Moves the checkpoint behind what was delivered.
    pub fn save(&self, positions: &mut Positions<Value>) {
        let Some(checkpoints) = &self.checkpoints else {
            positions.delivered();
            return;
        };
        let mut checkpoints = checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = match positions.delivered() {
            Some(place) => checkpoints.save(&self.spec.to_string(), &place),
            None => checkpoints.write_if_due(),
        };
        if let Err(error) = saved {
            let error = chain_of(&error);
            if self.has_warned.swap(true, Ordering::Relaxed) {
                log::debug!("a checkpoint was not kept: {error}");
            } else {
                log::warn!("a restart will not know what was delivered: {error}; it is tried again");
            }
        }
    }
}

/// Says once what is wrong with a source, and once that it is over.
#[derive(Debug, Default)]
struct Trouble(Option<String>);

impl Trouble {
    fn said(&mut self, spec: &SourceSpec, error: &SourceError) {
        let text = chain_of(error);
        if self.0.as_ref() != Some(&text) {
            log::warn!(source:% = spec; "drops cannot be read: {text}; it is tried again");
            self.0 = Some(text);
        }
    }

    fn over(&mut self, spec: &SourceSpec) {
        if self.0.take().is_some() {
            log::info!(source:% = spec; "drops can be read again");
        }
    }
}

fn wait(time: Duration, is_stopped: &AtomicBool) {
    let end = Instant::now() + time;
    while Instant::now() < end && !is_stopped.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK.min(Duration::from_millis(50)));
    }
}
