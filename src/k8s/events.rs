//! Events about the Node: `events.k8s.io/v1` where that is granted, else `v1` as the older RBAC allows.
//! Decides neither what they say nor when they are due, and does not try again.
//!
//! *Source*: Kubernetes API reference, Event v1 events.k8s.io and Event v1 core; `pkg/apis/core/validation/events.go`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::api::core::v1::{Event as CoreEvent, EventSource, ObjectReference};
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::json;

use super::client::{ApiServer, Operation, Resource, Verb, segment};
use super::failure::{Class, Failure};
use super::node;
use super::operation::{CORE_NAMESPACE, NAMESPACE};
use crate::domain::cluster::{Action, EventReason, NodeEvent, Written};

const CREATE: Operation = Operation::new(Verb::Create, Resource::Event);
const CREATE_OLDER: Operation = Operation::new(Verb::Create, Resource::CoreEvent);
const PATCH: Operation = Operation::new(Verb::Patch, Resource::Event);

/// Who reports, as `kubectl describe` shows it.
const CONTROLLER: &str = "iptables-monitor";
/// Longest reportingInstance.
const INSTANCE_BYTES: usize = 128;
/// Whether new-style Events are still refused is found out again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(3600);

/// The moment of a write, once for each clock, and a number that nobody else has.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For what is written.
    pub wall: SystemTime,
    /// For how long things are remembered.
    pub now: Instant,
    /// For names.
    pub random: u64,
}

/// Writes the Events about one Node.
#[derive(Debug)]
pub struct EventWriter {
    node: String,
    refused_at: Option<Instant>,
    /// The Event that a series goes on in.
    series: BTreeMap<EventReason, String>,
    /// A creation whose answer is not known, and the name it was given.
    unsure: Option<(NodeEvent, String)>,
}

impl EventWriter {
    /// Will write about the Node with this name.
    pub fn new(node: &str) -> Self {
        Self { node: node.to_owned(), refused_at: None, series: BTreeMap::new(), unsure: None }
    }

    /// Whether Events are written in the old style for want of a permission.
    pub const fn is_old_style(&self) -> bool {
        self.refused_at.is_some()
    }

    /// Writes one Event.
    ///
    /// # Errors
    /// See [`Class`]; the same action may be tried again and is not written twice.
    pub async fn write(&mut self, api: &ApiServer, action: &Action, at: Moment) -> Result<Written, Failure> {
        match action {
            Action::Create(event) => self.create(api, event, at).await,
            Action::Refresh(event, seen) => {
                if self.refresh(api, event.reason, *seen, at).await? {
                    Ok(Written::Refreshed)
                } else {
                    self.create(api, event, at).await
                }
            }
        }
    }

    /// Whether there was a series that could be gone on with.
    async fn refresh(
        &mut self,
        api: &ApiServer,
        reason: EventReason,
        seen: i32,
        at: Moment,
    ) -> Result<bool, Failure> {
        let Some(name) = self.series.get(&reason) else { return Ok(false) };
        let path = format!("{}/{}", events_path(), segment(name));
        let series = EventSeries { count: seen, last_observed_time: MicroTime(timestamp(at.wall)) };
        match api.call::<IgnoredAny>(PATCH, &path, Some(&json!({"series": series}))).await {
            Ok(_) => Ok(true),
            // it has expired, or only creating is granted: a new Event says the same
            Err(failure)
                if matches!(
                    failure.class,
                    Class::NotFound
                        | Class::UnknownResource
                        | Class::Forbidden
                        | Class::Gone
                        | Class::Invalid
                ) =>
            {
                self.series.remove(&reason);
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn create(&mut self, api: &ApiServer, event: &NodeEvent, at: Moment) -> Result<Written, Failure> {
        let uid = self.node_uid(api).await?;
        let earlier = self.unsure.take().filter(|(unsure, _)| unsure == event).map(|(_, name)| name);
        let is_again = earlier.is_some();
        let name = earlier.unwrap_or_else(|| unique_name(&self.node, at));
        let created = self.create_named(api, event, &name, &uid, at).await;
        match created {
            Err(failure) if failure.class == Class::AlreadyExists && is_again => Ok(Written::Created),
            Err(failure) => {
                if failure.class != Class::AlreadyExists {
                    self.unsure = Some((event.clone(), name));
                }
                Err(failure)
            }
            Ok(()) => Ok(Written::Created),
        }
    }

    async fn create_named(
        &mut self,
        api: &ApiServer,
        event: &NodeEvent,
        name: &str,
        uid: &str,
        at: Moment,
    ) -> Result<(), Failure> {
        if self.refused_at.is_none_or(|refused| at.now.saturating_duration_since(refused) >= ASK_AGAIN) {
            let body = json!(self.event(event, name, uid, at));
            match api.call::<IgnoredAny>(CREATE, &events_path(), Some(&body)).await {
                Err(failure) if matches!(failure.class, Class::Forbidden | Class::UnknownResource) => {
                    self.refused_at = Some(at.now);
                }
                result => {
                    self.refused_at = None;
                    // also when the answer is lost: if there is no such Event, the refresh makes one
                    self.series.insert(event.reason, name.to_owned());
                    return result.map(drop);
                }
            }
        }
        self.series.remove(&event.reason);
        let body = json!(self.core_event(event, name, uid, at));
        let path = format!("/api/v1/namespaces/{CORE_NAMESPACE}/events");
        api.call::<IgnoredAny>(CREATE_OLDER, &path, Some(&body)).await.map(drop)
    }

    /// The Node's UID; its name where that cannot be had, as the kubelet does.
    async fn node_uid(&self, api: &ApiServer) -> Result<String, Failure> {
        match node::read(api, &self.node).await {
            Ok(facts) => Ok(facts.uid.unwrap_or_else(|| self.node.clone())),
            Err(failure)
                if matches!(failure.class, Class::Forbidden | Class::NotFound | Class::UnknownResource) =>
            {
                Ok(self.node.clone())
            }
            Err(failure) => Err(failure),
        }
    }

    fn regarding(&self, uid: &str) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(self.node.clone()),
            uid: Some(uid.into()),
            ..ObjectReference::default()
        }
    }

    fn instance(&self) -> String {
        let instance = format!("{CONTROLLER}-{}", self.node);
        instance.chars().take(INSTANCE_BYTES).collect()
    }

    fn event(&self, event: &NodeEvent, name: &str, uid: &str, at: Moment) -> Event {
        Event {
            metadata: metadata(NAMESPACE, name),
            regarding: Some(self.regarding(uid)),
            event_time: Some(MicroTime(timestamp(at.wall))),
            type_: Some(event.reason.event_type().into()),
            reason: Some(event.reason.as_str().into()),
            action: Some(event.reason.action().into()),
            note: Some(event.note.clone()),
            reporting_controller: Some(CONTROLLER.into()),
            reporting_instance: Some(self.instance()),
            ..Event::default()
        }
    }

    fn core_event(&self, event: &NodeEvent, name: &str, uid: &str, at: Moment) -> CoreEvent {
        let time = Time(timestamp(at.wall));
        CoreEvent {
            metadata: metadata(CORE_NAMESPACE, name),
            involved_object: self.regarding(uid),
            type_: Some(event.reason.event_type().into()),
            reason: Some(event.reason.as_str().into()),
            message: Some(event.note.clone()),
            source: Some(EventSource { component: Some(CONTROLLER.into()), host: Some(self.node.clone()) }),
            count: Some(1),
            first_timestamp: Some(time.clone()),
            last_timestamp: Some(time),
            ..CoreEvent::default()
        }
    }
}

fn events_path() -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")
}

fn metadata(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(namespace.into()), name: Some(name.into()), ..ObjectMeta::default() }
}

/// A name of a DNS subdomain's form: the node's name, the time and chance.
fn unique_name(node: &str, at: Moment) -> String {
    let since = at.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let node: String = node.chars().take(200).collect();
    format!("{node}.{:x}{:016x}", since.as_secs(), at.random)
}

fn timestamp(wall: SystemTime) -> Timestamp {
    Timestamp::try_from(wall).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment() -> Moment {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Moment { wall, now: Instant::now(), random: 0xabc }
    }

    #[test]
    fn an_event_has_every_required_field() {
        let event = NodeEvent { reason: EventReason::InvalidAllowlist, note: "x".into() };
        let writer = EventWriter::new("node-1");
        let value = json!(writer.event(&event, "n", "uid", moment()));
        for (pointer, expected) in [
            ("/metadata/namespace", "kube-system"),
            ("/eventTime", "2027-01-15T08:00:00.000000Z"),
            ("/type", "Warning"),
            ("/action", "ReadAllowlist"),
            ("/reportingController", "iptables-monitor"),
            ("/reportingInstance", "iptables-monitor-node-1"),
            ("/regarding/uid", "uid"),
        ] {
            assert_eq!(value.pointer(pointer).unwrap(), expected, "{pointer}");
        }
        assert!(value.pointer("/regarding/namespace").is_none());
    }

    #[test]
    fn names_are_unique_and_short_enough() {
        assert_eq!(unique_name("node-1", moment()), "node-1.6b49d2000000000000000abc");
        assert!(unique_name(&"n".repeat(253), moment()).len() <= 253);
        assert_eq!(EventWriter::new(&"n".repeat(253)).instance().len(), 128);
    }
}
