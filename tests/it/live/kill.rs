//! An agent that is killed again and again while rules change, and its journal.

use std::process::Command;

use serde_json::Value;

use super::*;
use crate::support::{MONITOR, wait_until};

const KILLS: u64 = 200;

fn history(directory: &str) -> Vec<Value> {
    let args = ["history", "--format", "json", "--state-dir", directory];
    let output = Command::new(MONITOR).args(args).output().unwrap();
    assert!(output.status.success(), "{}", lossy(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Which rules stand, as the journal tells: those that were added and not removed since.
fn standing(history: &[Value]) -> std::collections::BTreeSet<&str> {
    let mut standing = std::collections::BTreeSet::new();
    for change in history.iter().filter(|line| line["type"] == "change" && line["kind"] == "rule") {
        let rule = change["line"].as_str().unwrap();
        match change["change"].as_str().unwrap() {
            "added" => assert!(standing.insert(rule), "added twice: {change:#}"),
            "removed" => assert!(standing.remove(rule), "removed twice: {change:#}"),
            _ => {}
        }
    }
    standing
}

/// A rule that is not allowed comes and goes; the journal has to tell each coming and going that a check has seen once.
#[test]
fn two_hundred_kills_leave_a_journal_without_contradictions_and_a_right_verdict() {
    let netns = Netns::new();
    let allowlist = allowlist();
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("state").to_str().unwrap().to_owned();
    let args = [&arguments(&allowlist)[..], &["--state-dir", &directory]].concat();
    drop({
        let agent = Agent::start(&netns, &args);
        agent.wait_for("compliant", LIMIT);
        wait_until("the journal has begun", LIMIT, || state.path().join("state/history.db").exists());
        agent
    });
    let mut random = 1_u64;
    for kill in 0..KILLS {
        let agent = Agent::start(&netns, &args);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let change = if kill % 2 == 0 { "-A" } else { "-D" };
        netns.sh(&format!("iptables-nft {change} INPUT -s 10.0.0.{} -j DROP", kill / 2));
        if kill % 8 == 0 {
            // on a busy machine no other may live for long enough
            let rule = format!("-A INPUT -s 10.0.0.{}/32 -j DROP", kill / 2);
            wait_until("the journal tells of the rule", LIMIT, || {
                standing(&history(&directory)).contains(rule.as_str())
            });
        }
        std::thread::sleep(Duration::from_micros((random >> 33) % 350_000));
        drop(agent);
        if kill % 20 == 0 {
            standing(&history(&directory));
        }
    }
    netns.sh("iptables-nft -A INPUT -s 10.9.0.1 -j DROP");
    let agent = Agent::start(&netns, &args);
    agent.wait_for_the_truth(&arguments(&allowlist), LIMIT);
    agent.wait_for("violations", LIMIT);
    wait_until("the journal says what stands", LIMIT, || {
        let history = history(&directory);
        standing(&history).into_iter().eq(["-A INPUT -s 10.9.0.1/32 -j DROP"])
    });
    let told = history(&directory).iter().filter(|line| line["type"] == "change").count();
    assert!(told > 20, "few changes were ever seen: {told}");
    assert!(!state.path().join("state/history.db.damaged").exists());
}
