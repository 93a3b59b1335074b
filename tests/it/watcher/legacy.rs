//! Changes to legacy tables, which the kernel tells nobody of.

use std::fs::File;
use std::time::{Duration, Instant};

use super::Watched;
use crate::support::{Netns, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

#[track_caller]
fn check(watched: &Watched, script: &str, expected: &[&str]) {
    assert_eq!(watched.parts_of(script), expected, "{script}");
}

/// Lets it compare the contents once more from the beginning.
fn compare_contents(watched: &Watched) {
    let before = watched.watch.counters().legacy_fingerprints;
    // the count goes up before a read: after the second, the first is over
    wait_until("the contents are compared", LIMIT, || {
        drop(File::open(watched.lock.path()).unwrap());
        watched.watch.counters().legacy_fingerprints >= before + 2
    });
}

/// A change of size may be told again when the contents are compared, a second later.
fn settle(watched: &Watched) {
    compare_contents(watched);
    compare_contents(watched);
    watched.watch.take();
}

#[test]
fn every_kind_of_change_is_seen() {
    let watched = Watched::new();
    check(&watched, "iptables-legacy -N C", &["legacy ip filter"]);
    check(&watched, "iptables-legacy -A C -p tcp --dport 22 -j DROP", &["legacy ip filter"]);
    check(&watched, "iptables-legacy -P INPUT DROP", &["legacy ip filter"]);
    check(&watched, "iptables-legacy -R C 1 -p tcp --dport 23 -j DROP", &["legacy ip filter"]);
    check(&watched, "iptables-legacy -D C 1", &["legacy ip filter"]);
    check(&watched, "iptables-legacy -E C D", &["legacy ip filter"]);
    settle(&watched);
    check(&watched, "ip6tables-legacy -t raw -A OUTPUT -j ACCEPT", &["legacy ip6 raw"]);
    check(
        &watched,
        "iptables-legacy -t nat -N X; ip6tables-legacy -t raw -F",
        &["legacy ip nat", "legacy ip6 raw"],
    );
    settle(&watched);
    check(&watched, "arptables-legacy -A INPUT -j DROP", &["legacy arp filter"]);
    assert_eq!(watched.watch.failures().legacy, None);
}

#[test]
fn changes_are_seen_where_the_lock_is_not() {
    let watched = Watched::with(|settings| settings.lock = "/nonexistent/lock".into());
    check(&watched, "iptables-legacy -A INPUT -p tcp --dport 22 -j DROP", &["legacy ip filter"]);
    check(&watched, "iptables-legacy -R INPUT 1 -p tcp --dport 23 -j DROP", &["legacy ip filter"]);
}

/// Each run is told right after a comparison, so that without the lock the next one would come half a second later, and
/// no four of them within a second. A busy machine needs some tries.
#[test]
fn a_run_is_seen_at_once_where_the_lock_is() {
    const RUNS: u32 = 4;
    const UNSEEN: Duration = Duration::from_millis(500);
    let watched = Watched::new();
    watched.parts_of("iptables-legacy -N C");
    settle(&watched);
    let polls = || watched.watch.counters().legacy_polls;
    wait_until("runs are seen sooner than sizes are compared anyway", LIMIT, || {
        let started = Instant::now();
        for _ in 0..RUNS {
            let before = polls();
            drop(File::open(watched.lock.path()).unwrap());
            wait_until("the sizes are compared", LIMIT, || polls() > before);
        }
        started.elapsed() < UNSEEN * (RUNS - 2)
    });
    check(&watched, "iptables-legacy -A C -j ACCEPT", &["legacy ip filter"]);
}

#[test]
fn reads_packets_and_what_matches_remember_are_no_change() {
    let netns = Netns::new();
    netns.sh("iptables-legacy -A OUTPUT -m limit --limit 5/sec --limit-burst 2 -j ACCEPT
         iptables-legacy -A OUTPUT -m quota --quota 500 -j ACCEPT
         iptables-legacy -A OUTPUT -m statistic --mode nth --every 3 --packet 0 -j ACCEPT
         iptables-legacy -A OUTPUT -m hashlimit --hashlimit-name h --hashlimit-upto 5/sec -j ACCEPT
         iptables-legacy -A OUTPUT -m recent --name r --set
         iptables-legacy -A OUTPUT -m connlimit --connlimit-above 1 -j ACCEPT
         iptables-legacy -t mangle -A OUTPUT -j TOS --set-tos 8
         iptables-legacy -t nat -A OUTPUT -m comment --comment x -j ACCEPT
         ip6tables-legacy -A OUTPUT -m limit --limit 5/sec --limit-burst 2 -j ACCEPT");
    let watched = Watched::of(netns, |_| {});
    watched.sh("ping -c 20 -i 0.01 127.0.0.1; ping -c 20 -i 0.01 ::1");
    watched.sh("iptables-legacy-save -c; iptables-legacy -L -n -v; iptables-legacy -S; iptables-legacy -C OUTPUT -m recent --name r --set");
    compare_contents(&watched);
    watched.sh("ping -c 20 -i 0.01 127.0.0.1; ping -c 20 -i 0.01 ::1");
    compare_contents(&watched);
    assert_eq!(watched.watch.take(), None);
    let counted = watched.sh("iptables-legacy -L OUTPUT -n -v -x");
    assert!(
        counted.lines().any(|line| line.contains("limit: avg 5/sec") && !line.trim_start().starts_with('0')),
        "{counted}"
    );
    // the same size, one digit of a port: only the contents tell
    check(&watched, "iptables-legacy -R OUTPUT 2 -m quota --quota 501 -j ACCEPT", &["legacy ip filter"]);
}

#[test]
fn a_node_without_legacy_tables_keeps_none_and_is_not_asked() {
    let watched = Watched::new();
    let polls = || watched.watch.counters().legacy_polls;
    wait_until("the lists were read twice", LIMIT, || polls() >= 3);
    assert_eq!(watched.sh("cat /proc/net/ip_tables_names /proc/net/ip6_tables_names"), "");
    assert_eq!(watched.watch.counters().legacy_fingerprints, 0);
    assert_eq!(watched.watch.take(), None);
}
