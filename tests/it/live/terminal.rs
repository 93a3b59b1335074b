//! `monitor watch`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::*;
use crate::support::{MONITOR, wait_until};

const SCHEMA: &str = include_str!("../../../docs/schema/history.v2.json");

struct Watch {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Watch {
    fn start(netns: &Netns, args: &[&str]) -> Self {
        let mut child = netns
            .command(MONITOR)
            .arg("watch")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (send, lines) = std::sync::mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)).ok()
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line with this text, and returns it.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT);
            let line = line.unwrap_or_else(|error| panic!("no {text:?}: {error}\n{}", self.seen.join("\n")));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_person_sees_what_changes_and_who_did_it() {
    let netns = Netns::new();
    let allowlist = allowlist();
    let mut watch = Watch::start(&netns, &arguments(&allowlist));
    watch.wait_for("COMPLIANT");
    watch.wait_for("changes follow as they happen");
    netns.sh("iptables-nft -A INPUT -s 10.0.0.1 -m comment --comment 'x\u{202e}y' -j DROP");
    watch.wait_for("compliant -> violations");
    watch.wait_for("+ added  unexpected  iptables-nft, family ip, table filter, chain INPUT, rule 1");
    let line = watch.wait_for("      | -A INPUT -s 10.0.0.1/32 ");
    assert!(!line.contains('\u{202e}'), "{line:?}");
    watch.wait_for("      reported process iptables-nft (pid ");
    netns.sh("iptables-nft -F INPUT");
    watch.wait_for("violations -> compliant");
    watch.wait_for("- removed  unexpected");
    restore(&netns, "iptables-nft-restore", &rules::kube_proxy(20));
    watch.wait_for(" changes of allowed rules in ");
    let moved = "-D KUBE-POSTROUTING 1\n-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n";
    restore(&netns, "iptables-nft-restore", &format!("*nat\n{moved}COMMIT\n"));
    watch.wait_for("~ moved  allowed  ");
    assert!(watch.seen.iter().all(|line| !line.contains("KUBE-SEP-")), "{}", watch.seen.join("\n"));
    let pid = Pid::from_child(&watch.child);
    kill_process(pid, Signal::INT).unwrap();
    assert!(watch.child.wait().unwrap().success());
}

#[test]
fn a_program_gets_every_change_as_one_object_a_line() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let netns = Netns::new();
    let allowlist = allowlist();
    let args = [&arguments(&allowlist)[..], &["--format", "json"]].concat();
    let mut watch = Watch::start(&netns, &args);
    watch.wait_for("\"noticed\":\"resumed\"");
    restore(&netns, "iptables-nft-restore", &rules::kube_proxy(20));
    netns.sh("iptables-nft -A INPUT -s 192.0.2.9 -j DROP");
    watch.wait_for("-A INPUT -s 192.0.2.9/32 -j DROP");
    netns.sh("iptables-nft -F INPUT");
    watch.wait_for("\"removed\"");
    let lines: Vec<Value> = watch.seen.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        assert!(validator.is_valid(line), "{line:#}");
    }
    let added = lines.iter().filter(|line| line["change"] == "added" && line["kind"] == "rule");
    assert_eq!(added.count(), 20 * 11 + 7 + 1);
}

#[test]
fn what_makes_the_verdict_unknown_is_told() {
    let netns = Netns::new();
    let mut watch = Watch::start(&netns, &["--input", "/nonexistent"]);
    watch.wait_for("UNKNOWN");
    watch.wait_for("  ? NoAllowlist: ");
}

#[test]
fn it_ends_quietly_when_nobody_reads() {
    let netns = Netns::new();
    let allowlist = allowlist();
    let mut command = netns.command(MONITOR);
    command.arg("watch").args(arguments(&allowlist)).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    netns.sh("iptables-nft -A INPUT -s 192.0.2.9 -j DROP");
    let mut status = None;
    wait_until("it ends", LIMIT, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(status.unwrap().success() && stderr.is_empty(), "{status:?} {stderr}");
}

#[test]
fn a_person_sees_only_what_was_asked_for() {
    let netns = Netns::new();
    let allowlist = allowlist();
    let start = |filter: &[&str]| Watch::start(&netns, &[&arguments(&allowlist), filter].concat());
    let mut unexpected = start(&["--unexpected"]);
    let mut nat = start(&["--table", "nat", "--all"]);
    // so much of its name the kernel has, also when it ends before it is looked at
    let mut program = start(&["--author", "iptables-nft-re", "--format", "json"]);
    for watch in [&mut unexpected, &mut nat] {
        watch.wait_for("changes follow as they happen");
    }
    program.wait_for("\"noticed\":\"resumed\"");
    restore(&netns, "iptables-nft-restore", &rules::kube_proxy(20));
    nat.wait_for("+ added  allowed  iptables-nft, family ip, table nat, ");
    let line: Value = serde_json::from_str(&program.wait_for("\"type\":\"change\"")).unwrap();
    let name = line["reported_processes"][0]["name"].as_str().unwrap();
    assert!(name.starts_with("iptables-nft-re"), "{name}");
    netns
        .sh("iptables-nft -A INPUT -s 10.0.0.1 -j DROP; iptables-nft -t nat -A OUTPUT -s 10.0.0.2 -j RETURN");
    unexpected.wait_for("      | -A INPUT -s 10.0.0.1/32 -j DROP");
    nat.wait_for("      | -A OUTPUT -s 10.0.0.2/32 -j RETURN");
    // whatever is allowed came before
    assert!(
        !unexpected.seen.iter().any(|line| line.contains("allowed  ") || line.contains("of allowed")),
        "{:#?}",
        unexpected.seen
    );
    assert!(!nat.seen.iter().any(|line| line.contains("table filter")), "{:#?}", nat.seen);
}
