//! The agent's HTTP server, over real sockets: what it answers, to whom, and what it endures.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod browser;
mod drops;
mod page;
mod samples;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use iptables_monitor::cli::output::{self, Format, WriteOptions};
use iptables_monitor::domain::judging::report::Report;
use iptables_monitor::telemetry::http::{MAX_CONNECTIONS, Pages, Shared, serve};
use iptables_monitor::telemetry::metrics::Metrics;

const LONG: Duration = Duration::from_secs(600);

/// A server on a free port of 127.0.0.1 that ends with this value.
struct Server {
    address: SocketAddr,
    metrics: Metrics,
    shared: Shared,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(pages: Pages, alive_within: Duration) -> Self {
        let metrics = Metrics::new("0.2.0", "abc");
        let shared = Shared::new(metrics.clone(), "0.2.0 (commit abc)", alive_within);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let handed = shared.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, pages, handed) => panic!("it ended by itself"),
                    _ = stopped => {}
                }
            });
        });
        Self { address, metrics, shared, stop: Some(stop), thread: Some(thread) }
    }

    fn with(report: Report) -> Self {
        let server = Self::start(Pages::All, LONG);
        server.publish(report);
        server
    }

    fn publish(&self, report: Report) {
        self.metrics.check_done(&report, Duration::from_millis(70));
        self.shared.publish(Arc::new(report), samples::busy());
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Sends these bytes and reads until the server closes.
    fn send(&self, request: &str) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        Reply::read(&mut stream)
    }

    fn request(&self, method: &str, path: &str) -> Reply {
        self.send(&format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address))
    }

    fn get(&self, path: &str) -> Reply {
        self.request("GET", path)
    }

    fn get_as(&self, path: &str, host: &str) -> u16 {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            assert!(outcome.is_ok() || std::thread::panicking(), "the server panicked");
        }
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer, and then the end of the connection");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect(head);
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

#[test]
fn every_page_is_there_and_nothing_else() {
    let server = Server::with(samples::bad());
    for (path, kind, part) in [
        ("/", "text/html; charset=utf-8", "<h1 id=\"verdict\">Violations</h1>"),
        ("/status", "application/json", "{\n  \"schema\": \"check.v2\","),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "# HELP iptables_monitor_verdict "),
        ("/healthz", "text/plain; charset=utf-8", "ok\n"),
        ("/readyz?verbose", "text/plain; charset=utf-8", "ok\n"),
    ] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{path}");
        assert!(reply.body.contains(part), "{path}: {}", reply.body);
        assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
    }
    for path in ["/favicon.ico", "/Status", "/status/", "/../etc/passwd", "/%2e", "/metrics%20"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

#[test]
fn the_status_is_what_check_prints() {
    for report in [samples::good(), samples::bad()] {
        let mut printed = Vec::new();
        output::write(&report, Format::Json, &WriteOptions::default(), &mut printed).unwrap();
        assert_eq!(Server::with(report).get("/status").body.as_bytes(), printed);
    }
}

#[test]
fn the_metrics_listener_tells_no_rules() {
    let server = Server::start(Pages::MetricsOnly, LONG);
    server.publish(samples::bad());
    for (path, status) in
        [("/", 404), ("/status", 404), ("/metrics", 200), ("/healthz", 200), ("/readyz", 200)]
    {
        let reply = server.get(path);
        assert_eq!(reply.status, status, "{path}");
        assert!(!reply.body.contains("TRUSTED"), "{path}: {}", reply.body);
    }
}

#[test]
fn it_is_ready_after_the_first_check() {
    let server = Server::start(Pages::All, LONG);
    for (path, status) in
        [("/readyz", 503), ("/status", 503), ("/healthz", 200), ("/metrics", 200), ("/", 200)]
    {
        assert_eq!(server.get(path).status, status, "{path}");
    }
    assert!(server.get("/").body.contains("First check under way"));
    server.publish(samples::good());
    for path in ["/readyz", "/status", "/healthz", "/"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert!(server.get("/").body.contains("<h1 id=\"verdict\">Compliant</h1>"));
}

#[test]
fn a_loop_that_stopped_is_not_healthy_and_not_compliant() {
    let server = Server::start(Pages::All, Duration::ZERO);
    server.publish(samples::good());
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!((server.get("/healthz").status, server.get("/status").status), (503, 503));
    let page = server.get("/").body;
    assert!(
        page.contains("The checks have stopped") && page.contains("<h1 id=\"verdict\">Unknown</h1>"),
        "{page}"
    );
    assert!(!page.contains(">Compliant<") && !page.contains("everything is allowed"), "{page}");
    assert_eq!(server.get("/readyz").status, 200);
    let patient = Server::with(samples::good());
    patient.shared.beat();
    assert_eq!((patient.get("/healthz").status, patient.get("/status").status), (200, 200));
}

#[test]
fn a_reader_may_make_the_page_stand_still() {
    let server = Server::with(samples::good());
    let reloads = |path: &str| server.get(path).body.contains("http-equiv=\"refresh\"");
    assert!(reloads("/") && reloads("/?other"));
    assert!(!reloads("/?still"));
}

#[test]
fn only_get_and_head_are_answered() {
    let server = Server::with(samples::good());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"] {
        let reply = server.request(method, "/status");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("get, head")), "{method}");
    }
    for path in ["/", "/status", "/metrics", "/healthz"] {
        let (head, get) = (server.request("HEAD", path), server.get(path));
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
}

#[test]
fn another_sites_name_is_refused() {
    let server = Server::with(samples::bad());
    let port = server.address.port();
    for path in ["/", "/status"] {
        for host in [
            "evil.example",
            "evil.example:80",
            "127.0.0.1.evil.example",
            "",
            "localhost\r\nHost: evil.example",
        ] {
            assert_eq!(server.get_as(path, host), 421, "{path} {host:?}");
        }
        assert_eq!(server.send(&format!("GET {path} HTTP/1.1\r\n\r\n")).status, 421);
        let absolute = format!("GET http://evil.example{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(server.send(&absolute).status, 421);
        for host in
            [format!("localhost:{port}"), format!("127.0.0.1:{port}"), "[::1]".into(), "10.1.2.3".into()]
        {
            assert_eq!(server.get_as(path, &host), 200, "{path} {host}");
        }
    }
    assert_eq!(server.get_as("/metrics", "node-7:9191"), 200, "a scrape by name");
}

#[test]
fn every_answer_has_the_headers_that_keep_browsers_safe() {
    let server = Server::with(samples::bad());
    for path in ["/", "/status", "/metrics", "/healthz", "/nowhere"] {
        let reply = server.get(path);
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "deny"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
        let policy = reply.header("content-security-policy").expect(path);
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
    }
}

#[test]
fn long_and_broken_requests_are_refused() {
    let server = Server::with(samples::good());
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "y".repeat(200_000));
    let mut stream = server.connect();
    // the server may close while we still write, and that may take its answer away
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(server.send("nonsense\r\n\r\n").status, 400);
    assert_eq!(server.send("GET / HTTP/9.9\r\n\r\n").status, 400);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn silent_clients_give_way_to_new_ones_and_are_counted() {
    let server = Server::with(samples::good());
    let mut silent: Vec<_> = (0..MAX_CONNECTIONS + 8).map(|_| server.connect()).collect();
    for _ in 0..5 {
        assert_eq!(server.get("/healthz").status, 200);
    }
    let page = server.get("/metrics").body;
    let shed =
        page.lines().find_map(|line| line.strip_prefix("iptables_monitor_shed_total{what=\"connection\"} "));
    assert!(shed.and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count >= 8), "{page}");
    let mut answer = Vec::new();
    let oldest = silent.first_mut().unwrap();
    oldest.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert!(oldest.read_to_end(&mut answer).is_ok_and(|count| count == 0), "the oldest was sent away");
}

#[test]
fn one_connection_is_one_request() {
    let server = Server::with(samples::good());
    let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let reply = server.send(&format!("{get}{get}"));
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok\n"));
}

/// Counts something in every metric that no check counts.
pub(crate) fn count(metrics: &Metrics) {
    metrics.allowlist(400, 2);
    metrics.api_write("label");
    metrics.api_failure("event", "forbidden");
    metrics.permission("watch", "nodes", false);
    metrics.label_restored("node");
    metrics.shed("event");
    metrics.watching("nftables", true);
    metrics.heard("transactions", 3);
    metrics.journal("written", 2);
    drops::count(metrics);
}

#[test]
fn promtool_accepts_the_metrics() {
    let server = Server::with(samples::bad());
    for report in [samples::hostile(), samples::unknown()] {
        server.publish(report);
        count(&server.metrics);
        let page = server.get("/metrics").body;
        assert_eq!(promtool(&page), Ok(()), "{page}");
    }
    let faulty = "# TYPE a_total gauge\na_total 1\n";
    assert!(promtool(faulty).is_err(), "promtool finds no fault in {faulty}");
    let nameless = "# TYPE a_seconds gauge\na_seconds 1\n";
    assert!(promtool(nameless).is_err(), "promtool does not miss the HELP of {nameless}");
}

#[test]
fn the_documentation_lists_every_metric() {
    let server = Server::with(samples::bad());
    count(&server.metrics);
    let page = server.get("/metrics").body;
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut served: Vec<_> = types.map(|(name, kind)| format!("| `{name}` | {kind} |")).collect();
    let documentation = include_str!("../../docs/metrics.md");
    let mut listed: Vec<_> = documentation
        .lines()
        .filter(|line| ["| `iptables_monitor_", "| `packet_"].iter().any(|start| line.starts_with(start)))
        .map(|line| line.split_inclusive('|').take(3).collect::<String>())
        .collect();
    served.sort();
    listed.sort();
    assert_eq!(served, listed);
}

fn promtool(metrics: &str) -> Result<(), String> {
    let mut child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/unpacked"))
        .args(["prometheus", "promtool", "check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = crate::support::lossy(&output);
    // a name that users of the older system have in their queries is not promtool's to choose
    let is_ours = |line: &&str| !line.starts_with("packet_drops_count ");
    let faults: String = said.lines().filter(is_ours).collect();
    let is_parsed = output.status.success() || said.lines().count() > 0 && output.status.code() == Some(3);
    if is_parsed && faults.is_empty() { Ok(()) } else { Err(said) }
}
