//! The agent's HTTP server: metrics, probes, the last result as JSON and as a page.
//! Answers from what it was handed; checks nothing and waits for no check.
//!
//! Meant for loopback and for a node's own network: no TLS and no passwords. Its limits are those of a server that
//! strangers may reach all the same: few connections, short requests, one request a connection, a deadline for each.
//!
//! *Source*: RFC 9110 (methods, status codes), RFC 9112 section 3.2 (which Host counts).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::live::Live;
use super::live::drops::{Followed, Seen};
use super::metrics::Metrics;
use super::page::{self, View};
use crate::domain::judging::audit::DEFAULT_LIMIT;
use crate::domain::judging::report::{Report, json};

/// Connections that are served at once by one listener. One more ends the oldest: a probe is answered in a moment, so who
/// is slow must not keep it waiting.
pub const MAX_CONNECTIONS: usize = 32;
/// Requests with longer headers are refused, in bytes.
const MAX_REQUEST: usize = 16 * 1024;
/// A client has this long to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection is closed after this, whatever it is doing.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// When the process is out of files or memory, accepting is tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Everything: `/`, `/status`, `/metrics`, `/healthz` and `/readyz`.
    All,
    /// `/metrics`, `/healthz` and `/readyz`: the rules of a node are nobody else's business.
    MetricsOnly,
}

/// What the server answers from; a clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    version: String,
    alive_within: Duration,
    state: Mutex<State>,
    drops: OnceLock<Followed>,
}

#[derive(Debug)]
struct State {
    heartbeat: Instant,
    last: Option<Published>,
}

#[derive(Clone, Debug)]
struct Published {
    report: Arc<Report>,
    live: Arc<Live>,
    status_json: Bytes,
}

impl Shared {
    /// Nothing published yet, and a first heartbeat. The loop counts as alive while its last heartbeat is not older
    /// than `alive_within`; `version` is shown on the page.
    pub fn new(metrics: Metrics, version: impl Into<String>, alive_within: Duration) -> Self {
        let state = Mutex::new(State { heartbeat: Instant::now(), last: None });
        Self(Arc::new(Inner {
            metrics,
            version: version.into(),
            alive_within,
            state,
            drops: OnceLock::new(),
        }))
    }

    /// Says that the loop is alive.
    pub fn beat(&self) {
        self.state().heartbeat = Instant::now();
    }

    /// Hands over the report that stands, and what changed of late. Counts as a heartbeat.
    pub fn publish(&self, report: Arc<Report>, live: Live) {
        // as `check` prints it; to write a report down does not fail
        let status_json = json::render(&report, DEFAULT_LIMIT).unwrap_or_default();
        let last = Published { report, live: Arc::new(live), status_json: status_json.into() };
        *self.state() = State { heartbeat: Instant::now(), last: Some(last) };
    }

    /// Shows these drops from now on. Where nothing but drops is looked at, being without a report is no fault. Once
    /// there are drops to show, no others are.
    pub fn show_drops(&self, drops: Followed) {
        let _ = self.0.drops.set(drops);
    }

    fn seen(&self) -> Option<Seen> {
        self.0.drops.get().map(Followed::seen)
    }

    fn is_ready(&self) -> bool {
        self.last().is_some() || self.0.drops.get().is_some_and(|drops| drops.is_all)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> Option<Published> {
        self.state().last.clone()
    }

    fn is_alive(&self) -> bool {
        self.state().heartbeat.elapsed() <= self.0.alive_within
    }
}

/// Answers clients of `listener` for ever; open connections are closed when this is dropped.
///
/// Each listener has its own [`MAX_CONNECTIONS`]: clients of one cannot starve the probes of another.
pub async fn serve(listener: TcpListener, pages: Pages, shared: Shared) {
    let mut connections = JoinSet::new();
    let mut oldest_first = VecDeque::new();
    loop {
        tokio::select! {
            Some(ended) = connections.join_next() => {
                // whoever finds a request that makes an answer panic must not end the checks with it
                if ended.is_err_and(|error| error.is_panic()) {
                    log::error!("answering a client panicked: nobody was answered");
                }
                oldest_first.retain(|task: &AbortHandle| !task.is_finished());
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if oldest_first.len() >= MAX_CONNECTIONS && let Some(oldest) = oldest_first.pop_front() {
                        oldest.abort();
                        shared.0.metrics.shed("connection");
                    }
                    oldest_first.push_back(connections.spawn(connection(stream, pages, shared.clone())));
                }
                Err(error) => {
                    log::debug!(error:%; "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn connection(stream: TcpStream, pages: Pages, shared: Shared) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&request, pages, &shared);
        async move { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(MAX_REQUEST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, serving).await {
        log::debug!(error:%; "a connection ended early");
    }
}

fn answer<B>(request: &Request<B>, pages: Pages, shared: &Shared) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let is_private = matches!(path, "/" | "/status");
    let is_known = is_private && pages == Pages::All || matches!(path, "/metrics" | "/healthz" | "/readyz");
    if !is_known {
        return response(StatusCode::NOT_FOUND, TEXT, "not found\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    if is_private && !is_asked_for_by_address(request) {
        let why = "ask by IP address or as localhost: other names might be another site's (DNS rebinding)\n";
        return response(StatusCode::MISDIRECTED_REQUEST, TEXT, why);
    }
    match path {
        "/" => page(shared, request.uri().query() == Some("still")),
        "/status" => status(shared),
        "/metrics" => metrics(shared),
        "/healthz" => probe(shared.is_alive(), "the loop has stopped\n"),
        _ => probe(shared.is_ready(), "no check is done yet\n"),
    }
}

fn page(shared: &Shared, is_still: bool) -> Response<Full<Bytes>> {
    let (last, drops) = (shared.last(), shared.seen());
    let html = page::render(&View {
        report: last.as_ref().map(|last| last.report.as_ref()),
        live: last.as_ref().map(|last| last.live.as_ref()),
        drops: drops.as_ref(),
        is_still,
        version: &shared.0.version,
        now: SystemTime::now(),
        is_overdue: !shared.is_alive(),
    });
    let mut response = response(StatusCode::OK, HTML, html);
    if let Ok(policy) = HeaderValue::from_str(page::content_security_policy()) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn status(shared: &Shared) -> Response<Full<Bytes>> {
    let (last, drops) = (shared.last(), shared.seen());
    let has_result = last.is_some() || drops.as_ref().is_some_and(|drops| drops.is_all);
    let json = match last {
        Some(last) => last.status_json,
        None if has_result => Bytes::from_static(b"{}\n"),
        None => Bytes::from_static(b"{\"error\":\"no check is done yet\"}\n"),
    };
    // whoever looks at the status only must not take an old result for a new one
    let is_good = has_result && shared.is_alive();
    let status = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let drops = drops.and_then(|drops| drops.to_json().ok());
    response(status, JSON, drops.map_or(json.clone(), |drops| with_drops(&json, &drops)))
}

/// A JSON object with one member more, which must not be in it.
fn with_drops(object: &[u8], drops: &[u8]) -> Bytes {
    let end = object.iter().rposition(|byte| *byte == b'}').unwrap_or_default();
    let members = object.get(..end).unwrap_or_default().trim_ascii_end();
    let comma: &[u8] = if members == b"{" { b"" } else { b"," };
    [members, comma, b"\"drops\":", drops, b"}\n"].concat().into()
}

fn metrics(shared: &Shared) -> Response<Full<Bytes>> {
    let text = shared.0.metrics.render();
    let status = if text.is_empty() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    response(status, METRICS, text)
}

fn probe(is_good: bool, otherwise: &'static str) -> Response<Full<Bytes>> {
    if is_good {
        response(StatusCode::OK, TEXT, "ok\n")
    } else {
        response(StatusCode::SERVICE_UNAVAILABLE, TEXT, otherwise)
    }
}

/// A site that points its own name at this address (DNS rebinding) makes a browser send that name as Host. A
/// client that was told an address, or localhost, sends that.
fn is_asked_for_by_address<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let in_target = request.uri().authority().map(|authority| authority.as_str());
    host.to_str().is_ok_and(is_address) && in_target.is_none_or(is_address)
}

fn is_address(host: &str) -> bool {
    let Ok(authority) = host.parse::<hyper::http::uri::Authority>() else { return false };
    let name = authority.host();
    let unbracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost") || unbracketed.unwrap_or(name).parse::<IpAddr>().is_ok()
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    const SAFE: [(HeaderName, &str); 6] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in SAFE.into_iter().chain([(header::CONTENT_TYPE, kind)]) {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_become_a_member_of_any_object() {
        for (object, expected) in [
            ("{}\n", "{\"drops\":[1]}\n"),
            ("{\"a\":{}}\n", "{\"a\":{},\"drops\":[1]}\n"),
            ("{\n  \"a\": \"}\"\n}\n", "{\n  \"a\": \"}\",\"drops\":[1]}\n"),
        ] {
            assert_eq!(with_drops(object.as_bytes(), b"[1]"), expected);
        }
    }

    #[test]
    fn only_addresses_and_localhost_are_addresses() {
        for host in
            ["localhost", "LOCALHOST:9191", "127.0.0.1", "127.0.0.1:9191", "[::1]:9191", "10.0.0.7:80"]
        {
            assert!(is_address(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9191",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.example@127.0.0.1@x",
            "a b",
            "1.2.3",
            "[::1",
            "127.0.0.1:9191:1",
        ] {
            assert!(!is_address(host), "{host}");
        }
    }
}
