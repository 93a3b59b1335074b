//! The loop that watches one object, and begins again whenever the watch ends.
//! Writes nothing. Without the permission there is no watch, and the label is looked at with each report instead.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::app::api_health::{Health, random};
use crate::domain::cluster::keeper::Held;
use crate::domain::words::backoff::{Pace, delay};
use crate::k8s::client::ApiServer;
use crate::k8s::failure::{Class, Failure};
use crate::k8s::label::LabelWriter;
use crate::k8s::watch::{ObjectWatch, Sight};

/// A watch lasts so many seconds at least and at most, so that not all nodes begin anew together.
const LIFETIME_SECONDS: (u64, u64) = (240, 290);
/// A watch that lasted so long was a good one.
const STEADY: Duration = Duration::from_secs(30);
/// Short watches after which pauses grow no further: to about ten seconds, so that after an outage the label is soon looked after again.
const MOST_SHORT: u32 = 6;
/// Whether watching is still refused after so many times is found out again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(3600);

/// Shows what the object holds for as long as somebody looks; none while it is not known.
pub(super) async fn watch(api: &ApiServer, writer: LabelWriter, seen: watch::Sender<Option<Held>>) {
    let mut health = Health::new(format!("watching {} {}", writer.object().kind(), writer.name()));
    let mut short = 0_u32;
    let mut was_granted = false;
    loop {
        let began = Instant::now();
        let ended = watch_once(api, &writer, &seen, &mut health, &mut was_granted).await;
        short = if began.elapsed() >= STEADY { 1 } else { short.saturating_add(1).min(MOST_SHORT) };
        let pause = match &ended {
            Ok(()) => delay(Pace::Soon, short, None, random()),
            Err(failure) => {
                // what it showed may no longer be true
                seen.send_replace(None);
                tell(&mut health, failure);
                pause(failure, short, was_granted)
            }
        };
        sleep(pause).await;
    }
}

/// Returns well when the API server ended the watch as agreed.
async fn watch_once(
    api: &ApiServer,
    writer: &LabelWriter,
    seen: &watch::Sender<Option<Held>>,
    health: &mut Health,
    was_granted: &mut bool,
) -> Result<(), Failure> {
    let (shortest, longest) = LIFETIME_SECONDS;
    let lifetime = Duration::from_secs(shortest + random() % (longest - shortest));
    let mut watch = ObjectWatch::open(api, writer, lifetime).await?;
    *was_granted = true;
    health.worked();
    while let Some(sight) = watch.next(api).await? {
        seen.send_replace(match sight {
            Sight::Held(held) => Some(held),
            Sight::Gone => None,
        });
    }
    Ok(())
}

fn tell(health: &mut Health, failure: &Failure) {
    if health.failed(failure) && failure.class == Class::Forbidden {
        log::info!("{}: until it is granted, the label is looked at with each report only", health.what());
    }
}

fn pause(failure: &Failure, short: u32, was_granted: bool) -> Duration {
    let pace = match failure.class {
        Class::Forbidden if short == MOST_SHORT => return ASK_AGAIN,
        // an API server that is about to start refuses what it will grant
        Class::Forbidden if was_granted => Pace::Soon,
        class => class.pace(),
    };
    delay(pace, short, failure.retry_after, random())
}
