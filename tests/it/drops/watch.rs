//! The watch of pods when the API server has forgotten where it stood: with a fake, which forgets at once.
//! Who a packet's pods are is tested with a real one.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};

use iptables_monitor::app::peers::{Interest, Peers};
use iptables_monitor::domain::peers::Directory;
use iptables_monitor::k8s::client::ApiServer;
use iptables_monitor::k8s::pods::PodScope;
use serde_json::{Value, json};

use super::program::{LIMIT, Program};
use super::world::World;
use crate::support::fake::{Fake, Fault};
use crate::support::{MONITOR, wait_until};

/// Pod `number` with the address 10.0.0.`number`.
fn pod(number: u8, version: u32) -> Value {
    json!({
        "metadata": {
            "name": format!("web-{number}"), "namespace": "shop", "uid": format!("u-{number}"),
            "resourceVersion": version.to_string(),
        },
        "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "podIP": format!("10.0.0.{number}"), "startTime": "2026-01-01T00:00:00Z"},
    })
}

fn list(version: u32, numbers: &[u8]) -> Fault {
    let pods: Vec<_> = numbers.iter().map(|number| pod(*number, version)).collect();
    Fault::Text(json!({"metadata": {"resourceVersion": version.to_string()}, "items": pods}).to_string())
}

fn changes(events: &[(&str, Value)]) -> Fault {
    let line = |(kind, object): &(&str, Value)| format!("{}\n", json!({"type": kind, "object": object}));
    Fault::Text(events.iter().map(line).collect())
}

fn expired() -> Value {
    json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"})
}

struct Watched(Arc<RwLock<Directory>>);

impl Watched {
    /// Which of the pods 1 to 5 had their addresses then.
    fn known(&self, at: SystemTime) -> Vec<u8> {
        let directory = self.0.read().unwrap();
        let is_known = |number: &u8| {
            let ip = format!("10.0.0.{number}").parse().unwrap();
            directory.find(ip, at).pod().is_some_and(|pod| *pod.name == format!("web-{number}"))
        };
        (1..=5).filter(is_known).collect()
    }

    async fn wait_for(&self, what: &str, at: impl Fn() -> SystemTime, expected: &[u8]) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.known(at()) != expected {
            assert!(Instant::now() < end, "{what}: {:?}", self.known(at()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Pods are listed three times, as their version is gone twice: 2 went before the second, 1 before the third. Pods that
/// have ended are kept for so long. Returns what is known, and a time at which 1 to 5 had their addresses.
async fn list_three_times(keep_ended: Duration) -> (Fake, Watched, SystemTime) {
    let gone = Fault::Status(410, "", expired().to_string());
    let fake = Fake::new(&[
        list(10, &[1, 2]),
        changes(&[("ADDED", pod(3, 11)), ("ERROR", expired())]),
        // 2 went meanwhile, and 4 came
        list(20, &[1, 3, 4]),
        gone,
        list(30, &[3, 4, 5]),
    ])
    .watched()
    .always("/api/v1/nodes?", Fault::Text("{}".into()))
    .always("/api/v1/services?", Fault::Text("{}".into()));
    let config = kube::Config::new(fake.address.parse().unwrap());
    let api = ApiServer::with_config(config, Arc::new(|_| {})).unwrap();
    let peers = Peers::new("n", keep_ended);
    let watched = Watched(Arc::clone(&peers.directory));
    tokio::spawn(peers.keep(api, Interest::Addresses { pods: PodScope::Cluster, label: None }));
    watched.wait_for("the first list and its watch", SystemTime::now, &[1, 2, 3]).await;
    let before = SystemTime::now();
    // what follows the last list is a watch that ends at once, again and again
    let fake = fake.always("resourceVersion=30", Fault::Text(String::new()));
    // the clocks of both sides may differ by two seconds
    let later = || SystemTime::now() + Duration::from_secs(3);
    watched.wait_for("the last list", later, &[3, 4, 5]).await;
    (fake, watched, before)
}

#[tokio::test]
async fn pods_are_listed_anew_when_their_version_is_gone() {
    let (fake, watched, before) = list_three_times(Duration::from_secs(3600)).await;
    assert_eq!(watched.known(before), [1, 2, 3, 4, 5], "packets may come late");
    let expected =
        ["limit=", "resourceVersion=10", "limit=", "resourceVersion=20", "limit=", "resourceVersion=30"];
    let of_pods = || {
        let asked = fake.seen().into_iter().map(|seen| seen.path);
        asked.filter(|path| path.contains("/pods?")).collect::<Vec<_>>()
    };
    let end = Instant::now() + LIMIT;
    while of_pods().len() <= expected.len() {
        assert!(Instant::now() < end, "no watch follows the last list: {:#?}", of_pods());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = of_pods();
    assert!(asked.iter().zip(expected).all(|(path, part)| path.contains(part)), "{asked:#?}");
    assert!(asked[expected.len()..].iter().all(|path| path.contains("resourceVersion=30")), "{asked:#?}");
}

#[tokio::test]
async fn pods_that_ended_are_forgotten_after_a_while() {
    let (_fake, watched, before) = list_three_times(Duration::from_secs(1)).await;
    watched.wait_for("those that went are forgotten", || before, &[3, 4, 5]).await;
}

/// The names of packets' pods and of processes' pods come from the same list and the same watch.
#[test]
fn an_agent_that_checks_and_follows_drops_asks_for_pods_once() {
    let world = World::new(&[]);
    let mut command = world.netns.command(MONITOR);
    command.args(["--profile", "base", "--ipv6", "false", "--sink", "kube", "--drops-dns=false"]);
    command.args(["--node-name", "n", "--drops-prefix", "d:", "--drops-source", &world.source()]);
    command.env("KUBECONFIG", world.path("kubeconfig"));
    let mut program = Program::start(&mut command, &world.path("state"));
    let of_pods = |part: &str| {
        let asked = world.fake.seen().into_iter().map(|seen| seen.path);
        asked.filter(|path| path.contains("/pods?") && path.contains(part)).count()
    };
    wait_until("pods are watched", LIMIT, || of_pods("watch=true") > 1);
    wait_until("there was a check", LIMIT, || program.output().contains("checked"));
    assert_eq!(of_pods("limit="), 1, "{:#?}", world.fake.seen());
    assert_eq!(program.stop(), Some(0), "{}", program.output());
}
