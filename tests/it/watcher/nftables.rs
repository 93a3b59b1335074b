//! Every kind of change to nf_tables.

use std::time::{Duration, Instant};

use iptables_monitor::domain::changes::debounce::QUIET;
use iptables_monitor::domain::rules::Family;
use iptables_monitor::host::netlink::nfnetlink::Nfnetlink;
use iptables_monitor::host::netlink::nfnetlink::events::{Events, Fact};

use super::Watched;
use crate::support::wait_until;

#[track_caller]
fn check(watched: &Watched, script: &str, expected: &[&str]) {
    assert_eq!(watched.parts_of(script), expected, "{script}");
}

#[test]
fn changes_by_iptables_touch_their_chains() {
    let watched = Watched::new();
    check(&watched, "iptables-nft -N C", &["ip filter C", "ip filter"]);
    check(&watched, "iptables-nft -A C -p tcp --dport 22 -j DROP", &["ip filter C"]);
    check(&watched, "iptables-nft -A INPUT -j C", &["ip filter INPUT"]);
    check(&watched, "iptables-nft -I INPUT -j ACCEPT", &["ip filter INPUT"]);
    check(&watched, "iptables-nft -R C 1 -j ACCEPT", &["ip filter C"]);
    check(&watched, "iptables-nft -D INPUT 1", &["ip filter INPUT"]);
    check(&watched, "iptables-nft -P INPUT DROP", &["ip filter INPUT"]);
    check(&watched, "iptables-nft -F C", &["ip filter C"]);
    check(&watched, "iptables-nft -F INPUT; iptables-nft -X C", &["ip filter C", "ip filter INPUT"]);
    check(&watched, "ip6tables-nft -t raw -A OUTPUT -j ACCEPT", &["ip6 raw OUTPUT", "ip6 raw"]);
    check(
        &watched,
        "printf '*nat\\n:A - [0:0]\\n-A A -j RETURN\\nCOMMIT\\n' | iptables-nft-restore --noflush",
        &["ip nat A", "ip nat"],
    );
}

#[test]
fn a_chain_that_others_jump_to_changes_everything_with_its_name() {
    let watched = Watched::new();
    watched.parts_of("iptables-nft -N C; iptables-nft -A INPUT -j C");
    check(&watched, "iptables-nft -E C D", &["everything"]);
    check(&watched, "nft rename chain ip filter D E", &["everything"]);
    check(&watched, "nft add chain ip filter E", &["ip filter E"]);
}

#[test]
fn changes_by_nft_touch_their_chains_and_tables() {
    let watched = Watched::new();
    check(&watched, "nft add table inet t", &["inet t"]);
    check(&watched, "nft add chain inet t c '{ type filter hook input priority 0; }'", &["inet t c"]);
    check(&watched, "nft add rule inet t c tcp dport 22 drop", &["inet t c"]);
    check(&watched, "nft add rule inet t c tcp dport '{ 1, 2 }' drop", &["inet t c", "inet t"]);
    check(&watched, "nft insert rule inet t c accept", &["inet t c"]);
    check(&watched, "nft chain inet t c '{ policy drop; }'", &["inet t c"]);
    check(&watched, "nft add set inet t s '{ type ipv4_addr; }'", &["inet t"]);
    check(&watched, "nft add element inet t s '{ 1.2.3.4 }'", &["inet t"]);
    check(&watched, "nft delete element inet t s '{ 1.2.3.4 }'", &["inet t"]);
    check(&watched, "nft delete set inet t s", &["inet t"]);
    check(&watched, "nft add counter inet t n", &["inet t"]);
    check(&watched, "nft delete counter inet t n", &["inet t"]);
    check(&watched, "nft add table inet t '{ flags dormant; }'", &["inet t"]);
    check(&watched, "nft flush chain inet t c", &["inet t c", "inet t"]);
    check(&watched, "nft add table arp a; nft add table bridge b", &["arp a", "bridge b"]);
    check(&watched, "nft add table netdev d", &["netdev d"]);
    check(&watched, "nft delete table netdev d", &["netdev d"]);
    check(&watched, "nft flush ruleset", &["inet t c", "inet t", "arp a", "bridge b"]);
}

#[test]
fn reads_are_not_heard() {
    let watched = Watched::new();
    watched.parts_of("iptables-nft -A INPUT -p tcp -j ACCEPT; nft add table inet t");
    watched.sh("iptables-nft-save; ip6tables-nft-save; iptables-nft -S; iptables-nft -L -n -v; iptables-nft -C INPUT -p tcp -j ACCEPT");
    watched.sh("nft list ruleset; nft -j list ruleset; nft list table inet t; nft -c add table inet u");
    let transactions = watched.watch.counters().transactions;
    check(&watched, "nft add table inet after", &["inet after"]);
    assert_eq!(watched.watch.counters().transactions, transactions + 1);
}

#[test]
fn a_scope_names_the_generation_that_it_is_complete_up_to() {
    let watched = Watched::new();
    for number in 0..3 {
        watched.sh(&format!("nft add table inet t{number}; nft add table inet u{number}"));
        let deadline = Instant::now() + Duration::from_secs(20);
        let now = watched.netns.within(|| Nfnetlink::open(deadline).unwrap().generation().unwrap());
        assert_eq!(watched.next().generation, Some(now));
    }
}

#[test]
fn changes_wait_until_they_are_taken() {
    let watched = Watched::new();
    watched.sh("nft add table inet a");
    wait_until("it is heard", Duration::from_secs(20), || watched.watch.counters().transactions == 1);
    watched.sh("nft add table inet b; nft add chain inet b c");
    assert_eq!(watched.parts_of("nft add table inet c"), ["inet b c", "inet a", "inet b", "inet c"]);
    assert_eq!(watched.watch.take(), None);
}

#[test]
fn a_change_waits_for_those_that_follow_it() {
    let watched = Watched::new();
    watched.parts_of("nft add table inet a");
    // the first one after calm was due at once
    watched.sh("nft add table inet b");
    let begun = Instant::now();
    watched.ready();
    assert!(begun.elapsed() >= QUIET / 4, "changes are not awaited in a burst");
}

/// The kernel says so in the packet's path, and with the packet's family.
#[test]
fn a_quota_that_packets_use_up_is_no_change() {
    let watched = Watched::new();
    watched.parts_of(
        "nft add table inet t; nft add quota inet t q 100 bytes; \
         nft add chain inet t c '{ type filter hook output priority 0; }'; nft add rule inet t c quota name q",
    );
    watched.sh("ping -c 3 -i 0.1 127.0.0.1");
    assert!(watched.sh("nft list quota inet t q").contains("used"));
    check(&watched, "nft add table inet after", &["inet after"]);
}

/// The subscription by itself, as a program of another shape would use it.
#[test]
fn facts_come_in_order_and_end_with_the_commit() {
    let netns = crate::support::Netns::new();
    let facts = netns.within(|| {
        let mut events = Events::open(1 << 20).unwrap();
        netns.sh("nft add table inet t '{ chain c { tcp dport 22 drop; tcp dport 23 drop; }; }'");
        let mut facts = Vec::new();
        while events
            .receive(|fact, _| {
                facts.push(match fact {
                    Fact::Table { family: Family::Inet, table: b"t" } => 't',
                    Fact::Chain { family: Family::Inet, table: b"t", chain: b"c" } => 'c',
                    Fact::Commit { name: b"nft", .. } => '.',
                    _ => '?',
                });
            })
            .unwrap()
        {}
        String::from_iter(facts)
    });
    assert_eq!(facts, "tccc.");
}
