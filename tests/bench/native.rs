//! Native tables: kube-proxy's mode with nftables against `nft -j list ruleset`, and sets so large that their content takes
//! the kernel longer than all rules.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iptables_monitor::app::checks::scan::NodeReader;
use iptables_monitor::domain::changes::Scope;
use iptables_monitor::domain::judging::allowlist::List;
use tokio::sync::Notify;

use super::incremental;
use super::support::{self, AllowlistDir, MONITOR, Netns};
use super::{median, millis};

const ROUNDS: usize = 5;

pub fn table() {
    println!("Median of {ROUNDS} alternating rounds.\n");
    println!("| tables | rules | elements | nft -j list ruleset | check | ratio | goal | reached |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (services, elements) in [(1_000, 10_000), (10_000, 100_000)] {
        kube_proxy(services, elements);
    }
    println!("\nThe agent judges all rules first, and then the content of the large set.\n");
    println!(
        "| what a table beside 1,000 rules holds | `nft list chain` of the rules | agent: rules judged | all judged | check |"
    );
    println!("| --- | --- | --- | --- | --- |");
    large("300,000 concatenated elements", &concatenated(300_000));
    large("200,000 intervals", &intervals(200_000));
    large(
        "3,000 empty tables",
        &(0..3_000).fold(String::new(), |text, number| text + &format!("add table inet empty{number}\n")),
    );
}

/// The shape of kube-proxy's rules with nftables: a chain for each service and each endpoint, and maps that lead there.
fn kube_proxy(services: usize, elements: usize) {
    let netns = Netns::new();
    let script = script(services, elements);
    load(&netns, &script);
    let rules = script.lines().filter(|line| line.starts_with("add rule")).count();
    let patterns = "^(table|chain|set|map|element|ip kube-proxy) ?.*\n";
    let allowlist = AllowlistDir::new(&[("nftables", patterns)]);
    let (mut dumps, mut checks) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        dumps.push(timed(&netns, "nft", &["-j", "list", "ruleset"]));
        checks.push(timed(&netns, MONITOR, &["check", "--input", allowlist.path(), "--quiet"]));
    }
    let (dump, check) = (median(dumps), median(checks));
    let (ratio, goal) = (check.as_secs_f64() / dump.as_secs_f64(), 0.7);
    println!(
        "| kube-proxy, {services} services | {rules} | {elements} | {:.0} ms | {:.0} ms | {ratio:.2} | {goal} | {} |",
        millis(dump),
        millis(check),
        if ratio <= goal { "yes" } else { "NO" }
    );
}

fn script(services: usize, elements: usize) -> String {
    let mut text = String::from(
        "add table ip kube-proxy\n\
         add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict; comment \"service traffic\"; }\n\
         add map ip kube-proxy no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }\n\
         add set ip kube-proxy cluster-ips { type ipv4_addr; }\n\
         add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority -100; }\n\
         add chain ip kube-proxy services\n\
         add chain ip kube-proxy reject-chain\n\
         add rule ip kube-proxy nat-prerouting jump services\n\
         add rule ip kube-proxy services ip daddr . meta l4proto . th dport vmap @service-ips\n\
         add rule ip kube-proxy services ip daddr . meta l4proto . th dport vmap @no-endpoint-services\n",
    );
    let address =
        |number: usize| format!("10.{}.{}.{}", 96 + number / 65536, number / 256 % 256, number % 256);
    for number in 0..services {
        let (service, endpoint) =
            (format!("service-{number:08X}-ns/a/tcp/http"), address(number + 3_000_000));
        let end = format!("endpoint-{number:08X}-ns/a/tcp/http__{endpoint}/8080");
        writeln!(text, "add chain ip kube-proxy {service}\nadd chain ip kube-proxy {end}").unwrap();
        let from = "ip saddr != 10.244.0.0/16";
        writeln!(
            text,
            "add rule ip kube-proxy {service} ip daddr {} tcp dport 80 {from} meta mark set mark or 0x4000",
            address(number)
        )
        .unwrap();
        writeln!(text, "add rule ip kube-proxy {service} numgen random mod 1 vmap {{ 0 : goto {end} }}")
            .unwrap();
        writeln!(text, "add rule ip kube-proxy {end} ip saddr {endpoint} meta mark set mark or 0x4000")
            .unwrap();
        writeln!(text, "add rule ip kube-proxy {end} meta l4proto tcp dnat to {endpoint}:8080").unwrap();
        writeln!(
            text,
            "add element ip kube-proxy service-ips {{ {} . tcp . 80 : goto {service} }}",
            address(number)
        )
        .unwrap();
        writeln!(text, "add element ip kube-proxy cluster-ips {{ {} }}", address(number)).unwrap();
    }
    for number in services..elements {
        let key = format!("{} . tcp . 80", address(number));
        writeln!(text, "add element ip kube-proxy no-endpoint-services {{ {key} : goto reject-chain }}")
            .unwrap();
    }
    text
}

/// How long a check takes beside a large set, of which all rules are judged first.
fn large(title: &str, script: &str) {
    let netns = Netns::new();
    let mut rules = String::from("add table inet small\nadd chain inet small c\n");
    (0..1_000).for_each(|port| writeln!(rules, "add rule inet small c tcp dport {port} accept").unwrap());
    load(&netns, &rules);
    load(&netns, script);
    const PATTERNS: &str = "^(table|set|inet|elements) .*\n";
    let allowlist = AllowlistDir::new(&[("nftables", PATTERNS)]);
    let check = timed(&netns, MONITOR, &["check", "--input", allowlist.path(), "--quiet"]);
    let list = timed(&netns, "nft", &["list", "chain", "inet", "small", "c"]);
    let (judged, whole) = netns.within(|| agent(PATTERNS));
    println!(
        "| {title} | {:.0} ms | {:.0} ms | {:.0} ms | {:.0} ms |",
        millis(list),
        millis(judged),
        millis(whole),
        millis(check)
    );
}

/// After how long an agent that starts has judged all rules, and after how long everything.
fn agent(patterns: &str) -> (Duration, Duration) {
    let (book, started) = (incremental::book_of(List::Nftables, patterns), Instant::now());
    let came = Arc::new(Notify::new());
    let mut reader = NodeReader::for_rules_first(incremental::options(), Duration::from_secs(300), came);
    reader.check(&book, &Scope::Everything);
    let judged = started.elapsed();
    while !reader.is_whole() {
        std::thread::sleep(Duration::from_millis(1));
        reader.check(&book, &Scope::Parts(BTreeMap::new()));
    }
    (judged, started.elapsed())
}

fn concatenated(count: usize) -> String {
    let mut text =
        String::from("add table inet large\nadd set inet large s { type ipv4_addr . inet_service; }\n");
    chunks(&mut text, count, |number| {
        format!("10.{}.{}.{} . {}", number / 65536, number / 256 % 256, number % 256, number % 60_000)
    });
    text
}

fn intervals(count: usize) -> String {
    let mut text =
        String::from("add table inet large\nadd set inet large s { type ipv4_addr; flags interval; }\n");
    chunks(&mut text, count, |number| {
        let at = number * 4;
        let address = |at: usize| {
            format!("{}.{}.{}.{}", 11 + at / 16_777_216, at / 65536 % 256, at / 256 % 256, at % 256)
        };
        format!("{}-{}", address(at), address(at + 1))
    });
    text
}

fn chunks(text: &mut String, count: usize, element: impl Fn(usize) -> String) {
    let all: Vec<_> = (0..count).map(element).collect();
    for some in all.chunks(5_000) {
        writeln!(text, "add element inet large s {{ {} }}", some.join(", ")).unwrap();
    }
}

fn load(netns: &Netns, script: &str) {
    let output = netns.feed("nft", &["-f", "-"], script.as_bytes());
    assert!(output.status.success(), "{}", support::lossy(&output));
}

fn timed(netns: &Netns, program: &str, args: &[&str]) -> Duration {
    let started = Instant::now();
    let status =
        netns.command(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{program} {args:?}: {status}");
    started.elapsed()
}
