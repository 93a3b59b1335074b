//! What nobody touched is not read.

use iptables_monitor::app::checks::scan::Scan;
use iptables_monitor::domain::changes::Scope;

use super::{Node, parts};

use crate::support::rules;

fn cluster() -> Node {
    let node = Node::new("iptables-nft -N A; iptables-nft -A INPUT -m comment --comment ok -j A");
    let text = rules::kube_proxy(30);
    let output = node.netns.feed("iptables-nft-restore", &["-n"], text.as_bytes());
    assert!(output.status.success(), "{output:?}");
    node
}

/// Makes a chain anew with the lines that `sed` makes of those it has.
fn rewrite(chain: &str, sed: &str) -> String {
    format!(
        "(echo '*nat'; echo ':{chain} - [0:0]'; iptables-nft -t nat -S {chain} | grep ^-A | sed -e '{sed}'; echo COMMIT) |
            iptables-nft-restore -n"
    )
}

#[test]
fn a_changed_chain_is_read_alone() {
    let mut node = cluster();
    node.step("true", &["ip nat"]);
    let scan = node.step("iptables-nft -A A -s 10.0.0.1 -j DROP", &["ip filter A"]);
    assert_eq!(scan.rules_read, 1);
    assert_eq!(scan.outcome.violation_count, 30 * 11 + 7 + 1);
}

#[test]
fn rules_that_are_written_again_as_they_were_are_no_change() {
    let mut node = cluster();
    node.step("true", &["ip nat"]);
    let scan = node.step(&rewrite("KUBE-SERVICES", ""), &["ip nat KUBE-SERVICES"]);
    let of_chain = scan.rules_read;
    assert!((30..100).contains(&of_chain), "{of_chain}");
    assert_eq!(scan.changes, []);
    let scan = node.step(&rewrite("KUBE-SERVICES", "1d"), &["ip nat KUBE-SERVICES"]);
    assert_eq!(scan.changes.len(), 1);
    // and the chain that the rule jumped to, whose use count is another
    assert!((of_chain - 1..of_chain + 10).contains(&scan.rules_read), "{}", scan.rules_read);
}

#[test]
fn what_the_kernel_counts_is_no_change() {
    let mut node = Node::new(
        "iptables-nft -A OUTPUT -m limit --limit 3/min -m comment --comment ok
         iptables-nft -A OUTPUT -m quota --quota 5000 -m comment --comment ok
         iptables-nft -A OUTPUT -m statistic --mode nth --every 3 --packet 0 -m comment --comment ok
         iptables-nft -A OUTPUT -m hashlimit --hashlimit-upto 5/min --hashlimit-name h -m comment --comment ok
         iptables-nft -A OUTPUT -m recent --set --name r -m comment --comment ok
         iptables-nft -A OUTPUT -m connlimit --connlimit-upto 30 -m comment --comment ok",
    );
    let packets = "for i in 1 2 3; do echo > /dev/udp/127.0.0.1/9; done 2>/dev/null || true";
    let scan = node.step(packets, &["ip filter OUTPUT"]);
    assert_eq!((scan.rules_read, scan.changes), (6, vec![]));
    let counted = node.netns.sh("iptables-nft -nvxL OUTPUT");
    let is_counted = |line: &str| {
        line.split_whitespace()
            .next()
            .is_some_and(|packets| packets.parse::<u64>().is_ok_and(|packets| packets > 0))
    };
    assert_eq!(counted.lines().filter(|line| is_counted(line)).count(), 6, "{counted}");
}

#[test]
fn units_that_nobody_touched_are_not_read() {
    let mut node = cluster();
    node.step(
        "nft add table inet t; nft add chain inet t c; ip6tables-nft -A INPUT -m comment --comment ok",
        &["inet t", "inet t c", "ip6 filter"],
    );
    let scan = node.step("nft add rule inet t c counter accept", &["inet t c"]);
    assert_eq!(scan.rules_read, 1);
    let scan = node.step("iptables-legacy -A INPUT -j DROP", &["legacy ip"]);
    assert_eq!(scan.rules_read, 1);
    let scan = node.step("true", &[]);
    assert_eq!(scan.rules_read, 0);
}

#[test]
fn only_the_legacy_table_that_changed_is_read() {
    let mut node = cluster();
    node.netns.sh("iptables-legacy -A INPUT -j DROP; iptables-legacy -t nat -A OUTPUT -j ACCEPT");
    node.check(&Scope::Everything);
    // of the same size, so that only who heard of it knows
    node.netns.sh("iptables-legacy -R INPUT 1 -j ACCEPT; iptables-legacy -t nat -R OUTPUT 1 -j RETURN");
    let texts = |scan: &Scan| -> Vec<String> {
        scan.changes.iter().map(|change| String::from_utf8_lossy(&change.line).into_owned()).collect()
    };
    let scan = node.check(&parts(&["legacy ip filter"]));
    assert_eq!(texts(&scan), ["-A INPUT -j DROP", "-A INPUT -j ACCEPT"]);
    assert_eq!(scan.rules_read, 1);
    assert_eq!(node.check(&parts(&[])).rules_read, 0);
    let scan = node.step("true", &["legacy ip nat"]);
    assert_eq!(texts(&scan), ["-A OUTPUT -j ACCEPT", "-A OUTPUT -j RETURN"]);
}

#[test]
fn many_changed_chains_are_read_and_no_other() {
    let mut node = cluster();
    node.step("true", &["ip nat"]);
    let chains = node.netns.sh("iptables-nft -t nat -S | sed -n 's/^-N \\(KUBE-SEP-.*\\)/\\1/p'");
    let chains: Vec<_> = chains.lines().collect();
    let script: Vec<_> =
        chains.iter().map(|chain| format!("iptables-nft -t nat -A {chain} -j RETURN")).collect();
    let touched: Vec<_> = chains.iter().map(|chain| format!("ip nat {chain}")).collect();
    let touched: Vec<_> = touched.iter().map(String::as_str).collect();
    let scan = node.step(&script.join("\n"), &touched);
    assert_eq!(scan.changes.len(), chains.len());
    assert_eq!(scan.rules_read, 3 * chains.len() as u64);
}
