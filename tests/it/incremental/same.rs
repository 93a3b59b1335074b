//! After every change, what was read bit by bit is what a whole read finds.

use std::time::Duration;

use super::{Node, parts};
use crate::support::wait_until;

/// Every table and chain that the steps below use, so that no step makes a table by the way, and so many rules that it
/// pays to print several chains alone.
const BASE: &str = "
    for b in iptables-nft ip6tables-nft; do
        (echo '*raw'; echo ':BULK - [0:0]'; yes -- '-A BULK -m comment --comment ok' | head -1500; echo COMMIT) |
            $b-restore
    done
    for b in iptables-nft ip6tables-nft; do
        for t in filter nat; do $b -t $t -N A; $b -t $t -N B; done
        for c in INPUT FORWARD OUTPUT; do $b -A $c -m comment --comment ok -j A; done
        $b -t nat -A OUTPUT -m comment --comment ok -j A
        $b -A A -m comment --comment ok -j RETURN
    done
    nft add table inet t
    nft add chain inet t c '{ type filter hook input priority 0; }'
    nft add set inet t s '{ type ipv4_addr; }'
    iptables-legacy -N A; ip6tables-legacy -N A";

/// A change and what it touches.
type Step = (&'static str, &'static [&'static str]);

/// What iptables does, and so what is read chain by chain.
const ORDINARY: [Step; 20] = [
    ("iptables-nft -A INPUT -p tcp --dport 22 -j DROP", &["ip filter INPUT"]),
    ("iptables-nft -I INPUT -s 10.0.0.1 -m comment --comment ok -j A", &["ip filter INPUT", "ip filter A"]),
    ("iptables-nft -D INPUT 1", &["ip filter INPUT"]),
    ("iptables-nft -R INPUT 1 -m limit --limit 3/min -j LOG --log-prefix 'a \"b'", &["ip filter INPUT"]),
    ("iptables-nft -P FORWARD DROP", &["ip filter FORWARD"]),
    ("iptables-nft -P FORWARD ACCEPT", &["ip filter FORWARD"]),
    (
        "iptables-nft -N X; iptables-nft -A X -j B; iptables-nft -A A -j X",
        &["ip filter X", "ip filter A", "ip filter B"],
    ),
    (
        "iptables-nft -F X; iptables-nft -D A -j X; iptables-nft -X X",
        &["ip filter X", "ip filter A", "ip filter B"],
    ),
    ("iptables-nft -F A", &["ip filter A"]),
    (
        "iptables-nft -A A -m statistic --mode nth --every 3 --packet 0 -m comment --comment 'ok é' -g B",
        &["ip filter A", "ip filter B"],
    ),
    ("iptables-nft -A B -p tcp -m multiport --dports 80,443 -j REJECT", &["ip filter B"]),
    ("iptables-nft -Z", &["ip filter INPUT", "ip filter A"]),
    ("iptables-nft -t nat -A A -p tcp -j DNAT --to-destination 10.0.0.1:80", &["ip nat A"]),
    ("iptables-nft -t nat -F A", &["ip nat A"]),
    ("ip6tables-nft -A INPUT -p ipv6-icmp --icmpv6-type echo-request -j DROP", &["ip6 filter INPUT"]),
    ("ip6tables-nft -t nat -A B -j MASQUERADE", &["ip6 nat B"]),
    (
        "ip6tables-nft -F",
        &["ip6 filter INPUT", "ip6 filter FORWARD", "ip6 filter OUTPUT", "ip6 filter A", "ip6 filter B"],
    ),
    (
        "iptables-nft -A INPUT -m comment --comment ok -j A; iptables-nft -A INPUT -m comment --comment ok",
        &["ip filter INPUT", "ip filter A"],
    ),
    ("iptables-nft -E B C", &["ip filter C"]),
    ("iptables-nft -E C B", &["ip filter B"]),
];

/// What others do to the same tables, to tables of their own, and to the legacy ones.
const HOSTILE: [Step; 24] = [
    ("nft add rule ip filter INPUT ip daddr set 10.0.0.9 jump A", &["ip filter INPUT", "ip filter A"]),
    ("nft add rule ip filter A ct state established accept", &["ip filter A"]),
    ("nft flush chain ip filter A", &["ip filter A"]),
    ("nft flush chain ip filter INPUT", &["ip filter INPUT"]),
    ("nft insert rule ip filter A ip saddr 10.0.0.1 counter accept", &["ip filter A"]),
    ("nft add table ip filter '{ flags dormant; }'", &["ip filter"]),
    ("nft add table ip filter", &["ip filter"]),
    ("nft add set ip filter s '{ type ipv4_addr; }'", &["ip filter"]),
    ("nft add element ip filter s '{ 10.0.0.1 }'", &["ip filter"]),
    ("nft add rule ip filter B ip saddr @s jump A", &["ip filter B", "ip filter A"]),
    ("nft flush chain ip filter B; nft delete set ip filter s", &["ip filter B", "ip filter"]),
    ("nft add chain ip filter evil '{ type filter hook input priority -10; }'", &["ip filter evil"]),
    ("nft delete chain ip filter evil", &["ip filter evil"]),
    ("nft rename chain ip filter B 'Z'", &["ip filter Z"]),
    ("nft rename chain ip filter Z B", &["ip filter B"]),
    ("iptables-nft -A A -m comment --comment $'ok\\n-A A -j ACCEPT' -j DROP", &["ip filter A"]),
    ("iptables-nft -F A", &["ip filter A"]),
    (
        "nft delete table ip6 filter; nft add table ip6 filter; nft add chain ip6 filter INPUT; nft add rule ip6 filter INPUT counter drop",
        &["ip6 filter", "ip6 filter INPUT"],
    ),
    ("nft add rule inet t c tcp dport 22 drop", &["inet t c"]),
    ("nft add element inet t s '{ 10.0.0.1, 10.0.0.2 }'", &["inet t"]),
    ("nft delete table inet t", &["inet t", "inet t c"]),
    ("nft add table netdev n; nft add chain netdev n c", &["netdev n", "netdev n c"]),
    ("iptables-legacy -A INPUT -p tcp --dport 22 -j DROP", &["legacy ip"]),
    (
        "ip6tables-legacy -t mangle -A INPUT -j ACCEPT; ip6tables-legacy -F",
        &["legacy ip6 mangle", "legacy ip6"],
    ),
];

/// How many rules iptables prints of a family, `ip`, or of one chain, `ip filter INPUT`.
fn rules_of(node: &Node, part: &str) -> u64 {
    let words: Vec<_> = part.split(' ').collect();
    let tool = if words[0] == "ip6" { "ip6tables-nft" } else { "iptables-nft" };
    let printed = match words[..] {
        [_, table, chain] => format!("{tool} -t {table} -S {chain}"),
        _ => format!("{tool}-save"),
    };
    let text = node.netns.sh(&format!("{printed} | grep -c ^-A || true"));
    text.trim().parse().expect("a count")
}

#[test]
fn after_every_ordinary_change() {
    let mut node = Node::new(BASE);
    for (script, touched) in ORDINARY {
        let scan = node.step(script, touched);
        // only a chain's new name changes the text of others
        let expected = match script.contains(" -E ") {
            true => rules_of(&node, "ip"),
            false => touched.iter().map(|part| rules_of(&node, part)).sum(),
        };
        // where a jump came or went, the chain that it leads to is read, too
        assert!((expected..expected + 20).contains(&scan.rules_read), "{script}: {} rules", scan.rules_read);
    }
}

#[test]
fn after_every_hostile_change() {
    let mut node = Node::new(BASE);
    for (script, touched) in HOSTILE {
        node.step(script, touched);
    }
}

#[test]
fn after_random_changes() {
    let steps: Vec<Step> = ORDINARY.into_iter().chain(HOSTILE).collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit as u64).unwrap()
    };
    for _ in 0..3 {
        let mut node = Node::new(BASE);
        for _ in 0..25 {
            // several changes between two checks; one may fail, for example to delete what is in use
            let chosen: Vec<Step> = (0..=below(3)).map(|_| steps[below(steps.len())]).collect();
            let script: Vec<_> = chosen.iter().map(|(script, _)| format!("({script}) || true")).collect();
            let touched: Vec<_> = chosen.iter().flat_map(|(_, touched)| touched.iter().copied()).collect();
            node.step(&script.join("\n"), &touched);
        }
    }
}

#[test]
fn chains_and_tables_that_are_made_again_under_their_names() {
    let mut node = Node::new(BASE);
    let again =
        "iptables-nft-restore -n <<'EOF'\n*nat\n:A - [0:0]\n-A A -s 10.0.0.1/32 -j ACCEPT\nCOMMIT\nEOF";
    node.step(again, &["ip nat A"]);
    node.step(
        "nft 'flush chain ip nat OUTPUT; delete chain ip nat A; add chain ip nat A; add rule ip nat A counter drop'",
        &["ip nat OUTPUT", "ip nat A"],
    );
    node.step(
        "nft delete table ip nat; iptables-nft -t nat -A PREROUTING -j ACCEPT",
        &["ip nat", "ip nat PREROUTING"],
    );
    node.step("nft delete table ip nat", &["ip nat"]);
    node.step("nft delete table ip filter", &["ip filter"]);
    node.step("iptables-nft -A INPUT -j ACCEPT", &["ip filter", "ip filter INPUT"]);
}

#[test]
fn a_chain_that_nobody_named_is_read_when_the_kernel_shows_it() {
    let mut node = Node::new(BASE);
    node.step("iptables-nft -N Y; iptables-nft -A Y -j DROP; iptables-nft -A B -j DROP", &["ip filter A"]);
    node.step("iptables-nft -P OUTPUT DROP; iptables-nft -F Y; iptables-nft -X Y", &["ip filter A"]);
}

#[test]
fn what_was_torn_is_read_again_unasked() {
    let mut node = Node::new(BASE);
    let directory = tempfile::tempdir().unwrap();
    let stop = directory.path().join("stop");
    let script = format!("until test -e {}; do iptables-nft -A A -j DROP; done", stop.display());
    let mut writer = node.netns.command("bash").args(["-c", &script]).spawn().unwrap();
    wait_until("a read is torn", Duration::from_secs(60), || {
        let scan = node.check(&parts(&["ip filter A"]));
        if scan.is_torn {
            assert_eq!(scan.changes, [], "they are told when they are certain");
        }
        scan.is_torn
    });
    std::fs::write(stop, "").unwrap();
    assert!(writer.wait().unwrap().success());
    let scan = node.step("true", &[]);
    assert!(!scan.changes.is_empty());
}

#[test]
fn another_allowlist_judges_what_was_kept() {
    let mut node = Node::new(BASE);
    node.step(
        "iptables-nft -A INPUT -j DROP; iptables-legacy -A INPUT -j DROP",
        &["ip filter INPUT", "legacy ip"],
    );
    for patterns in ["^-A .*DROP\n", "", super::PATTERNS] {
        node.book = super::book(patterns);
        let scan = node.step("true", &[]);
        assert_eq!(scan.rules_read, 0, "nothing is read");
        assert_eq!(scan.changes, []);
    }
    node.book.ipv6 = iptables_monitor::domain::judging::audit::Ipv6::Excluded;
    node.step("true", &[]);
}
