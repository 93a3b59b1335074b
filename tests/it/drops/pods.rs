//! With a real API server: pods named by address and time, and Events that `kubectl describe` shows.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime};

use iptables_monitor::app::drops::events;
use iptables_monitor::app::drops::folding::{Arrival, Folding, Knowledge};
use iptables_monitor::app::drops::queue::Queue;
use iptables_monitor::app::drops::settings::EventSettings;
use iptables_monitor::app::drops::source::Logged;
use iptables_monitor::app::ending::Ending;
use iptables_monitor::app::peers::{Interest, Peers};
use iptables_monitor::app::service::{self, Service};
use iptables_monitor::domain::drops::accounting::Accounting;
use iptables_monitor::domain::drops::recent::Recent;
use iptables_monitor::domain::packets::packet::{Action, Header, Packet, Protocol};
use iptables_monitor::domain::peers::{Directory, Peer};
use iptables_monitor::k8s::client::ApiServer;
use iptables_monitor::k8s::pods::PodScope;
use iptables_monitor::telemetry::drops::DropMetrics;
use serde_json::json;

use super::cluster::Cluster;
use crate::support::apiserver::Server;

/// A cluster, and the agent's connection as an account with the permissions of config-samples.
struct World {
    cluster: Cluster,
    api: ApiServer,
    directory: Arc<RwLock<Directory>>,
}

impl World {
    async fn new(namespace: &'static str) -> Self {
        let rules = json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["nodes", "services"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        ]);
        let cluster = Cluster::new(namespace, &rules).await;
        let config = Server::shared().config(&cluster.token);
        let api = ApiServer::with_config(config, Arc::new(|_| {})).unwrap();
        let peers = Peers::new("node-of-pods", Duration::from_secs(600));
        let everybody = Interest::Addresses { pods: PodScope::Cluster, label: Some("app".into()) };
        tokio::spawn(peers.clone().keep(api.clone(), everybody));
        let directory = peers.directory;
        Self { cluster, api, directory }
    }

    fn find(&self, ip: &str, at: SystemTime) -> Peer {
        self.directory.read().unwrap().find(ip.parse().unwrap(), at)
    }

    async fn wait_for(&self, ip: &str, is_right: impl Fn(&Peer) -> bool) {
        let start = Instant::now();
        loop {
            let found = self.find(ip, SystemTime::now());
            if is_right(&found) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{ip} is {found:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn wait_for_pod(&self, ip: &str, name: &str) {
        self.wait_for(ip, |peer| peer.pod().is_some_and(|pod| &*pod.name == name)).await;
    }
}

fn packet(src: &str, dst: &str, dst_port: u16, at: SystemTime) -> Arrival {
    let mut packet = Packet::new(Cow::Borrowed(b"calico-drop:"), Action::Drop);
    packet.at = Some(at);
    packet.is_complete = true;
    packet.header = Header {
        src: Some(src.parse::<IpAddr>().unwrap()),
        dst: Some(dst.parse::<IpAddr>().unwrap()),
        src_port: Some(40_000),
        dst_port: Some(dst_port),
        protocol: Some(Protocol::Tcp),
        ..Header::default()
    };
    Arrival {
        logged: Logged::of_line(packet),
        accounting: Arc::new(Accounting::default()),
        hold: Arc::new(()),
    }
}

#[tokio::test]
async fn owners_of_both_pods_read_it_in_kubectl_describe() {
    let world = World::new("drops-describe").await;
    world.cluster.pod("web-1", &["10.11.0.5", "2001:db8:11::5"], false).await;
    world.cluster.pod("db-1", &["10.11.0.6"], false).await;
    world.wait_for_pod("2001:db8:11::5", "web-1").await;
    world.wait_for_pod("10.11.0.6", "db-1").await;

    let settings = EventSettings::default();
    let queue = Queue::new(NonZeroUsize::new(100).unwrap());
    let registry = prometheus::Registry::new();
    let metrics = DropMetrics::register(&registry).unwrap();
    let knowledge = Knowledge {
        directory: Arc::clone(&world.directory),
        is_watched: true,
        dns: None,
        rules: Arc::default(),
        reads_rules: true,
    };
    let recent = Arc::new(Mutex::new(Recent::default()));
    let mut folding =
        Folding::new(settings.clone(), knowledge, Some(queue.clone()), Arc::clone(&recent), metrics.clone());
    let api = world.api.clone();
    let deliverer = Service::start("deliverer", |stopping| async {
        events::run(api, queue, settings, "node-of-pods".into(), metrics, stopping).await;
        Ok(Ending::Stopped)
    });
    let (now, wall) = (Instant::now(), SystemTime::now());
    let arrival = packet("10.11.0.5", "10.11.0.6", 5432, wall);
    let hold = Arc::downgrade(&arrival.hold);
    folding.arrive(arrival, now, wall);
    (0..4).for_each(|_| folding.arrive(packet("10.11.0.5", "10.11.0.6", 5432, wall), now, wall));
    folding.arrive(packet("10.11.0.5", "10.11.0.6", 5433, wall), now, wall);
    folding.close(now, wall);
    service::stop(vec![deliverer], Ending::Stopped, Duration::from_secs(60)).await;
    assert!(hold.upgrade().is_none(), "a delivered line holds its checkpoint back");

    let describe =
        |pod: &'static str| Server::shared().kubectl(&["describe", "pod", "-n", "drops-describe", pod]);
    let (web, db) = tokio::task::spawn_blocking(move || (describe("web-1"), describe("db-1"))).await.unwrap();
    for (text, message) in [
        (&web, "Packet dropped when sending traffic to drops-describe (10.11.0.6) on port 5432/TCP"),
        (&web, "Packet dropped when sending traffic to drops-describe (10.11.0.6) on port 5433/TCP"),
        (&db, "Packet dropped when receiving traffic from drops-describe (10.11.0.5) on port 5432/TCP"),
    ] {
        assert!(text.contains(message), "{message}\n{text}");
        assert!(text.contains("kube-iptables-tailer") && text.contains("PacketDrop"), "{text}");
    }
    let events = world.cluster.events("drops-describe").await;
    let counts: Vec<_> = events
        .iter()
        .filter(|event| event["message"].as_str().unwrap().ends_with("5432/TCP"))
        .map(|event| event["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [5, 5]);
    assert_eq!(events.len(), 4);
    assert_eq!(recent.lock().unwrap().top(9), [("drops-describe", "drops-describe", 6)]);
}

#[tokio::test]
async fn a_reused_address_and_a_host_network_pod_are_told_apart() {
    let world = World::new("drops-reuse").await;
    world.cluster.pod("old", &["10.12.0.5"], false).await;
    world.cluster.pod("proxy", &["192.0.2.99"], true).await;
    world.wait_for_pod("10.12.0.5", "old").await;
    world.wait_for("192.0.2.99", |peer| *peer == Peer::Node("node-of-pods".into())).await;
    let earlier = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let old = "/api/v1/namespaces/drops-reuse/pods/old";
    world.cluster.admin.call("DELETE", old, &json!({"gracePeriodSeconds": 0})).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    world.cluster.pod("new", &["10.12.0.5"], false).await;
    world.wait_for_pod("10.12.0.5", "new").await;
    let old = world.find("10.12.0.5", earlier);
    assert_eq!(old.record().as_deref(), Some("drops-reuse/old"));
}
