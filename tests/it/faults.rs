//! Tools that hang, print half, fail, warn or are missing. These are the only fakes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::support::{AllowlistDir, Checked, LeftBehind, MONITOR, Netns};

/// Checks a node with one allowed native rule, with a fake `nft` first on `PATH`. What the real one says is in `whole`.
fn check_with(script: &str) -> Checked {
    check_in(tempfile::tempdir().unwrap().path(), script, "60")
}

/// The same, where the script and what it writes are in this directory, and a dump may take so many seconds.
fn check_in(directory: &Path, script: &str, seconds: &str) -> Checked {
    let fake = directory.join("nft");
    let netns = Netns::new();
    netns.sh("nft 'add table inet x; add chain inet x c; add rule inet x c tcp dport 22 accept'");
    std::fs::write(directory.join("whole"), netns.sh("nft -j list table inet x")).unwrap();
    std::fs::write(&fake, format!("#!/bin/sh\ncd {}\n{script}\n", directory.display())).unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(directory.join("nftables"), "^inet x c tcp dport 22 accept$").unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let output = netns
        .command(MONITOR)
        .env("PATH", path)
        .args(["check", "--format", "json", "--ipv6", "false", "--dump-timeout", seconds, "--input"])
        .arg(directory)
        .output()
        .unwrap();
    Checked::of(&output)
}

#[track_caller]
fn unknown_because(script: &str, reason: &str) -> Checked {
    expect_unknown(check_with(script), script, reason)
}

#[track_caller]
fn expect_unknown(checked: Checked, script: &str, reason: &str) -> Checked {
    checked.expect("unknown", 3);
    assert!(checked.reasons().contains(&reason), "{script}: {:#}", checked.json);
    checked
}

#[test]
fn the_fake_that_tells_the_truth_is_believed() {
    check_with("cat whole").expect("compliant", 0);
}

#[test]
fn a_tool_that_hangs_is_killed() {
    let (directory, script) =
        (tempfile::tempdir().unwrap(), "cat whole; sleep 120 & echo $! $$ > left; sleep 120");
    expect_unknown(check_in(directory.path(), script, "1"), script, "DumpTimeout");
    for process in LeftBehind::wait_for(&directory.path().join("left"), 2) {
        process.wait_end("it was to be killed at the deadline");
    }
}

/// Starts a process that has left the tool's group when its number is written down, and holds these streams of the tool
/// for two minutes.
fn leave_stray(streams: &str) -> String {
    format!(
        "setsid sh -c 'echo $$ > left; exec sleep 120' {streams} & until [ -s left ]; do sleep 0.01; done"
    )
}

/// Nobody waits for it: it is still there when the check is over.
#[track_caller]
fn stays(directory: &Path) {
    let left = LeftBehind::wait_for(&directory.join("left"), 1);
    assert!(left.iter().all(LeftBehind::is_alive), "it was waited for");
}

#[test]
fn a_stray_process_on_standard_error_delays_nothing() {
    let (directory, script) = (tempfile::tempdir().unwrap(), leave_stray(">/dev/null") + "; cat whole");
    check_in(directory.path(), &script, "60").expect("compliant", 0);
    stays(directory.path());
}

#[test]
fn a_deadline_holds_against_a_stray_process() {
    for streams in [">/dev/null", "2>/dev/null", ""] {
        for then in ["sleep 120", "exec >&- 2>&-; sleep 120"] {
            let directory = tempfile::tempdir().unwrap();
            let script = format!("{}; cat whole; {then}", leave_stray(streams));
            expect_unknown(check_in(directory.path(), &script, "1"), &script, "DumpTimeout");
            stays(directory.path());
        }
    }
}

#[test]
fn half_a_dump_is_not_the_whole() {
    unknown_because("head -c 130 whole", "MalformedLine");
    unknown_because("head -c -3 whole", "MalformedLine");
    unknown_because("true", "MalformedLine");
}

#[test]
fn a_failing_tool_is_not_believed() {
    let checked = unknown_because("cat whole; echo 'something broke' >&2; exit 1", "DumpFailed");
    assert!(format!("{:#}", checked.json).contains("something broke"));
    unknown_because("cat whole; kill -SEGV $$", "DumpFailed");
}

#[test]
fn an_unforeseen_warning_is_a_problem() {
    unknown_because("cat whole; echo 'nft: something new' >&2", "UnexpectedOutput");
}

#[test]
fn text_that_differs_from_the_kernel_is_a_problem() {
    let edited = |edit: &str| {
        format!(
            "python3 -c 'import json; all = json.load(open(\"whole\")); items = all[\"nftables\"]; {edit}; print(json.dumps(all))'"
        )
    };
    check_with(&edited("pass")).expect("compliant", 0);
    let rules = "[item for item in items if \"rule\" in item]";
    unknown_because(&edited(&format!("items.remove({rules}[0])")), "CountMismatch");
    unknown_because(&edited(&format!("items.append({rules}[0])")), "CountMismatch");
    let moved = check_with(&edited(&format!("{rules}[0][\"rule\"][\"chain\"] = \"other\"")));
    moved.expect("violations", 1);
    assert!(moved.reasons().contains(&"CountMismatch"), "{:#}", moved.json);
}

/// What the rules of iptables say is known without its programs, and without nft.
#[test]
fn rules_of_iptables_are_read_without_any_program() {
    let netns = Netns::new();
    netns.sh("iptables-nft -A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
         iptables-legacy -A OUTPUT -m mark --mark 0x4000/0x4000 -j DROP
         ip6tables-nft -A INPUT -j ACCEPT; ip6tables-legacy -t nat -A POSTROUTING -j MASQUERADE
         nft insert rule ip filter INPUT tcp dport 23 accept");
    let lists = AllowlistDir::new(&[
        (
            "filter",
            "^-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT$\n^-A INPUT -j ACCEPT$",
        ),
        ("nat", "^-A POSTROUTING -j MASQUERADE$"),
        ("global", "^-P [A-Z]+ ACCEPT$"),
    ]);
    // an empty /usr/sbin in a mount namespace of its own
    let script = format!(
        "mount -t tmpfs none /usr/sbin && PATH=/usr/bin:/bin exec {MONITOR} check --format json --input {0} --input6 {0}",
        lists.path()
    );
    let output = netns.command("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let checked = Checked::of(&output);
    checked.expect("violations", 1);
    let lines: Vec<_> = checked.json["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["line"].as_str().unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{:#}", checked.json);
    assert!(lines.contains(&"-A OUTPUT -m mark --mark 0x4000/0x4000 -j DROP"), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("ip filter INPUT [")), "{lines:?}");
    assert_eq!(checked.reasons(), ["MixedBackends"], "{:#}", checked.json);
}

#[test]
fn a_missing_tool_is_named() {
    let netns = Netns::new();
    netns.sh("nft add table inet x");
    let script = format!(
        "mount -t tmpfs none /usr/sbin && PATH=/usr/bin:/bin exec {MONITOR} check --format json --profile base"
    );
    let output = netns.command("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let checked = Checked::of(&output);
    checked.expect("unknown", 3);
    assert!(checked.reasons().contains(&"MissingTool"), "{:#}", checked.json);
    assert!(format!("{:#}", checked.json).contains("`nft` is not installed"));
}

/// Which legacy tables there are is said by procfs alone.
#[test]
fn without_procfs_nobody_is_compliant() {
    let netns = Netns::new();
    netns.sh("iptables-legacy -A INPUT -p tcp --dport 666 -j ACCEPT");
    let directory = tempfile::tempdir().unwrap();
    for hide in [
        "umount -l /proc",
        "mount -t tmpfs none /proc",
        "mount -t tmpfs none /proc && mkdir -p /proc/thread-self/net",
    ] {
        let script = format!(
            "mount --make-rprivate /; cd /; {hide}
             exec {MONITOR} check --format json --profile base --ipv6 false --input {}",
            directory.path().display()
        );
        let output = netns.command("unshare").args(["--mount", "sh", "-ec", &script]).output().unwrap();
        let checked = Checked::of(&output);
        checked.expect("unknown", 3);
        assert!(checked.reasons().contains(&"KernelRead"), "{hide}: {:#}", checked.json);
    }
}

/// Runs a program under a filter that refuses sockets of netlink as a kernel without them would: systemd's
/// `RestrictAddressFamilies=` does the same.
///
/// *Source*: `struct sock_filter` in `include/uapi/linux/filter.h`; seccomp(2).
const WITHOUT_NETLINK: &str = "
import ctypes, os, platform, struct, sys
socket = {'x86_64': 41, 'aarch64': 198}[platform.machine()]
load, same, answer, allow, refuse = 0x20, 0x15, 0x06, 0x7fff0000, 0x00050000 | 97
rules = [(load, 0, 0, 0), (same, 0, 3, socket), (load, 0, 0, 16), (same, 0, 1, 16), (answer, 0, 0, refuse), (answer, 0, 0, allow)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *rule) for rule in rules))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', len(rules), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_filter_that_refuses_netlink_makes_nobody_compliant() {
    let netns = Netns::new();
    netns.sh("nft 'add table inet x; add chain inet x c; add rule inet x c tcp dport 22 drop'");
    let directory = tempfile::tempdir().unwrap();
    let output = netns
        .command("python3")
        .args(["-c", WITHOUT_NETLINK, MONITOR, "check", "--format", "json", "--ipv6", "false", "--input"])
        .arg(directory.path())
        .output()
        .unwrap();
    let checked = Checked::of(&output);
    checked.expect("unknown", 3);
    assert!(checked.reasons().contains(&"KernelRead"), "{:#}", checked.json);
}
