//! Throw-away network namespaces and small tools the tests share.
#![allow(dead_code)]

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
