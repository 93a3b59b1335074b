//! The Node of the API server: its UID and its addresses.
//! Reads nothing else of it.

use std::net::IpAddr;

use super::client::{ApiServer, Operation, Resource, Verb, segment};
use super::failure::Failure;

/// What is known of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its UID; none if the API server leaves it out.
    pub uid: Option<String>,
    /// Its addresses of type InternalIP.
    pub internal_ips: Vec<IpAddr>,
}

/// Reads a Node.
///
/// # Errors
/// See [`super::failure::Class`].
pub async fn read(api: &ApiServer, name: &str) -> Result<NodeFacts, Failure> {
    let path = format!("/api/v1/nodes/{}", segment(name));
    let node: Node = api.call(Operation::new(Verb::Get, Resource::Node), &path, None).await?;
    let internal = node.status.addresses.iter().filter(|address| address.kind == "InternalIP");
    Ok(NodeFacts {
        uid: Some(node.metadata.uid).filter(|uid| !uid.is_empty()),
        internal_ips: internal.filter_map(|address| address.address.parse().ok()).collect(),
    })
}

/// *Source*: Kubernetes API reference, Node v1 core.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Node {
    metadata: Metadata,
    status: NodeStatus,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Metadata {
    uid: String,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct NodeStatus {
    addresses: Vec<Address>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}
