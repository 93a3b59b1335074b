//! How soon a change is in the verdict and in the label, and what the agent costs while rules change and while they do not.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::support::apiserver::Server;
use super::support::live::{Agent, write_kubeconfig};
use super::support::{MONITOR, Netns, rules};
use super::{allowlist, loaded, median, millis};

const CHANGES: usize = 100;
const LABELS: usize = 20;
const CHURN: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(60);
/// So that what checks may cost does not decide: they are paced.
const PAUSE: Duration = Duration::from_millis(600);

/// Prints how soon a change is in the verdict.
pub fn latency() {
    println!("From the end of the program to `/status`; {CHANGES} changes each.\n");
    println!("| change | rules | p50 | p99 | most | limits | kept |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (what, backend, bring, take, worst) in [
        (
            "iptables-nft -A, -D",
            "nft",
            "iptables-nft -A INPUT -s 192.0.2.9 -j DROP",
            "iptables-nft -D INPUT -s 192.0.2.9 -j DROP",
            1_000,
        ),
        (
            "nft add, delete",
            "nft",
            "nft 'table inet x { chain c { type filter hook input priority 0; }; }'",
            "nft delete table inet x",
            1_000,
        ),
        (
            "ip6tables-nft -A, -F",
            "nft",
            "ip6tables-nft -A INPUT -s 2001:db8::9 -j DROP",
            "ip6tables-nft -F INPUT",
            1_000,
        ),
        (
            "iptables-nft -t nat -A, -D",
            "nft",
            "iptables-nft -t nat -A POSTROUTING -s 192.0.2.9 -j RETURN",
            "iptables-nft -t nat -D POSTROUTING -s 192.0.2.9 -j RETURN",
            1_000,
        ),
        (
            "iptables-legacy -A, -D",
            "legacy",
            "iptables-legacy -A INPUT -s 192.0.2.9 -j DROP",
            "iptables-legacy -D INPUT -s 192.0.2.9 -j DROP",
            1_500,
        ),
        (
            "iptables-legacy -t nat -A, -D",
            "legacy",
            "iptables-legacy -t nat -A POSTROUTING -s 192.0.2.9 -j RETURN",
            "iptables-legacy -t nat -D POSTROUTING -s 192.0.2.9 -j RETURN",
            1_500,
        ),
    ] {
        let (netns, rules) = loaded(backend, 1_000);
        let allowlist = allowlist();
        let agent = start(&netns, &allowlist);
        // the first check was one of everything: what that cost is to be forgotten
        std::thread::sleep(Duration::from_secs(15));
        let mut times = Vec::new();
        for round in 0..CHANGES {
            std::thread::sleep(PAUSE);
            let (script, verdict) = if round % 2 == 0 { (bring, "violations") } else { (take, "compliant") };
            netns.sh(script);
            times.push(agent.wait_for(verdict, LIMIT));
        }
        row(what, rules, times, worst);
    }
}

/// Prints how soon a change is in the label.
pub fn label() {
    let name = "bench";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = Server::shared();
    let (netns, rules) = loaded("nft", 1_000);
    let files = tempfile::tempdir().unwrap();
    let kubeconfig = files.path().join("kubeconfig");
    let admin = runtime.block_on(async { server.admin() });
    let verbs = json!(["get", "patch", "watch"]);
    let grants = json!([{"apiGroups": ["cilium.io"], "resources": ["ciliumnodes"], "verbs": verbs}]);
    let token = runtime.block_on(async {
        admin.node(name, "192.0.2.10").await;
        admin.cilium_node(name).await;
        admin.account(name, &grants).await
    });
    write_kubeconfig(&netns, server, &token, &kubeconfig);
    let allowlist = allowlist();
    let mut command = netns.command(MONITOR);
    command.env("KUBECONFIG", &kubeconfig).args(["--interval", "1h", "--netns-check", "off"]);
    command.args(["--node-name", name, "--input", allowlist.path(), "--input6", allowlist.path()]);
    let agent = Agent::spawn(&netns, &mut command);
    let path = format!("/apis/cilium.io/v2/ciliumnodes/{name}");
    let wait = |value: &str| {
        let started = Instant::now();
        while runtime.block_on(admin.get(&path))["metadata"]["labels"]["user-iptables-rules"] != value {
            assert!(started.elapsed() < LIMIT, "{}", agent.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        started.elapsed()
    };
    wait("false");
    std::thread::sleep(Duration::from_secs(15));
    let mut times = Vec::new();
    for round in 0..LABELS {
        std::thread::sleep(PAUSE);
        let (change, value) = if round % 2 == 0 { ("-A", "true") } else { ("-D", "false") };
        netns.sh(&format!("iptables-nft {change} INPUT -s 192.0.2.9 -j DROP"));
        times.push(wait(value));
    }
    row("iptables-nft -A, -D, to the label in the API server", rules, times, 1_000);
}

/// Prints what the agent costs while kube-proxy writes rules every second, and how old its verdict gets.
pub fn churn() {
    println!(
        "Every second for {} s, with 5,000 services; the limits are 5 % of a processor and 5 s.\n",
        CHURN.as_secs()
    );
    println!("| what is written | syncs | processor | oldest verdict | memory, peak |");
    println!("| --- | --- | --- | --- | --- |");
    let all = rules::kube_proxy(5_000);
    churned("KUBE-SERVICES and 3 services, as kube-proxy 1.27 and newer", &part(&all));
    churned("the whole table, as older kube-proxy", &all);
}

/// `KUBE-SERVICES` and three of its services, to be loaded in their place.
fn part(all: &str) -> String {
    let service = |line: &&str| line.starts_with(":KUBE-SVC-");
    let names: Vec<_> = all.lines().filter(service).take(3).map(|line| &line[1..22]).collect();
    let is_part = |name: &str| name == "KUBE-SERVICES" || names.iter().any(|known| name.starts_with(known));
    let mut text = String::from("*nat\n");
    for line in all.lines() {
        let name = line.strip_prefix(':').or_else(|| line.strip_prefix("-A "));
        if name.and_then(|name| name.split(' ').next()).is_some_and(is_part) {
            text.extend([line, "\n"]);
        }
    }
    text + "COMMIT\n"
}

fn churned(what: &str, text: &str) {
    let (netns, _) = loaded("nft", 5_000);
    let allowlist = allowlist();
    let agent = start(&netns, &allowlist);
    let (before, started) = (ticks(agent.pid()), Instant::now());
    let (mut oldest, mut syncs) = (Duration::ZERO, 0);
    while started.elapsed() < CHURN {
        let sync = Instant::now();
        let output = netns.feed("iptables-nft-restore", &["--noflush"], text.as_bytes());
        assert!(output.status.success(), "{output:?}");
        syncs += 1;
        while sync.elapsed() < Duration::from_secs(1) {
            // the first change is heard of, and answered, after the first sync
            oldest = oldest.max(age(&agent.status().unwrap()).min(started.elapsed()));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    let share = (ticks(agent.pid()) - before) as f64 / started.elapsed().as_secs_f64();
    assert_eq!(agent.status().unwrap()["verdict"], "compliant");
    let mark = |is_kept: bool| if is_kept { "" } else { " (**over**)" };
    println!(
        "| {what} | {syncs} | {share:.1} %{} | {:.1} s{} | {:.1} MB |",
        mark(share <= 5.0),
        oldest.as_secs_f64(),
        mark(oldest <= Duration::from_secs(5)),
        peak(agent.pid())
    );
}

/// Prints what an agent does while nothing happens.
pub fn idle() {
    let netns = Netns::new();
    netns.sh("iptables-nft -A INPUT -s 192.0.2.9 -j DROP; iptables-nft -F");
    // the directories around it are watched too, and that of temporary files is busy
    let around = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let input = around.path().join("config");
    fs::create_dir(&input).unwrap();
    fs::write(input.join("global"), "^-P \n").unwrap();
    let input = input.to_str().unwrap();
    let agent = Agent::start(&netns, &["--input", input, "--input6", input]);
    agent.wait_for("compliant", LIMIT);
    // helper threads that are no longer needed end after ten seconds
    std::thread::sleep(Duration::from_secs(11));
    let before = ticks(agent.pid());
    let trace = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace")
        .args(["-f", "-p", &agent.pid().to_string(), "-o"])
        .arg(trace.path())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace");
    std::thread::sleep(Duration::from_secs(10));
    let pid = rustix::process::Pid::from_child(&strace);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    strace.wait().unwrap();
    let mut calls: BTreeMap<String, u32> = BTreeMap::new();
    for line in fs::read_to_string(trace.path()).unwrap().lines() {
        let call = line.split_whitespace().nth(1).and_then(|call| call.split_once('(')).map(|(name, _)| name);
        if let Some(name) =
            call.filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    let all: u32 = calls.values().sum();
    let shown: Vec<_> = calls.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!(
        "In 10 s {all} system calls ({}) and {} ms of processor time.",
        shown.join(", "),
        (ticks(agent.pid()) - before) * 10
    );
}

fn start<'a>(netns: &'a Netns, allowlist: &super::AllowlistDir) -> Agent<'a> {
    let agent = Agent::start(netns, &["--input", allowlist.path(), "--input6", allowlist.path()]);
    agent.wait_for("compliant", LIMIT);
    agent
}

fn row(what: &str, rules: usize, mut times: Vec<Duration>, worst_ms: u64) {
    times.sort();
    // of a hundred the second largest
    let p99 = times[times.len() * 99 / 100 - usize::from(times.len() >= 100)];
    let most = times[times.len() - 1];
    let p50 = median(times);
    let is_kept = p50 <= Duration::from_millis(300) && p99 <= Duration::from_millis(worst_ms);
    println!(
        "| {what} | {rules} | {:.0} ms | {:.0} ms | {:.0} ms | 300 ms, {worst_ms} ms | {} |",
        millis(p50),
        millis(p99),
        millis(most),
        if is_kept { "yes" } else { "**no**" }
    );
}

fn age(status: &Value) -> Duration {
    let checked: jiff::Timestamp = status["checked_at"].as_str().unwrap().parse().unwrap();
    SystemTime::now().duration_since(checked.into()).unwrap_or_default()
}

/// Time of a process and of its children that ended, in hundredths of a second, proc_pid_stat(5).
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..15].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

/// The most memory that a process ever had, in MB.
fn peak(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1000.0
}
