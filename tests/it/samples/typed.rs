//! Every sample as the type it says it is: no field is unknown, misspelt or of another type.
//! Knows the operator's types by the fields the samples use.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{documents, manifests, yaml_files};

/// Kubernetes' types ignore fields they do not know, so what was read is written again and compared.
fn check<T: DeserializeOwned + Serialize>(object: &Value) {
    let typed: T =
        serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}\n{object:#}"));
    assert_kept(object, &serde_json::to_value(typed).expect("JSON"), "");
}

fn assert_kept(given: &Value, kept: &Value, place: &str) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (name, value) in given {
                let place = format!("{place}/{name}");
                assert_kept(value, kept.get(name).unwrap_or_else(|| panic!("unknown field {place}")), &place);
            }
        }
        (Value::Array(given), Value::Array(kept)) => {
            assert_eq!(given.len(), kept.len(), "{place}");
            given.iter().zip(kept).for_each(|(given, kept)| assert_kept(given, kept, place));
        }
        _ => assert_eq!(given, kept, "{place}"),
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Custom<S> {
    api_version: String,
    kind: String,
    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    spec: S,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PodMonitor {
    job_label: String,
    selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
    pod_metrics_endpoints: Vec<Endpoint>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Endpoint {
    port: String,
    path: String,
    interval: String,
    relabelings: Vec<Relabeling>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Relabeling {
    source_labels: Vec<String>,
    target_label: String,
}

/// promtool checks what is inside a group.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PrometheusRule {
    groups: Vec<Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kustomization {
    api_version: String,
    kind: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    patches: Vec<Value>,
}

fn check_object(object: &Value) {
    let name =
        |field: &str| object[field].as_str().unwrap_or_else(|| panic!("no {field}: {object:#}")).to_owned();
    match (name("apiVersion").as_str(), name("kind").as_str()) {
        ("v1", "Namespace") => check::<Namespace>(object),
        ("v1", "ConfigMap") => check::<ConfigMap>(object),
        ("v1", "ServiceAccount") => check::<ServiceAccount>(object),
        ("apps/v1", "DaemonSet") => check::<DaemonSet>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => check::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => check::<RoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => check::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => check::<ClusterRoleBinding>(object),
        ("monitoring.coreos.com/v1", "PodMonitor") => check::<Custom<PodMonitor>>(object),
        ("monitoring.coreos.com/v1", "PrometheusRule") => check::<Custom<PrometheusRule>>(object),
        ("kustomize.config.k8s.io/v1beta1", "Kustomization")
        | ("kustomize.config.k8s.io/v1alpha1", "Component") => check::<Kustomization>(object),
        other => panic!("no such type: {other:?}"),
    }
}

#[test]
fn every_sample_is_of_its_type() {
    let files = yaml_files();
    assert!(files.len() >= 9, "{:?}", files.keys());
    for (name, text) in &files {
        let objects = documents(text);
        assert!(!objects.is_empty(), "{name}");
        objects.iter().for_each(check_object);
    }
    documents(&manifests(&["--overlay", "node-label,report-only,prometheus,drops"]))
        .iter()
        .for_each(check_object);
}

#[test]
#[should_panic(expected = "unknown field /spec/template/spec/hostNetwrok")]
fn a_misspelt_field_is_noticed() {
    let mut object = super::daemonset(&super::kustomized(None));
    object["spec"]["template"]["spec"]["hostNetwrok"] = true.into();
    check_object(&object);
}
