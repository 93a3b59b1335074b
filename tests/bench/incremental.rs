//! What a check costs that reads only what changed, and what one costs that reads everything.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use iptables_monitor::app::checks::scan::{Hooks, NodeReader, Scan, ScanOptions};
use iptables_monitor::domain::changes::{Part, Scope};
use iptables_monitor::domain::judging::allowlist::{Allowlist, List, PatternFile};
use iptables_monitor::domain::judging::audit::{InForce, Ipv6, Rulebook};
use iptables_monitor::domain::rules::Family;

use super::support::Netns;
use super::{PATTERNS, ROUNDS, loaded, median, millis};

/// Prints the table.
pub fn table() {
    println!("Median of {ROUNDS}; processor time of this program's threads and of its dumps.\n");
    println!("| services | rules | what changed | rules read | wall | processor |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for services in [1_000, 5_000] {
        let (netns, rules) = loaded("nft", services);
        let mut bench = Bench { book: book(), reader: reader(), netns, services, rules };
        bench.measure("everything", &[], |_, _| String::new());
        bench.measure("a rule of a chain of one rule", &["KUBE-MARK-MASQ"], |_, round| {
            format!("-A KUBE-MARK-MASQ -s 10.0.0.{round}/32 -j RETURN\n")
        });
        let hundred: String =
            (0..100).map(|rule| format!("-A KUBE-HUNDRED -s 10.1.0.{rule}/32 -j KUBE-MARK-MASQ\n")).collect();
        bench.measure("a chain of 100 rules, written anew", &["KUBE-HUNDRED"], |_, round| {
            format!(
                ":KUBE-HUNDRED - [0:0]\n{hundred}-A KUBE-HUNDRED -s 10.2.0.{round}/32 -j KUBE-MARK-MASQ\n"
            )
        });
        bench.measure("KUBE-SERVICES, written as it was", &["KUBE-SERVICES"], |lines, _| rewritten(lines));
        bench.measure(
            "KUBE-SERVICES and a new service",
            &["KUBE-SERVICES", "KUBE-SVC-NEW", "KUBE-SEP-NEW1", "KUBE-SEP-NEW2"],
            |lines, round| rewritten(lines) + &service(round),
        );
    }
}

struct Bench {
    book: Rulebook,
    reader: NodeReader,
    netns: Netns,
    services: usize,
    rules: usize,
}

impl Bench {
    fn measure(&mut self, what: &str, chains: &[&str], script: impl Fn(&str, usize) -> String) {
        let lines = self.netns.sh("iptables-nft -t nat -S KUBE-SERVICES");
        let (mut wall, mut processor, mut read) = (Vec::new(), Vec::new(), 0);
        for round in 0..ROUNDS {
            let changes = script(&lines, round);
            if !changes.is_empty() {
                let text = format!("*nat\n{changes}COMMIT\n");
                let output = self.netns.feed("iptables-nft-restore", &["-n"], text.as_bytes());
                assert!(output.status.success(), "{output:?}");
            }
            let (scan, took) = self.check(chains);
            assert!(!scan.is_torn && scan.outcome.violation_count == 0, "{:?}", scan.outcome.problems);
            wall.push(took);
            processor.push(scan.cost);
            read = scan.rules_read;
        }
        println!(
            "| {} | {} | {what} | {read} | {:.1} ms | {:.1} ms |",
            self.services,
            self.rules,
            millis(median(wall)),
            millis(median(processor))
        );
    }

    fn check(&mut self, chains: &[&str]) -> (Scan, Duration) {
        let part = |chain: &&str| Part::NftChain {
            family: Family::Ip,
            table: b"nat".to_vec(),
            chain: chain.as_bytes().to_vec(),
        };
        let parts = chains.iter().map(|chain| (part(chain), Vec::new())).collect();
        let scope = if chains.is_empty() { Scope::Everything } else { Scope::Parts(parts) };
        let Self { netns, reader, book, .. } = self;
        netns.within(|| {
            let started = Instant::now();
            let scan = reader.check(book, &scope);
            (scan, started.elapsed())
        })
    }
}

/// The lines of a chain, to be loaded in its place.
fn rewritten(listing: &str) -> String {
    let rules = listing.lines().filter(|line| line.starts_with("-A"));
    rules.fold(":KUBE-SERVICES - [0:0]\n".to_owned(), |mut text, line| {
        writeln!(text, "{line}").unwrap();
        text
    })
}

fn service(round: usize) -> String {
    let comment = format!("-m comment --comment \"team/new-{round}:http\"");
    format!(
        ":KUBE-SVC-NEW - [0:0]\n:KUBE-SEP-NEW1 - [0:0]\n:KUBE-SEP-NEW2 - [0:0]\n\
         -A KUBE-SERVICES -d 10.97.0.{round}/32 -p tcp {comment} -m tcp --dport 80 -j KUBE-SVC-NEW\n\
         -A KUBE-SVC-NEW {comment} -j KUBE-SEP-NEW1\n-A KUBE-SVC-NEW {comment} -j KUBE-SEP-NEW2\n\
         -A KUBE-SEP-NEW1 -p tcp {comment} -m tcp -j DNAT --to-destination 10.244.0.1:8080\n\
         -A KUBE-SEP-NEW2 -p tcp {comment} -m tcp -j DNAT --to-destination 10.244.0.2:8080\n"
    )
}

/// The patterns of the benchmarks for iptables.
fn book() -> Rulebook {
    book_of(List::Global, PATTERNS)
}

/// One file of patterns.
pub fn book_of(list: List, patterns: &str) -> Rulebook {
    let file = PatternFile { list, origin: "bench".into(), text: patterns.into() };
    let in_force = InForce { patterns: Arc::new(Allowlist::parse(&[file])), is_missing: false };
    Rulebook { ipv4: in_force.clone(), ipv6: Ipv6::Checked(in_force), problems: Vec::new() }
}

fn reader() -> NodeReader {
    NodeReader::new(options())
}

/// How the agent reads.
pub fn options() -> ScanOptions {
    ScanOptions {
        dump_timeout: Duration::from_secs(60),
        nftables: true,
        hooks: Hooks::Listed,
        limit: 1000,
        cancelled: Arc::new(AtomicBool::new(false)),
    }
}
