//! A day of checks in the time of none: what the whole costs the API server.
//! The API server is a function of this process; the clock stands still unless everybody waits.

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

const INTERVAL: Duration = Duration::from_secs(300);
const CHECKS: u32 = 288;

/// Holds labels, takes Events, and counts.
#[derive(Clone, Default)]
struct InProcess(Arc<Mutex<State>>, Counted);

#[derive(Default)]
struct State {
    labels: serde_json::Map<String, Value>,
    annotations: serde_json::Map<String, Value>,
    requests: BTreeMap<String, u32>,
    /// Whoever may read may not write.
    refuses_writes: bool,
}

impl InProcess {
    fn connect(&self) -> ApiServer {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, kube::Error>(server.answer(request).await) }
        });
        let client = kube::Client::new(service, "default");
        ApiServer::new(client, Duration::from_secs(10), self.1.observer())
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if head.uri.query().is_some_and(|query| query.contains("watch=true")) {
            return Response::builder().status(403).body(Body::empty()).unwrap();
        }
        if head.uri.path().ends_with("/selfsubjectaccessreviews") {
            let answer = json!({"status": {"allowed": true}});
            return Response::new(Body::from(answer.to_string().into_bytes()));
        }
        let kind = if head.uri.path().contains("/events") { "event" } else { "object" };
        let mut state = self.0.lock().unwrap();
        *state.requests.entry(format!("{} {kind}", head.method)).or_default() += 1;
        if state.refuses_writes && head.method == http::Method::PATCH {
            return Response::builder().status(403).body(Body::empty()).unwrap();
        }
        if let Some(labels) = body["metadata"]["labels"].as_object() {
            state.labels.extend(labels.clone());
        }
        if let Some(annotations) = body["metadata"]["annotations"].as_object() {
            state.annotations.extend(annotations.clone());
        }
        let (labels, annotations) = (&state.labels, &state.annotations);
        let answer = json!({"metadata": {"uid": "u", "labels": labels, "annotations": annotations}});
        Response::new(Body::from(answer.to_string().into_bytes()))
    }

    fn count(&self, what: &str) -> u32 {
        self.0.lock().unwrap().requests.get(what).copied().unwrap_or(0)
    }
}

async fn day(node: &str, mut made: impl FnMut(u32) -> Arc<Report>) -> InProcess {
    let server = InProcess::default();
    let agent = Agent::start(ClusterSettings { events: true, ..settings(node) }, server.connect());
    for check in 0..CHECKS {
        let checked_at = SystemTime::UNIX_EPOCH + INTERVAL * check;
        agent.tell(&Arc::new(Report { checked_at, ..(*made(check)).clone() }));
        tokio::time::sleep(INTERVAL).await;
    }
    agent.stop().await;
    server
}

#[tokio::test(start_paused = true)]
async fn a_compliant_day_is_a_write_every_ten_minutes() {
    let server = day("n", |_| report(&[], &[])).await;
    assert_eq!(server.count("PATCH object"), CHECKS / 2);
    assert_eq!(server.count("GET object"), CHECKS);
    assert_eq!(server.count("POST event") + server.count("PATCH event"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_day_on_which_nothing_can_be_read_is_one_write() {
    let server = day("n", |_| report(&[], &[Reason::DumpTimeout])).await;
    assert_eq!(server.count("PATCH object"), 1);
    assert!(server.0.lock().unwrap().annotations.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_stays_all_day_is_one_label_and_one_series() {
    let server = day("n", |_| report(&["x"], &[])).await;
    assert_eq!(server.count("PATCH object"), CHECKS / 2);
    assert_eq!(server.count("POST event"), 1);
    assert!((47..=48).contains(&server.count("PATCH event")), "{}", server.count("PATCH event"));
}

#[tokio::test(start_paused = true)]
async fn a_day_of_changes_is_bounded() {
    let server = day("n", |check| {
        let text = check.to_string();
        if check % 3 == 0 { report(&[], &[]) } else { report(&[&text], &[]) }
    })
    .await;
    // every third check changes nothing; what it has to tell of itself may be due then
    assert!(
        (2 * CHECKS / 3..=CHECKS).contains(&server.count("PATCH object")),
        "{}",
        server.count("PATCH object")
    );
    let written = server.count("POST event");
    assert!((140..=5 + 144 + CHECKS / 3).contains(&written), "{written}");
    assert!(server.1.of("shed event") > 0);
}

#[tokio::test(start_paused = true)]
async fn a_label_that_may_be_read_and_not_written_is_tried_more_and_more_rarely() {
    const HOURS: u64 = 10;
    let server = InProcess::default();
    server.0.lock().unwrap().refuses_writes = true;
    let agent = Agent::start(settings("n"), server.connect());
    agent.tell(&report(&["x"], &[]));
    tokio::time::sleep(Duration::from_secs(HOURS * 3600)).await;
    agent.stop().await;
    // the longest pause is five minutes, half of it left to chance
    let tries = server.1.of("failure patch_ciliumnode forbidden");
    assert!((120..=HOURS as usize * 24 + 5).contains(&tries), "{tries} tries");
}
