//! Pods, Services and Nodes as far as they give addresses names: listed page by page, pods also watched.
//! Of each object only a few fields are kept; does not begin again by itself.
//!
//! *Source*: Kubernetes API reference, Pod v1, Service v1, Node v1 core; API concepts, "Retrieving large results sets in
//! chunks" and "Watch bookmarks".

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::{ApiServer, Operation, Resource, Verb, segment};
use super::failure::{Class, Failure};
use super::watch_stream::{Event, WatchStream};
use crate::domain::peers::pods::Pod;

/// Objects of one page, and of one that turned out too large: a tenant may fill its pods with text.
const PAGE: [u32; 2] = [100, 2];

/// Which pods are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodScope {
    /// Those of the node with this name.
    Node(String),
    /// All.
    Cluster,
}

impl PodScope {
    fn selector(&self) -> String {
        match self {
            Self::Node(name) => format!("&fieldSelector=spec.nodeName%3D{}", segment(name)),
            Self::Cluster => String::new(),
        }
    }
}

/// Hands every pod to `sink`, page by page, and returns the version from which to watch.
///
/// # Errors
/// See [`Class`]; with [`Class::Gone`] the list took too long and must begin again.
pub async fn list(
    api: &ApiServer,
    scope: &PodScope,
    label: Option<&str>,
    mut sink: impl FnMut(Pod),
) -> Result<String, Failure> {
    each_page(
        api,
        Operation::new(Verb::List, Resource::Pods),
        "/api/v1/pods",
        &scope.selector(),
        |pod: PodObject| {
            if let Some(pod) = pod.into_pod(label) {
                sink(pod);
            }
        },
    )
    .await
}

/// The addresses of all Services, with namespace and name.
///
/// # Errors
/// See [`Class`].
pub async fn services(api: &ApiServer) -> Result<Vec<(IpAddr, Arc<str>, Arc<str>)>, Failure> {
    let mut found = Vec::new();
    each_page(
        api,
        Operation::new(Verb::List, Resource::Services),
        "/api/v1/services",
        "",
        |service: ServiceObject| {
            let (namespace, name): (Arc<str>, Arc<str>) =
                (service.metadata.namespace.into(), service.metadata.name.into());
            let status = service.status.load_balancer.ingress.into_iter().map(|ingress| ingress.ip);
            let ips = service.spec.cluster_ips.into_iter().chain(service.spec.external_ips).chain(status);
            let ips = ips.filter_map(|ip| ip.parse::<IpAddr>().ok());
            found.extend(ips.map(|ip| (ip, Arc::clone(&namespace), Arc::clone(&name))));
        },
    )
    .await?;
    Ok(found)
}

/// The addresses of all Nodes, with their names.
///
/// # Errors
/// See [`Class`].
pub async fn nodes(api: &ApiServer) -> Result<Vec<(IpAddr, Arc<str>)>, Failure> {
    let mut found = Vec::new();
    each_page(api, Operation::new(Verb::List, Resource::Nodes), "/api/v1/nodes", "", |node: NodeObject| {
        let name: Arc<str> = node.metadata.name.into();
        let ips = node.status.addresses.iter().filter_map(|address| address.address.parse::<IpAddr>().ok());
        found.extend(ips.map(|ip| (ip, Arc::clone(&name))));
    })
    .await?;
    Ok(found)
}

async fn each_page<T: DeserializeOwned>(
    api: &ApiServer,
    operation: Operation,
    path: &str,
    selector: &str,
    mut sink: impl FnMut(T),
) -> Result<String, Failure> {
    let mut go_on = String::new();
    let [usual, small] = PAGE;
    let mut limit = usual;
    loop {
        let place = if go_on.is_empty() { String::new() } else { format!("&continue={}", segment(&go_on)) };
        let page =
            api.call::<Page<T>>(operation, &format!("{path}?limit={limit}{selector}{place}"), None).await;
        let page = match page {
            Err(failure) if failure.class == Class::Unexpected && limit != small => {
                limit = small;
                continue;
            }
            page => page?,
        };
        limit = usual;
        page.items.into_iter().for_each(&mut sink);
        go_on = page.metadata.go_on;
        if go_on.is_empty() {
            return Ok(page.metadata.resource_version);
        }
    }
}

/// What a watch of pods shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodChange {
    /// The pod is like this now.
    Applied(Pod),
    /// The pod with this UID is gone.
    Deleted(String),
}

/// An open watch of pods.
pub struct PodWatch {
    label: Option<String>,
    stream: WatchStream,
    version: String,
}

impl PodWatch {
    /// Begins to watch from a version on, for at most so long; whole seconds count.
    ///
    /// # Errors
    /// See [`Class`]; with [`Class::Gone`] the version is too old: list again.
    pub async fn open(
        api: &ApiServer,
        scope: &PodScope,
        label: Option<&str>,
        version: &str,
        lifetime: Duration,
    ) -> Result<Self, Failure> {
        let path = format!(
            "/api/v1/pods?watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}{}",
            lifetime.as_secs(),
            segment(version),
            scope.selector()
        );
        let stream =
            WatchStream::open(api, Operation::new(Verb::Watch, Resource::Pods), &path, lifetime).await?;
        Ok(Self { label: label.map(str::to_owned), stream, version: version.to_owned() })
    }

    /// The version from which to go on.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The next change; none when the API server ended the watch as agreed.
    ///
    /// # Errors
    /// See [`Class`]; each is counted. The watch is over then.
    pub async fn next(&mut self, api: &ApiServer) -> Result<Option<PodChange>, Failure> {
        let Self { label, stream, version } = self;
        stream.next(api, |event| change(event, label.as_deref(), version)).await
    }
}

/// Notes the version; none for what is no change.
fn change(event: Event, label: Option<&str>, version: &mut String) -> serde_json::Result<Option<PodChange>> {
    let pod: PodObject = serde_json::from_value(event.object)?;
    version.clone_from(&pod.metadata.resource_version);
    Ok(match event.kind.as_str() {
        "ADDED" | "MODIFIED" => pod.into_pod(label).map(PodChange::Applied),
        "DELETED" => Some(PodChange::Deleted(pod.metadata.uid)),
        _ => None,
    })
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Page<T> {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(default = "Vec::new", deserialize_with = "null_is_empty")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    go_on: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodObject {
    metadata: Metadata,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
    #[serde(deserialize_with = "null_is_empty")]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: String,
    host_network: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "podIPs", deserialize_with = "null_is_empty")]
    pod_ips: Vec<PodIp>,
    start_time: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    conditions: Vec<Condition>,
    #[serde(deserialize_with = "null_is_empty")]
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodIp {
    ip: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    last_transition_time: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    state: ContainerState,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    terminated: Option<Terminated>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terminated {
    finished_at: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceObject {
    metadata: Metadata,
    spec: ServiceSpec,
    status: ServiceStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceSpec {
    #[serde(rename = "clusterIPs", deserialize_with = "null_is_empty")]
    cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs", deserialize_with = "null_is_empty")]
    external_ips: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ServiceStatus {
    load_balancer: LoadBalancer,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    #[serde(deserialize_with = "null_is_empty")]
    ingress: Vec<PodIp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeObject {
    metadata: Metadata,
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    #[serde(deserialize_with = "null_is_empty")]
    addresses: Vec<NodeAddress>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeAddress {
    address: String,
}

/// Go writes an empty list as `null` at times.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl PodObject {
    /// None for a pod that never had an address, or that nobody could name.
    fn into_pod(self, label: Option<&str>) -> Option<Pod> {
        let Self { mut metadata, spec, status } = self;
        let is_over = matches!(status.phase.as_str(), "Succeeded" | "Failed");
        let ips = status.pod_ips.iter().map(|held| held.ip.as_str()).chain([status.pod_ip.as_str()]);
        let mut ips: Vec<_> =
            ips.filter_map(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical()).collect();
        ips.sort_unstable();
        ips.dedup();
        if metadata.uid.is_empty() || (ips.is_empty() && !is_over) {
            return None;
        }
        let finished =
            status.container_statuses.iter().filter_map(|container| container.state.terminated.as_ref());
        let finished = finished.filter_map(|terminated| time(terminated.finished_at.as_deref())).max();
        // since 1.28 this says when the sandbox, and so the address, was there
        let has_network = |condition: &&Condition| {
            condition.kind == "PodReadyToStartContainers" && condition.status == "True"
        };
        let network = status.conditions.iter().find(has_network);
        let network = network.and_then(|condition| time(condition.last_transition_time.as_deref()));
        Some(Pod {
            label: label.and_then(|key| metadata.labels.remove(key)).map(Into::into),
            namespace: metadata.namespace.into(),
            name: metadata.name.into(),
            uid: metadata.uid.into(),
            node: spec.node_name.into(),
            ips: ips.into(),
            is_host_network: spec.host_network,
            start: network.or_else(|| time(status.start_time.as_deref())),
            end: is_over.then_some(finished).flatten(),
        })
        .filter(|pod| !is_over || pod.end.is_some())
    }
}

fn time(text: Option<&str>) -> Option<SystemTime> {
    text?.parse::<Timestamp>().ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> Option<Pod> {
        let object = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "labels": {"app": "x", "b": "c"}},
            "spec": {"nodeName": "node-1", "hostNetwork": false, "containers": [{"name": "c"}]},
            "status": status,
        });
        serde_json::from_value::<PodObject>(object).unwrap().into_pod(Some("app"))
    }

    #[test]
    fn a_pod_has_all_its_addresses_and_times() {
        let found = pod(json!({
            "phase": "Running", "podIP": "10.0.0.5", "podIPs": [{"ip": "10.0.0.5"}, {"ip": "2001:db8::5"}],
            "startTime": "2026-11-21T10:00:00Z",
            "conditions": [{"type": "PodReadyToStartContainers", "status": "True",
                            "lastTransitionTime": "2026-11-21T10:00:02Z"}],
        }))
        .unwrap();
        assert_eq!(found.ips.len(), 2);
        assert_eq!((found.label.as_deref(), &*found.node), (Some("x"), "node-1"));
        assert_eq!(found.start, time(Some("2026-11-21T10:00:02Z")));
        assert_eq!(found.end, None);
    }

    #[test]
    fn a_pod_that_is_over_ends_when_its_last_container_did() {
        let terminated = |at: &str| json!({"state": {"terminated": {"finishedAt": at}}});
        let found = pod(json!({
            "phase": "Failed", "startTime": "2026-11-21T10:00:00Z", "podIPs": null,
            "containerStatuses": [terminated("2026-11-21T10:05:00Z"), terminated("2026-11-21T10:07:00Z")],
        }))
        .unwrap();
        assert_eq!(found.end, time(Some("2026-11-21T10:07:00Z")));
    }

    #[test]
    fn a_pod_without_an_address_is_none() {
        assert_eq!(pod(json!({"phase": "Pending"})), None);
        assert_eq!(pod(json!({"phase": "Running", "podIP": "not an address"})), None);
    }
}
