//! Pods, Services and Nodes as far as they give addresses names. Of each object only a few fields are kept.
//!
//! *Source*: Kubernetes API reference, Pod v1, Service v1, Node v1 core.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use super::client::{ApiServer, Resource};
use super::failure::Failure;
use super::list_watch::{self, Collection, Habits, News, State, null_is_empty};
use crate::domain::peers::pods::Pod;

const SERVICES: Collection =
    Collection { resource: Resource::Services, path: "/api/v1/services", field: None };
const NODES: Collection = Collection { resource: Resource::Nodes, path: "/api/v1/nodes", field: None };
/// To a minute, so that many nodes do not list all pods again and again while the API server is busy.
const HABITS: Habits = Habits { has_list: true, most_failures: 8, refused: None };

/// Which pods are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodScope {
    /// Those of the node with this name.
    Node(String),
    /// All.
    Cluster,
}

impl PodScope {
    fn collection(&self) -> Collection {
        let field = match self {
            Self::Node(name) => Some(("spec.nodeName", name.clone())),
            Self::Cluster => None,
        };
        Collection { resource: Resource::Pods, path: "/api/v1/pods", field }
    }
}

/// Hands every pod to `sink`. Unless it `is_granted`, that is asked for first; how it went is noted there.
///
/// # Errors
/// See [`Class`](super::failure::Class); with `Gone` the list took too long and must begin again.
pub async fn list(
    api: &ApiServer,
    scope: &PodScope,
    label: Option<&str>,
    is_granted: &mut bool,
    mut sink: impl FnMut(Pod),
) -> Result<(), Failure> {
    let pods = scope.collection();
    let listed = list_watch::list(api, &pods, is_granted, |pod: PodObject| {
        if let Some(pod) = pod.into_pod(label) {
            sink(pod);
        }
    });
    listed.await.map(drop)
}

/// What is told of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodChange {
    /// The pod is like this now.
    Applied(Pod),
    /// The pod with this UID is gone.
    Deleted(String),
}

/// Shows every pod and then each change, for ever.
pub async fn keep(api: &ApiServer, scope: &PodScope, label: Option<&str>, tell: impl FnMut(News<PodChange>)) {
    let read = |pod: PodObject, state| match state {
        State::Present => pod.into_pod(label).map(PodChange::Applied),
        State::Deleted => Some(PodChange::Deleted(pod.metadata.uid)),
    };
    list_watch::keep(api, &scope.collection(), HABITS, read, tell).await;
}

/// The addresses of all Services, with namespace and name; whether that is granted as in [`list`].
///
/// # Errors
/// See [`Class`](super::failure::Class).
pub async fn services(
    api: &ApiServer,
    is_granted: &mut bool,
) -> Result<Vec<(IpAddr, Arc<str>, Arc<str>)>, Failure> {
    let mut found = Vec::new();
    list_watch::list(api, &SERVICES, is_granted, |service: ServiceObject| {
        let (namespace, name): (Arc<str>, Arc<str>) =
            (service.metadata.namespace.into(), service.metadata.name.into());
        let status = service.status.load_balancer.ingress.into_iter().map(|ingress| ingress.ip);
        let ips = service.spec.cluster_ips.into_iter().chain(service.spec.external_ips).chain(status);
        let ips = ips.filter_map(|ip| ip.parse::<IpAddr>().ok());
        found.extend(ips.map(|ip| (ip, Arc::clone(&namespace), Arc::clone(&name))));
    })
    .await?;
    Ok(found)
}

/// The addresses of all Nodes, with their names; whether that is granted as in [`list`].
///
/// # Errors
/// See [`Class`](super::failure::Class).
pub async fn nodes(api: &ApiServer, is_granted: &mut bool) -> Result<Vec<(IpAddr, Arc<str>)>, Failure> {
    let mut found = Vec::new();
    list_watch::list(api, &NODES, is_granted, |node: NodeObject| {
        let name: Arc<str> = node.metadata.name.into();
        let ips = node.status.addresses.iter().filter_map(|address| address.address.parse::<IpAddr>().ok());
        found.extend(ips.map(|ip| (ip, Arc::clone(&name))));
    })
    .await?;
    Ok(found)
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
