//! The whole program as an agent inside a network namespace, and what it says of itself meanwhile.
//! Waits for verdicts, and judges nothing.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::apiserver::Server;
use super::{MONITOR, Netns};

/// An agent that watches; it is killed when this is dropped.
pub struct Agent<'a> {
    netns: &'a Netns,
    child: Child,
    log: tempfile::NamedTempFile,
}

impl<'a> Agent<'a> {
    /// An agent that tells no cluster and checks everything once an hour, with these further arguments.
    pub fn start(netns: &'a Netns, args: &[&str]) -> Self {
        let mut command = netns.command(MONITOR);
        Self::spawn(netns, command.args(["--sink", "none", "--interval", "1h"]).args(args))
    }

    /// The agent that this command starts.
    pub fn spawn(netns: &'a Netns, command: &mut Command) -> Self {
        let log = tempfile::NamedTempFile::new().expect("a file");
        // both streams append
        let stream = || std::fs::OpenOptions::new().append(true).open(log.path()).expect("the same file");
        let command = command.stdin(Stdio::null()).stdout(stream()).stderr(stream());
        let child = command.spawn().expect("the program under test");
        Self { netns, child, log }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed and logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log.path()).expect("its log")).into_owned()
    }

    /// What it answers on its loopback device; none while it does not.
    pub fn get(&self, path: &str) -> Option<String> {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect("127.0.0.1:9191")?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = self.netns.within(ask).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// The last report; none before the first.
    pub fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.get("/status")?).ok()
    }

    /// Waits until the report satisfies `is_it`, and says how long that took.
    ///
    /// # Panics
    /// After `limit`, with the report and the log.
    #[track_caller]
    pub fn wait(&self, what: &str, limit: Duration, is_it: impl Fn(&Value) -> bool) -> Duration {
        let started = Instant::now();
        loop {
            let status = self.status();
            if status.as_ref().is_some_and(&is_it) {
                return started.elapsed();
            }
            if started.elapsed() > limit {
                panic!("after {limit:?} still waiting until {what}: {status:#?}\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Waits for this verdict, and says how long that took.
    #[track_caller]
    pub fn wait_for(&self, verdict: &str, limit: Duration) -> Duration {
        self.wait(verdict, limit, |status| status["verdict"] == verdict)
    }

    /// Waits until the report is that of a fresh check with the same arguments.
    #[track_caller]
    pub fn wait_for_the_truth(&self, args: &[&str], limit: Duration) -> Value {
        let truth = self.netns.check(args).json;
        let keys = ["verdict", "ruleset_hash", "violation_count", "violations_hash"];
        for key in keys {
            assert!(!truth[key].is_null(), "{key} of {truth}");
        }
        let what =
            format!("it is as a fresh check says: {}", keys.map(|key| truth[key].to_string()).join(", "));
        self.wait(&what, limit, |status| keys.iter().all(|key| status[key] == truth[key]));
        truth
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies both ways between each client of `listener` and `address`.
fn relay(listener: TcpListener, address: String) {
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&address).expect("the API server");
            for (mut from, mut to) in [
                (client.try_clone().expect("a socket"), server.try_clone().expect("a socket")),
                (server, client),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
}

/// Writes a kubeconfig with which programs in this namespace reach the API server, by a relay on its loopback device.
pub fn write_kubeconfig(netns: &Netns, server: &Server, token: &str, path: &Path) {
    let listener = netns.within(|| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let port = listener.local_addr().expect("an address").port();
    relay(listener, server.address());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": server.certificate(),
        }}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    std::fs::write(path, kubeconfig.to_string()).expect("a file");
}
