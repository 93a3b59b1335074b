use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame};
use kube::client::Body;
use serde_json::json;
use tokio::time::timeout;

use super::super::client::{ANSWER_BYTES, DEADLINE};
use super::super::watch_stream::GRACE;
use super::*;

const ALL: Collection = Collection { resource: Resource::Pods, path: "/all", field: None };
const LISTED: Habits = Habits { has_list: true, most_failures: 8, refused: None };
const UNLISTED: Habits =
    Habits { has_list: false, most_failures: 6, refused: Some(Duration::from_secs(3600)) };

/// A body that says one thing, and then ends or stays silent.
struct Spoken {
    text: Option<Bytes>,
    is_open: bool,
}

impl hyper::body::Body for Spoken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.text.take() {
            Some(text) => Poll::Ready(Some(Ok(Frame::data(text)))),
            None if self.is_open => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// An API server that answers with these, the last one again and again.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    /// A watch is left open.
    is_open: bool,
    /// The verbs that are not granted, as whoever asks hears; counted by how often.
    denied: Vec<&'static str>,
    denials: Arc<Mutex<usize>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answers: &[(u16, &str)]) -> Self {
        let answers = answers.iter().map(|(status, text)| (*status, (*text).to_owned())).collect();
        Self { answers: Arc::new(Mutex::new(answers)), ..Self::default() }
    }

    fn connect(&self) -> ApiServer {
        let server = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, kube::Error>(server.answer(request).await) }
        });
        ApiServer::new(kube::Client::new(service, "default"), DEADLINE, Arc::new(|_| {}))
    }

    async fn answer(&self, request: http::Request<Body>) -> http::Response<Spoken> {
        let uri = request.uri().to_string();
        let body = request.into_body().collect_bytes().await.unwrap();
        let is_watch = uri.contains("watch=true");
        let (status, text) = match uri.ends_with("/selfsubjectaccessreviews") {
            true => (201, self.review(&body)),
            false => self.next(uri),
        };
        let body = Spoken { text: Some(text.into()), is_open: is_watch && self.is_open };
        http::Response::builder().status(status).body(body).unwrap()
    }

    fn review(&self, body: &[u8]) -> String {
        let review: Value = serde_json::from_slice(body).unwrap();
        let verb = review["spec"]["resourceAttributes"]["verb"].as_str().unwrap();
        let is_granted = !self.denied.contains(&verb);
        *self.denials.lock().unwrap() += usize::from(!is_granted);
        json!({"status": {"allowed": is_granted}}).to_string()
    }

    fn next(&self, uri: String) -> (u16, String) {
        self.asked.lock().unwrap().push(uri);
        let mut answers = self.answers.lock().unwrap();
        match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        }
    }

    /// What was asked for, without what chance decides.
    fn asked(&self) -> Vec<String> {
        let lifetime = regex::Regex::new(r"timeoutSeconds=\d+").unwrap();
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|uri| lifetime.replace(uri, "timeoutSeconds=N").into_owned())
            .collect()
    }

    /// What the loop tells in this time, in words.
    async fn told(&self, habits: Habits, time: Duration) -> Vec<String> {
        let mut told = Vec::new();
        let tell = |news| told.push(words(news));
        let _ = timeout(time, keep(&self.connect(), &ALL, habits, name, tell)).await;
        told
    }
}

fn name(object: Value, state: State) -> Option<String> {
    let name = object["metadata"]["name"].as_str().map(str::to_owned);
    if state == State::Present { name } else { name.map(|name| format!("no {name}")) }
}

fn words(news: News<String>) -> String {
    match news {
        News::Listing => "listing".to_owned(),
        News::Listed => "listed".to_owned(),
        News::Change(name) => name,
        News::Works => "works".to_owned(),
        News::Failed(failure) => failure.class.as_str().to_owned(),
    }
}

fn event(kind: &str, name: &str, version: &str) -> String {
    json!({"type": kind, "object": {"metadata": {"name": name, "resourceVersion": version}}}).to_string()
        + "\n"
}

fn page(names: &[&str], version: &str, go_on: &str) -> String {
    let items: Vec<_> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    json!({"metadata": {"resourceVersion": version, "continue": go_on}, "items": items}).to_string()
}

const EXPIRED: &str = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"x\"}}\n";

#[tokio::test(start_paused = true)]
async fn a_list_is_gone_on_from_and_made_anew_when_it_is_too_old() {
    let changes = event("MODIFIED", "a", "8") + &event("DELETED", "b", "9") + &event("BOOKMARK", "", "12");
    let server = Server::new(&[
        (200, &page(&["a"], "", "x")),
        (200, &page(&["b"], "7", "")),
        (200, &changes),
        (200, EXPIRED),
        (200, &page(&["a"], "40", "")),
        (200, ""),
    ]);
    let told = server.told(LISTED, Duration::from_secs(5)).await;
    let first =
        ["listing", "a", "b", "listed", "works", "a", "no b", "gone", "listing", "a", "listed", "works"];
    assert_eq!(told[..first.len()], first);
    let watch = |version: &str| {
        format!("/all?watch=true&timeoutSeconds=N&allowWatchBookmarks=true&resourceVersion={version}")
    };
    let list = "/all?limit=100".to_owned();
    let go_on = "/all?limit=100&continue=x".to_owned();
    assert_eq!(
        server.asked()[..7],
        [list.clone(), go_on, watch("7"), watch("12"), list, watch("40"), watch("40")]
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_list_begins_with_what_there_is() {
    let server = Server::new(&[(200, &event("ADDED", "a", "7")), (200, "")]);
    let told = server.told(UNLISTED, Duration::from_secs(30)).await;
    assert_eq!(told[..3], ["works", "a", "works"]);
    let expected = "/all?watch=true&timeoutSeconds=N";
    assert!(server.asked().iter().all(|uri| uri == expected), "{:?}", server.asked());
    let field = Collection { field: Some(("metadata.name", "a,b=c&d".to_owned())), ..ALL };
    assert_eq!(field.uri("x=y"), "/all?x=y&fieldSelector=metadata.name%3Da%2Cb%3Dc%26d");
}

/// That a list can be had does not say that a watch can.
#[tokio::test(start_paused = true)]
async fn lists_that_work_do_not_shorten_the_pauses_of_watches_that_fail() {
    for (status, watch, class, lists) in [(200, EXPIRED, "gone", 60..200), (403, "{}", "forbidden", 10..30)] {
        let list = page(&[], "7", "");
        let answers: Vec<_> = (0..400).flat_map(|_| [(200, list.as_str()), (status, watch)]).collect();
        let server = Server::new(&answers);
        let told = server.told(LISTED, Duration::from_secs(3600)).await;
        let listed = told.iter().filter(|what| *what == "listed").count();
        assert!(lists.contains(&listed), "{listed} lists in an hour: {class}");
        assert!(!told.contains(&"works".to_owned()) && told.contains(&class.to_owned()), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_is_asked_for_once_an_hour() {
    let server = Server::new(&[(403, "{}")]);
    server.told(UNLISTED, Duration::from_secs(6 * 3600)).await;
    let asked = server.asked().len();
    assert!((10..=12).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_ends_each_watch_at_once_is_not_flooded() {
    let server = Server::new(&[(200, &page(&[], "7", "")), (200, "")]);
    let told = server.told(LISTED, Duration::from_secs(60)).await;
    assert!((50..=62).contains(&server.asked().len()), "{}", server.asked().len());
    assert_eq!(told[..3], ["listing", "listed", "works"]);
    let server = Server::new(&[(200, "")]);
    server.told(UNLISTED, Duration::from_secs(60)).await;
    assert!(server.asked().len() < 12, "{}", server.asked().len());
}

#[tokio::test]
async fn what_is_no_watch_is_an_error_of_its_class() {
    for (text, class) in [
        (EXPIRED.to_owned(), "gone"),
        ("<html>\n".to_owned(), "unexpected"),
        ("{}\n".to_owned(), "unexpected"),
        (r#"{"type":"ADDED","obj"#.to_owned(), "unreachable"),
        ("x".repeat(ANSWER_BYTES + 1), "unexpected"),
    ] {
        let server = Server::new(&[(200, &text)]);
        assert_eq!(server.told(UNLISTED, Duration::from_millis(900)).await, [class], "{text:.80}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_of_another_form_is_an_error() {
    let text = r#"{"type":"ADDED","object":7}"#.to_owned() + "\n";
    let (api, mut place) = (Server::new(&[(200, &text)]).connect(), Place::default());
    let read = |(): (), _: State| Some(String::new());
    let failure = watch(&api, &ALL, UNLISTED, &mut place, &read, &mut |_| {}).await.unwrap_err();
    assert_eq!(failure.class, Class::Unexpected);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_nobody_ends_is_given_up() {
    let server = Server { is_open: true, ..Server::new(&[(200, &event("ADDED", "a", "7"))]) };
    let began = Instant::now();
    let mut place = Place::default();
    let failure = watch(&server.connect(), &ALL, UNLISTED, &mut place, &name, &mut |_| {}).await.unwrap_err();
    assert_eq!(failure.class, Class::Timeout);
    let (shortest, longest) = LIFETIME_SECONDS;
    let lasted = began.elapsed() - GRACE;
    assert!((shortest..=longest).contains(&lasted.as_secs()), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_granted_is_not_tried() {
    let server = Server { denied: vec!["list"], ..Server::new(&[(200, "")]) };
    let told = server.told(LISTED, Duration::from_secs(3600)).await;
    assert!(server.asked().is_empty(), "{:?}", server.asked());
    assert_eq!(told[..4], ["listing", "forbidden", "listing", "forbidden"]);
    assert!((12..30).contains(&*server.denials.lock().unwrap()), "{}", server.denials.lock().unwrap());

    let server = Server { denied: vec!["watch"], ..Server::new(&[(200, &page(&["a"], "7", ""))]) };
    let told = server.told(LISTED, Duration::from_secs(3600)).await;
    assert_eq!(told[..5], ["listing", "a", "listed", "forbidden", "listing"], "without a watch, lists do");
    assert!(server.asked().iter().all(|uri| uri == "/all?limit=100"), "{:?}", server.asked());
}

/// A tenant may fill its objects with text.
#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_large_is_asked_for_in_smaller_ones() {
    let large = "x".repeat(ANSWER_BYTES + 1);
    let server = Server::new(&[(200, &large), (200, &page(&["a"], "7", "y")), (200, &page(&["b"], "7", ""))]);
    let mut names = Vec::new();
    let listed =
        list(&server.connect(), &ALL, &mut false, |object: Value| names.extend(name(object, State::Present)))
            .await;
    assert_eq!((listed.unwrap(), names), ("7".to_owned(), vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(server.asked(), ["/all?limit=100", "/all?limit=2", "/all?limit=100&continue=y"]);
}
