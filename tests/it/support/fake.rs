//! A loopback HTTP server that answers wrongly for a while and then well: faults that no real API server shows on demand.
//! Knows just enough of the API to hold labels and count Events.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kube::client::Body;
use serde_json::{Value, json};

use super::Netns;

const KEY: &str = "user-iptables-rules";

/// One answer, as a rule a wrong one.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A status with this extra header and body.
    Status(u16, &'static str, String),
    /// Nothing for so long.
    Silence(Duration),
    /// The connection is closed.
    Hangup,
    /// Success, with this text in place of an object.
    Text(String),
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub method: String,
    pub path: String,
    pub body: Value,
    /// Whether it was not answered with a fault.
    pub is_well: bool,
}

#[derive(Default)]
struct State {
    faults: VecDeque<Fault>,
    /// What is always answered to paths that contain this.
    always: Vec<(&'static str, Fault)>,
    labels: BTreeMap<String, Value>,
    node: Value,
    /// Nobody may ask what is granted.
    is_mute: bool,
    /// The resources of which nothing is granted, as whoever asks hears.
    denied: Vec<&'static str>,
    /// Everybody may watch.
    is_watched: bool,
    /// Nobody listens, or will in a moment.
    is_away: bool,
    seen: Vec<Seen>,
}

/// The server; its threads end with the process.
#[derive(Clone)]
pub struct Fake {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// Answers the first requests with these faults.
    pub fn new(faults: &[Fault]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), faults)
    }

    /// As `new`, with a socket that is there already.
    pub fn on(listener: TcpListener, faults: &[Fault]) -> Self {
        let address = format!("http://{}", listener.local_addr().unwrap());
        let node = json!({"metadata": {"uid": "u-1"}});
        let state = State { faults: faults.iter().cloned().collect(), node, ..State::default() };
        let fake = Self { address, state: Arc::new(Mutex::new(state)) };
        fake.listen(listener);
        fake
    }

    fn listen(&self, listener: TcpListener) {
        let server = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if server.state.lock().unwrap().is_away {
                    return;
                }
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
    }

    /// Refuses connections from now on.
    pub fn leave(&self, netns: &Netns) {
        self.state.lock().unwrap().is_away = true;
        let address: SocketAddr = self.address.trim_start_matches("http://").parse().unwrap();
        let is_gone = || netns.within(|| TcpStream::connect(address).is_err());
        super::wait_until("nobody listens", Duration::from_secs(60), is_gone);
    }

    /// Listens again.
    pub fn come_back(&self, netns: &Netns) {
        self.state.lock().unwrap().is_away = false;
        let address = self.address.trim_start_matches("http://");
        self.listen(netns.within(|| TcpListener::bind(address).unwrap()));
    }

    /// Answers so whenever the path contains this.
    pub fn always(self, path: &'static str, fault: Fault) -> Self {
        self.state.lock().unwrap().always.push((path, fault));
        self
    }

    /// As `always`, before what was said already.
    pub fn rather(self, path: &'static str, fault: Fault) -> Self {
        self.state.lock().unwrap().always.insert(0, (path, fault));
        self
    }

    /// Answers as before `always` was said of this path.
    pub fn forget(&self, path: &str) {
        self.state.lock().unwrap().always.retain(|(part, _)| *part != path);
    }

    /// The Node is this.
    pub fn node(self, node: Value) -> Self {
        self.state.lock().unwrap().node = node;
        self
    }

    /// Nobody may ask what is granted.
    pub fn mute(self) -> Self {
        self.state.lock().unwrap().is_mute = true;
        self
    }

    /// Says of this resource that nothing is granted.
    pub fn denying(self, resource: &'static str) -> Self {
        self.state.lock().unwrap().denied.push(resource);
        self
    }

    /// Answers those who watch as it answers others.
    pub fn watched(self) -> Self {
        self.state.lock().unwrap().is_watched = true;
        self
    }

    pub fn label(&self) -> Option<Value> {
        self.state.lock().unwrap().labels.get(KEY).cloned()
    }

    /// Somebody else removes the label.
    pub fn overwrite(&self) {
        self.state.lock().unwrap().labels.clear();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// A client that asks it without sockets, so that a clock which stands still unless everybody waits is the only one.
    pub fn client(&self) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let server = server.clone();
            async move { server.serve_in_process(request).await }
        });
        kube::Client::new(service, "default")
    }

    async fn serve_in_process(&self, request: http::Request<Body>) -> std::io::Result<http::Response<Body>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let body = body.collect_bytes().await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        match self.reply(head.method.as_str(), &path, &body) {
            Fault::Status(status, header, text) => {
                let mut answer = http::Response::builder().status(status);
                if let Some((name, value)) = header.split_once(": ") {
                    answer = answer.header(name, value);
                }
                Ok(answer.body(Body::from(text.into_bytes())).unwrap())
            }
            Fault::Text(text) => Ok(http::Response::new(Body::from(text.into_bytes()))),
            Fault::Silence(time) => {
                tokio::time::sleep(time).await;
                Err(std::io::ErrorKind::ConnectionReset.into())
            }
            Fault::Hangup => Err(std::io::ErrorKind::ConnectionReset.into()),
        }
    }

    fn serve(&self, mut stream: TcpStream) {
        let Some((method, path, body)) = read_request(&stream) else { return };
        match self.reply(&method, &path, &body) {
            Fault::Status(status, header, text) => send(&mut stream, status, header, &text),
            Fault::Text(text) => send(&mut stream, 200, "", &text),
            Fault::Silence(time) => std::thread::sleep(time),
            Fault::Hangup => {}
        }
    }

    /// What a request is answered with, rightly or not.
    fn reply(&self, method: &str, path: &str, body: &Value) -> Fault {
        if let Some((status, answer)) = self.answer_permission(path, body) {
            return Fault::Status(status, "", answer.to_string());
        }
        let fault = {
            let mut state = self.state.lock().unwrap();
            let always =
                state.always.iter().find(|(part, _)| path.contains(part)).map(|(_, fault)| fault.clone());
            let fault = always.or_else(|| state.faults.pop_front());
            state.seen.push(Seen {
                at: tokio::time::Instant::now().into_std(),
                method: method.to_owned(),
                path: path.to_owned(),
                body: body.clone(),
                is_well: fault.is_none(),
            });
            fault
        };
        fault.unwrap_or_else(|| Fault::Text(self.answer(method, path, body).to_string()))
    }

    /// To watch is not granted as a rule, and whoever asks hears that all is but what is denied, or nothing; neither counts as a request.
    fn answer_permission(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let no = (403, json!({"kind": "Status", "message": "no"}));
        let resource = &body["spec"]["resourceAttributes"]["resource"];
        let (is_mute, is_watched, is_denied) = {
            let state = self.state.lock().unwrap();
            (state.is_mute, state.is_watched, state.denied.iter().any(|denied| resource == denied))
        };
        if path.contains("watch=true") {
            return (!is_watched).then_some(no);
        }
        let answer = if is_mute { no } else { (201, json!({"status": {"allowed": !is_denied}})) };
        path.ends_with("/selfsubjectaccessreviews").then_some(answer)
    }

    fn answer(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut state = self.state.lock().unwrap();
        if method == "GET" && path.contains("/nodes/") {
            return state.node.clone();
        }
        if let Some(labels) = body["metadata"]["labels"].as_object() {
            state.labels.extend(labels.clone());
        }
        json!({"metadata": {"labels": state.labels}})
    }
}

fn read_request(stream: &TcpStream) -> Option<(String, String, Value)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok()?,
            None if header.trim().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, path, serde_json::from_slice(&body).unwrap_or_default()))
}

fn send(stream: &mut TcpStream, status: u16, header: &str, body: &str) {
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    let length = body.len();
    // the other side may have given up
    let _ = write!(
        stream,
        "HTTP/1.1 {status} x\r\n{header}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
}
