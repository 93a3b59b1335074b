//! The manifests at a real API server with RBAC: they are accepted, and grant what the agent needs and nothing else.
//! Runs no agent.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{daemonset, documents, manifests};
use crate::support::{Netns, lossy};

struct Api {
    netns: Netns,
    directory: tempfile::TempDir,
}

fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools").join(name)
}

impl Api {
    fn start() -> Self {
        let api = Self { netns: Netns::new(), directory: tempfile::tempdir().expect("a directory") };
        let bin = api.directory.path().join("bin");
        let built = Command::new(tool("build-kubernetes")).arg(&bin).output().expect("build-kubernetes");
        assert!(built.status.success(), "{}", lossy(&built));
        let up = api.apiserver("up").stdin(Stdio::null()).output().expect("apiserver");
        assert!(up.status.success(), "{}", lossy(&up));
        api
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn apiserver(&self, verb: &str) -> Command {
        let mut command = self.netns.command("env");
        command.arg(format!(
            "PATH={}:/usr/sbin:/usr/bin:/sbin:/bin",
            self.directory.path().join("bin").display()
        ));
        command.arg(tool("apiserver")).arg(verb).arg(self.state());
        command
    }

    /// The status code and the answer.
    fn post(&self, path: &str, object: &Value) -> (String, Value) {
        let read = |name| std::fs::read_to_string(self.state().join(name)).expect(name);
        let url = format!("{}{path}", read("server").trim());
        let token = format!("Authorization: Bearer {}", read("token").trim());
        let authority = self.state().join("ca.crt");
        let authority = authority.to_str().expect("text");
        let fixed = ["-sS", "--noproxy", "*", "-w", "\n%{http_code}", "--data-binary", "@-"];
        let headers = ["-H", &token, "-H", "Content-Type: application/json", "--cacert", authority, &url];
        let output = self.netns.feed("curl", &[&fixed[..], &headers].concat(), object.to_string().as_bytes());
        assert!(output.status.success(), "{}", lossy(&output));
        let text = String::from_utf8(output.stdout).expect("text");
        let (body, code) = text.rsplit_once('\n').expect("a status");
        (code.to_owned(), serde_json::from_str(body).expect("JSON"))
    }

    #[track_caller]
    fn create(&self, object: &Value) {
        let (code, answer) = self.post(&collection(object), object);
        assert_eq!(code, "201", "{object:#}\n{answer:#}");
    }

    fn allows(&self, who: &str, attributes: &Value) -> bool {
        let review = json!({"spec": {"user": who, "groups": ["system:serviceaccounts", "system:authenticated"], "resourceAttributes": attributes}});
        let (code, answer) = self.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review);
        assert_eq!(code, "201", "{answer:#}");
        answer["status"]["allowed"].as_bool().expect("an answer")
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.apiserver("down").stdin(Stdio::null()).status();
    }
}

/// Where objects of this kind are created.
fn collection(object: &Value) -> String {
    let version = object["apiVersion"].as_str().expect("apiVersion");
    let group = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    let plural = format!("{}s", object["kind"].as_str().expect("kind").to_lowercase());
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
        None => format!("{group}/{plural}"),
    }
}

const AGENT: &str = "system:serviceaccount:iptables-monitor:iptables-monitor";

/// Everything the agent may do, as group, resource, namespace, verb.
const GRANTED: [(&str, &str, &str, &str); 7] = [
    ("cilium.io", "ciliumnodes", "", "get"),
    ("cilium.io", "ciliumnodes", "", "patch"),
    ("cilium.io", "ciliumnodes", "", "watch"),
    ("", "nodes", "", "get"),
    ("events.k8s.io", "events", "kube-system", "create"),
    ("events.k8s.io", "events", "kube-system", "patch"),
    ("", "events", "default", "create"),
];

/// What following drops needs besides.
const DROPS: [(&str, &str, &str, &str); 9] = [
    ("", "pods", "kube-system", "get"),
    ("", "pods", "kube-system", "list"),
    ("", "pods", "kube-system", "watch"),
    ("", "nodes", "", "list"),
    ("", "services", "kube-system", "list"),
    ("", "events", "default", "create"),
    ("", "events", "default", "patch"),
    ("", "events", "kube-system", "create"),
    ("", "events", "kube-system", "patch"),
];

fn assert_granted(api: &Api, who: &str, granted: &[(&str, &str, &str, &str)]) {
    let resources = [
        ("cilium.io", "ciliumnodes", ""),
        ("", "nodes", ""),
        ("events.k8s.io", "events", "kube-system"),
        ("events.k8s.io", "events", "default"),
        ("", "events", "default"),
        ("", "events", "kube-system"),
        ("", "pods", "kube-system"),
        ("", "services", "kube-system"),
        ("", "secrets", "iptables-monitor"),
        ("", "configmaps", "iptables-monitor"),
    ];
    for (group, resource, namespace) in resources {
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
            let attributes =
                json!({"group": group, "resource": resource, "namespace": namespace, "verb": verb});
            let one = (group, resource, namespace, verb);
            assert_eq!(api.allows(who, &attributes), granted.contains(&one), "{who} {one:?}");
        }
    }
}

fn create_all(api: &Api, objects: &[Value]) {
    for object in objects.iter().filter(|object| object["apiVersion"] != "monitoring.coreos.com/v1") {
        api.create(object);
    }
}

#[test]
fn the_api_server_takes_the_manifests_and_grants_the_minimum() {
    let api = Api::start();
    assert!(!api.allows(AGENT, &json!({"group": "cilium.io", "resource": "ciliumnodes", "verb": "patch"})));
    let objects = documents(&manifests(&[]));
    create_all(&api, &objects);
    assert_granted(&api, AGENT, &GRANTED);

    let with_overlays = documents(&manifests(&["--overlay", "node-label,report-only,prometheus,drops"]));
    let added: Vec<_> = with_overlays.iter().filter(|object| !objects.contains(object)).cloned().collect();
    let (daemonsets, others): (Vec<Value>, Vec<Value>) =
        added.into_iter().partition(|object| object["kind"] == "DaemonSet");
    create_all(&api, &others);
    let label = [("", "nodes", "", "patch"), ("", "nodes", "", "watch")];
    assert_granted(&api, AGENT, &[&GRANTED[..], &label, &DROPS].concat());

    let drops_only = documents(&super::read("drops-only.yaml"));
    let (_, drops_only): (Vec<Value>, Vec<Value>) =
        drops_only.into_iter().partition(|object| object["kind"] == "Namespace");
    create_all(&api, &drops_only);
    assert_granted(&api, "system:serviceaccount:iptables-monitor:iptables-drops", &DROPS);

    let (code, answer) =
        api.post(&format!("{}?dryRun=All", collection(&renamed(&daemonsets[0]))), &renamed(&daemonsets[0]));
    assert_eq!(code, "201", "{answer:#}");
    let (code, answer) =
        api.post("/api/v1/namespaces/iptables-monitor/pods?dryRun=All", &pod(&daemonset(&objects)));
    assert_eq!(code, "201", "{answer:#}");
    assert_eq!(answer["spec"]["priority"], 2_000_001_000, "{answer:#}");
    assert_eq!(answer["status"]["qosClass"], "Burstable", "{answer:#}");
}

fn renamed(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"]["name"] = "with-overlays".into();
    object
}

/// A Pod as the DaemonSet's controller would make it: nobody checks its template's fields of the cluster before.
fn pod(daemonset: &Value) -> Value {
    let mut pod = daemonset["spec"]["template"].clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = "iptables-monitor-abcde".into();
    pod["metadata"]["namespace"] = daemonset["metadata"]["namespace"].clone();
    pod
}
