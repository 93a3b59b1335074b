//! Throw-away network namespaces and small tools the tests share.
#![allow(dead_code, reason = "the benchmark shares it and uses less")]

pub mod apiserver;
pub mod fake;
pub mod live;
pub mod packets;
pub mod rules;

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

/// A network namespace that lives as long as this value.
///
/// A holder process keeps it open and ends with this process, however that ends: its stdin is our pipe.
pub struct Netns {
    holder: Child,
}

impl Netns {
    /// A fresh namespace with its loopback device up.
    ///
    /// # Panics
    /// Without root or unshare(1): these tests are never skipped.
    pub fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; read gone"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1) of util-linux");
        let mut ready = [0; 6];
        std::io::Read::read_exact(holder.stdout.as_mut().expect("piped"), &mut ready)
            .expect("a network namespace: run the tests as root");
        let netns = Self { holder };
        netns.sh("ip link set lo up");
        netns
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("-t").arg(self.holder.id().to_string()).args(["-n", program]);
        command
    }

    /// Runs a shell script inside, with `set -e`.
    ///
    /// # Panics
    /// If it fails; the message has everything it printed.
    pub fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        assert!(output.status.success(), "{script}\n{}: {}", output.status, lossy(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a shell script inside and returns how it ended.
    pub fn try_sh(&self, script: &str) -> Output {
        self.command("bash").args(["-ec", script]).stdin(Stdio::null()).output().expect("bash")
    }

    /// Runs a program inside with this text as its standard input.
    pub fn feed(&self, program: &str, args: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect(program);
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect(program);
        writer.join().expect("the writer does not panic");
        output
    }

    /// Runs `work` on a thread of this process that is inside the namespace.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/proc/{}/ns/net", self.holder.id());
        std::thread::scope(|scope| {
            scope
                .spawn(move || {
                    let file = std::fs::File::open(path).expect("the holder lives");
                    rustix::thread::move_into_link_name_space(
                        std::os::fd::AsFd::as_fd(&file),
                        Some(rustix::thread::LinkNameSpaceType::Network),
                    )
                    .expect("setns(2) as root");
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Both streams of a finished program, for messages.
pub fn lossy(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The program under test.
pub const MONITOR: &str = env!("CARGO_BIN_EXE_monitor");

/// The outcome of `monitor check --format json`.
#[derive(Debug)]
pub struct Checked {
    pub code: i32,
    pub json: serde_json::Value,
    pub stderr: String,
}

impl Checked {
    /// Reads what a finished `monitor check --format json` printed.
    ///
    /// # Panics
    /// If that is not one JSON document.
    pub fn of(output: &Output) -> Self {
        let json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error} in the report of {}: {}", output.status, lossy(output)));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code().unwrap_or(-1), json, stderr }
    }

    pub fn verdict(&self) -> &str {
        self.json["verdict"].as_str().expect("a verdict")
    }

    /// The lines of the violations.
    pub fn lines(&self) -> Vec<&str> {
        let violations = self.json["violations"].as_array().expect("an array");
        violations.iter().map(|violation| violation["line"].as_str().expect("a line")).collect()
    }

    /// The reasons of the problems, without repetition, but for what depends on how the kernel of this machine was built.
    pub fn reasons(&self) -> Vec<&str> {
        let mut reasons = self.all_reasons();
        reasons.retain(|reason| *reason != "HooksUnlisted");
        reasons.dedup();
        reasons
    }

    /// The reason of each problem.
    pub fn all_reasons(&self) -> Vec<&str> {
        let problems = self.json["problems"].as_array().expect("an array");
        problems.iter().map(|problem| problem["reason"].as_str().expect("text")).collect()
    }

    /// How many rules were read in all tables.
    pub fn rules(&self) -> u64 {
        let tables = self.json["tables"].as_array().expect("an array");
        tables.iter().map(|table| table["rules"].as_u64().expect("a number")).sum()
    }

    #[track_caller]
    pub fn expect(&self, verdict: &str, code: i32) -> &Self {
        assert_eq!((self.verdict(), self.code), (verdict, code), "{:#}\n{}", self.json, self.stderr);
        self
    }
}

impl Netns {
    /// `monitor check --format json` inside, with these further arguments.
    pub fn check(&self, args: &[&str]) -> Checked {
        let output = self
            .command(MONITOR)
            .args(["check", "--format", "json"])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("the program under test");
        Checked::of(&output)
    }
}

/// A directory of allowlist files.
pub struct AllowlistDir(tempfile::TempDir);

impl AllowlistDir {
    /// A directory with these files.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("a file in it");
        }
        Self(directory)
    }

    pub fn path(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }
}

/// A process that the program under test may leave behind; a script of ours wrote its number down.
pub struct LeftBehind(rustix::process::Pid);

impl LeftBehind {
    /// Waits until so many processes stand in this file.
    pub fn wait_for(file: &std::path::Path, count: usize) -> Vec<Self> {
        let written = || std::fs::read_to_string(file).unwrap_or_default();
        let what = format!("{count} processes are named in {}", file.display());
        let is_there = || written().ends_with('\n') && written().split_whitespace().count() >= count;
        wait_until(&what, std::time::Duration::from_secs(60), is_there);
        let number = |word: &str| rustix::process::Pid::from_raw(word.parse().ok()?);
        written().split_whitespace().map(|word| Self(number(word).expect("a process's number"))).collect()
    }

    /// Whether it runs: a killed one may wait long for somebody who asks for its status.
    pub fn is_alive(&self) -> bool {
        std::fs::read(format!("/proc/{}/cmdline", self.0)).is_ok_and(|line| !line.is_empty())
    }

    /// Waits until it has ended: the kernel ends a killed process when it comes to run.
    #[track_caller]
    pub fn wait_end(&self, what: &str) {
        let what = format!("process {} has ended ({what})", self.0);
        wait_until(&what, std::time::Duration::from_secs(60), || !self.is_alive());
    }
}

impl Drop for LeftBehind {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = rustix::process::kill_process(self.0, rustix::process::Signal::KILL);
        }
    }
}

/// Waits until `done` says so.
///
/// # Panics
/// After `limit`, with what was waited for.
#[track_caller]
pub fn wait_until(what: &str, limit: std::time::Duration, mut done: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + limit;
    while !done() {
        assert!(std::time::Instant::now() < end, "after {limit:?} still waiting until {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
