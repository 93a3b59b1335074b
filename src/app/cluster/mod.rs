//! Tells the cluster what each check found: labels and Events, each kept by a loop of its own.
//! Never delays a check: the loops take the latest report when they can, and what fails is tried again later.

mod health;
mod netns;
mod settings;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::domain::reaction::note::Detail;
use crate::domain::reaction::{Announcements, label};
use crate::domain::report::Report;
use crate::k8s::client::ApiServer;
use crate::k8s::events::{EventWriter, Moment};
use crate::k8s::failure::Failure;
use crate::k8s::label::{LabelObject, LabelWriter, Outcome};
use health::{Health, random, retry_at};
pub use netns::{NetnsEvidence, judge, local_addresses, netns_problem, prove_netns};
pub use settings::{
    Connection, EventsDetail, LabelTarget, NetnsCheck, Settings, Sink, Surroundings, connect,
};

/// The latest report, none before the first.
pub type Reports = watch::Receiver<Option<Arc<Report>>>;

/// When all ends, what is not yet written has this long.
const GRACE: Duration = Duration::from_secs(3);

/// Tells the API server of each report until `shutdown`, or until nobody makes reports any more. What the last report
/// calls for and was not written by then is tried once more, within a few seconds.
pub async fn run(settings: Settings, api: ApiServer, reports: Reports, shutdown: impl Future<Output = ()>) {
    let (stop, stopped) = watch::channel(false);
    let wakes = || Wakes { reports: changed(&reports), stopped: stopped.clone() };
    let has_label = !settings.report_only && !settings.labels.is_empty();
    let label = |object, is_target: bool| {
        let writer = LabelWriter::new(object, &settings.node, &settings.labels);
        let what = format!("labelling {} {}", object.kind(), settings.node);
        let task = keep_label(api.clone(), writer, Health::new(what), wakes());
        async move {
            if is_target && has_label {
                task.await;
            }
        }
    };
    let target = settings.label_target;
    let events =
        announce(api.clone(), EventWriter::new(&settings.node), settings.events_detail.into(), wakes());
    let work = async {
        tokio::join!(
            label(LabelObject::CiliumNode, target != LabelTarget::Node),
            label(LabelObject::Node, target != LabelTarget::CiliumNode),
            async {
                if settings.events {
                    events.await;
                }
            }
        )
    };
    tokio::pin!(work);
    tokio::select! {
        _ = &mut work => return,
        () = shutdown => {}
    }
    stop.send_replace(true);
    if tokio::time::timeout(GRACE, work).await.is_err() {
        log::warn!("the last report did not reach the API server in time");
    }
}

fn changed(reports: &Reports) -> Reports {
    let mut reports = reports.clone();
    reports.mark_changed();
    reports
}

/// What a loop waits for.
enum Wake {
    Report(Arc<Report>),
    Timer,
    Stop,
}

struct Wakes {
    reports: Reports,
    stopped: watch::Receiver<bool>,
}

impl Wakes {
    /// A report that was made before the end comes before the end.
    async fn next(&mut self, timer: Option<Instant>) -> Wake {
        loop {
            tokio::select! {
                biased;
                changed = self.reports.changed() => match changed {
                    Ok(()) => if let Some(report) = self.reports.borrow_and_update().clone() {
                        return Wake::Report(report);
                    },
                    Err(_) => return Wake::Stop,
                },
                _ = self.stopped.wait_for(|is_stopped| *is_stopped) => return Wake::Stop,
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => return Wake::Timer,
            }
        }
    }
}

/// Keeps the labels of one object equal to the latest verdict; looks at them with each report.
async fn keep_label(api: ApiServer, mut writer: LabelWriter, mut health: Health, mut wakes: Wakes) {
    let mut wanted = None;
    let mut retry = None;
    let mut is_unseen = false;
    loop {
        let wake = wakes.next(retry).await;
        let is_last = matches!(wake, Wake::Stop);
        if let Wake::Report(report) = wake {
            wanted = Some(label::value(report.verdict()));
            if retry.is_some() {
                continue;
            }
        }
        if let Some(value) = wanted {
            match writer.ensure(&api, value, Instant::now().into_std()).await {
                Ok(outcome) => {
                    (wanted, retry) = (None, None);
                    health.worked();
                    tell(outcome, value, &health, &mut is_unseen);
                }
                Err(failure) => retry = Some(failed(&mut health, &failure)),
            }
        }
        if is_last {
            return;
        }
    }
}

fn failed(health: &mut Health, failure: &Failure) -> Instant {
    health.failed(failure);
    retry_at(failure, health.failures())
}

fn tell(outcome: Outcome, value: &str, health: &Health, is_unseen: &mut bool) {
    match outcome {
        Outcome::Unchanged => *is_unseen = false,
        Outcome::Written => log::info!(value; "{}: written", health.what()),
        Outcome::WrittenUnseen => {
            if !*is_unseen {
                log::info!(
                    "{}: `get` is not granted, so the label is patched with each report",
                    health.what()
                );
            }
            *is_unseen = true;
        }
    }
}

/// Writes the Events that the reports call for, as they become due.
async fn announce(api: ApiServer, mut writer: EventWriter, detail: Detail, mut wakes: Wakes) {
    let mut announcements = Announcements::new(Instant::now().into_std());
    let mut health = Health::new("writing Events");
    let mut retry = None;
    loop {
        let due = announcements.next_due(Instant::now().into_std()).map(Instant::from_std);
        let wake = wakes.next(retry.or(due)).await;
        let is_last = matches!(wake, Wake::Stop);
        match wake {
            Wake::Report(report) => {
                let replaced = announcements.replaced();
                announcements.observe(&report, detail);
                let untold = announcements.replaced() - replaced;
                (0..untold).for_each(|_| api.count_shed_event());
                if untold > 0 {
                    log::info!(notes = announcements.replaced(); "an Event was replaced by news before it could be written");
                }
            }
            Wake::Timer | Wake::Stop => retry = None,
        }
        if retry.is_none() {
            retry = write_due(&api, &mut writer, &mut announcements, &mut health).await;
        }
        if is_last {
            return;
        }
    }
}

/// Writes all that is due; at a failure, says when to go on.
async fn write_due(
    api: &ApiServer,
    writer: &mut EventWriter,
    announcements: &mut Announcements,
    health: &mut Health,
) -> Option<Instant> {
    while let Some(action) = announcements.due(Instant::now().into_std()) {
        let was_old_style = writer.is_old_style();
        let at = Moment { wall: SystemTime::now(), now: Instant::now().into_std(), random: random() };
        match writer.write(api, &action, at).await {
            Ok(how) => {
                announcements.written(&action, how, Instant::now().into_std());
                health.worked();
            }
            Err(failure) => return Some(failed(health, &failure)),
        }
        if writer.is_old_style() && !was_old_style {
            log::info!(
                "events.events.k8s.io are not granted: Events are written as core/v1 in namespace default"
            );
        }
    }
    None
}
