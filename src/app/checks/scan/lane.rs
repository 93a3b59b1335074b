//! A thread that reads what the sets of some tables hold, one table after the other.
//! Keeps nothing that was taken.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::elements::Left;
use super::unit::Unit;
use super::{Context, ScanOptions};
use crate::app::service::{Fault, Thread};
use crate::domain::judging::audit::{Audit, Rulebook, TextBudget};

/// Tables that were read and that nobody took: then the thread waits.
const TABLES_READ: usize = 64;

/// One table that was read.
#[derive(Debug)]
pub struct Found {
    pub left: Arc<Left>,
    pub begun: Instant,
    pub unit: Arc<Unit>,
    /// Sets that were left out.
    pub omitted: Vec<String>,
    pub took: Duration,
}

/// Room for one thread at a time.
#[derive(Debug, Default)]
pub struct Lane(Option<Job>);

#[derive(Debug)]
struct Job {
    /// How many tables are still to come.
    left: usize,
    found: Receiver<Found>,
    begun: Instant,
    book: Rulebook,
    thread: Thread<()>,
}

/// What came of waiting.
#[derive(Debug)]
pub enum Progress {
    /// Nothing yet, or nothing is being read.
    Nothing,
    /// A table, judged by these allowlists.
    Found(Box<Found>, Rulebook),
    /// The thread ended before it had read all.
    Died(Fault),
}

impl Lane {
    /// Whether something is being read.
    pub const fn is_busy(&self) -> bool {
        self.0.is_some()
    }

    /// Reads these tables from now on; `came` is told of each, and of the end.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start(
        &mut self,
        options: &ScanOptions,
        book: &Rulebook,
        budget: TextBudget,
        tables: Vec<Arc<Left>>,
        came: &Arc<Notify>,
    ) -> std::io::Result<()> {
        let (sender, found) = sync_channel(TABLES_READ);
        let left = tables.len();
        let (options, by, came) = (options.clone(), book.clone(), Arc::clone(came));
        let thread = Thread::start("elements", move || {
            // also when it panics
            let told = Tell(came);
            read_each(&options, &by, &budget, tables, &sender, &told.0);
        })?;
        self.0 = Some(Job { left, found, begun: Instant::now(), book: book.clone(), thread });
        Ok(())
    }

    /// Waits for the next table, until so long after the start.
    pub fn next(&mut self, patience: Duration) -> Progress {
        let Some(job) = &mut self.0 else { return Progress::Nothing };
        match job.found.recv_timeout(patience.saturating_sub(job.begun.elapsed())) {
            Ok(found) => {
                job.left -= 1;
                let book = job.book.clone();
                if job.left == 0 {
                    self.0 = None;
                }
                Progress::Found(Box::new(found), book)
            }
            Err(RecvTimeoutError::Timeout) => Progress::Nothing,
            Err(RecvTimeoutError::Disconnected) => {
                let ended = self.0.take().map(|job| job.thread.join());
                Progress::Died(ended.and_then(Result::err).unwrap_or(Fault::Ended))
            }
        }
    }
}

/// Tells when it is dropped.
struct Tell(Arc<Notify>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Reads tables one after the other until nobody wants them any more.
fn read_each(
    options: &ScanOptions,
    book: &Rulebook,
    budget: &TextBudget,
    tables: Vec<Arc<Left>>,
    found: &SyncSender<Found>,
    came: &Notify,
) {
    let context = Context::new(options);
    for left in tables {
        if context.deadline().is_cancelled() || found.send(read(&context, book, budget, left)).is_err() {
            return;
        }
        came.notify_one();
    }
}

/// Reads one table.
pub fn read(context: &Context<'_>, book: &Rulebook, budget: &TextBudget, left: Arc<Left>) -> Found {
    let begun = Instant::now();
    let (unit, omitted) = left.read(context, book, Audit::new(book, context.options.limit, budget));
    Found { left, begun, unit: Arc::new(unit), omitted, took: begun.elapsed() }
}
