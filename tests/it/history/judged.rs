//! Allowed, unexpected and not judged are three words: of a real agent, over a restart.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::cli::run;
use crate::support::{AllowlistDir, MONITOR, Netns, lossy, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

struct Agent(Child);

impl Agent {
    fn start(netns: &Netns, allowlist: &AllowlistDir, state: &std::path::Path) -> Self {
        let mut command: Command = netns.command(MONITOR);
        command.args(["--input", allowlist.path(), "--sink", "none", "--listen", "off", "--interval", "1h"]);
        command.arg("--state-dir").arg(state).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Patterns for the table with the set, and none for what the set holds nor for IPv6.
fn allowlist() -> AllowlistDir {
    AllowlistDir::new(&[("global", "^-P "), ("nftables", "^(table|set|chain) inet shop")])
}

#[test]
fn nobody_says_allowed_of_what_nobody_judged_also_not_after_a_restart() {
    let (netns, allowlist, state) = (Netns::new(), allowlist(), tempfile::tempdir().unwrap());
    netns.sh("nft add table inet shop; nft add set inet shop admins '{ type ipv4_addr; elements = { 10.0.0.1 }; }'");
    let agent = Agent::start(&netns, &allowlist, state.path());
    // an error while there is no journal yet
    let journal = || lossy(&run(state.path(), &[]));
    wait_until("the first look is recorded", LIMIT, || journal().contains("the first look"));
    netns.sh("nft add element inet shop admins '{ 10.0.0.2 }'");
    wait_until("the set is told", LIMIT, || {
        journal().contains("+ added  not judged  nftables, family inet, table shop, ")
    });
    netns.sh("ip6tables-nft -A INPUT -s 2001:db8::9 -j DROP");
    wait_until("the rule of IPv6 is told", LIMIT, || {
        journal().contains("+ added  not judged  iptables-nft, family ip6, table filter, chain INPUT, rule 1")
    });
    netns.sh("ebtables-nft -A FORWARD -p IPv4 --ip-dst 1.2.3.4 -j DROP");
    wait_until("the rule of the bridge is told", LIMIT, || {
        journal()
            .contains("+ added  unexpected  nftables, family bridge, table filter, chain FORWARD, rule 1")
    });
    drop(agent);
    let before = journal();
    let told = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with("  + ") || line.starts_with("  = "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let allowed: Vec<_> = told(&before).into_iter().filter(|line| line.contains("added  allowed")).collect();
    assert_eq!(allowed, [""; 0], "nothing that a pattern allows was added");
    let agent = Agent::start(&netns, &allowlist, state.path());
    wait_until("the next agent has compared everything", LIMIT, || journal().contains("watching again"));
    let after = journal();
    assert_eq!(
        told(&after),
        told(&before),
        "nothing changed, and it is judged as the checks judged it:\n{after}"
    );
    drop(agent);
}
