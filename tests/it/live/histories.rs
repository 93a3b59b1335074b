//! Random histories of rules, made by every tool: what the journal tells is what the kernel told an independent listener,
//! `nft monitor`, and the verdict is that of a fresh check. The agent is killed and started again in between.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{LIMIT, arguments};
use crate::support::live::Agent;
use crate::support::{AllowlistDir, MONITOR, Netns, lossy, wait_until};

const HISTORIES: u32 = 200;
/// The agent is killed after so many.
const LIFE: u32 = 25;

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Which rules have ever been in force at the end of a transaction, as `nft -a monitor` tells. Each rule names an address of
/// its own.
struct Listener {
    child: Child,
    output: tempfile::NamedTempFile,
}

impl Listener {
    fn start(netns: &Netns) -> Self {
        let output = tempfile::NamedTempFile::new().unwrap();
        let mut command = netns.command("stdbuf");
        command.args(["-oL", "nft", "-n", "-a", "monitor"]).stdin(Stdio::null());
        let child = command.stdout(output.reopen().unwrap()).spawn().unwrap();
        let listener = Self { child, output };
        wait_until("nft listens", LIMIT, || {
            netns.sh("nft add table inet knock; nft delete table inet knock");
            listener.text().contains("# new generation")
        });
        listener
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.output.path()).unwrap()
    }

    fn account(&self) -> BTreeSet<String> {
        let (mut account, mut transaction) = (BTreeSet::new(), BTreeMap::new());
        for line in self.text().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match *words.as_slice() {
                ["add" | "insert" | "replace", "rule", family, table, .., "#", "handle", handle] => {
                    transaction
                        .insert((family.to_owned(), table.to_owned(), handle.to_owned()), address(line));
                }
                ["delete", "rule", family, table, _, "handle", handle] => {
                    transaction.remove(&(family.to_owned(), table.to_owned(), handle.to_owned()));
                }
                ["#", "new", "generation", ..] => {
                    account.extend(std::mem::take(&mut transaction).into_values().flatten());
                }
                _ => {}
            }
        }
        account
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(text: &str) -> Option<String> {
    let address = text.split([' ', '/']).find(|word| word.starts_with("10."))?;
    Some(address.to_owned())
}

/// The same by the journal.
fn journal(directory: &str) -> BTreeSet<String> {
    let args = ["history", "--format", "json", "-n", "100000", "--state-dir", directory];
    let output = std::process::Command::new(MONITOR).args(args).output().unwrap();
    assert!(output.status.success(), "{}", lossy(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line));
    lines
        .filter(|line| ["added", "came_and_went"].iter().any(|change| line["change"] == *change))
        .filter_map(|line| address(line["line"].as_str()?))
        .collect()
}

/// One step of a history, with a rule that drops what comes from an address of its own.
fn step(netns: &Netns, random: &mut Random, address: &str) {
    let feed = |program: &str, args: &[&str], text: &str| {
        let output = netns.feed(program, args, text.as_bytes());
        assert!(output.status.success(), "{text}: {}", lossy(&output));
    };
    let rule = format!("ip saddr {address} drop");
    match random.below(10) {
        0 => feed("nft", &["-f", "-"], &format!("add rule inet t c {rule}")),
        1 => feed("nft", &["-i"], &format!("add rule inet t c {rule}\nflush chain inet t c\n")),
        2 => feed("nft", &["-f", "-"], &format!("add rule inet t c {rule}\nflush chain inet t c")),
        3 => netns.sh(&format!("iptables-nft -A INPUT -s {address} -j DROP")).clear(),
        4 => netns
            .sh(&format!("iptables-nft -I FORWARD -s {address} -j DROP; iptables-nft -F FORWARD"))
            .clear(),
        5 => feed(
            "iptables-nft-restore",
            &["-n"],
            &format!("*filter\n-A OUTPUT -s {address} -j DROP\nCOMMIT\n"),
        ),
        6 => feed(
            "iptables-nft-restore",
            &["-n"],
            &format!("*filter\n-F OUTPUT\n-A OUTPUT -s {address} -j DROP\nCOMMIT\n"),
        ),
        7 => feed(
            "nft",
            &["-i"],
            &format!("add table ip u\nadd chain ip u d\nadd rule ip u d {rule}\ndelete table ip u\n"),
        ),
        8 => {
            let handle = "nft -a list chain inet t c | sed -n 's/.* drop # handle //p' | head -n 1";
            netns.sh(&format!(
                "handle=$({handle}); if [ -n \"$handle\" ]; then nft replace rule inet t c handle $handle {rule}; fi"
            ));
        }
        _ => netns.sh("nft flush chain inet t c; iptables-nft -F INPUT").clear(),
    }
}

#[test]
fn the_journal_tells_two_hundred_random_histories_as_the_kernel_did() {
    let netns = Netns::new();
    netns.sh("nft add table inet t; nft add chain inet t c
        for c in INPUT FORWARD OUTPUT; do iptables-nft -P $c ACCEPT; done");
    let patterns = [("global", "^-P "), ("nftables", "^table \n")];
    let (allowlist, state) = (AllowlistDir::new(&patterns), tempfile::tempdir().unwrap());
    let directory = state.path().join("state").to_str().unwrap().to_owned();
    let args = [&arguments(&allowlist)[..], &["--state-dir", &directory]].concat();
    let listener = Listener::start(&netns);
    let mut random = Random(1);
    let mut agent = Some(Agent::start(&netns, &args));
    let compliant = |agent: &Option<Agent<'_>>| agent.as_ref().unwrap().wait_for("compliant", LIMIT);
    compliant(&agent);
    for history in 0..HISTORIES {
        for number in 0..=random.below(4) {
            step(&netns, &mut random, &format!("10.{}.{}.{number}", history / 250, history % 250));
        }
        if random.below(3) == 0 {
            std::thread::sleep(Duration::from_millis(random.below(700)));
        }
        if history % LIFE == LIFE - 1 {
            // the truth but for what is remembered, and that in the journal
            let truth = netns.check(&arguments(&allowlist)).json;
            agent.as_ref().unwrap().wait("it is as a fresh check says", LIMIT, |status| {
                status["ruleset_hash"] == truth["ruleset_hash"]
                    && status["violation_count"] == truth["violation_count"]
            });
            let account = listener.account();
            wait_until("the journal tells what the kernel told", LIMIT, || journal(&directory) == account);
            // killed, not ended
            agent = None;
            assert!(agent.is_none() && Path::new(&directory).join("history.db").exists());
            agent = Some(Agent::start(&netns, &args));
            agent.as_ref().unwrap().wait("it has looked", LIMIT, |status| !status["verdict"].is_null());
        }
    }
    let (account, told) = (listener.account(), journal(&directory));
    assert!(account.len() > 200, "{}", account.len());
    assert_eq!(told, account);
}
