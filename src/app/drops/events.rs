//! Writes to the owners of pods what the folding has queued: one Event at a time, with patience for the API server.
//! A namespace that fails waits alone. What cannot be written before it is too old is dropped, and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use super::queue::{Message, Queue};
use super::settings::EventSettings;
use crate::app::api_health::{Health, retry_at};
use crate::app::service::Stopping;
use crate::domain::words::backoff::Pace;
use crate::domain::words::escape;
use crate::k8s::client::{ApiServer, random};
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
/// Namespaces that refuse Events and are told apart, or wait; those beyond are told of once, as one, and do not wait.
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
    let mut deliverer = Deliverer {
        writer: PodEventWriter::new(&settings.reason, &settings.component, &node),
        calls: Calls::new(),
        budgets: HashMap::new(),
        held: HashMap::new(),
        rests_until: None,
        api,
        settings,
        metrics,
    };
    loop {
        let (due, rests_until) = (deliverer.next_due(), deliverer.rests_until);
        let attempt = tokio::select! {
            _ = stopping.wait() => break,
            () = wait_until(due) => deliverer.take_due(),
            message = deliverer.next(&queue, rests_until) => deliverer.first_attempt(message),
        };
        if let Some(attempt) = attempt {
            deliverer.deliver(attempt).await;
        }
    }
    deliverer.close(&queue).await;
}

/// Waits for ever where there is nothing to wait for.
async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// A message that is being written, or will be again.
struct Attempt {
    message: Message,
    /// The same for every try: an Event whose answer was lost is not written twice.
    number: u64,
    failures: u32,
}

/// A message that was not written, for which its whole namespace waits.
struct Held {
    attempt: Attempt,
    retry_at: Instant,
    is_of_server: bool,
}

struct Deliverer {
    api: ApiServer,
    settings: EventSettings,
    metrics: DropMetrics,
    writer: PodEventWriter,
    calls: Calls,
    budgets: HashMap<(Box<str>, bool), (u32, Instant)>,
    /// At most one message of each namespace: what follows it waits in the queue, and other namespaces do not.
    held: HashMap<Arc<str>, Held>,
    /// There is no API server before.
    rests_until: Option<Instant>,
}

impl Deliverer {
    /// When a message that was not written is to be tried again.
    fn next_due(&self) -> Option<Instant> {
        let due = self.held.values().map(|held| held.retry_at).min()?;
        Some(self.rests_until.map_or(due, |until| due.max(until)))
    }

    fn take_due(&mut self) -> Option<Attempt> {
        let first = self.held.iter().min_by_key(|(_, held)| held.retry_at);
        let namespace = first.map(|(namespace, _)| Arc::clone(namespace))?;
        self.held.remove(&namespace).map(|held| held.attempt)
    }

    /// The next message of a namespace that holds none, as soon as there may be an API server.
    async fn next(&self, queue: &Queue, rests_until: Option<Instant>) -> Message {
        if let Some(until) = rests_until {
            sleep_until(until).await;
        }
        queue.next(|namespace| self.held.contains_key(namespace)).await
    }

    /// None for a message beyond the limit of its pod.
    fn first_attempt(&mut self, message: Message) -> Option<Attempt> {
        if message.is_repeat || self.has_budget(&message) {
            return Some(Attempt { message, number: random(), failures: 0 });
        }
        self.metrics.shed(1);
        None
    }

    /// Writes it, or holds it for another try unless it is too old or there is no sense in trying.
    async fn deliver(&mut self, attempt: Attempt) {
        let namespace = Arc::clone(&attempt.message.pod.namespace);
        let Err(failure) = self.write(&attempt.message, attempt.number).await else {
            self.rests_until = None;
            let is_server_well = self.held.values().all(|held| !held.is_of_server);
            return self.calls.worked(&namespace, is_server_well);
        };
        let is_of_server = self.calls.failed(&namespace, &failure);
        let is_away = matches!(failure.class, Class::Unreachable | Class::Unauthorized);
        let failures = attempt.failures.saturating_add(1);
        let in_a_row = if is_away { self.calls.server.failures() } else { failures };
        let retry_at = retry_at(&failure, in_a_row);
        self.rests_until = is_away.then_some(retry_at);
        let age = SystemTime::now().duration_since(attempt.message.last);
        let is_old = age.is_ok_and(|age| age > self.settings.expiration);
        if is_old || failure.class.pace() == Pace::Slow || self.held.len() >= NAMESPACES {
            return self.metrics.shed(1);
        }
        let attempt = Attempt { failures, ..attempt };
        self.held.insert(namespace, Held { attempt, retry_at, is_of_server });
    }

    /// Tries each message once more; those of namespaces that failed keep no other waiting.
    async fn close(mut self, queue: &Queue) {
        let held = std::mem::take(&mut self.held);
        while let Some(message) = queue.take(|namespace| held.contains_key(namespace)) {
            let _ = self.write(&message, random()).await;
        }
        for Held { attempt, .. } in held.into_values() {
            let _ = self.write(&attempt.message, attempt.number).await;
        }
        while let Some(message) = queue.take(|_| false) {
            let _ = self.write(&message, random()).await;
        }
    }

    async fn write(&mut self, message: &Message, random: u64) -> Result<(), Failure> {
        let Message { pod, message, count, last, .. } = message;
        let (pod, message) = (Arc::as_ref(pod), message);
        let event = PodEvent { pod, message, count: *count, last: *last, random };
        self.writer.write(&self.api, event).await
    }

    /// Two token buckets for each pod.
    fn has_budget(&mut self, message: &Message) -> bool {
        let now = Instant::now();
        if self.budgets.len() >= PODS {
            self.budgets.retain(|_, (_, since)| now - *since < REFILL * BURST);
        }
        if self.budgets.len() >= PODS {
            return false;
        }
        let key = (message.pod.uid.clone(), message.is_of_stranger);
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

    fn worked(&mut self, namespace: &str, is_server_well: bool) {
        if is_server_well {
            self.server.worked();
        }
        if let Some(mut health) = self.refused.remove(namespace) {
            health.worked();
        }
    }

    /// Whether it is a failure of the API server, and not only of the namespace.
    fn failed(&mut self, namespace: &str, failure: &Failure) -> bool {
        if !matches!(failure.class, Class::Forbidden | Class::NotFound) {
            self.server.failed(failure);
            return true;
        }
        let is_full = self.refused.len() >= NAMESPACES;
        if is_full && !self.refused.contains_key(namespace) {
            self.others.failed(failure);
            return false;
        }
        let what = || Health::new(format!("writing Events about pods of {}", escape::name(namespace)));
        self.refused.entry(namespace.into()).or_insert_with(what).failed(failure);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::client::{Operation, Resource, Verb};

    #[test]
    fn the_namespaces_told_apart_are_bounded() {
        let forbidden = Failure::new(Operation::new(Verb::Create, Resource::PodEvent), Class::Forbidden, "");
        let mut calls = Calls::new();
        for number in 0..NAMESPACES + 2 {
            calls.failed(&number.to_string(), &forbidden);
        }
        assert_eq!((calls.refused.len(), calls.others.failures()), (NAMESPACES, 2));
        calls.worked("well", true);
        assert_eq!((calls.refused["0"].failures(), calls.others.failures()), (1, 2));
        calls.worked("0", true);
        assert!(!calls.refused.contains_key("0"));
    }

    #[test]
    fn a_server_that_is_down_is_one_failure() {
        let timeout = Failure::new(Operation::new(Verb::Create, Resource::PodEvent), Class::Timeout, "");
        let mut calls = Calls::new();
        calls.failed("a", &timeout);
        calls.failed("b", &timeout);
        assert_eq!((calls.refused.len(), calls.server.failures()), (0, 2));
        calls.worked("c", false);
        assert_eq!(calls.server.failures(), 2, "what works elsewhere says nothing of it");
        calls.worked("a", true);
        assert_eq!(calls.server.failures(), 0);
    }
}
