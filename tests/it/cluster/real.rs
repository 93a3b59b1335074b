//! With a real API server, as ServiceAccounts with exactly the permissions that each test names.
//! Every test has a node of its own.

use iptables_monitor::app::cluster::{local_addresses, prove_netns};
use iptables_monitor::domain::cluster::{Action, EventReason, NodeEvent, Written};
use iptables_monitor::domain::judging::netns::NetnsEvidence;
use iptables_monitor::k8s::events::{EventWriter, Moment};
use serde_json::{Value, json};

use super::*;
use crate::support::Netns;
use crate::support::apiserver::{Api, Server};

pub fn rule(group: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
}

/// What an account may do.
pub enum Grants {
    /// What these manifests of config-samples grant.
    Manifests(&'static [&'static str]),
    Rules(Value),
}

pub const SHIPPED: Grants = Grants::Manifests(&["rbac.yaml"]);

/// What the older system had.
fn older() -> Grants {
    Grants::Rules(older_rules())
}

/// The same, as the rules of a role.
pub fn older_rules() -> Value {
    json!([
        rule("cilium.io", "ciliumnodes", &["patch"]),
        rule("", "events", &["create"]),
        rule("", "nodes", &["get"]),
    ])
}

fn manifests(files: &[&str]) -> String {
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config-samples");
    let texts: Vec<_> =
        files.iter().map(|file| std::fs::read_to_string(samples.join(file)).unwrap()).collect();
    texts.join("\n---\n")
}

/// A node, an account of the same name with these permissions, and the agent's connection with it.
pub struct World {
    pub admin: Api,
    pub name: &'static str,
    pub uid: String,
    pub config: kube::Config,
    pub api: ApiServer,
    pub counted: Counted,
}

impl World {
    pub async fn new(name: &'static str, grants: Grants) -> Self {
        let server = tokio::task::spawn_blocking(Server::shared).await.unwrap();
        Self::on(server, name, grants).await
    }

    pub async fn on(server: &Server, name: &'static str, grants: Grants) -> Self {
        let admin = server.admin();
        let uid = admin.node(name, "192.0.2.10").await;
        let token = match grants {
            Grants::Manifests(files) => admin.account_of(name, &manifests(files)).await,
            Grants::Rules(rules) => admin.account(name, &rules).await,
        };
        let counted = Counted::default();
        let config = server.config(&token);
        let api = ApiServer::with_config(config.clone(), counted.observer()).unwrap();
        Self { admin, name, uid, config, api, counted }
    }

    pub fn path(&self) -> String {
        format!("/apis/cilium.io/v2/ciliumnodes/{}", self.name)
    }

    pub async fn metadata(&self, path: &str) -> Value {
        self.admin.get(path).await["metadata"].clone()
    }

    pub async fn wait_for_label(&self, path: &str, value: &str) {
        wait_for(&format!("{value} in {path}: {:?}", self.counted.all()), async || {
            (self.metadata(path).await["labels"][KEY] == value).then_some(())
        })
        .await;
    }

    /// The Events that `kubectl describe node` shows since 1.32: those with the Node's UID.
    pub async fn events(&self) -> Vec<Value> {
        let path = format!("/api/v1/events?fieldSelector=involvedObject.uid%3D{}", self.uid);
        self.admin.get(&path).await["items"].as_array().unwrap().clone()
    }

    pub async fn wait_for_events(&self, count: usize) -> Vec<Value> {
        let mut events = wait_for(&format!("{count} Events: {:?}", self.counted.all()), async || {
            let events = self.events().await;
            (events.len() >= count).then_some(events)
        })
        .await;
        assert_eq!(events.len(), count, "{events:#?}");
        events.sort_by_key(|event| {
            event["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
        });
        events
    }
}

fn with_events(node: &str) -> ClusterSettings {
    ClusterSettings { events: true, ..settings(node) }
}

#[tokio::test]
async fn the_label_follows_the_verdict_and_is_written_only_when_it_differs() {
    let world = World::new("label", SHIPPED).await;
    world.admin.cilium_node(world.name).await;
    let agent = Agent::start(settings(world.name), world.api.clone());
    for (lines, problems, value) in
        [(&["x"][..], &[][..], "true"), (&[], &[], "false"), (&[], &[Reason::TornRead], "unknown")]
    {
        agent.tell(&report(lines, problems));
        world.wait_for_label(&world.path(), value).await;
    }
    let before = world.metadata(&world.path()).await;
    assert_eq!(before["labels"]["theirs"], "stays");
    for _ in 0..5 {
        agent.tell(&report(&[], &[Reason::TornRead]));
        let_run().await;
    }
    assert_eq!(world.metadata(&world.path()).await["resourceVersion"], before["resourceVersion"]);
    agent.stop().await;
    assert_eq!(world.counted.all(), BTreeMap::from([("write patch_ciliumnode".into(), 3)]));
}

/// Nobody watches, as that is not granted.
#[tokio::test]
async fn a_label_that_someone_removes_comes_back_with_the_next_report() {
    let unwatched = json!([rule("cilium.io", "ciliumnodes", &["get", "patch"])]);
    let world = World::new("removed", Grants::Rules(unwatched)).await;
    world.admin.cilium_node(world.name).await;
    let agent = Agent::start(settings(world.name), world.api.clone());
    agent.tell(&report(&[], &[]));
    world.wait_for_label(&world.path(), "false").await;
    let refused = "failure watch_ciliumnode forbidden";
    wait_for(refused, async || (world.counted.of(refused) > 0).then_some(())).await;
    for theirs in [Value::Null, json!("true")] {
        world.admin.call("PATCH", &world.path(), &json!({"metadata": {"labels": {KEY: theirs}}})).await;
        assert_eq!(world.metadata(&world.path()).await["labels"][KEY], theirs);
        agent.tell(&report(&[], &[]));
        world.wait_for_label(&world.path(), "false").await;
    }
    world.counted.becomes("restored ciliumnode", 2).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_cilium_node_may_come_later() {
    let world = World::new("later", SHIPPED).await;
    let agent = Agent::start(settings(world.name), world.api.clone());
    agent.tell(&report(&["x"], &[]));
    wait_for("a failure", async || (world.counted.of("failure get_ciliumnode not_found") > 0).then_some(()))
        .await;
    world.admin.cilium_node(world.name).await;
    world.wait_for_label(&world.path(), "true").await;
    agent.stop().await;
}

#[tokio::test]
async fn both_objects_and_several_keys_can_be_labelled() {
    let grants = Grants::Manifests(&["rbac.yaml", "overlays/node-label/rbac.yaml"]);
    let world = World::new("both", grants).await;
    world.admin.cilium_node(world.name).await;
    let second = "kubernetes.azure.com/user-iptables-rules";
    let labels = vec![KEY.to_owned(), second.to_owned()];
    let both = ClusterSettings { label_target: LabelTarget::Both, labels, ..settings(world.name) };
    let agent = Agent::start(both, world.api.clone());
    agent.tell(&report(&["x"], &[]));
    for path in [world.path(), "/api/v1/nodes/both".into()] {
        world.wait_for_label(&path, "true").await;
        assert_eq!(world.metadata(&path).await["labels"][second], "true");
    }
    agent.stop().await;
    let counts = [("write patch_ciliumnode".to_owned(), 1), ("write patch_node".to_owned(), 1)];
    assert_eq!(world.counted.all(), BTreeMap::from(counts));
}

#[tokio::test]
async fn report_only_sets_no_label() {
    let world = World::new("reportonly", SHIPPED).await;
    world.admin.cilium_node(world.name).await;
    let agent =
        Agent::start(ClusterSettings { report_only: true, ..with_events(world.name) }, world.api.clone());
    agent.tell(&report(&["x"], &[]));
    world.wait_for_events(1).await;
    agent.stop().await;
    assert_eq!(world.metadata(&world.path()).await["labels"], json!({"theirs": "stays"}));
}

#[tokio::test]
async fn events_tell_of_rules_and_of_recovery() {
    let world = World::new("events", SHIPPED).await;
    world.admin.cilium_node(world.name).await;
    let agent = Agent::start(with_events(world.name), world.api.clone());
    agent.tell(&report(&["-A INPUT -j DROP"], &[]));
    world.wait_for_events(1).await;
    // what says the same is no news: there are four Events in the end, and these
    agent.tell(&report(&["-A INPUT -j DROP"], &[]));
    let_run().await;
    agent.tell(&report(&["-A INPUT -j DROP", "-A INPUT -j LOG"], &[Reason::BrokenPattern]));
    world.wait_for_events(3).await;
    agent.tell(&report(&[], &[]));
    let events = world.wait_for_events(4).await;
    agent.stop().await;
    let shown: Vec<_> =
        events.iter().map(|event| [&event["type"], &event["reason"], &event["message"]]).collect();
    let first = "ip filter INPUT (iptables-nft): -A INPUT -j DROP";
    let expected = [
        ["Warning", "UnexpectedIPTablesRules", &format!("1 unexpected rule: {first}")],
        [
            "Warning",
            "UnexpectedIPTablesRules",
            &format!("2 unexpected rules: {first}; ip filter INPUT (iptables-nft): -A INPUT -j LOG"),
        ],
        ["Warning", "InvalidAllowlist", "The allowlist is not in order: BrokenPattern: why"],
        ["Normal", "IPTablesRulesCompliant", "All rules are allowed again (0 read)"],
    ];
    assert_eq!(json!(shown), json!(expected));
    for event in &events {
        assert_eq!(event["metadata"]["namespace"], "kube-system");
        assert_eq!(event["involvedObject"]["name"], world.name);
        assert_eq!(event["reportingComponent"], "iptables-monitor");
        assert_eq!(event["reportingInstance"], "iptables-monitor-events");
        assert!(event["action"].is_string() && event["eventTime"].is_string(), "{event}");
    }
    world.counted.becomes("write create_event", 4).await;
}

#[tokio::test]
async fn the_older_permissions_are_enough() {
    let world = World::new("older", older()).await;
    world.admin.cilium_node(world.name).await;
    let agent = Agent::start(with_events(world.name), world.api.clone());
    agent.tell(&report(&["x"], &[]));
    world.wait_for_label(&world.path(), "true").await;
    let version = world.metadata(&world.path()).await["resourceVersion"].clone();
    for round in 2..5 {
        agent.tell(&report(&["x"], &[]));
        wait_for("a patch", async || (world.counted.of("write patch_ciliumnode") >= round).then_some(()))
            .await;
    }
    assert_eq!(world.metadata(&world.path()).await["resourceVersion"], version, "a no-op patch is no write");
    agent.tell(&report(&[], &[]));
    world.wait_for_label(&world.path(), "false").await;
    let events = world.wait_for_events(2).await;
    agent.stop().await;
    for event in &events {
        assert_eq!(event["metadata"]["namespace"], "default");
        assert_eq!(event["source"], json!({"component": "iptables-monitor", "host": "older"}));
        assert_eq!(event["count"], 1);
    }
    let reasons: Vec<_> = events.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["UnexpectedIPTablesRules", "IPTablesRulesCompliant"]);
    assert_eq!(world.counted.of("failure get_ciliumnode forbidden"), 1, "{:?}", world.counted.all());
    assert_eq!(world.counted.of("failure create_event forbidden"), 1, "{:?}", world.counted.all());
}

fn moment(random: u64) -> Moment {
    Moment { wall: SystemTime::now(), now: std::time::Instant::now(), random }
}

#[tokio::test]
async fn an_unchanged_note_is_a_series_and_an_expired_event_is_made_anew() {
    let world = World::new("series", SHIPPED).await;
    let mut writer = EventWriter::new(world.name);
    let event = NodeEvent { reason: EventReason::IPTablesCheckIncomplete, note: "n".repeat(1024) };
    let refresh = |seen| Action::Refresh(event.clone(), seen);
    let created = writer.write(&world.api, &Action::Create(event.clone()), moment(1)).await;
    assert_eq!(created, Ok(Written::Created));
    for seen in [7, 13] {
        assert_eq!(writer.write(&world.api, &refresh(seen), moment(2)).await, Ok(Written::Refreshed));
    }
    let events = world.wait_for_events(1).await;
    assert_eq!(events[0]["series"]["count"], 13);
    let path =
        format!("/api/v1/namespaces/kube-system/events/{}", events[0]["metadata"]["name"].as_str().unwrap());
    world.admin.call("DELETE", &path, &Value::Null).await;
    assert_eq!(writer.write(&world.api, &refresh(14), moment(3)).await, Ok(Written::Created));
    let events = world.wait_for_events(1).await;
    assert_eq!(events[0]["series"], Value::Null);
    assert_eq!(writer.write(&world.api, &refresh(2), moment(4)).await, Ok(Written::Refreshed));
}

#[tokio::test]
async fn without_the_older_permission_a_series_is_made_of_new_events() {
    let world = World::new("serieless", older()).await;
    let mut writer = EventWriter::new(world.name);
    let event = NodeEvent { reason: EventReason::UnexpectedIPTablesRules, note: "x".into() };
    assert_eq!(
        writer.write(&world.api, &Action::Create(event.clone()), moment(1)).await,
        Ok(Written::Created)
    );
    assert_eq!(writer.write(&world.api, &Action::Refresh(event, 2), moment(2)).await, Ok(Written::Created));
    world.wait_for_events(2).await;
}

#[tokio::test]
async fn where_nodes_may_not_be_read_events_are_about_the_name() {
    let world =
        World::new("nameless", Grants::Rules(json!([rule("events.k8s.io", "events", &["create"])]))).await;
    let mut writer = EventWriter::new(world.name);
    let event = NodeEvent { reason: EventReason::InvalidAllowlist, note: "x".into() };
    assert_eq!(writer.write(&world.api, &Action::Create(event), moment(1)).await, Ok(Written::Created));
    let events = world.admin.get("/api/v1/events?fieldSelector=involvedObject.uid%3Dnameless").await;
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events:#}");
}

#[tokio::test]
async fn the_nodes_address_proves_the_network_namespace() {
    let world = World::new("netns", older()).await;
    let host = Netns::new();
    host.sh("ip link add node0 type veth peer name peer0 && ip link set peer0 up && ip link set node0 up && ip address add 192.0.2.10/24 dev node0");
    let pod = Netns::new();
    pod.sh("ip link add eth0 type veth peer name peer0 && ip link set peer0 up && ip link set eth0 up && ip address add 10.244.1.7/24 dev eth0");

    let (found, mut evidence) = watch::channel(NetnsEvidence::Missing(String::new()));
    let proving = prove_netns(Some(world.api.clone()), world.name, || pod.within(local_addresses), found);
    let waiting = async {
        evidence.changed().await.unwrap();
        evidence.borrow().clone()
    };
    let missing = tokio::select! {
        () = proving => panic!("an empty namespace proves nothing"),
        missing = waiting => missing,
    };
    assert_eq!(
        missing,
        NetnsEvidence::Missing(
            "the Node's InternalIP 192.0.2.10 is not an address of this network namespace".into()
        )
    );

    let (found, evidence) = watch::channel(NetnsEvidence::Missing(String::new()));
    prove_netns(Some(world.api), world.name, || host.within(local_addresses), found).await;
    assert_eq!(*evidence.borrow(), NetnsEvidence::Proven);
}

#[tokio::test]
async fn evidence_is_asked_for_until_it_is_had() {
    let world = World::new("present", older()).await;
    let host = Netns::new();
    host.sh("ip link add node0 type veth peer name peer0 && ip link set peer0 up && ip link set node0 up && ip address add 2001:db8::77/64 dev node0 nodad");
    let (found, mut evidence) = watch::channel(NetnsEvidence::Missing(String::new()));
    let proving = prove_netns(Some(world.api.clone()), "absent", || host.within(local_addresses), found);
    let coming = async {
        evidence.changed().await.unwrap();
        assert!(matches!(&*evidence.borrow(), NetnsEvidence::Missing(why) if why.contains("nodes")));
        world.admin.node("absent", "2001:db8::77").await;
    };
    tokio::join!(proving, coming);
    assert_eq!(*evidence.borrow(), NetnsEvidence::Proven);
}
