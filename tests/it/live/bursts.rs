//! More changes than can be looked at one by one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use iptables_monitor::app::checks::allowlists::{Ipv6Mode, Sources};
use iptables_monitor::app::checks::history::HistoryStore;
use iptables_monitor::app::checks::run;
use iptables_monitor::app::checks::scan::{Hooks, ScanOptions};
use iptables_monitor::app::checks::watch;
use iptables_monitor::domain::judging::report::Report;
use iptables_monitor::domain::rules::Reason;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::*;
use crate::support::wait_until;

/// Services of kube-proxy with 50,000 rules, and one rule that nobody allows.
fn burst() -> String {
    rules::kube_proxy(4_546)
        .replace("COMMIT\n", "-A KUBE-MARK-MASQ -j RETURN\n-A OUTPUT -s 192.0.2.9 -j RETURN\nCOMMIT\n")
}

/// Replaces the table: for one that stays, iptables-nft-restore takes many times as long.
fn load(netns: &Netns, text: &str) {
    let output = netns.feed("iptables-nft-restore", &[], text.as_bytes());
    assert!(output.status.success(), "{}", lossy(&output));
}

#[test]
fn a_burst_of_fifty_thousand_rules_ends_in_the_truth() {
    let netns = Netns::new();
    let allowlist = allowlist();
    // what a debug build takes on a busy machine
    let args = [&arguments(&allowlist)[..], &["--dump-timeout", "60s"]].concat();
    let agent = Agent::start(&netns, &args);
    agent.wait_for("compliant", LIMIT);
    load(&netns, &burst());
    agent.wait_for_the_truth(&args, LIMIT);
    let report = agent.status().unwrap();
    assert_eq!(
        (&report["verdict"], &report["violation_count"]),
        (&"violations".into(), &1.into()),
        "{}",
        report["problems"]
    );
    netns.sh("iptables-nft -t nat -D OUTPUT -s 192.0.2.9 -j RETURN");
    agent.wait_for("compliant", LIMIT);
    netns.sh("iptables-nft -t nat -F; iptables-nft -t nat -X");
    agent.wait_for_the_truth(&args, LIMIT);
}

/// The kernel waits a little for slow listeners. So the listener shares a processor with a writer that goes first.
#[test]
fn a_burst_that_overruns_the_buffer_ends_in_the_truth() {
    let netns = Netns::new();
    let allowlist = allowlist();
    let last: Mutex<Option<(Report, watch::Counters)>> = Mutex::default();
    let cancelled = Arc::new(AtomicBool::new(false));
    let settings = run::CheckSettings {
        node: "n".into(),
        sources: Sources {
            input: Some(allowlist.path().into()),
            input6: Some(allowlist.path().into()),
            profiles: Vec::new(),
            ipv6: Ipv6Mode::True,
        },
        interval: Duration::from_secs(3_600),
        watch: Some(watch::WatchSettings { receive_buffer_bytes: 1, ..watch::WatchSettings::default() }),
        scan: ScanOptions {
            dump_timeout: LIMIT,
            nftables: true,
            hooks: Hooks::Unread,
            limit: 1_000,
            cancelled: Arc::clone(&cancelled),
        },
        blocked_map: None,
        terminate_on_success: false,
    };
    let until = |what: &str, is_it: &dyn Fn(&Report, &watch::Counters) -> bool| {
        wait_until(what, LIMIT, || {
            last.lock().unwrap().as_ref().is_some_and(|(report, counters)| is_it(report, counters))
        });
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            netns.within(|| {
                let mut first_processor = CpuSet::new();
                first_processor.set(0);
                sched_setaffinity(None, &first_processor).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let tell = |checked: &run::Checked| {
                    let counters = checked.heard.as_ref().map(|(counters, _)| *counters).unwrap();
                    *last.lock().unwrap() = Some((checked.report.clone(), counters));
                };
                let (journal, never) = (Arc::new(HistoryStore::none()), std::future::pending());
                runtime.block_on(async {
                    let checking = run::run(settings, journal, None, None, tell, never);
                    tokio::select! {
                        ended = checking => panic!("it ended by itself: {ended:?}"),
                        _ = stopped => {}
                    }
                });
                cancelled.store(true, Ordering::Relaxed);
            });
        });
        until("the first check", &|_, _| true);
        let first = ["-c", "0", "chrt", "-f", "50", "iptables-nft-restore"];
        let output = netns.feed("taskset", &first, burst().as_bytes());
        assert!(output.status.success(), "{}", lossy(&output));
        let truth = netns.check(&[&arguments(&allowlist)[..], &["--dump-timeout", "60s"]].concat()).json;
        until("the truth", &|report, counters| {
            counters.losses > 0
                && truth["ruleset_hash"] == report.ruleset_hash.as_str()
                && truth["violation_count"] == report.violation_count
        });
        netns.sh("iptables-nft -t nat -D OUTPUT -s 192.0.2.9 -j RETURN");
        // what was lost is not known, and that for an interval
        until("nothing else is wrong", &|report, _| {
            let reasons = report.problems.iter().map(|problem| problem.reason);
            report.violation_count == 0 && reasons.eq([Reason::ChangesMissed])
        });
        stop.send(()).unwrap();
    });
}

/// A thousand runs of iptables and nft. Every tenth rule is not allowed, and all of those are taken away but the last.
#[test]
fn a_thousand_changes_end_in_the_truth() {
    let netns = Netns::new();
    restore(&netns, "iptables-nft-restore", &rules::kube_proxy(100));
    netns.sh("nft add table inet shop; nft add chain inet shop c");
    let allowlist = AllowlistDir::new(&[("global", PATTERNS), ("nftables", "^(table|chain|set) inet shop")]);
    let agent = Agent::start(&netns, &arguments(&allowlist));
    agent.wait_for("compliant", LIMIT);
    netns.sh("for i in $(seq 1 250); do
            iptables-nft -A INPUT -s 10.0.0.$i -m comment --comment ours -j ACCEPT
            iptables-nft -t nat -A KUBE-MARK-MASQ -s 10.0.0.$i -j RETURN
            if (( i % 10 == 0 )); then iptables-nft -I INPUT 1 -s 10.1.0.$i -j DROP
            else nft add set inet shop s$i '{ type ipv4_addr; }'; fi
            if (( i % 10 == 5 && i > 10 )); then iptables-nft -D INPUT -s 10.1.0.$((i - 5)) -j DROP
            else ip6tables-nft -A FORWARD -s fd00::$i -m comment --comment ours -j DROP; fi
        done");
    let truth = agent.wait_for_the_truth(&arguments(&allowlist), LIMIT);
    assert_eq!((&truth["verdict"], &truth["violation_count"]), (&"violations".into(), &1.into()));
    netns.sh("iptables-nft -D INPUT -s 10.1.0.250 -j DROP");
    // but for those that no look has seen
    let truth = netns.check(&arguments(&allowlist)).json;
    assert_eq!(truth["verdict"], "compliant");
    agent.wait("it is as a fresh check says", LIMIT, |status| {
        status["ruleset_hash"] == truth["ruleset_hash"] && status["violation_count"] == 0
    });
}
