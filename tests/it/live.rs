//! The whole agent while rules change: from what a real program does to the verdict, with a real kernel.
//! The interval is an hour, so that only what was heard of is looked at; how long that takes is measured by `make bench`.

mod allowlists;
mod between;
mod bursts;
mod histories;
mod kill;
mod label;
mod log;
mod terminal;

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use super::support::live::Agent;
use super::support::{AllowlistDir, Netns, lossy, rules};

/// Far more than anything here takes on a busy machine, and far less than the interval.
const LIMIT: Duration = Duration::from_secs(60);
/// Allows what kube-proxy writes, and rules with the comment `ours`.
const PATTERNS: &str =
    "^-P \n^-N KUBE-\n^-A KUBE-\n^-A (PREROUTING|OUTPUT|POSTROUTING) .*-j KUBE-\n^-A .* --comment ours \n";

fn allowlist() -> AllowlistDir {
    AllowlistDir::new(&[("global", PATTERNS)])
}

fn arguments(allowlist: &AllowlistDir) -> [&str; 4] {
    ["--input", allowlist.path(), "--input6", allowlist.path()]
}

fn restore(netns: &Netns, program: &str, text: &str) {
    let output = netns.feed(program, &["--noflush"], text.as_bytes());
    assert!(output.status.success(), "{}", lossy(&output));
}

#[test]
fn a_change_of_every_kind_is_in_the_verdict_soon() {
    let netns = Netns::new();
    restore(&netns, "iptables-nft-restore", &rules::kube_proxy(300));
    netns.sh("iptables-legacy -P FORWARD ACCEPT; nft add table inet shop");
    netns.sh("nft add chain inet shop input '{ type filter hook input priority 0; }'");
    let allowlist =
        AllowlistDir::new(&[("global", PATTERNS), ("nftables", "^table inet shop\n^chain inet shop input ")]);
    let agent = Agent::start(&netns, &arguments(&allowlist));
    agent.wait_for("compliant", LIMIT);
    for (bring, take) in [
        ("iptables-nft -A INPUT -s 192.0.2.9 -j DROP", "iptables-nft -D INPUT -s 192.0.2.9 -j DROP"),
        ("iptables-nft -t nat -I PREROUTING -j RETURN", "iptables-nft -t nat -D PREROUTING 1"),
        ("ip6tables-nft -A INPUT -s 2001:db8::9 -j DROP", "ip6tables-nft -F INPUT"),
        ("nft add rule inet shop input ip saddr 192.0.2.9 drop", "nft flush chain inet shop input"),
        ("iptables-legacy -A INPUT -s 192.0.2.9 -j DROP", "iptables-legacy -D INPUT 1"),
        (
            "nft 'table inet other { chain c { type filter hook input priority 0; }; }'",
            "nft delete table inet other",
        ),
    ] {
        netns.sh(bring);
        agent.wait(bring, LIMIT, |status| status["verdict"] == "violations");
        netns.sh(take);
        agent.wait(take, LIMIT, |status| status["verdict"] == "compliant");
    }
    agent.wait_for_the_truth(&arguments(&allowlist), LIMIT);
}

#[test]
fn who_brought_a_rule_stands_beside_it() {
    let netns = Netns::new();
    let allowlist = allowlist();
    let agent = Agent::start(&netns, &arguments(&allowlist));
    agent.wait_for("compliant", LIMIT);
    netns.sh("iptables-nft -A INPUT -s 192.0.2.9 -j DROP");
    agent.wait("somebody is named", LIMIT, |status| {
        status["violations"][0]["reported_process"]["name"] == "iptables-nft"
    });
}

/// The kernel tells nobody that a table has gone with the process that owned it.
#[test]
fn a_table_that_ends_with_its_owner_is_missed_soon() {
    let netns = Netns::new();
    let allowlist = allowlist();
    let agent = Agent::start(&netns, &arguments(&allowlist));
    agent.wait_for("compliant", LIMIT);
    let mut owner = netns.command("nft").arg("-i").stdin(Stdio::piped()).spawn().unwrap();
    let script =
        b"add table inet owned { flags owner; }\nadd chain inet owned c\nadd rule inet owned c drop\n";
    owner.stdin.as_mut().unwrap().write_all(script).unwrap();
    agent.wait_for("violations", LIMIT);
    owner.kill().unwrap();
    owner.wait().unwrap();
    agent.wait_for("compliant", LIMIT);
}

#[test]
fn without_privileges_it_says_once_that_only_the_interval_sees_changes() {
    let netns = Netns::new();
    let allowlist = allowlist();
    let mut command = netns.command("setpriv");
    command.args(["--bounding-set", "-net_admin,-net_raw", super::support::MONITOR]);
    command.args(["--sink", "none", "--interval", "1"]).args(arguments(&allowlist));
    let agent = Agent::spawn(&netns, &mut command);
    agent.wait_for("unknown", LIMIT);
    let first = agent.status().unwrap()["checked_at"].clone();
    agent.wait("the interval checks again", LIMIT, |status| status["checked_at"] != first);
    let log = agent.log();
    assert_eq!(
        log.matches("changes are not heard of as they are made, only at the interval").count(),
        1,
        "{log}"
    );
    let metrics = agent.get("/metrics").unwrap();
    let off = "iptables_monitor_watching{half=\"nftables\"} 0";
    assert!(metrics.contains(off), "{metrics}");
}
