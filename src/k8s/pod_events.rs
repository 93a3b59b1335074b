//! Events about pods whose packets were dropped: `v1`, as kube-iptables-tailer wrote them; repeats raise the count.
//! Decides neither what they say nor when they are due, and does not try again.
//!
//! *Source*: Kubernetes API reference, Event v1 core; `pkg/apis/core/validation/events.go`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::json;

use super::client::{ApiServer, Operation, Resource, Verb, segment};
use super::failure::{Class, Failure};
use crate::domain::peers::pods::Pod;
use crate::domain::words::cut;

const CREATE: Operation = Operation::new(Verb::Create, Resource::PodEvent);
const PATCH: Operation = Operation::new(Verb::Patch, Resource::PodEvent);

/// Events whose counts can still be raised.
const SERIES: usize = 4096;
/// *Source*: `core.EventSource` has no limit of its own; a message as long as a new-style note is shown whole.
const MESSAGE_BYTES: usize = 1024;
/// *Source*: `DNS1123SubdomainMaxLength`; the time and a number follow the pod's name.
const NAME_BYTES: usize = 253 - 34;

/// What is to be said about a pod.
#[derive(Clone, Copy, Debug)]
pub struct PodEvent<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The message.
    pub message: &'a Arc<str>,
    /// How many packets it stands for.
    pub count: u64,
    /// When the last of them was logged.
    pub last: SystemTime,
    /// A number that nobody else has.
    pub random: u64,
}

/// Writes Events about pods.
#[derive(Debug)]
pub struct PodEventWriter {
    reason: String,
    component: String,
    node: String,
    series: HashMap<Key, Series>,
    /// Keys in the order in which they came.
    order: VecDeque<Key>,
}

type Key = (Box<str>, Arc<str>);

#[derive(Debug)]
struct Series {
    name: String,
    count: u64,
}

impl PodEventWriter {
    /// Will write Events with this reason and component, as seen on this node.
    pub fn new(reason: &str, component: &str, node: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            component: component.to_owned(),
            node: node.to_owned(),
            series: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Writes a new Event, or raises the count of the one that says the same.
    ///
    /// # Errors
    /// See [`Class`]; the same may be tried again.
    pub async fn write(&mut self, api: &ApiServer, event: PodEvent<'_>) -> Result<(), Failure> {
        let key = (event.pod.uid.clone(), Arc::clone(event.message));
        if let Some(series) = self.series.get_mut(&key) {
            let count = series.count.saturating_add(event.count);
            let path = format!("{}/{}", events(event.pod), segment(&series.name));
            let patch = json!({"count": number(count), "lastTimestamp": Time(timestamp(event.last))});
            match api.call::<IgnoredAny>(PATCH, &path, Some(&patch)).await {
                Ok(_) => {
                    series.count = count;
                    return Ok(());
                }
                // it has expired, or only creating is granted: a new Event says the same
                Err(failure) if is_final(failure.class) => self.forget(&key),
                Err(failure) => return Err(failure),
            }
        }
        let name = unique_name(event);
        let body = json!(self.event(event, &name));
        match api.call::<IgnoredAny>(CREATE, &events(event.pod), Some(&body)).await {
            Ok(_) => {}
            // an earlier try, whose answer was lost
            Err(failure) if failure.class == Class::AlreadyExists => {}
            Err(failure) => return Err(failure),
        }
        self.remember(key, Series { name, count: event.count });
        Ok(())
    }

    fn forget(&mut self, key: &Key) {
        self.series.remove(key);
        self.order.retain(|known| known != key);
    }

    fn remember(&mut self, key: Key, series: Series) {
        if self.series.insert(key.clone(), series).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > SERIES {
            if let Some(oldest) = self.order.pop_front() {
                self.series.remove(&oldest);
            }
        }
    }

    fn event(&self, event: PodEvent<'_>, name: &str) -> Event {
        let PodEvent { pod, message, count, last, .. } = event;
        let time = Time(timestamp(last));
        Event {
            metadata: ObjectMeta {
                namespace: Some(pod.namespace.to_string()),
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                namespace: Some(pod.namespace.to_string()),
                name: Some(pod.name.to_string()),
                uid: Some(pod.uid.to_string()),
                ..ObjectReference::default()
            },
            type_: Some("Warning".into()),
            reason: Some(self.reason.clone()),
            message: Some(cut::to_bytes(message, MESSAGE_BYTES)),
            source: Some(EventSource {
                component: Some(self.component.clone()),
                host: Some(self.node.clone()),
            }),
            count: Some(number(count)),
            first_timestamp: Some(time.clone()),
            last_timestamp: Some(time),
            ..Event::default()
        }
    }
}

/// Whether trying the same patch again makes no sense.
const fn is_final(class: Class) -> bool {
    matches!(
        class,
        Class::NotFound
            | Class::UnknownResource
            | Class::Forbidden
            | Class::Gone
            | Class::Invalid
            | Class::Conflict
    )
}

fn events(pod: &Pod) -> String {
    format!("/api/v1/namespaces/{}/events", segment(&pod.namespace))
}

fn number(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The pod's name, the time and a number: as the API server's own client names Events, and no other.
fn unique_name(event: PodEvent<'_>) -> String {
    let since = event.last.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let pod = event.pod.name.get(..event.pod.name.floor_char_boundary(NAME_BYTES)).unwrap_or_default();
    format!("{}.{:x}{:016x}", pod.trim_end_matches(['.', '-']), since.as_secs(), event.random)
}

fn timestamp(wall: SystemTime) -> Timestamp {
    Timestamp::try_from(wall).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use kube::client::Body;

    use super::*;

    fn pod() -> Pod {
        Pod {
            namespace: "shop".into(),
            name: "web".into(),
            uid: "u".into(),
            node: "n".into(),
            label: None,
            ips: Box::new([]),
            is_host_network: false,
            start: None,
            end: None,
        }
    }

    /// An API server that has forgotten every Event it is asked to change, and takes new ones.
    fn forgetful(methods: &Arc<Mutex<Vec<http::Method>>>) -> ApiServer {
        let methods = Arc::clone(methods);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            methods.lock().unwrap().push(request.method().clone());
            let status = if request.method() == http::Method::PATCH { 404 } else { 201 };
            let answer = http::Response::builder().status(status).body(Body::from(b"{}".to_vec()));
            async { Ok::<_, kube::Error>(answer.unwrap()) }
        });
        let client = kube::Client::new(service, "default");
        ApiServer::new(client, Duration::from_secs(10), Arc::new(|_| {}))
    }

    #[tokio::test]
    async fn a_series_that_goes_on_in_another_event_is_kept_as_long_as_any() {
        let methods = Arc::default();
        let (api, pod) = (forgetful(&methods), pod());
        let mut writer = PodEventWriter::new("PacketDrop", "monitor", "n");
        let mut write = async |message: &Arc<str>| {
            let event = PodEvent { pod: &pod, message, count: 1, last: SystemTime::UNIX_EPOCH, random: 7 };
            writer.write(&api, event).await.unwrap();
        };
        let first: Arc<str> = "first".into();
        write(&first).await;
        write(&first).await;
        // there is room for all of them
        for number in 1..SERIES {
            write(&number.to_string().into()).await;
        }
        methods.lock().unwrap().clear();
        write(&first).await;
        assert_eq!(methods.lock().unwrap().first(), Some(&http::Method::PATCH), "its series was forgotten");
        assert_eq!((writer.series.len(), writer.order.len()), (SERIES, SERIES));
    }
}
