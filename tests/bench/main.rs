//! `make bench`: what a check costs, as a ratio to the dump of iptables, in one run on this machine.
//! Prints a table in Markdown; asserts nothing. Needs root, as the tests do. `-- drops` measures log lines alone. Rules are
//! written by the installed iptables, and by those of the roots in `IPTABLES_ROOTS`, between colons.
#![allow(clippy::indexing_slicing, clippy::print_stdout, clippy::unwrap_used, reason = "a test may panic")]

mod drops;
#[path = "../it/support/mod.rs"]
mod support;

mod incremental;
mod native;
mod watch;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use iptables_monitor::domain::judging::allowlist::{Allowlist, List, PatternFile};
use support::{AllowlistDir, MONITOR, Netns, rules};

const SERVICES: [usize; 3] = [1_000, 5_000, 9_000];
const ROUNDS: usize = 9;
const PATTERNS: &str = "^-P .*\n^-N .*\n^-A KUBE-\n^-A (PREROUTING|OUTPUT|POSTROUTING|INPUT|FORWARD) .*-j KUBE-\n\
    ^-A CILIUM_\\S+ \n^-A IP-MASQ-AGENT\n^-A .* -j IP-MASQ-AGENT\n^.*--comment.*cilium:\n^.*--comment.*feeder:\n\
    -A SWIFT -s\n-A POSTROUTING -j SWIFT\n-A INPUT -p udp -m udp --dport 68 -j ACCEPT\n\
    -A FORWARD -d 169\\.254\\.1\\.1/32 -p tcp -m tcp --dport 80 -j DROP\n^-A X[0-9]{3,5} .*$\n";

/// What is measured: a name for the command line, a title and the work.
const SECTIONS: [(&str, &str, fn()); 10] = [
    ("check", "`monitor check` against the dump of iptables", checks),
    ("native", "Native tables", native::table),
    ("incremental", "Checks of what changed", incremental::table),
    ("latency", "From a change to the verdict", watch::latency),
    ("label", "From a change to the label", watch::label),
    ("churn", "While rules change all the time", watch::churn),
    ("idle", "While nothing changes", watch::idle),
    ("matching", "Matching", matching),
    ("agent", "The agent at 99,000 rules", agents),
    ("drops", "Drops", drops::run),
];

/// Everything, or the sections that are named.
fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    println!("{}", machine());
    for (name, title, work) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("\n## {title}\n");
            work();
        }
    }
}

fn checks() {
    println!("Median of {ROUNDS} alternating rounds; writer and dump are the same iptables.\n");
    println!("| backend | iptables | services | rules | dump | check | ratio | goal | reached |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (backend, goal) in [("nft", 0.55), ("legacy", 0.75)] {
        // within a root there is no procfs, without which iptables-legacy-save prints nothing
        for writer in Writer::all().into_iter().filter(|writer| backend == "nft" || writer.root.is_none()) {
            for services in SERVICES {
                check_against_dump(backend, &writer, services, goal);
            }
        }
    }
}

/// An iptables: the installed one, or that of a root.
struct Writer {
    root: Option<String>,
    version: String,
}

impl Writer {
    fn installed() -> Self {
        Self::at(None)
    }

    fn all() -> Vec<Self> {
        let roots = std::env::var("IPTABLES_ROOTS").unwrap_or_default();
        let roots =
            roots.split(':').filter(|root| !root.is_empty()).map(|root| Self::at(Some(root.to_owned())));
        std::iter::once(Self::installed()).chain(roots).collect()
    }

    fn at(root: Option<String>) -> Self {
        let mut writer = Self { root, version: String::new() };
        let (program, args) = writer.program("iptables-nft");
        let output = Command::new(program).args(args).arg("--version").output().expect("iptables");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        writer.version = text.split(' ').nth(1).unwrap_or("?").trim_start_matches('v').to_owned();
        writer
    }

    /// How a program of it is started.
    fn program(&self, name: &str) -> (String, Vec<String>) {
        match &self.root {
            None => (name.to_owned(), Vec::new()),
            Some(root) => ("chroot".to_owned(), vec![root.clone(), name.to_owned()]),
        }
    }
}

fn agents() {
    println!("| backend | peak memory | goal | between checks | processor time in 10 s between checks |");
    println!("| --- | --- | --- | --- | --- |");
    for (backend, goal) in [("nft", 48), ("legacy", 110)] {
        agent(backend, goal);
    }
}

fn machine() -> String {
    let first = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.rsplit([':', '=']).next().unwrap_or_default().trim().trim_matches('"').to_owned()
    };
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().expect(program);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    format!(
        "{}; {} processors ({}); Linux {}; {}; {}; {}",
        first("/etc/os-release", "PRETTY_NAME"),
        std::thread::available_parallelism().map_or(0, usize::from),
        first("/proc/cpuinfo", "model name"),
        said("uname", &["-r"]),
        said("iptables-nft", &["--version"]),
        said("nft", &["--version"]),
        said("date", &["-u", "+%Y-%m-%d"]),
    )
}

fn loaded(backend: &str, services: usize) -> (Netns, usize) {
    loaded_by(&Writer::installed(), backend, services)
}

fn loaded_by(writer: &Writer, backend: &str, services: usize) -> (Netns, usize) {
    let netns = Netns::new();
    let text = rules::kube_proxy(services);
    let (program, args) = writer.program(&format!("iptables-{backend}-restore"));
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let output = netns.feed(&program, &args, text.as_bytes());
    assert!(output.status.success(), "{}", support::lossy(&output));
    (netns, text.lines().filter(|line| line.starts_with("-A")).count())
}

fn allowlist() -> AllowlistDir {
    AllowlistDir::new(&[("global", PATTERNS)])
}

fn check_against_dump(backend: &str, writer: &Writer, services: usize, goal: f64) {
    let (netns, rules) = loaded_by(writer, backend, services);
    let allowlist = allowlist();
    let (dump, dump_args) = writer.program(&format!("iptables-{backend}-save"));
    let dump_args: Vec<_> = dump_args.iter().map(String::as_str).collect();
    let timed = |program: &str, args: &[&str]| {
        let mut command = netns.command(program);
        let started = Instant::now();
        let status = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        (started.elapsed(), status.code())
    };
    let (mut dumps, mut checks) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        dumps.push(timed(&dump, &dump_args).0);
        let (took, code) = timed(MONITOR, &["check", "--input", allowlist.path(), "--quiet"]);
        assert_eq!(code, Some(0), "the rules of the benchmark are all allowed");
        checks.push(took);
    }
    let (dump, check) = (median(dumps), median(checks));
    let ratio = check.as_secs_f64() / dump.as_secs_f64();
    println!(
        "| {backend} | {} | {services} | {rules} | {:.0} ms | {:.0} ms | {ratio:.2} | {goal} | {} |",
        writer.version,
        millis(dump),
        millis(check),
        if ratio <= goal { "yes" } else { "NO" }
    );
}

fn matching() {
    let file = PatternFile { list: List::Global, origin: "bench".into(), text: PATTERNS.into() };
    let allowlist = Allowlist::parse(&[file]);
    let lines: Vec<String> = (0..100_000u32)
        .map(|n| {
            let [_, b, c, d] = n.to_be_bytes();
            format!("-A USER-CHAIN-{b} -s 10.{b}.{c}.{d}/32 -p tcp -m comment --comment \"team-{c}/job-{d}\" -m tcp --dport {} -j ACCEPT", n % 65_536)
        })
        .collect();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let allowed = lines.iter().filter(|line| allowlist.allows(Some("filter"), line.as_bytes())).count();
        times.push(started.elapsed());
        assert_eq!(allowed, 0, "no pattern allows these");
    }
    println!(
        "100,000 rules that no pattern allows against {} patterns: {:.1} ms (limit 50 ms).",
        allowlist.len(),
        millis(median(times))
    );
}

fn agent(backend: &str, goal: u32) {
    let (netns, _) = loaded(backend, 9_000);
    let allowlist = allowlist();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut child = netns
        .command(MONITOR)
        .args(["--input", allowlist.path(), "--interval", "1h"])
        .stdout(Stdio::null())
        .stderr(log.reopen().unwrap())
        .spawn()
        .unwrap();
    support::wait_until("the first check is done", Duration::from_secs(60), || {
        fs::read_to_string(log.path()).unwrap().contains("checked")
    });
    // helper threads that are no longer needed end after ten seconds
    std::thread::sleep(Duration::from_secs(11));
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let kib = |key: &str| -> f64 {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = ticks(child.id());
    std::thread::sleep(Duration::from_secs(10));
    println!(
        "| {backend} | {:.1} MB | {goal} MB | {:.1} MB | {} ms |",
        kib("VmHWM") / 1000.0,
        kib("VmRSS") / 1000.0,
        (ticks(child.id()) - before) * 10
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

/// User and system time of a process in hundredths of a second, proc_pid_stat(5).
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
