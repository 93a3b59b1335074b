//! What becomes of the agent when a part of it dies: it ends, and says which.
//! Parts die of a clock that fails once, which no part survives: a library before the C library makes it fail.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::drops::program::{LogFile, Program, tcp};
use crate::support::fake::{Fake, Fault};
use crate::support::{MONITOR, Netns, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// The agent in a namespace of its own, and what makes parts of it die.
struct Scene {
    netns: Netns,
    directory: tempfile::TempDir,
    fake: Fake,
}

impl Scene {
    fn new() -> Self {
        let (netns, directory) = (Netns::new(), tempfile::tempdir().unwrap());
        let listener = netns.within(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let fake = Fake::on(listener, &[]).watched().always("watch=true", Fault::Text(String::new()));
        let scene = Self { netns, directory, fake };
        build_clock(&scene.path("clock.so"));
        std::fs::write(scene.path("kubeconfig"), kubeconfig(&scene.fake.address)).unwrap();
        std::fs::write(scene.path("drops.log"), "").unwrap();
        std::fs::create_dir(scene.path("state")).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Everything that the agent can do, with a first check done.
    fn start(&self, args: &[&str], environment: &[(&str, &str)]) -> Program {
        let mut command = self.netns.command(MONITOR);
        command.args(["--profile", "base", "--interval", "1h", "--sink", "kube", "--node-name", "n"]);
        command.args(["--events", "--drops-dns=false"]);
        command.arg(format!("--drops-source=file:{}", self.path("drops.log").display()));
        command.env("MONITOR_STATE_DIR", self.path("state")).env("KUBECONFIG", self.path("kubeconfig"));
        command.args(args).envs(environment.iter().copied());
        let program = Program::start(&mut command, self.directory.path());
        wait_until("it labels the node", LIMIT, || self.fake.label().is_some());
        program
    }

    /// As `start`, where the clock of this thread will fail.
    fn start_mortal(&self, thread: &str, args: &[&str], environment: &[(&str, &str)]) -> Program {
        let (clock, fault) = (self.path("clock.so"), self.path("fault"));
        let [clock, fault] = [&clock, &fault].map(|path| path.to_str().unwrap());
        let mortal = [("LD_PRELOAD", clock), ("FAULT_FILE", fault), ("FAULT_THREAD", thread)];
        self.start(args, &[&mortal, environment].concat())
    }

    /// The clock fails when it is asked next.
    fn let_the_clock_fail(&self) {
        std::fs::write(self.path("fault"), "").unwrap();
    }

    /// Logs a dropped packet to this port.
    fn log_a_drop(&self, port: u16) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        let packet = tcp("198.51.100.7", "192.0.2.1", port);
        LogFile(self.path("drops.log")).append(&format!("{now} n kernel: d: {packet}\n"));
    }
}

fn build_clock(path: &Path) {
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-x", "c", "-", "-o"]).arg(path).stdin(Stdio::piped());
    let mut compiler = compiler.spawn().expect("the compiler that Rust links with");
    compiler.stdin.take().unwrap().write_all(include_bytes!("services/clock.c")).unwrap();
    assert!(compiler.wait().unwrap().success());
}

fn kubeconfig(server: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    })
    .to_string()
}

/// Waits for the end of the agent, which tells of the death of this service.
#[track_caller]
fn assert_dies(scene: &Scene, program: &mut Program, service: &str, how: &str) {
    let mut status = None;
    let end = std::time::Instant::now() + LIMIT;
    while status.is_none() {
        assert!(
            std::time::Instant::now() < end,
            "{service} is dead and the agent lives: {}",
            program.output()
        );
        std::thread::sleep(Duration::from_millis(10));
        status = program.child.try_wait().unwrap();
    }
    let output = program.output();
    assert!(!scene.path("fault").exists(), "nobody asked the clock: {output}");
    assert_eq!(status.and_then(|status| status.code()), Some(2), "{output}");
    let last = output.lines().last().unwrap_or_default();
    let told = format!("monitor: the service {service} has ended, and nobody asked it to: ");
    assert!(last.starts_with(&told) && last.contains(&format!("{how}it panicked: ")), "{how}: {output}");
}

/// What happened once: the task that keeps the label was dead, the label stayed, and all looked well.
#[test]
fn the_agent_does_not_outlive_what_keeps_the_label() {
    let scene = Scene::new();
    // whoever lists pods asks the same clock, and is to wait
    let _ = scene.fake.clone().always("/api/v1/pods", Fault::Silence(LIMIT));
    // log lines have the time of day
    let mut program = scene.start_mortal("monitor", &[], &[("FAULT_WALL", "1")]);
    // the first check is told by then, and nobody else has anything to say
    let watches = || scene.fake.seen().iter().filter(|seen| seen.path.contains("watch=true")).count();
    let begun = watches();
    wait_until("the label is watched again", LIMIT, || watches() > begun + 1);
    scene.let_the_clock_fail();
    let refusal = json!({"kind": "Status", "message": "made up"}).to_string();
    scene.fake.clone().rather("ciliumnodes", Fault::Status(500, "", refusal));
    assert_dies(&scene, &mut program, "cluster", "");
}

#[test]
fn the_agent_does_not_outlive_a_thread() {
    for (thread, service, how) in [
        ("watch-legacy", "checks", "its thread watch-legacy: "),
        ("watch-nftables", "checks", "its thread watch-nftables: "),
        ("tokio-rt-worker", "checks", "reading the rules of this node: "),
        ("folding", "drops", "its thread folding: "),
        ("drops", "drops", r#"drops.log": its thread drops: "#),
    ] {
        let scene = Scene::new();
        let mut program = scene.start_mortal(thread, &[], &[]);
        scene.let_the_clock_fail();
        scene.netns.sh("nft add table ip x; nft add chain ip x c; nft add rule ip x c drop");
        assert_dies(&scene, &mut program, service, how);
    }
}

/// The thread asks for the time when it cannot write, to try again later.
#[test]
fn the_agent_does_not_outlive_the_journal() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("state/history.db")).unwrap();
    let mut program = scene.start_mortal("journal", &[], &[]);
    scene.let_the_clock_fail();
    scene.netns.sh("nft add table ip x; nft add chain ip x c; nft add rule ip x c drop");
    assert_dies(&scene, &mut program, "journal", "its thread journal: ");
}

/// The thread asks for the time of a record that it had to wait for.
#[test]
fn the_agent_does_not_outlive_the_reader_of_the_kernels_log() {
    let scene = Scene::new();
    let mut program = scene.start_mortal("kmsg", &["--drops-source=kmsg"], &[]);
    scene.let_the_clock_fail();
    std::fs::write("/dev/kmsg", "<6>a test of monitor\n").unwrap();
    assert_dies(&scene, &mut program, "drops", "following kmsg: its thread drops: ");
}

/// The thread asks for the time when it has an answer, and is missed with the next question.
#[test]
fn the_agent_does_not_outlive_who_asks_the_dns() {
    let scene = Scene::new();
    let mut program = scene.start_mortal("dns", &["--drops-dns=true"], &[]);
    scene.let_the_clock_fail();
    scene.log_a_drop(1);
    wait_until("a thread that asks is dead", LIMIT, || !scene.path("fault").exists());
    // it has asked the clock, and may not be quite dead yet
    let mut ports = 2..;
    wait_until("it is missed", LIMIT, || {
        ports.next().into_iter().for_each(|port| scene.log_a_drop(port));
        program.child.try_wait().unwrap().is_some()
    });
    assert_dies(&scene, &mut program, "drops", "its thread folding: ");
    let why = "it panicked: a thread that asks the DNS has panicked";
    assert!(program.output().contains(why), "{}", program.output());
}

#[test]
fn all_services_end_when_they_are_asked_to() {
    let scene = Scene::new();
    let mut program = scene.start(&[], &[]);
    scene.log_a_drop(1);
    assert_eq!(program.stop(), Some(0), "{}", program.output());
    let output = program.output();
    assert!(output.contains("stopped on request") && !output.contains("the service"), "{output}");
}
