//! The loop that writes Events as they become due.
//! Decides neither what they say nor when: [`Announcements`] does.

use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::wake::{Wake, Wakes};
use crate::app::api_health::{Health, failed};
use crate::domain::cluster::note::Detail;
use crate::domain::cluster::{Announcements, NodeEvent};
use crate::k8s::client::{ApiServer, Notice, random};
use crate::k8s::events::{EventWriter, Moment};

/// Writes the Events that the reports call for, as they become due.
pub(super) async fn announce(
    api: &ApiServer,
    mut writer: EventWriter,
    detail: Detail,
    mut wakes: Wakes,
    mut contests: mpsc::Receiver<NodeEvent>,
) {
    let mut announcements = Announcements::new(Instant::now().into_std());
    let mut health = Health::new("writing Events");
    let mut retry = None;
    let mut counted = 0;
    loop {
        counted = count_replaced(api, &announcements, counted);
        let due = announcements.next_due(Instant::now().into_std()).map(Instant::from_std);
        let wake = tokio::select! {
            biased;
            wake = wakes.next(retry.or(due)) => wake,
            Some(event) = contests.recv() => {
                announcements.tell(event);
                continue;
            }
        };
        let is_last = matches!(wake, Wake::Stop(_));
        match wake {
            Wake::Report(report) => announcements.observe(&report, detail),
            Wake::Timer | Wake::Stop(_) => retry = None,
        }
        if retry.is_none() {
            retry = write_due(api, &mut writer, &mut announcements, &mut health).await;
        }
        if is_last {
            return;
        }
    }
}

/// Counts what was replaced since so much was, and returns how much is now.
fn count_replaced(api: &ApiServer, announcements: &Announcements, counted: u64) -> u64 {
    let replaced = announcements.replaced();
    (counted..replaced).for_each(|_| api.tell(Notice::ShedEvent));
    if replaced > counted {
        log::info!(notes = replaced; "an Event was replaced by news before it could be written");
    }
    replaced
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
