//! What the agent prints of a node with many unexpected rules: the whole once and in part, and then what changes.

use super::*;

#[test]
fn one_change_among_many_unexpected_rules_is_printed_alone() {
    let netns = Netns::new();
    let rules: String = (1..=1_500)
        .map(|number| format!("-A INPUT -s 10.0.{}.{} -j DROP\n", number / 250, number % 250))
        .collect();
    restore(&netns, "iptables-nft-restore", &format!("*filter\n:INPUT ACCEPT [0:0]\n{rules}COMMIT\n"));
    let allowlist = allowlist();
    let agent = Agent::start(&netns, &arguments(&allowlist));
    agent.wait("the first report", LIMIT, |status| status["violation_count"] == 1_500);
    let printed = |text: &str| crate::support::wait_until(text, LIMIT, || agent.log().contains(text));
    printed("  1,400 unexpected lines are not listed; SHA-256 of all 1,500:");
    let first = agent.log();
    assert!(first.len() < 70_000 && first.matches("| -A INPUT").count() == 100, "{} bytes", first.len());
    netns.sh("iptables-nft -I INPUT 7 -s 192.0.2.9 -j DROP");
    printed("      | -A INPUT -s 192.0.2.9/32 -j DROP\n");
    netns.sh("iptables-nft -D INPUT 7");
    printed("  - removed  unexpected  iptables-nft, family ip, table filter, chain INPUT, rule 7\n");
    let news = agent.log().split_off(first.len());
    assert!(news.len() < 4_000, "{news}");
    assert!(
        news.contains("  + added  unexpected  iptables-nft, family ip, table filter, chain INPUT, rule 7\n"),
        "{news}"
    );
    netns.sh("iptables-nft -F INPUT");
    printed("COMPLIANT  ");
}
