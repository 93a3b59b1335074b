//! What this account may do, as the API server itself judges it.
//! Tries nothing of what it asks about.
//!
//! *Source*: Kubernetes API reference, SelfSubjectAccessReview v1 authorization.k8s.io; RBAC grants everybody to ask.

use serde_json::{Value, json};

use super::client::{ApiServer, Operation, Resource, Verb};
use super::failure::Failure;

/// What it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// The object of this name where it belongs to the cluster, in a namespace any.
    Named(&'a str),
    /// All whose field has this value: a node may see its own pods and no others. API servers before 1.31 do not look at
    /// that.
    Where(&'a str, &'a str),
    /// All.
    Every,
}

/// Whether this is granted.
///
/// # Errors
/// See [`super::failure::Class`].
pub async fn may(api: &ApiServer, operation: Operation, object: Object<'_>) -> Result<bool, Failure> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes(operation, object)},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = Operation::new(Verb::Review, Resource::Access);
    let answer: Review = api.call(asked, path, Some(&review)).await?;
    Ok(answer.status.allowed)
}

fn attributes(operation: Operation, object: Object<'_>) -> Value {
    let Operation { resource, verb } = operation;
    let (plural, group) = resource.plural_and_group();
    let namespace = resource.namespace().unwrap_or_default();
    let name = match object {
        Object::Named(name) if namespace.is_empty() => name,
        _ => "",
    };
    let attributes = json!({"verb": verb.rbac(), "group": group, "resource": plural, "namespace": namespace, "name": name});
    match (object, attributes) {
        (Object::Where(key, value), Value::Object(mut attributes)) => {
            let requirement = json!({"key": key, "operator": "In", "values": [value]});
            attributes.insert("fieldSelector".to_owned(), json!({"requirements": [requirement]}));
            Value::Object(attributes)
        }
        (_, attributes) => attributes,
    }
}

#[derive(serde::Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(serde::Deserialize)]
struct ReviewStatus {
    allowed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_about_is_what_would_be_done() {
        let pods = Operation::new(Verb::List, Resource::Pods);
        let asked = |object| attributes(pods, object);
        let pods = json!({"verb": "list", "group": "", "resource": "pods", "namespace": "", "name": ""});
        assert_eq!(asked(Object::Every), pods);
        let requirement = json!({"key": "spec.nodeName", "operator": "In", "values": ["n"]});
        let mut of_node = pods;
        of_node["fieldSelector"] = json!({"requirements": [requirement]});
        assert_eq!(asked(Object::Where("spec.nodeName", "n")), of_node);
        let node = attributes(Operation::new(Verb::Get, Resource::CiliumNode), Object::Named("n"));
        assert_eq!((&node["name"], &node["group"]), (&json!("n"), &json!("cilium.io")));
        let event = attributes(Operation::new(Verb::Create, Resource::Event), Object::Named("n"));
        assert_eq!((&event["name"], &event["namespace"]), (&json!(""), &json!("kube-system")));
    }
}
