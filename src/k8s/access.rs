//! What this account may do, as the API server itself judges it.
//! Tries nothing of what it asks about.
//!
//! *Source*: Kubernetes API reference, SelfSubjectAccessReview v1 authorization.k8s.io; RBAC grants everybody to ask.

use serde_json::json;

use super::client::{ApiServer, Operation, Resource, Verb};
use super::failure::Failure;

/// Whether this is granted, for the object of this name where it is about a node.
///
/// # Errors
/// See [`super::failure::Class`].
pub async fn may(api: &ApiServer, operation: Operation, node: &str) -> Result<bool, Failure> {
    let Operation { resource, verb } = operation;
    let (plural, group) = resource.plural_and_group();
    let namespace = resource.namespace();
    let name = if namespace.is_none() { node } else { "" };
    let attributes = json!({
        "verb": verb.rbac(), "group": group, "resource": plural, "namespace": namespace.unwrap_or_default(), "name": name,
    });
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = Operation::new(Verb::Review, Resource::Access);
    let answer: Review = api.call(asked, path, Some(&review)).await?;
    Ok(answer.status.allowed)
}

#[derive(serde::Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(serde::Deserialize)]
struct ReviewStatus {
    allowed: bool,
}
