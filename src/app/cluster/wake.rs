//! What the loops of the cluster wait for: reports, time, the end.
//! Does nothing about any of it.

use std::sync::Arc;

use tokio::sync::watch as channel;
use tokio::time::{Instant, sleep_until};

use crate::app::ending::Ending;
use crate::domain::judging::report::Report;

/// The latest report, none before the first.
pub type Reports = channel::Receiver<Option<Arc<Report>>>;

/// What a loop waits for.
pub(super) enum Wake {
    Report(Arc<Report>),
    Timer,
    Stop(Ending),
}

pub(super) struct Wakes {
    pub reports: Reports,
    pub stopped: channel::Receiver<Option<Ending>>,
}

impl Wakes {
    /// A report that was made before the end comes before the end. Dropping the future loses nothing.
    pub async fn next(&mut self, timer: Option<Instant>) -> Wake {
        loop {
            tokio::select! {
                biased;
                // after the last report there is only the end to wait for
                Ok(()) = self.reports.changed() => {
                    if let Some(report) = self.reports.borrow_and_update().clone() {
                        return Wake::Report(report);
                    }
                }
                ending = stopped(&mut self.stopped) => return Wake::Stop(ending),
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => return Wake::Timer,
            }
        }
    }
}

async fn stopped(stopped: &mut channel::Receiver<Option<Ending>>) -> Ending {
    stopped.wait_for(Option::is_some).await.map_or(None, |ending| *ending).unwrap_or(Ending::Stopped)
}
