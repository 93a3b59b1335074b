//! Floods, small buffers, missing privileges and the end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use iptables_monitor::app::checks::watch::{self, WatchSettings};
use iptables_monitor::domain::changes::Scope;
use rustix::thread::{CapabilitySet, CpuSet, capabilities, sched_setaffinity, set_capabilities};

use super::{Watched, parts};
use crate::support::{Netns, lossy, rules, wait_until};

fn restore(netns: &Netns, text: &str) {
    let output = netns.feed("iptables-nft-restore", &["--noflush"], text.as_bytes());
    assert!(output.status.success(), "{}", lossy(&output));
}

/// The kernel waits a little for slow listeners. So the listener shares a processor with a writer that goes first.
#[test]
fn a_burst_that_does_not_fit_the_buffer_is_everything() {
    let mut first_processor = CpuSet::new();
    first_processor.set(0);
    let watched = Watched::with(|settings| {
        settings.receive_buffer_bytes = 1;
        sched_setaffinity(None, &first_processor).unwrap();
    });
    let text = rules::kube_proxy(4_500);
    let first = ["-c", "0", "chrt", "-f", "50", "iptables-nft-restore", "--noflush"];
    let output = watched.netns.feed("taskset", &first, text.as_bytes());
    assert!(output.status.success(), "{}", lossy(&output));
    let end = Instant::now() + Duration::from_secs(60);
    // the burst may begin with changes that are not yet lost
    let mut heard = watched.next();
    while watched.watch.counters().losses == 0 {
        assert!(Instant::now() < end, "nothing was lost: {:?}", watched.watch.counters());
        heard = watched.next();
    }
    assert_eq!(heard.scope, Scope::Everything);
    let counters = watched.watch.counters();
    assert_eq!(counters.reopened, counters.losses);
    // what comes after the last loss is told in full again
    wait_until("single changes are heard again", Duration::from_secs(60), || {
        watched.parts_of("nft add table inet after; nft delete table inet after") == ["inet after"]
    });
    assert_eq!(watched.watch.failures(), watch::Failures::default());
}

#[test]
fn a_large_burst_fits_the_buffer_of_an_agent() {
    let watched = Watched::new();
    restore(&watched.netns, &rules::kube_proxy(2_000));
    assert_eq!(watched.next().scope, Scope::Everything, "more chains than are told one by one");
    assert_eq!(watched.watch.counters().losses, 0);
}

#[test]
fn a_thousand_transactions_are_all_heard_and_told_once() {
    let watched = Watched::new();
    let mut text = String::new();
    for number in 0..1_000 {
        writeln!(text, "*filter\n:C{number} - [0:0]\nCOMMIT").unwrap();
    }
    restore(&watched.netns, &text);
    wait_until("all are heard", Duration::from_secs(60), || watched.watch.counters().transactions >= 1_000);
    let mut told = Vec::new();
    while told.len() < 1_001 {
        let more = parts(&watched.next());
        assert!(more.iter().all(|(_, authors)| authors.len() == 1), "one program made them all");
        told.extend(more.into_iter().map(|(part, _)| part));
    }
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 1_001, "each chain, and the table");
    let counters = watched.watch.counters();
    assert_eq!(
        (counters.losses, counters.unattributed, counters.authors_left_out),
        (0, 0, 0),
        "{counters:?}"
    );
}

#[test]
fn without_privileges_it_says_what_is_missing() {
    let netns = Netns::new();
    netns.sh("iptables-legacy -t raw -N X");
    let watch = netns.within(|| {
        let mut few = capabilities(None).unwrap();
        few.effective.remove(CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW);
        few.permitted = few.effective;
        set_capabilities(None, few).unwrap();
        super::start(WatchSettings::default())
    });
    let failures = watch.failures();
    let said = |failure: Option<String>| failure.expect("it says so");
    assert!(said(failures.nftables).contains("CAP_NET_ADMIN"));
    assert!(said(failures.legacy).contains("asking the kernel for its legacy ip tables"));
    let counters = watch.counters();
    assert_eq!((counters.refused, counters.transactions), (1, 0));
    assert!(counters.legacy_failures >= 1);
}

#[test]
fn it_ends_while_it_listens() {
    let watched = Watched::new();
    watched.sh("iptables-legacy -N X");
    let Watched { watch, netns: _netns, lock: _lock } = watched;
    let ending = std::thread::spawn(move || drop(watch));
    wait_until("its threads have ended", Duration::from_secs(60), || ending.is_finished());
}
