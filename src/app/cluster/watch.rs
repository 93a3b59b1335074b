//! What the watch of one object shows, for whoever keeps its label.
//! Writes nothing. Without the permission there is no watch, and the label is looked at with each report instead.

use tokio::sync::watch;

use crate::app::api_health::Health;
use crate::domain::cluster::keeper::Held;
use crate::k8s::client::ApiServer;
use crate::k8s::failure::{Class, Failure};
use crate::k8s::label::LabelWriter;
use crate::k8s::list_watch::News;

/// Shows what the object holds for as long as somebody looks; none while it is not known.
pub(super) async fn watch(api: &ApiServer, writer: LabelWriter, seen: watch::Sender<Option<Held>>) {
    let mut health = Health::new(format!("watching {} {}", writer.object().kind(), writer.name()));
    let tell = |news| match news {
        News::Change(held) => drop(seen.send_replace(held)),
        News::Works => drop(health.worked()),
        News::Failed(failure) => {
            // what it showed may no longer be true
            seen.send_replace(None);
            tell(&mut health, &failure);
        }
        News::Listing | News::Listed => {}
    };
    writer.watch(api, tell).await;
}

fn tell(health: &mut Health, failure: &Failure) {
    if health.failed(failure) && failure.class == Class::Forbidden {
        log::info!("{}: until it is granted, the label is looked at with each report only", health.what());
    }
}
