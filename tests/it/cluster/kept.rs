//! The label against others: it is watched and restored, with a real API server that may go away.
//! Every test has a node of its own.

use std::time::Instant;

use iptables_monitor::domain::cluster::contest::PATIENCE;
use kube::client::ClientBuilder;
use serde_json::{Value, json};
use tower::util::MapRequestLayer;

use super::real::{Grants, SHIPPED, World, rule};
use super::*;
use crate::support::apiserver::{Api, Server};

const CHECKED_AT: &str = "iptables-monitor/last-check";
const HASH: &str = "iptables-monitor/ruleset-hash";
/// Far more than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

async fn label(admin: &Api, path: &str) -> Value {
    admin.get(path).await["metadata"]["labels"][KEY].clone()
}

/// Waits until the label is right, without another report.
async fn restored(admin: &Api, path: &str, value: &str) {
    wait_for(value, async || (label(admin, path).await == value).then_some(())).await;
}

/// What the cilium agent does on every update of its own: the whole object, with labels that it knows.
async fn overwrite(admin: &Api, path: &str, round: u32) {
    loop {
        let mut object = admin.get(path).await;
        object["metadata"]["labels"] = json!({"theirs": "stays"});
        object["spec"] = json!({"round": round});
        let (status, text) = admin.try_call("PUT", path, &object).await;
        match status {
            409 => {}
            200 => return,
            _ => panic!("{status} {text}"),
        }
    }
}

/// How pauses grow and how long the label may be wrong is told by the laws of `domain::cluster::contest`.
#[tokio::test]
async fn overwriting_is_fought_with_restraint_and_won() {
    /// The shortest pause in a fight.
    const PAUSE: Duration = Duration::from_secs(4);
    let world = World::new("overwritten", SHIPPED).await;
    world.admin.cilium_node(world.name).await;
    let settings = ClusterSettings { events: true, ..settings(world.name) };
    let agent = Agent::start(settings, world.api.clone());
    agent.tell(&report(&[], &[]));
    world.wait_for_label(&world.path(), "false").await;
    let restores = || world.counted.of("restored ciliumnode");

    // on a busy machine these may take longer than the window in which restores are counted
    let mut round = 0;
    while world.events().await.is_empty() {
        overwrite(&world.admin, &world.path(), round).await;
        restored(&world.admin, &world.path(), "false").await;
        round += 1;
        assert!(round < 100, "a hundred restores are no fight: {:?}", world.counted.all());
    }
    assert!(restores() > PATIENCE, "{} restores", restores());

    let (begun, before) = (Instant::now(), restores());
    while restores() < before + 3 {
        overwrite(&world.admin, &world.path(), round).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        round += 1;
        assert!(begun.elapsed() < LIMIT, "the label is given up: {:?}", world.counted.all());
    }
    // the first may have been due already
    assert!(begun.elapsed() >= 2 * PAUSE, "no restraint: {:?}", begun.elapsed());
    restored(&world.admin, &world.path(), "false").await;
    wait_for("the last write to be counted", async || {
        (world.counted.of("write patch_ciliumnode") == 1 + restores()).then_some(())
    })
    .await;
    let events = world.wait_for_events(1).await;
    assert_eq!(events[0]["reason"], "LabelContested");
    assert_eq!(world.metadata(&world.path()).await["labels"]["theirs"], "stays");
    agent.stop().await;
}

#[tokio::test]
async fn an_object_that_is_deleted_and_made_anew_gets_its_label_and_its_annotations() {
    let world = World::new("recreated", SHIPPED).await;
    world.admin.cilium_node(world.name).await;
    let agent = Agent::start(settings(world.name), world.api.clone());
    agent.tell(&report(&["x"], &[]));
    world.wait_for_label(&world.path(), "true").await;
    for _ in 0..3 {
        world.admin.call("DELETE", &world.path(), &Value::Null).await;
        world.admin.cilium_node(world.name).await;
        restored(&world.admin, &world.path(), "true").await;
        assert!(world.metadata(&world.path()).await["annotations"][CHECKED_AT].is_string());
    }
    world.counted.becomes("restored ciliumnode", 3).await;
    agent.stop().await;
}

#[tokio::test]
async fn the_label_of_the_node_is_restored_too() {
    let grants = Grants::Manifests(&["rbac.yaml", "overlays/node-label/rbac.yaml"]);
    let world = World::new("node-kept", grants).await;
    let path = "/api/v1/nodes/node-kept";
    let node = ClusterSettings { label_target: LabelTarget::Node, ..settings(world.name) };
    let agent = Agent::start(node, world.api.clone());
    agent.tell(&report(&[], &[]));
    world.wait_for_label(path, "false").await;
    for theirs in [Value::Null, json!("true")] {
        world.admin.call("PATCH", path, &json!({"metadata": {"labels": {KEY: theirs}}})).await;
        restored(&world.admin, path, "false").await;
    }
    world.counted.becomes("restored node", 2).await;
    agent.stop().await;
}

/// The agent's connection, and the requests made on it.
fn counting(config: kube::Config, observer: Observer) -> (ApiServer, Counted) {
    let requests = Counted::default();
    let seen = requests.clone();
    let count = move |request: http::Request<_>| {
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let method = if is_watch { "WATCH" } else { request.method().as_str() };
        seen.add(format!("{method} {}", request.uri().path()));
        request
    };
    let builder = ClientBuilder::try_from(config).unwrap().with_layer(&MapRequestLayer::new(count));
    (ApiServer::new(builder.build(), Duration::from_secs(10), observer), requests)
}

#[tokio::test]
async fn an_unchanged_node_is_neither_read_nor_written() {
    let world = World::new("unchanged", SHIPPED).await;
    world.admin.cilium_node(world.name).await;
    let (api, requests) = counting(world.config.clone(), world.counted.observer());
    let agent = Agent::start(settings(world.name), api);
    wait_for("the watch", async || (requests.of(&format!("WATCH {COLLECTION}")) == 1).then_some(())).await;
    agent.tell(&report(&[], &[]));
    world.wait_for_label(&world.path(), "false").await;
    let version = world.metadata(&world.path()).await["resourceVersion"].clone();
    let before = requests.all();
    for _ in 0..100 {
        agent.tell(&report(&[], &[]));
        let_run().await;
    }
    assert_eq!(requests.all(), before);
    assert_eq!(world.metadata(&world.path()).await["resourceVersion"], version);
    // what comes after them is told with one write, and before it there was none
    agent.tell(&report(&["x"], &[]));
    world.wait_for_label(&world.path(), "true").await;
    agent.stop().await;
    let patch = format!("PATCH {}", world.path());
    let expected = before.into_iter().map(|(what, count)| (what.clone(), count + usize::from(what == patch)));
    assert_eq!(requests.all(), expected.collect());
}

const COLLECTION: &str = "/apis/cilium.io/v2/ciliumnodes";

fn checked_at(seconds: u64, hash: &str, problems: &[Reason]) -> Arc<Report> {
    let checked_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds);
    Arc::new(Report { checked_at, ruleset_hash: hash.into(), ..(*report(&[], problems)).clone() })
}

#[tokio::test]
async fn the_last_complete_check_is_told_every_ten_minutes_also_by_the_next_agent() {
    let world = World::new("fresh", SHIPPED).await;
    world.admin.cilium_node(world.name).await;
    let agent = Agent::start(settings(world.name), world.api.clone());
    let annotations = async || {
        let all = world.metadata(&world.path()).await["annotations"].clone();
        json!([all[CHECKED_AT], all[HASH]])
    };
    let becomes = async |expected: Value| {
        wait_for(&format!("{expected}"), async || (annotations().await == expected).then_some(())).await;
    };
    agent.tell(&checked_at(0, "a", &[]));
    becomes(json!(["2027-01-15T08:00:00Z", "a"])).await;
    // label and annotations are one write
    world.counted.becomes("write patch_ciliumnode", 1).await;
    for seconds in [1, 300, 599] {
        agent.tell(&checked_at(seconds, "b", &[]));
        let_run().await;
    }
    agent.tell(&checked_at(601, "c", &[]));
    becomes(json!(["2027-01-15T08:10:01Z", "c"])).await;
    agent.tell(&checked_at(9000, "d", &[Reason::KernelRead]));
    world.wait_for_label(&world.path(), "unknown").await;
    agent.stop().await;

    let again = Agent::start(settings(world.name), world.api.clone());
    again.tell(&checked_at(900, "e", &[]));
    world.wait_for_label(&world.path(), "false").await;
    assert_eq!(annotations().await, json!(["2027-01-15T08:10:01Z", "c"]));
    again.tell(&checked_at(1201, "f", &[]));
    becomes(json!(["2027-01-15T08:20:01Z", "f"])).await;
    world.counted.becomes("write patch_ciliumnode", 5).await;
    again.stop().await;
}

#[tokio::test]
async fn without_watch_the_label_is_looked_at_with_each_report() {
    let rules = json!([rule("cilium.io", "ciliumnodes", &["get", "patch"])]);
    let world = World::new("unwatched", Grants::Rules(rules)).await;
    world.admin.cilium_node(world.name).await;
    let agent = Agent::start(ClusterSettings { events: true, ..settings(world.name) }, world.api.clone());
    agent.tell(&report(&[], &[]));
    world.wait_for_label(&world.path(), "false").await;
    overwrite(&world.admin, &world.path(), 1).await;
    agent.tell(&report(&[], &[]));
    world.wait_for_label(&world.path(), "false").await;
    let permissions = wait_for("all answers", async || {
        let permissions = world.counted.permissions.lock().unwrap().clone();
        (permissions.len() == 7).then_some(permissions)
    })
    .await;
    agent.stop().await;
    let granted: Vec<_> = permissions.into_iter().filter(|(_, is_granted)| *is_granted).collect();
    assert_eq!(granted, [("get_ciliumnode", true), ("patch_ciliumnode", true)]);
    let counts = [
        ("failure watch_ciliumnode forbidden".to_owned(), 1),
        ("restored ciliumnode".to_owned(), 1),
        ("write patch_ciliumnode".to_owned(), 2),
    ];
    assert_eq!(world.counted.all(), BTreeMap::from(counts));
}

#[tokio::test]
async fn everything_that_is_needed_is_granted_by_the_manifests() {
    let grants = Grants::Manifests(&["rbac.yaml", "overlays/node-label/rbac.yaml"]);
    let world = World::new("granted", grants).await;
    let both = ClusterSettings { events: true, label_target: LabelTarget::Both, ..settings(world.name) };
    let agent = Agent::start(both, world.api.clone());
    let permissions = wait_for("all answers", async || {
        let permissions = world.counted.permissions.lock().unwrap().clone();
        (permissions.len() == 9).then_some(permissions)
    })
    .await;
    agent.stop().await;
    assert!(permissions.values().all(|is_granted| *is_granted), "{permissions:?}");
}

#[tokio::test]
async fn an_api_server_that_stops_for_a_while_finds_the_label_kept_again() {
    let server = Arc::new(tokio::task::spawn_blocking(Server::start).await.unwrap());
    let world = World::on(&server, "stopped", SHIPPED).await;
    world.admin.cilium_node(world.name).await;
    let agent = Agent::start(settings(world.name), world.api.clone());
    agent.tell(&report(&[], &[]));
    world.wait_for_label(&world.path(), "false").await;

    let (stopping, starting) = (server.clone(), server.clone());
    tokio::task::spawn_blocking(move || stopping.stop()).await.unwrap();
    agent.tell(&report(&["x"], &[]));
    for failure in ["failure watch_ciliumnode unreachable", "failure get_ciliumnode unreachable"] {
        // so many that the pauses of the watch have grown to the longest
        wait_for(failure, async || (world.counted.of(failure) >= 6).then_some(())).await;
    }
    tokio::task::spawn_blocking(move || starting.start_again()).await.unwrap();
    let world = World { admin: server.admin(), ..world };
    restored(&world.admin, &world.path(), "true").await;

    // the watch begins again too: nothing else tells of what others do
    for round in 1..=2 {
        overwrite(&world.admin, &world.path(), round).await;
        restored(&world.admin, &world.path(), "true").await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn the_last_word_is_unknown_if_that_is_wanted() {
    let world = World::new("leaving", SHIPPED).await;
    world.admin.cilium_node(world.name).await;
    let leaving = ClusterSettings { unknown_on_exit: true, ..settings(world.name) };
    for (ending, last) in [(Ending::Stopped, "unknown"), (Ending::Compliant, "false")] {
        let agent = Agent::start(leaving.clone(), world.api.clone());
        agent.tell(&report(&[], &[]));
        world.wait_for_label(&world.path(), "false").await;
        agent.end(ending).await;
        assert_eq!(label(&world.admin, &world.path()).await, last);
    }
    let quiet = ClusterSettings { report_only: true, ..leaving };
    let agent = Agent::start(quiet, world.api.clone());
    agent.tell(&report(&["x"], &[]));
    agent.stop().await;
    assert_eq!(label(&world.admin, &world.path()).await, "false");
}
