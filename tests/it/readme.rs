//! The samples of README: what it shows of a command is what the program prints of the same rules.
//! Times, process ids and names of the node are those of the sample; nothing else is.

use std::process::{Command, Stdio};
use std::time::Duration;

use regex::Regex;

use super::support::live::Agent;
use super::support::{AllowlistDir, MONITOR, Netns, lossy, rules, wait_until};

const README: &str = include_str!("../../README.md");
const LIMIT: Duration = Duration::from_secs(60);

/// What README shows below this command, up to the end of its block.
#[track_caller]
fn sample(command: &str) -> String {
    let (_, rest) =
        README.split_once(&format!("$ {command}\n")).unwrap_or_else(|| panic!("no sample of {command}"));
    rest.split_once("```").expect("a block ends").0.to_owned()
}

/// The same text for any time, process and node.
fn general(text: &str) -> String {
    [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "MOMENT"),
        (r"pid \d+", "pid N"),
        (r", started by .*", ", started by OTHERS"),
        (r"(, by [\w-]+)( < .*)?", "$1"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (pattern, stands_for)| {
        Regex::new(pattern).unwrap().replace_all(&text, *stands_for).into_owned()
    })
}

/// README shows a node whose kernel lists its hooks; one that does not has a note more.
fn without_note(printed: &str) -> String {
    let note = Regex::new(r"(?s)\n\n1 note: worth knowing\n  HooksUnlisted\n.*").unwrap();
    note.replace(&printed.replace(", 1 note", ""), "").into_owned()
}

#[track_caller]
fn compare(command: &str, printed: &str) {
    let [sample, shown] =
        [&sample(command), &without_note(printed)].map(|text| general(text).trim_end().to_owned());
    assert_eq!(sample, shown, "README's sample of {command}; printed:\n{printed}");
}

const DROP: &str = "iptables -A INPUT -p tcp --dport 22 -j DROP";
/// That iptables ends soon: what is printed has its command line only if it was looked at before.
const COMMAND_LINE: &str = "      | iptables -A INPUT -p tcp --dport 22 -j DROP\n";

/// What `attempt` prints, once it has the command line.
#[track_caller]
fn with_command_line(attempt: impl Fn() -> String) -> String {
    for _ in 0..20 {
        let printed = attempt();
        if printed.contains(COMMAND_LINE) {
            return printed;
        }
    }
    panic!("the process is never looked at before it ends");
}

#[test]
fn check() {
    let netns = Netns::new();
    netns.sh(DROP);
    let output = netns
        .command(MONITOR)
        .args(["check", "--profile", "base", "--node-name", "node-7"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", lossy(&output));
    compare("target/release/monitor check --profile base", &lossy(&output));
}

/// One table of what kube-proxy restores: one transaction, which one check sees.
fn nat_of_kube_proxy(services: usize) -> String {
    let text = rules::kube_proxy(services);
    let (_, nat) = text.split_once("*nat\n").expect("a table nat");
    format!("*nat\n{}COMMIT\n", nat.split_once("COMMIT\n").expect("its end").0)
}

fn watch_once() -> String {
    let (netns, directory) = (Netns::new(), tempfile::tempdir().unwrap());
    // a process with the name of the one that README tells of
    let kube_proxy = directory.path().join("kube-proxy");
    std::fs::copy("/usr/sbin/xtables-nft-multi", &kube_proxy).unwrap();
    let restore = |services: usize| {
        let file = directory.path().join("rules");
        std::fs::write(&file, nat_of_kube_proxy(services)).unwrap();
        let (kube_proxy, file) = (kube_proxy.display(), file.display());
        netns.sh(&format!("(exec -a iptables-nft-restore {kube_proxy} --noflush {file})"));
    };
    restore(40);
    netns.sh("iptables -P INPUT ACCEPT");
    let printed = directory.path().join("printed");
    let mut watch = netns
        .command(MONITOR)
        .args(["watch", "--profile", "base,kubernetes", "--node-name", "node-7"])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&printed).unwrap())
        .spawn()
        .unwrap();
    let seen = || std::fs::read_to_string(&printed).unwrap();
    wait_until("the first look", LIMIT, || seen().contains("changes follow"));
    netns.sh(DROP);
    wait_until("the rule is told", LIMIT, || seen().contains("--dport 22 -j DROP\n      reported"));
    restore(60);
    wait_until("the restore is told", LIMIT, || seen().contains("changes of allowed rules"));
    watch.kill().unwrap();
    watch.wait().unwrap();
    seen()
}

#[test]
fn watch() {
    compare("monitor watch --profile base,kubernetes", &with_command_line(watch_once));
}

fn history_once() -> String {
    let (netns, state) = (Netns::new(), tempfile::tempdir().unwrap());
    let directory = state.path().to_str().unwrap();
    let agent = Agent::start(&netns, &["--profile", "base", "--state-dir", directory]);
    agent.wait_for("compliant", LIMIT);
    netns.sh(DROP);
    let arguments = ["history", "--since", "24h", "--unexpected", "--state-dir", directory];
    let printed = || lossy(&Command::new(MONITOR).args(arguments).output().unwrap());
    wait_until("the rule is recorded", LIMIT, || printed().contains("--dport 22"));
    printed()
}

#[test]
fn history() {
    let command = "monitor history --state-dir /var/lib/iptables-monitor --since 24h --unexpected";
    compare(command, &with_command_line(history_once));
}

#[test]
fn why() {
    let allowlist =
        AllowlistDir::new(&[("filter", "# ours\n\n^-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT$\n")]);
    let rule = "iptables -I INPUT -p tcp --dport 22 -j ACCEPT";
    let output = Command::new(MONITOR).args(["why", rule, "--input", allowlist.path()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", lossy(&output));
    let printed = lossy(&output).replace(allowlist.path(), "/etc/config");
    compare(&format!("monitor why '{rule}' --input /etc/config"), &printed);
}
