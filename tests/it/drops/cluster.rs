//! A real API server with pods that have addresses, and an account with what the drops half needs.
//! No pod of it runs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::apiserver::{Api, Server};

/// A namespace of its own, and the token of an account.
pub struct Cluster {
    pub admin: Api,
    pub namespace: &'static str,
    pub token: String,
}

impl Cluster {
    /// An account with these permissions and no other.
    pub async fn new(namespace: &'static str, rules: &Value) -> Self {
        let server = tokio::task::spawn_blocking(Server::shared).await.unwrap();
        let admin = server.admin();
        let token = admin.account(&format!("drops-{namespace}"), rules).await;
        let cluster = Self { admin, namespace, token };
        cluster.add_namespace(namespace).await;
        cluster
    }

    pub async fn add_namespace(&self, namespace: &str) {
        self.admin.call("POST", "/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await;
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        self.admin.call("POST", &accounts, &json!({"metadata": {"name": "default"}})).await;
    }

    /// A running pod, labelled `app=web`, as `NAME` or `NAMESPACE/NAME`.
    pub async fn pod(&self, name: &str, ips: &[&str], is_host_network: bool) {
        let (namespace, name) = name.split_once('/').unwrap_or((self.namespace, name));
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {
                "nodeName": "node-of-pods", "hostNetwork": is_host_network, "serviceAccountName": "default",
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "none"}],
            },
        });
        self.admin.call("POST", &pods, &pod).await;
        let ips: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        let start = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = json!({"status": {
            "phase": "Running", "podIP": ips[0]["ip"], "podIPs": ips, "startTime": start,
        }});
        self.admin.call("PATCH", &format!("{pods}/{name}/status"), &status).await;
    }

    /// The Events of a namespace.
    pub async fn events(&self, namespace: &str) -> Vec<Value> {
        let events = self.admin.get(&format!("/api/v1/namespaces/{namespace}/events")).await;
        events["items"].as_array().unwrap().clone()
    }

    /// Writes a kubeconfig of the account into this directory.
    pub fn kubeconfig(&self, directory: &Path) -> PathBuf {
        let server = Server::shared();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {
                "server": format!("https://{}", server.address()),
                "certificate-authority": server.certificate(),
            }}],
            "users": [{"name": "u", "user": {"token": self.token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        let path = directory.join("kubeconfig");
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }
}
