//! `monitor drops` as people and scripts run it: on files, in pipes, killed at any moment.
//! That lines are understood is tested elsewhere.

use std::path::Path;
use std::process::{Command, Stdio};

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::program::{LIMIT, LogFile, Program, icmp, tcp};
use crate::support::{MONITOR, Netns, lossy, wait_until};

fn line(seconds_ago: i64, text: &str) -> String {
    let at = Timestamp::now().checked_sub(seconds_ago.seconds()).unwrap();
    format!("{} n kernel: [1.5] {text}\n", at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00"))
}

/// A log with a drop of each of so many kinds.
fn kinds(directory: &Path, count: u16) -> LogFile {
    let log = LogFile(directory.join("kern.log"));
    let text: String =
        (0..count).map(|n| line(5, &format!("d: {}", tcp("10.0.0.1", "10.0.0.2", n)))).collect();
    log.append(&text);
    log
}

fn drops(source: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(MONITOR);
    command.args(["drops", "--source", &format!("file:{}", source.display())]).args(args);
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", lossy(&output));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

fn sample(directory: &Path) -> std::path::PathBuf {
    let log = LogFile(directory.join("kern.log"));
    let lines = [
        line(7200, &format!("calico-drop: {}", tcp("10.0.0.1", "10.0.0.2", 80))),
        line(60, &format!("calico-drop: {}", tcp("10.0.0.1", "10.0.0.2", 80))),
        line(50, &format!("calico-drop: {}", tcp("10.0.0.1", "10.0.0.2", 443))),
        line(50, "device eth0 entered promiscuous mode"),
        line(40, &format!("other: {}", icmp("10.0.0.3", "10.0.0.2"))),
        line(30, &format!("calico-drop: {}", tcp("fd00:0000:0000:0000:0000:0000:0000:0001", "fd00::2", 53))),
        line(20, "calico-drop: IN=eth0 OUT= SRC=10.0.0.1 DST=10.0"),
    ];
    log.append(&lines.concat());
    log.0
}

#[test]
fn json_lines_are_as_the_schema_says() {
    let directory = tempfile::tempdir().unwrap();
    let log = sample(directory.path());
    let schema = std::fs::read_to_string("docs/schema/drops.v1.json").unwrap();
    let schema = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let count = |args: &[&str]| {
        let text = printed(drops(&log, &["--format", "json"]).args(args));
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{line}: {errors:?}");
        }
        text.lines().count()
    };
    assert_eq!(count(&[]), 6, "without a prefix every line of netfilter's counts");
    assert_eq!(count(&["--prefix", "calico-drop:"]), 5);
    assert_eq!(count(&["--prefix", "calico-drop:", "--since", "1h"]), 4);
    assert_eq!(count(&["--prefix", "drop:"]), 0, "only a whole word counts");
}

#[test]
fn a_pod_is_asked_of_the_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let log = sample(directory.path());
    let said = |args: &[&str]| {
        let mut command = drops(&log, args);
        let output = command.env_clear().env("HOME", directory.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", lossy(&output));
        assert!(output.stdout.is_empty(), "{}", lossy(&output));
        lossy(&output)
    };
    let nobody = said(&["--pod", "shop/web"]);
    assert!(nobody.contains("--pod shop/web") && nobody.contains("KUBECONFIG"), "{nobody}");
    for wrong in ["web", "shop/", "/web", "shop/web/1", "Shop/web", "shop/web 1", ""] {
        let refused = said(&["--pod", wrong]);
        assert!(refused.contains("not NAMESPACE/NAME"), "{wrong}: {refused}");
    }
}

#[tokio::test]
async fn only_packets_of_a_pod_are_printed() {
    let cluster = Cluster::new(
        "drops-pod",
        &json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]),
    )
    .await;
    cluster.pod("web", &["10.14.0.5"], false).await;
    let directory = tempfile::tempdir().unwrap();
    let log = LogFile(directory.path().join("kern.log"));
    let packets = [("10.14.0.5", 80), ("10.14.0.6", 81), ("10.14.0.5", 82)];
    packets
        .iter()
        .for_each(|(src, port)| log.append(&line(1, &format!("d: {}", tcp(src, "192.0.2.1", *port)))));
    let kubeconfig = cluster.kubeconfig(directory.path());
    let said = |pod: &str, format: &str| {
        let mut command = drops(&log.0, &["--format", format, "--pod", pod]);
        let output = command.env("KUBECONFIG", &kubeconfig).output().unwrap();
        assert!(output.status.success(), "{}", lossy(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = said("drops-pod/web", "json");
    let ports: Vec<_> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["dst_port"].as_u64()).collect();
    assert_eq!(ports, [Some(80), Some(82)], "{text}");
    let none = said("drops-pod/db", "text");
    assert!(none.starts_with("no such packet was logged\n") && none.contains("3 ignored"), "{none}");
}

#[test]
fn the_table_counts_and_adds_up() {
    let directory = tempfile::tempdir().unwrap();
    let log = sample(directory.path());
    let text = printed(&mut drops(&log, &["--prefix", "calico-drop:"]));
    let first = text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(first[..5], ["2", "10.0.0.1", "10.0.0.2", "80/tcp", "calico-drop:"], "{text}");
    assert!(text.lines().last().unwrap().contains("7 read, 5 packets"), "{text}");
    let output = drops(&directory.path().join("none"), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", lossy(&output));
    assert!(lossy(&output).contains("does not exist"), "{}", lossy(&output));
}

#[test]
fn a_file_named_twice_is_read_once() {
    let directory = tempfile::tempdir().unwrap();
    let log = sample(directory.path());
    let output = drops(&log, &["--source", "file:kern.log,file:./kern.log", "--format", "json"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", lossy(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 6);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("named twice").count(), 2, "{said}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let directory = tempfile::tempdir().unwrap();
    let log = kinds(directory.path(), 20_000);
    for args in [
        "--format json",
        "--format text",
        "--format text --follow --since 1h",
        "--format json --follow --since 1h",
    ] {
        let script = format!(
            "{MONITOR} drops --source file:{} {args} | head -1; echo ${{PIPESTATUS[0]}}",
            log.0.display()
        );
        let output = Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().last(), Some("0"), "{args}");
    }
}

#[test]
fn help_that_nobody_reads_ends_quietly() {
    for args in [&["--help"][..], &["drops", "--help"], &["--version"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(MONITOR).args(args).stdin(Stdio::null()).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}");
    }
}

#[test]
fn an_empty_variable_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let log = sample(directory.path());
    let mut command = drops(&log, &["--prefix", "calico-drop:"]);
    let empty =
        ["MONITOR_FORMAT", "MONITOR_PODS", "MONITOR_DROPS_PREFIX", "MONITOR_STATE_DIR", "MONITOR_INTERVAL"];
    command.envs(empty.map(|name| (name, "")));
    assert!(printed(&mut command).contains("7 read, 5 packets"));
}

#[test]
fn a_line_with_a_hole_in_it_is_not_complete() {
    let directory = tempfile::tempdir().unwrap();
    let log = LogFile(directory.path().join("kern.log"));
    let whole = line(5, &format!("d: {}", tcp("10.0.0.1", "10.0.0.2", 80)));
    log.append(&format!("{whole}{}{whole}", whole.replace("d: ", "\0\0d: ")));
    let text = printed(&mut drops(&log.0, &["--format", "json"]));
    let complete = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["complete"].clone());
    assert_eq!(complete.collect::<Vec<_>>(), [true, false, true], "{text}");
}

#[test]
fn what_a_closed_pipe_did_not_take_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let log = kinds(directory.path(), 30_000);
    let checkpoint = directory.path().join("checkpoint");
    let args = ["--format", "json", "--checkpoint", checkpoint.to_str().unwrap()];
    let whole = printed(&mut drops(&log.0, &args[..2]));
    assert_eq!(whole.lines().count(), 30_000);
    let mut child = drops(&log.0, &args).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut first, room) = ([0; 64], rustix::pipe::fcntl_getpipe_size(&stdout).unwrap());
    std::io::Read::read_exact(&mut stdout, &mut first).unwrap();
    drop(stdout);
    assert!(child.wait().unwrap().success());
    let rest = printed(&mut drops(&log.0, &args));
    let taken = whole.strip_suffix(&rest).expect("the last lines, in order");
    assert!(taken.len() <= first.len() + room, "{} bytes do not come again, and {room} fit", taken.len());
    assert_eq!(printed(&mut drops(&log.0, &args)), "", "what was printed does not come again");
}

#[test]
fn a_checkpoint_that_cannot_be_kept_is_said_while_it_follows() {
    let directory = tempfile::tempdir().unwrap();
    // the last directory is made, and no other
    let parent = directory.path().join("none");
    let checkpoint = parent.join("state/checkpoint");
    let args =
        ["--follow", "--format", "json", "--since", "1h", "--checkpoint", checkpoint.to_str().unwrap()];
    let program = Program::start(&mut drops(&sample(directory.path()), &args), directory.path());
    let warning = "a restart will not know what was delivered";
    wait_until("it is said", LIMIT, || program.output().contains(warning));
    std::fs::create_dir(&parent).unwrap();
    wait_until("it is tried again", LIMIT, || checkpoint.exists());
    assert_eq!(program.output().matches(warning).count(), 1, "{}", program.output());
}

#[test]
fn advice_is_printed_and_changes_nothing() {
    let netns = Netns::new();
    netns.sh("iptables-nft -A INPUT -p udp --dport 9 -j DROP");
    let before = netns.sh("nft -s list ruleset");
    let advice = netns.sh(&format!("{MONITOR} drops advise; {MONITOR} drops advise --nflog 7"));
    assert!(advice.contains("-j LOG") && advice.contains("--nflog-group 7"), "{advice}");
    assert!(advice.contains("# undo: "), "{advice}");
    assert_eq!(netns.sh("nft -s list ruleset"), before);
}
