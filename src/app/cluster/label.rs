//! The loop that keeps the label of one object.
//! Decides nothing: [`Keeper`] says what is to be done, and here it is done, or tried again later.

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::settings::ClusterSettings;
use super::wake::{Wake, Wakes};
use crate::app::api_health::{Health, failed};
use crate::app::ending::Ending;
use crate::domain::cluster::keeper::{Held, Keeper, Patch, Step, Wrote};
use crate::domain::cluster::{NodeEvent, note};
use crate::domain::words::backoff::Pace;
use crate::k8s::client::{ApiServer, Notice, Verb};
use crate::k8s::failure::Failure;
use crate::k8s::label::LabelWriter;

/// What the watch shows last; none without a watch or an object.
pub(super) type Sights = watch::Receiver<Option<Held>>;

/// A failed call that is made again.
struct Retry {
    at: Instant,
    pace: Pace,
}

/// Keeps the label of one object equal to the latest verdict.
pub(super) struct LabelLoop<'a> {
    api: &'a ApiServer,
    writer: LabelWriter,
    settings: &'a ClusterSettings,
    keeper: Keeper,
    /// That the object can be read does not say that it can be written.
    reading: Health,
    writing: Health,
    is_unseen: bool,
    contested: mpsc::Sender<NodeEvent>,
}

impl<'a> LabelLoop<'a> {
    /// Will keep the label of the writer's object, and say when somebody else keeps overwriting it.
    pub fn new(
        api: &'a ApiServer,
        writer: LabelWriter,
        settings: &'a ClusterSettings,
        contested: mpsc::Sender<NodeEvent>,
    ) -> Self {
        let health = || Health::new(format!("labelling {} {}", writer.object().kind(), settings.node));
        let (reading, writing) = (health(), health());
        let keeper = Keeper::new(&settings.labels);
        Self { api, writer, settings, keeper, reading, writing, is_unseen: false, contested }
    }

    /// Keeps it until the end.
    pub async fn run(mut self, mut wakes: Wakes, mut sights: Sights) {
        let mut until = None;
        let mut retry: Option<Retry> = None;
        let mut is_watched = false;
        loop {
            let timer = retry.as_ref().map(|retry| retry.at).or(until);
            let wake = tokio::select! {
                biased;
                wake = wakes.next(timer) => Some(wake),
                Ok(()) = sights.changed() => None,
            };
            let is_last = matches!(wake, Some(Wake::Stop(_)));
            match wake {
                Some(Wake::Report(report)) => self.keeper.observe(&report),
                Some(Wake::Timer) => retry = None,
                Some(Wake::Stop(ending)) => {
                    retry = None;
                    self.take_leave(ending);
                }
                None => {
                    let held = sights.borrow_and_update().clone();
                    // an API server that shows the object is there again, and may have changed its mind
                    let is_new = held.is_some() && !is_watched;
                    retry = retry.filter(|retry| held.is_none() || (retry.pace == Pace::Slow && !is_new));
                    is_watched = held.is_some();
                    if is_watched {
                        self.reading.worked();
                    }
                    self.keeper.watched(held);
                }
            }
            if retry.is_none() {
                match self.act().await {
                    Ok(next) => until = next,
                    Err(failure) => {
                        let pace = failure.class.pace();
                        retry = Some(Retry { at: self.failed(&failure), pace });
                    }
                }
            }
            if is_last {
                return;
            }
        }
    }

    fn failed(&mut self, failure: &Failure) -> Instant {
        let health =
            if failure.operation.verb == Verb::Patch { &mut self.writing } else { &mut self.reading };
        failed(health, failure)
    }

    fn take_leave(&mut self, ending: Ending) {
        if self.settings.unknown_on_exit && ending == Ending::Stopped {
            self.keeper.leave();
        }
    }

    /// Does what is to be done, and says when to go on if there is no news before.
    async fn act(&mut self) -> Result<Option<Instant>, Failure> {
        loop {
            let now = Instant::now().into_std();
            let step = match self.keeper.next(now) {
                Step::Look => self.look().await?,
                step => step,
            };
            match step {
                Step::Write(patch) => self.write(&patch).await?,
                Step::Calm => log::info!("{}: nobody overwrites the label any more", self.writing.what()),
                Step::Rest(until) => return Ok(until.map(Instant::from_std)),
                // it was done just now
                Step::Look => return Ok(None),
            }
        }
    }

    async fn look(&mut self) -> Result<Step, Failure> {
        let now = Instant::now().into_std();
        let held = self.writer.read(self.api, now).await?;
        self.tell_whether_unseen(held.is_none());
        match held {
            Some(held) => {
                self.reading.worked();
                Ok(self.keeper.found(&held, now))
            }
            None => Ok(self.keeper.unseen()),
        }
    }

    async fn write(&mut self, patch: &Patch) -> Result<(), Failure> {
        let held = self.writer.write(self.api, patch).await?;
        self.writing.worked();
        let wrote = self.keeper.wrote(patch, held, Instant::now().into_std());
        self.tell(patch, wrote);
        Ok(())
    }

    fn tell_whether_unseen(&mut self, is_unseen: bool) {
        if is_unseen && !self.is_unseen {
            log::info!(
                "{}: `get` is not granted, so the label is patched with each report",
                self.reading.what()
            );
        }
        self.is_unseen = is_unseen;
    }

    fn tell(&self, patch: &Patch, wrote: Wrote) {
        let what = self.writing.what();
        let value = patch.value;
        match (patch.labels.is_empty(), wrote.is_restore) {
            (true, _) => log::debug!("{what}: the time of the last complete check is written"),
            (false, false) if self.is_unseen => log::debug!(value; "{what}: written"),
            (false, false) => log::info!(value; "{what}: written"),
            (false, true) => {
                self.api.tell(Notice::Restored(self.writer.object()));
                log::debug!(value; "{what}: restored after somebody else changed it");
            }
        }
        if wrote.is_fight {
            let (kind, keys) = (self.writer.object().kind(), &self.settings.labels);
            let event = note::contested(kind, &self.settings.node, keys);
            log::warn!("{what}: {}", event.note);
            // if nobody reads them, or so many are unread, it was told already
            let _ = self.contested.try_send(event);
        }
    }
}
