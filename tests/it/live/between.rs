//! Rules that come and go between two looks: no look finds them, and the node is not called compliant all the same.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{LIMIT, allowlist, arguments};
use crate::support::live::Agent;
use crate::support::{AllowlistDir, MONITOR, Netns, lossy};

/// Base chains of both kinds, and patterns for all of it.
const BASE: &str = "iptables-nft -P INPUT ACCEPT; ip6tables-nft -P INPUT ACCEPT; iptables-nft -t nat -P INPUT ACCEPT
    nft add table inet t; nft add chain inet t c; nft add map inet t m '{ type ipv4_addr : verdict; flags interval; }'
    nft add map inet t n '{ type inet_service : verdict; }'; nft add rule inet t c ip saddr vmap @m";
const NATIVE: &str = "^map inet t [mn] \n^inet t c ip saddr vmap @m$\n^inet t c .* comment \"ours\"$\n";

fn directory() -> AllowlistDir {
    AllowlistDir::new(&[("global", "^-P \n^-A .* --comment ours "), ("nftables", NATIVE)])
}

fn feed(netns: &Netns, script: &str) {
    let output = netns.feed("nft", &["-f", "-"], script.as_bytes());
    assert!(output.status.success(), "{}", lossy(&output));
}

fn details(status: &Value, reason: &str) -> Vec<String> {
    let problems = status["problems"].as_array().into_iter().flatten();
    let of_reason = problems.filter(|problem| problem["reason"] == reason);
    of_reason.map(|problem| problem["detail"].as_str().unwrap_or_default().to_owned()).collect()
}

const TRANSIENT: &str = "add rule inet t c tcp dport 22 drop\nflush chain inet t c\n";

/// Makes a transaction of each line again and again, until no look falls between and a problem of this reason is told.
fn until_said(netns: &Netns, agent: &Agent<'_>, lines: &str, reason: &str) {
    for _ in 0..50 {
        let output = netns.feed("nft", &["-i"], lines.as_bytes());
        assert!(output.status.success(), "{}", lossy(&output));
        std::thread::sleep(Duration::from_millis(700));
        if !details(&agent.status().unwrap(), reason).is_empty() {
            return;
        }
    }
    panic!("{reason} is not told: {:#}", agent.status().unwrap());
}

/// An agent of a node on which all is allowed.
fn start<'a>(netns: &'a Netns, directory: &AllowlistDir, more: &[&str]) -> Agent<'a> {
    netns.sh(BASE);
    let agent = Agent::start(netns, &[&arguments(directory)[..], more].concat());
    agent.wait_for("compliant", LIMIT);
    agent
}

#[test]
fn whatever_came_and_went_is_told_with_its_text_and_its_author() {
    let netns = Netns::new();
    let directory = directory();
    let agent = start(&netns, &directory, &[]);
    for (script, line) in [
        (
            "iptables-nft -A INPUT -s 192.0.2.9 -j DROP; iptables-nft -F INPUT",
            "-A INPUT -s 192.0.2.9/32 -j DROP",
        ),
        ("iptables-nft -N X; iptables-nft -X X", "-N X"),
        (
            "ip6tables-nft -I INPUT -m mark --mark 7 -j DROP; ip6tables-nft -D INPUT 1",
            "-A INPUT -m mark --mark 0x7 -j DROP",
        ),
        (
            "add rule inet t c tcp dport { 22, 80 } drop\nflush chain inet t c",
            "inet t c tcp dport { 22, 80 } drop",
        ),
        ("add element inet t n { 22 : drop }\nflush map inet t n", "element inet t n 22 : drop"),
        (
            "add element inet t m { 192.0.2.0/24 : drop }\nflush map inet t m",
            "element inet t m 192.0.2.0/24 : drop",
        ),
        ("table inet gone { flags dormant; }\ndelete table inet gone", "table inet gone flags dormant"),
        (
            "table inet gone { chain c { type filter hook input priority 0; policy drop; }; }\ndelete table inet gone",
            "chain inet gone c type filter hook input priority 0 policy drop",
        ),
        ("add set inet t s { type ipv4_addr; }\ndelete set inet t s", "set inet t s type ipv4_addr"),
        ("add counter inet t q\ndelete counter inet t q", "counter inet t q"),
        (
            "add rule inet t c jump { tcp dport 7 drop; }\nflush chain inet t c",
            "inet t c jump { tcp dport 7 drop }",
        ),
    ] {
        // where a look falls between, it is an ordinary violation, and tried again
        let is_told = (0..30).any(|_| {
            if script.contains("tables-nft") {
                netns.sh(script);
            } else {
                // makes a transaction of each line
                let output = netns.feed("nft", &["-i"], format!("{script}\n").as_bytes());
                assert!(output.status.success() && output.stderr.is_empty(), "{}", lossy(&output));
            }
            std::thread::sleep(Duration::from_millis(700));
            let told = details(&agent.status().unwrap(), "CameAndWent");
            told.iter().any(|detail| detail.contains(&line.escape_default().to_string()))
        });
        assert!(is_told, "{line}: {:#}\n{}", agent.status().unwrap(), agent.log());
    }
    let status = agent.status().unwrap();
    assert_ne!(status["verdict"], "compliant");
    let told = details(&status, "CameAndWent");
    assert!(told.iter().any(|detail| detail.contains("brought by nft")), "{told:?}");
}

#[test]
fn what_comes_and_goes_within_a_transaction_or_is_allowed_is_nothing() {
    let netns = Netns::new();
    let directory = directory();
    let agent = start(&netns, &directory, &[]);
    for script in [
        "add rule inet t c tcp dport 1 drop\nflush chain inet t c\nadd rule inet t c ip saddr vmap @m",
        "add table inet x { flags dormant; }\ndelete table inet x",
        "add chain inet t d { type filter hook input priority 0; policy drop; }\ndelete chain inet t d",
        "add element inet t n { 22 : drop }\ndelete element inet t n { 22 : drop }",
        "add element inet t m { 192.0.2.0/24 : drop }\nflush map inet t m",
        "add counter inet t q\ndelete counter inet t q",
        "add set inet t s { type ipv4_addr; }\ndelete set inet t s",
    ] {
        feed(&netns, script);
    }
    netns.sh("for i in 1 2 3 4 5; do
        iptables-nft -A INPUT -m comment --comment ours -j DROP; iptables-nft -D INPUT 1
        nft add rule inet t c tcp dport 9 drop comment '\"ours\"'; nft add rule inet t c iif lo ip saddr '{ 1.1.1.1, 2.2.2.2 }' drop comment '\"ours\"'
        nft flush chain inet t c; done; nft add rule inet t c ip saddr vmap @m");
    let before = agent.status().unwrap();
    agent.wait("it was looked at", LIMIT, |status| status["checked_at"] != before["checked_at"]);
    std::thread::sleep(Duration::from_secs(3));
    let status = agent.status().unwrap();
    assert_eq!(status["verdict"], "compliant", "{status:#}\n{}", agent.log());
    let metrics = agent.get("/metrics").unwrap();
    assert!(metrics.contains("iptables_monitor_came_and_went_total 0\n"), "{metrics}");
    assert!(metrics.contains("iptables_monitor_changes_missed_total 0\n"), "{metrics}");
}

#[test]
fn it_is_forgiven_after_an_interval_or_by_an_allowlist() {
    let netns = Netns::new();
    let directory = directory();
    netns.sh(BASE);
    let mut command = netns.command(MONITOR);
    command.args(["--sink", "none", "--interval", "2s"]).args(arguments(&directory));
    let agent = Agent::spawn(&netns, &mut command);
    agent.wait_for("compliant", LIMIT);
    until_said(&netns, &agent, TRANSIENT, "CameAndWent");
    let unknown = Instant::now();
    agent.wait_for("compliant", LIMIT);
    assert!(unknown.elapsed() > Duration::from_millis(500), "an interval has passed");
    drop(agent);

    let agent = Agent::start(&netns, &arguments(&directory));
    agent.wait_for("compliant", LIMIT);
    until_said(&netns, &agent, TRANSIENT, "CameAndWent");
    std::fs::write(
        std::path::Path::new(directory.path()).join("nftables"),
        format!("{NATIVE}^inet t c tcp dport 22 drop$\n"),
    )
    .unwrap();
    agent.wait_for("compliant", LIMIT);
}

#[test]
fn nobody_hides_a_rule_by_taking_it_away_before_each_look() {
    let netns = Netns::new();
    let directory = directory();
    let agent = start(&netns, &directory, &[]);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        feed(&netns, "add rule inet t c tcp dport 9922 drop");
        while started.elapsed() < Duration::from_millis(1_700) {
            std::thread::sleep(Duration::from_millis(100));
            feed(&netns, "add table inet ka\ndelete table inet ka");
            seen.push(agent.status().unwrap()["verdict"].as_str().unwrap().to_owned());
        }
        feed(&netns, "flush chain inet t c\nadd rule inet t c ip saddr vmap @m");
        let before = agent.status().unwrap()["checked_at"].clone();
        agent.wait("a look", LIMIT, |status| status["checked_at"] != before);
    }
    let compliant = seen.iter().filter(|verdict| *verdict == "compliant").count();
    // on a busy machine a look takes longer than a tenth of a second
    assert!(compliant * 20 < seen.len(), "{compliant} of {}: {seen:?}", seen.len());
}

#[test]
fn a_storm_of_rules_that_come_and_go_is_bounded_and_said() {
    let netns = Netns::new();
    let directory = directory();
    let agent = start(&netns, &directory, &[]);
    // each transaction adds what the next removes, and no two rules are the same
    let mut script = String::new();
    for number in 0..60_000u32 {
        let (from, to) = (number, number + 1);
        writeln!(script, "add rule inet t c ip saddr 10.{}.{}.{} drop", to >> 16, to >> 8 & 255, to & 255)
            .unwrap();
        let _ = from;
        if number % 20 == 19 {
            script.push_str("flush chain inet t c\n");
        }
    }
    let commands: Vec<&str> = script.lines().collect();
    let until = Instant::now() + Duration::from_secs(8);
    'storm: for some in commands.chunks(21 * 20) {
        // nft -i makes a transaction of each line
        let output = netns.feed("nft", &["-i"], (some.join("\n") + "\n").as_bytes());
        assert!(output.status.success(), "{}", lossy(&output));
        if Instant::now() > until {
            break 'storm;
        }
    }
    feed(&netns, "flush chain inet t c\nadd rule inet t c ip saddr vmap @m");
    agent.wait("it is said", LIMIT, |status| !details(status, "CameAndWent").is_empty());
    let told = details(&agent.status().unwrap(), "CameAndWent");
    assert!(told.len() <= 11 && told.iter().any(|detail| detail.starts_with("and ")), "{told:?}");
    let memory = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
    let kilobytes: u64 = peak.split(' ').next().unwrap().parse().unwrap();
    assert!(kilobytes < 200_000, "{peak}");
}

#[test]
fn a_rule_too_large_for_any_listener_is_said_to_be_missed() {
    let netns = Netns::new();
    let directory = directory();
    let agent = start(&netns, &directory, &[]);
    // more than a page: the kernel can tell no listener of it
    let parts = "-m u32 --u32 0=7 ".repeat(5);
    netns.sh(&format!("iptables-nft -A INPUT {parts} -j DROP; iptables-nft -F INPUT"));
    agent.wait("it is said", LIMIT, |status| !details(status, "ChangesMissed").is_empty());
    agent.wait_for("unknown", LIMIT);
}

#[test]
fn decoys_in_the_same_burst_are_not_the_author() {
    let netns = Netns::new();
    let allowlist = allowlist();
    let agent = Agent::start(&netns, &arguments(&allowlist));
    agent.wait_for("compliant", LIMIT);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    // the kernel names a process by its executable, and iptables does what it is called
    let copies: String = (1..10).map(|number| format!("cp $nft {path}/decoy{number}; ")).collect();
    let ours = "-m comment --comment ours -j RETURN";
    let runs: String = (1..10)
        .map(|number| {
            format!(
                "run decoy{number} {ours}
"
            )
        })
        .collect();
    netns.sh(&format!(
        "nft=$(readlink -f $(command -v iptables-nft)); {copies} cp $nft {path}/mallory
        run() {{ bash -c 'program=$1; shift; exec -a iptables-nft $program -A INPUT \"$@\"' - {path}/\"$@\"; }}
        {runs}
        run mallory -s 192.0.2.9 -j DROP"
    ));
    agent.wait("somebody is named", LIMIT, |status| {
        status["violations"][0]["reported_process"]["name"] == "mallory"
    });
    assert_eq!(agent.status().unwrap()["violation_count"], 1);
}
