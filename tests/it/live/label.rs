//! From a change of a rule to the label in a real API server.

use std::time::Instant;

use serde_json::json;

use super::*;
use crate::support::apiserver::Server;
use crate::support::live::write_kubeconfig;

#[tokio::test]
async fn a_change_is_in_the_label_soon() {
    const NAME: &str = "live-label";
    let server = tokio::task::spawn_blocking(Server::shared).await.unwrap();
    let admin = server.admin();
    admin.node(NAME, "192.0.2.10").await;
    admin.cilium_node(NAME).await;
    let rules = json!([{"apiGroups": ["cilium.io"], "resources": ["ciliumnodes"], "verbs": ["get", "patch", "watch"]}]);
    let token = admin.account(NAME, &rules).await;
    let (netns, files, allowlist) = (Netns::new(), tempfile::tempdir().unwrap(), allowlist());
    let kubeconfig = files.path().join("kubeconfig");
    write_kubeconfig(&netns, server, &token, &kubeconfig);
    let mut command = netns.command(crate::support::MONITOR);
    command.env("KUBECONFIG", &kubeconfig).args([
        "--interval",
        "1h",
        "--netns-check",
        "off",
        "--node-name",
        NAME,
    ]);
    let agent = Agent::spawn(&netns, command.args(arguments(&allowlist)));
    let path = format!("/apis/cilium.io/v2/ciliumnodes/{NAME}");
    let label = async |value: &str| {
        let started = Instant::now();
        while admin.get(&path).await["metadata"]["labels"]["user-iptables-rules"] != value {
            assert!(started.elapsed() < LIMIT, "the label is not {value}: {}", agent.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    label("false").await;
    for _ in 0..3 {
        netns.sh("iptables-nft -A INPUT -s 192.0.2.9 -j DROP");
        label("true").await;
        netns.sh("iptables-nft -F INPUT");
        label("false").await;
    }
}
