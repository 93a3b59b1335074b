//! Tells the cluster what each check found: labels and Events, each kept by a loop of its own.
//! Never delays a check: the loops take the latest report when they can, and what fails is tried again later.

mod connect;
mod events;
mod label;
mod netns;
mod permissions;
pub mod plugin;
mod settings;
mod wake;
mod watch;

use std::future::Future;
use std::time::Duration;

use tokio::sync::{mpsc, watch as channel};

use super::ending::Ending;
use crate::k8s::client::ApiServer;
use crate::k8s::events::EventWriter;
use crate::k8s::label::{LabelObject, LabelWriter};
pub use connect::{Connection, api_server, connect};
use events::announce;
use label::LabelLoop;
pub use netns::{local_addresses, prove_netns};
pub use permissions::review;
pub use settings::{ClusterSettings, EventsDetail, LabelTarget, NetnsCheck, Sink, Surroundings};
pub use wake::Reports;
use wake::Wakes;
use watch::watch;

/// When all ends, what is not yet written has this long.
const GRACE: Duration = Duration::from_secs(3);
/// Each object says at most once in a while that its label is contested; what is not read yet is enough.
const CONTESTS: usize = 2;

/// Tells the API server of each report until `shutdown`. What the last report calls for and was not written by then is
/// tried once more, within a few seconds; so is the label's last word.
pub async fn run(
    settings: ClusterSettings,
    api: ApiServer,
    reports: Reports,
    shutdown: impl Future<Output = Ending>,
) {
    let (stop, stopped) = channel::channel(None);
    let wakes = || Wakes { reports: changed(&reports), stopped: stopped.clone() };
    let (contested, contests) = mpsc::channel(CONTESTS);
    let label = |object: LabelObject| {
        let is_target = settings.objects().contains(&object);
        let writer = || LabelWriter::new(object, &settings.node, &settings.labels);
        let (seen, sights) = channel::channel(None);
        let watching = watch(&api, writer(), seen);
        let keeping = LabelLoop::new(&api, writer(), &settings, contested.clone()).run(wakes(), sights);
        async move {
            if is_target {
                tokio::select! {
                    () = keeping => {}
                    () = watching => {}
                }
            }
        }
    };
    let events =
        announce(&api, EventWriter::new(&settings.node), settings.events_detail.into(), wakes(), contests);
    let work = async {
        tokio::join!(label(LabelObject::CiliumNode), label(LabelObject::Node), async {
            if settings.events {
                events.await;
            }
        })
    };
    tokio::pin!(work);
    let ending = tokio::select! {
        _ = &mut work => return,
        ending = shutdown => ending,
    };
    stop.send_replace(Some(ending));
    if tokio::time::timeout(GRACE, work).await.is_err() {
        log::warn!("the last report did not reach the API server in time");
    }
}

fn changed(reports: &Reports) -> Reports {
    let mut reports = reports.clone();
    reports.mark_changed();
    reports
}
