//! Every change of a rule is told, with who is said to have made it.

use super::{Node, by, parts, shown};
use iptables_monitor::domain::changes::Scope;

#[test]
fn added_removed_moved_and_by_whom() {
    let mut node =
        Node::new("iptables-nft -A INPUT -s 10.0.0.1 -j DROP; iptables-nft -A INPUT -s 10.0.0.2 -j DROP");
    node.netns.sh("iptables-nft -A INPUT -m comment --comment ok; iptables-nft -A INPUT -s 10.0.0.3 -j DROP; iptables-nft -D INPUT 1");
    let scan = node.check(&by(&[("ip filter INPUT", "mallory")]));
    assert_eq!(
        shown(&scan.changes),
        [
            "- -A INPUT -s 10.0.0.1/32 -j DROP",
            "+ -A INPUT -s 10.0.0.3/32 -j DROP",
            "+ -A INPUT -m comment --comment ok"
        ]
    );
    assert!(scan.changes.iter().all(|change| change.authors[0].name == "mallory"), "{:?}", scan.changes);
    assert_eq!(scan.changes[1].position, Some(3));
    node.netns.sh("iptables-nft -D INPUT 1; iptables-nft -A INPUT -s 10.0.0.2 -j DROP");
    assert_eq!(
        shown(&node.check(&parts(&["ip filter INPUT"])).changes),
        ["~ -A INPUT -s 10.0.0.2/32 -j DROP"]
    );
    node.netns.sh("iptables-nft -P INPUT DROP");
    assert_eq!(shown(&node.check(&Scope::Everything).changes), ["- -P INPUT ACCEPT", "+ -P INPUT DROP"]);
    assert_eq!(node.check(&Scope::Everything).changes, []);
}

#[test]
fn native_and_legacy_changes() {
    let mut node = Node::new(
        "nft add table inet t; nft add chain inet t c; nft add set inet t s '{ type ipv4_addr; }'
         iptables-legacy -N A",
    );
    node.netns.sh("nft add rule inet t c tcp dport 22 drop; nft add element inet t s '{ 10.0.0.1 }'");
    let scan = node.check(&by(&[("inet t c", "one"), ("inet t", "two")]));
    let told = shown(&scan.changes);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "+ inet t c tcp dport 22 drop");
    assert!(told[1].starts_with("- elements inet t s 0 sha256 "), "{told:?}");
    assert!(told[2].starts_with("+ elements inet t s 1 sha256 "), "{told:?}");
    let authors: Vec<_> = scan.changes.iter().map(|change| change.authors[0].name.as_str()).collect();
    assert_eq!(authors, ["one", "two", "two"]);
    node.netns.sh("iptables-legacy -A A -s 10.0.0.1 -j DROP; nft delete table inet t");
    let scan = node.check(&by(&[("legacy ip", "three"), ("inet t", "four")]));
    let told = shown(&scan.changes);
    assert!(told.contains(&"+ -A A -s 10.0.0.1/32 -j DROP".to_owned()), "{told:?}");
    assert!(told.contains(&"- inet t c tcp dport 22 drop".to_owned()), "{told:?}");
    let named = |change: &&_| -> bool {
        let change: &iptables_monitor::domain::changes::RuleChange = change;
        change.authors.len() == 1
    };
    assert_eq!(scan.changes.iter().filter(named).count(), scan.changes.len());
}

#[test]
fn a_flood_is_counted() {
    let mut node = Node::new("iptables-nft -N A");
    node.netns.sh(
        "(echo '*filter'; for i in $(seq 1200); do echo \"-A A -s 10.0.$((i / 256)).$((i % 256)) -m comment --comment ok\"; done
          echo '-A A -j DROP'; echo COMMIT) | iptables-nft-restore -n",
    );
    let scan = node.check(&parts(&["ip filter A"]));
    assert_eq!((scan.changes.len(), scan.untold), (1000, 201));
    assert_eq!(shown(&scan.changes[..1]), ["+ -A A -j DROP"]);
}
