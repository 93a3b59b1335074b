//! Every way a call can fail: what the agent does about it, and that it recovers.
//! With a fake, as no real API server fails on demand. Where a test says how soon, the clock stands still unless everybody
//! waits.

use std::net::TcpListener;

use serde_json::json;
use tokio::time::sleep;

use super::*;
use crate::support::fake::{Fake, Fault, Seen};

/// Far more than an answer takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn connect(fake: &Fake, counted: &Counted) -> ApiServer {
    connect_to(&fake.address, DEADLINE, counted)
}

fn connect_to(address: &str, deadline: Duration, counted: &Counted) -> ApiServer {
    let mut config = kube::Config::new(address.parse().unwrap());
    config.default_retry = false;
    ApiServer::new(kube::Client::try_from(config).unwrap(), deadline, counted.observer())
}

/// Without sockets: for tests whose clock stands still unless everybody waits.
fn connect_in_process(fake: &Fake, counted: &Counted) -> ApiServer {
    ApiServer::new(fake.client(), Duration::from_secs(10), counted.observer())
}

fn status(code: u16) -> Fault {
    Fault::Status(code, "", json!({"kind": "Status", "message": "no"}).to_string())
}

fn absent() -> Fault {
    let details = json!({"name": "n", "kind": "ciliumnodes"});
    Fault::Status(404, "", json!({"kind": "Status", "reason": "NotFound", "details": details}).to_string())
}

/// Lets these faults happen and waits until the label is right all the same.
async fn recovers(faults: Vec<Fault>, expected: &[(&str, usize)]) -> Fake {
    let counted = Counted::default();
    let fake = Fake::new(&faults);
    let agent = Agent::start(settings("n"), connect(&fake, &counted));
    agent.tell(&report(&["x"], &[]));
    wait_for(&format!("the label after {faults:?}"), async || fake.label()).await;
    agent.stop().await;
    assert_eq!(fake.label(), Some(json!("true")));
    let mut wanted: BTreeMap<String, usize> =
        expected.iter().map(|(what, count)| ((*what).into(), *count)).collect();
    wanted.insert("write patch_ciliumnode".into(), 1);
    wanted.insert("failure watch_ciliumnode forbidden".into(), 1);
    assert_eq!(counted.all(), wanted, "{faults:?}");
    fake
}

#[tokio::test]
async fn what_may_pass_is_tried_again_soon() {
    let ok = || Fault::Text("{}".into());
    tokio::join!(
        recovers(vec![status(500), status(503)], &[("failure get_ciliumnode server_error", 2)]),
        recovers(vec![ok(), status(409)], &[("failure patch_ciliumnode conflict", 1)]),
        recovers(vec![ok(), status(410)], &[("failure patch_ciliumnode gone", 1)]),
        recovers(vec![status(401)], &[("failure get_ciliumnode unauthorized", 1)]),
        recovers(vec![absent(), absent()], &[("failure get_ciliumnode not_found", 2)]),
        recovers(vec![Fault::Hangup], &[("failure get_ciliumnode unreachable", 1)]),
        recovers(vec![Fault::Text("<html>".into())], &[("failure get_ciliumnode unexpected", 1)]),
        recovers(vec![Fault::Text("x".repeat(5 << 20))], &[("failure get_ciliumnode unexpected", 1)]),
    );
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    const SHORT: Duration = Duration::from_millis(300);
    let counted = Counted::default();
    let fake = Fake::new(&[Fault::Silence(Duration::from_secs(3600))]);
    let agent = Agent::start(settings("n"), connect_to(&fake.address, SHORT, &counted));
    agent.tell(&report(&["x"], &[]));
    wait_for("the label", async || fake.label()).await;
    agent.stop().await;
    assert_eq!(fake.label(), Some(json!("true")));
    // a busy machine may let others come too late as well
    assert!(counted.of("failure get_ciliumnode timeout") >= 1, "{:?}", counted.all());
}

#[tokio::test]
async fn the_wish_to_wait_is_honoured() {
    let slow_down = Fault::Status(429, "retry-after: 2", String::new());
    let fake = recovers(vec![slow_down], &[("failure get_ciliumnode too_many_requests", 1)]).await;
    let seen = fake.seen();
    assert_eq!(seen[1].path, "/apis/cilium.io/v2/ciliumnodes/n");
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(2), "{seen:#?}");
}

#[tokio::test]
async fn an_api_server_that_is_down_at_the_start_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let counted = Counted::default();
    let agent = Agent::start(settings("n"), connect_to(&format!("http://{address}"), DEADLINE, &counted));
    agent.tell(&report(&[], &[]));
    wait_for("failures", async || (counted.of("failure get_ciliumnode unreachable") >= 2).then_some(()))
        .await;
    agent.tell(&report(&["x"], &[]));
    let fake = Fake::on(TcpListener::bind(address).unwrap(), &[]);
    wait_for("the label", async || fake.label()).await;
    assert_eq!(fake.label(), Some(json!("true")), "the latest report wins");
    agent.stop().await;
}

/// What a person has to change is not asked for all the time, however often there is a report.
async fn is_patient(faults: Vec<Fault>, requests: usize, failure: &str) {
    let counted = Counted::default();
    let fake = Fake::new(&faults);
    let agent = Agent::start(settings("n"), connect_in_process(&fake, &counted));
    for _ in 0..14 {
        agent.tell(&report(&["x"], &[]));
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(fake.seen().len(), requests, "{:#?}", fake.seen());
    assert_eq!(counted.of(failure), 1, "{:?}", counted.all());
    // half a minute after the failure at the latest
    sleep(Duration::from_secs(30)).await;
    assert!(fake.seen().len() > requests, "{:#?}", fake.seen());
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_person_is_tried_again_slowly() {
    let no_such_resource = Fault::Status(404, "", "404 page not found\n".into());
    let forgotten = || Fault::Text(json!({"metadata": {"labels": {KEY: "other"}}}).to_string());
    tokio::join!(
        is_patient(vec![status(403), status(403)], 2, "failure patch_ciliumnode forbidden"),
        is_patient(vec![no_such_resource], 1, "failure get_ciliumnode unknown_resource"),
        is_patient(vec![forgotten(), status(422)], 2, "failure patch_ciliumnode invalid"),
        is_patient(vec![forgotten(), forgotten()], 2, "failure patch_ciliumnode not_applied"),
    );
}

#[tokio::test(start_paused = true)]
async fn many_reports_do_not_shorten_the_pause() {
    let counted = Counted::default();
    let fake = Fake::new(&[]).always("ciliumnodes", status(500));
    let agent = Agent::start(settings("n"), connect_in_process(&fake, &counted));
    for _ in 0..200 {
        agent.tell(&report(&["x"], &[]));
        sleep(Duration::from_millis(10)).await;
    }
    // at once, after half a second at most, after one more, and after two more
    let seen = fake.seen().len();
    assert!((3..=4).contains(&seen), "{seen} requests in two seconds");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fight_without_a_watch_costs_no_more_than_a_look_for_each_report() {
    const REPORTS: usize = 30;
    let counted = Counted::default();
    let fake = Fake::new(&[]);
    let events = ClusterSettings { events: true, ..settings("n") };
    let agent = Agent::start(events, connect_in_process(&fake, &counted));
    for _ in 0..12 {
        fake.overwrite();
        agent.tell(&report(&[], &[]));
        wait_for("the label", async || fake.label()).await;
    }
    fake.overwrite();
    for _ in 12..REPORTS {
        agent.tell(&report(&[], &[]));
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(fake.label(), None);
    // the next restore is due a while after the fight began
    wait_for("the label", async || fake.label()).await;
    agent.stop().await;
    let of = |method: &str, path: &str| {
        fake.seen().iter().filter(|seen| seen.method == method && seen.path.contains(path)).count()
    };
    assert!((12..=REPORTS + 2).contains(&of("GET", "ciliumnodes")), "{}", of("GET", "ciliumnodes"));
    assert_eq!((of("PATCH", "ciliumnodes"), counted.of("restored ciliumnode")), (13, 12));
    let notes: Vec<_> = creations(&fake).iter().map(|seen| seen.body["reason"].clone()).collect();
    assert_eq!(notes, ["LabelContested"]);
}

#[tokio::test]
async fn an_api_server_that_does_not_say_what_it_grants_is_missing_nothing() {
    let counted = Counted::default();
    let fake = Fake::new(&[]).mute();
    let agent = Agent::start(settings("n"), connect(&fake, &counted));
    agent.tell(&report(&[], &[]));
    wait_for("the label", async || fake.label()).await;
    let refused = "failure review_access forbidden";
    wait_for(refused, async || (counted.of(refused) == 1).then_some(())).await;
    agent.stop().await;
    assert!(counted.permissions.lock().unwrap().is_empty());
}

fn creations(fake: &Fake) -> Vec<Seen> {
    fake.seen().into_iter().filter(|seen| seen.method == "POST").collect()
}

#[tokio::test]
async fn a_label_that_fails_does_not_hold_up_events() {
    let fake = Fake::new(&[]).always("ciliumnodes", Fault::Silence(Duration::from_secs(60)));
    let api = connect(&fake, &Counted::default());
    let agent = Agent::start(ClusterSettings { events: true, ..settings("n") }, api);
    agent.tell(&report(&["x"], &[]));
    wait_for("an Event", async || (creations(&fake).len() == 1).then_some(())).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_node_without_uid_is_named() {
    let fakes = [
        Fake::new(&[]).node(json!({"metadata": {}})),
        Fake::new(&[]).always("/nodes/", absent()),
        Fake::new(&[]).always("/nodes/", status(403)),
    ];
    for fake in fakes {
        let api = connect(&fake, &Counted::default());
        let agent = Agent::start(ClusterSettings { events: true, report_only: true, ..settings("n") }, api);
        agent.tell(&report(&["x"], &[]));
        let created = wait_for("an Event", async || creations(&fake).first().cloned()).await;
        assert_eq!(created.body["regarding"]["uid"], "n");
        agent.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_answer_is_lost_is_not_written_twice() {
    let exists = Fault::Status(409, "", json!({"reason": "AlreadyExists"}).to_string());
    let counted = Counted::default();
    let node = || Fault::Text(json!({"metadata": {"uid": "u"}}).to_string());
    let fake = Fake::new(&[node(), Fault::Silence(DEADLINE * 2), node(), exists]);
    let settings = ClusterSettings { events: true, report_only: true, ..settings("n") };
    let agent = Agent::start(settings, connect_in_process(&fake, &counted));
    agent.tell(&report(&["x"], &[]));
    wait_for("both", async || (counted.of("failure create_event already_exists") == 1).then_some(())).await;
    sleep(Duration::from_secs(3600)).await;
    agent.stop().await;
    let names: Vec<_> = creations(&fake).iter().map(|seen| seen.body["metadata"]["name"].clone()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[0], names[1]);
}

#[tokio::test]
async fn the_last_report_is_written_before_the_end() {
    let fake = Fake::new(&[]);
    let agent = Agent::start(settings("n"), connect(&fake, &Counted::default()));
    agent.tell(&report(&[], &[]));
    agent.stop().await;
    assert_eq!(fake.label(), Some(json!("false")));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs_does_not_hold_up_the_end() {
    let fake = Fake::new(&[]).always("/", Fault::Silence(Duration::from_secs(3600)));
    let api = connect_in_process(&fake, &Counted::default());
    let agent = Agent::start(ClusterSettings { events: true, ..settings("n") }, api);
    agent.tell(&report(&["x"], &[]));
    wait_for("a request", async || (!fake.seen().is_empty()).then_some(())).await;
    let took = agent.stop().await;
    assert!(took < Duration::from_secs(4), "{took:?}");
}
