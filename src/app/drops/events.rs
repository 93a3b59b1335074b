//! Writes to the owners of pods what the desk has queued: one Event at a time, with patience for the API server.
//! What cannot be written before it is too old is dropped, and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use super::queue::{Queue, Telling};
use super::settings::EventSettings;
use crate::app::cluster::health::{Health, failed, random};
use crate::app::service::Stopping;
use crate::domain::words::backoff::Pace;
use crate::domain::words::escape;
use crate::k8s::client::ApiServer;
use crate::k8s::failure::{Class, Failure};
use crate::k8s::pod_events::{PodEvent, PodEventWriter};
use crate::telemetry::drops::DropMetrics;

/// New Events about one pod: so many at once, then one for each such time. A port scan is one story, not thousands. Those
/// about strangers have their own, so that made-up addresses hide nothing of the cluster.
///
/// *Source*: the limits of client-go's `EventSourceObjectSpamFilter` are 25 and 300 s; a drop is of more use than that.
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_secs(30);
const PODS: usize = 4096;
/// Namespaces that refuse Events and are told apart; those beyond are told of once, as one.
const NAMESPACES: usize = 256;

/// Runs until it is told to end, then tries once more for what is queued.
pub async fn run(
    api: ApiServer,
    queue: Queue,
    settings: EventSettings,
    node: String,
    metrics: DropMetrics,
    mut stopping: Stopping,
) {
    let mut office = Office {
        writer: PodEventWriter::new(&settings.reason, &settings.component, &node),
        calls: Calls::new(),
        budgets: HashMap::new(),
        api,
        settings,
        metrics,
    };
    loop {
        let telling = tokio::select! {
            telling = queue.next() => telling,
            _ = stopping.wait() => break,
        };
        office.deliver(telling, &mut stopping).await;
    }
    while !queue.is_empty() {
        let telling = queue.next().await;
        let _ = office.write(&telling, random()).await;
    }
}

struct Office {
    api: ApiServer,
    settings: EventSettings,
    metrics: DropMetrics,
    writer: PodEventWriter,
    calls: Calls,
    budgets: HashMap<(Box<str>, bool), (u32, Instant)>,
}

impl Office {
    /// Tries until it is written, is too old, or there is no sense in trying.
    async fn deliver(&mut self, telling: Telling, stopping: &mut Stopping) {
        if !telling.is_repeat && !self.has_budget(&telling) {
            return self.metrics.shed(1);
        }
        // the same for every try: an Event whose answer was lost is not written twice
        let number = random();
        loop {
            let Err(failure) = self.write(&telling, number).await else {
                self.calls.worked(&telling.pod.namespace);
                return;
            };
            let retry_at = self.calls.failed(&telling.pod.namespace, &failure);
            let is_old = SystemTime::now()
                .duration_since(telling.last)
                .is_ok_and(|age| age > self.settings.expiration);
            if is_old || failure.class.pace() == Pace::Slow {
                return self.metrics.shed(1);
            }
            tokio::select! {
                () = sleep_until(retry_at) => {}
                _ = stopping.wait() => {
                    let _ = self.write(&telling, number).await;
                    return;
                }
            }
        }
    }

    async fn write(&mut self, telling: &Telling, random: u64) -> Result<(), Failure> {
        let Telling { pod, message, count, last, .. } = telling;
        let (pod, message) = (Arc::as_ref(pod), message);
        let event = PodEvent { pod, message, count: *count, last: *last, random };
        self.writer.write(&self.api, event).await
    }

    /// Two token buckets for each pod.
    fn has_budget(&mut self, telling: &Telling) -> bool {
        let now = Instant::now();
        if self.budgets.len() >= PODS {
            self.budgets.retain(|_, (_, since)| now - *since < REFILL * BURST);
        }
        if self.budgets.len() >= PODS {
            return false;
        }
        let key = (telling.pod.uid.clone(), telling.is_of_stranger);
        let (tokens, since) = self.budgets.entry(key).or_insert((BURST, now));
        let earned = u32::try_from((now - *since).as_secs() / REFILL.as_secs()).unwrap_or(u32::MAX);
        if earned > 0 {
            *tokens = tokens.saturating_add(earned).min(BURST);
            *since = now;
        }
        let has_token = *tokens > 0;
        *tokens = tokens.saturating_sub(1);
        has_token
    }
}

/// How writing is doing: the API server as a whole, and each namespace that refuses, as grants are given for namespaces.
struct Calls {
    server: Health,
    refused: HashMap<Box<str>, Health>,
    /// The namespaces that found no room.
    others: Health,
}

impl Calls {
    fn new() -> Self {
        Self {
            server: Health::new("writing Events about pods"),
            refused: HashMap::new(),
            others: Health::new("writing Events about pods of other namespaces"),
        }
    }

    fn worked(&mut self, namespace: &str) {
        self.server.worked();
        if let Some(mut health) = self.refused.remove(namespace) {
            health.worked();
        }
    }

    fn failed(&mut self, namespace: &str, failure: &Failure) -> Instant {
        if !matches!(failure.class, Class::Forbidden | Class::NotFound) {
            return failed(&mut self.server, failure);
        }
        let is_full = self.refused.len() >= NAMESPACES;
        if is_full && !self.refused.contains_key(namespace) {
            return failed(&mut self.others, failure);
        }
        let what = || Health::new(format!("writing Events about pods of {}", escape::name(namespace)));
        failed(self.refused.entry(namespace.into()).or_insert_with(what), failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::client::Operation;

    #[test]
    fn the_namespaces_told_apart_are_bounded() {
        let forbidden = Failure::new(Operation::CreatePodEvent, Class::Forbidden, "");
        let mut calls = Calls::new();
        for number in 0..NAMESPACES + 2 {
            calls.failed(&number.to_string(), &forbidden);
        }
        assert_eq!((calls.refused.len(), calls.others.failures()), (NAMESPACES, 2));
        calls.worked("well");
        assert_eq!((calls.refused["0"].failures(), calls.others.failures()), (1, 2));
        calls.worked("0");
        assert!(!calls.refused.contains_key("0"));
    }

    #[test]
    fn a_server_that_is_down_is_one_failure() {
        let timeout = Failure::new(Operation::CreatePodEvent, Class::Timeout, "");
        let mut calls = Calls::new();
        calls.failed("a", &timeout);
        calls.failed("b", &timeout);
        assert_eq!((calls.refused.len(), calls.server.failures()), (0, 2));
    }
}
