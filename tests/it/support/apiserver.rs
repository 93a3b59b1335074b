//! The programs of tests/tools, and one real API server that all tests of this process share.
//! Fakes nothing: objects, accounts and permissions are made with the API.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use kube::client::Body;
use serde_json::{Value, json};

use super::lossy;

/// Where a program of tests/tools is.
pub fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools").join(name)
}

/// Runs a program of tests/tools.
///
/// # Panics
/// If it fails; the message has everything it printed.
pub fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("a program of tests/tools");
    assert!(output.status.success(), "{command:?}\n{}", lossy(&output));
}

/// Where the agent of the tests lives.
pub const NAMESPACE: &str = "iptables-monitor";

/// etcd and kube-apiserver with RBAC, on free ports of the loopback device.
pub struct Server {
    dir: PathBuf,
    /// Takes everything down when its standard input, our end of a pipe, closes: also when this process is killed.
    _guard: Child,
}

impl Server {
    /// The one that all tests share, with the namespace of the agent and the CRD of CiliumNodes.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    /// Stops it; its data stay.
    pub fn stop(&self) {
        run(Command::new(tool("apiserver")).arg("down").arg(&self.dir));
    }

    /// Starts it again at the same address.
    pub fn start_again(&self) {
        let address = self.address();
        let port = address.rsplit(':').next().expect("a port");
        self.up(&[("PORT", port)]);
    }

    fn up(&self, more: &[(&str, &str)]) {
        let bin = self.dir.with_file_name("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
        let mut up = Command::new(tool("apiserver"));
        run(up.arg("up").arg(&self.dir).env("PATH", path).envs(more.iter().copied()));
    }

    /// Another one, for a test that stops it.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory").keep();
        let (bin, state) = (dir.join("bin"), dir.join("state"));
        let guard = Command::new("sh")
            .args(["-c", "read gone; \"$0\" down \"$1\"; rm -rf \"$2\""])
            .args([&tool("apiserver"), &state, &dir])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        run(Command::new(tool("build-kubernetes")).arg(&bin));
        let server = Self { dir: state, _guard: guard };
        server.up(&[]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        // the client belongs to the runtime that it is made in
        runtime.block_on(async { server.admin().prepare().await });
        server
    }

    /// The administrator.
    pub fn admin(&self) -> Api {
        self.with_token(&self.read("token"))
    }

    /// Where it listens, as `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.read("server").trim_start_matches("https://").to_owned()
    }

    /// The file with its certificate authority.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// A configuration with this token.
    pub fn config(&self, token: &str) -> kube::Config {
        let mut config = kube::Config::new(self.read("server").parse().expect("an address"));
        let pem = std::fs::read_to_string(self.dir.join("ca.crt")).expect("a certificate");
        config.root_cert = Some(vec![der(&pem)]);
        config.auth_info.token = Some(token.to_owned().into());
        config
    }

    /// What kubectl prints, as the administrator.
    ///
    /// # Panics
    /// If it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let mut kubectl = Command::new(tool("unpacked"));
        let (server, token) = (self.read("server"), self.read("token"));
        kubectl.args(["kubernetes-client", "kubectl", "--server", &server, "--token", &token]);
        kubectl.arg("--certificate-authority").arg(self.certificate());
        kubectl.arg("--cache-dir").arg(self.dir.join("kubectl")).env("KUBECONFIG", "/dev/null");
        let output = kubectl.args(arguments).stdin(Stdio::null()).output().expect("kubectl");
        assert!(output.status.success(), "{kubectl:?}\n{}", lossy(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn with_token(&self, token: &str) -> Api {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Api(kube::Client::try_from(self.config(token)).expect("a client"))
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).expect(name).trim().to_owned()
    }
}

/// A certificate without its armour.
fn der(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let output = {
        let mut child = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("base64");
        let mut stdin = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("a pipe");
        drop(stdin);
        child.wait_with_output().expect("base64")
    };
    output.stdout
}

/// Somebody who calls the API server.
#[derive(Clone)]
pub struct Api(pub kube::Client);

impl Api {
    /// Calls and expects success.
    ///
    /// # Panics
    /// If the API server refuses.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, text) = self.try_call(method, path, body).await;
        assert!(status < 300, "{method} {path} {body}\n{status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Calls and returns the status and the answer.
    pub async fn try_call(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content)
            .body(Body::from(body))
            .expect("a request");
        let answer = self.0.send(request).await.expect("an answer");
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.expect("a body");
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    pub async fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null).await
    }

    async fn prepare(&self) {
        self.call("POST", "/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}})).await;
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "ciliumnodes.cilium.io"},
            "spec": {
                "group": "cilium.io",
                "scope": "Cluster",
                "names": {"plural": "ciliumnodes", "singular": "ciliumnode", "kind": "CiliumNode"},
                "versions": [{"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
            },
        });
        self.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).await;
        for path in
            ["/apis/cilium.io/v2/ciliumnodes", "/api/v1/namespaces/kube-system", "/api/v1/namespaces/default"]
        {
            self.wait_for(path).await;
        }
    }

    async fn wait_for(&self, path: &str) {
        for _ in 0..600 {
            if self.try_call("GET", path, &Value::Null).await.0 == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} is not there");
    }

    /// A ServiceAccount with these rules and no other; returns its token.
    pub async fn account(&self, name: &str, rules: &Value) -> String {
        let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
        self.call("POST", &accounts, &json!({"metadata": {"name": name}})).await;
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let role = json!({"metadata": {"name": name}, "rules": rules});
        self.call("POST", &format!("{rbac}/clusterroles"), &role).await;
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
        });
        self.call("POST", &format!("{rbac}/clusterrolebindings"), &binding).await;
        self.token(name).await
    }

    /// A ServiceAccount with what these shipped manifests grant theirs; returns its token.
    pub async fn account_of(&self, name: &str, manifests: &str) -> String {
        let manifests = manifests.replace("name: iptables-monitor", &format!("name: {name}"));
        let documents: Vec<Value> = serde_saphyr::from_multiple(&manifests).expect("YAML");
        for document in &documents {
            let kind = text(document, "/kind");
            let within = document.pointer("/metadata/namespace").and_then(Value::as_str);
            let group = match kind.as_str() {
                "ServiceAccount" => "/api/v1",
                _ => "/apis/rbac.authorization.k8s.io/v1",
            };
            let within = within.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
            self.call("POST", &format!("{group}{within}/{}s", kind.to_lowercase()), document).await;
        }
        self.token(name).await
    }

    async fn token(&self, account: &str) -> String {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token");
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        text(&self.call("POST", &path, &request).await, "/status/token")
    }

    /// A Node with this InternalIP; returns its UID.
    pub async fn node(&self, name: &str, ip: &str) -> String {
        let status = json!({"addresses": [{"type": "InternalIP", "address": ip}]});
        let node =
            self.call("POST", "/api/v1/nodes", &json!({"metadata": {"name": name}, "status": status})).await;
        text(&node, "/metadata/uid")
    }

    /// A CiliumNode with one label of somebody else.
    pub async fn cilium_node(&self, name: &str) {
        let metadata = json!({"name": name, "labels": {"theirs": "stays"}});
        let body =
            json!({"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "metadata": metadata, "spec": {}});
        self.call("POST", "/apis/cilium.io/v2/ciliumnodes", &body).await;
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).expect(pointer).to_owned()
}
