//! Nodes where something is missing or refused: programs, procfs, netlink.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::support::live::Agent;
use super::support::{AllowlistDir, Checked, MONITOR, Netns, lossy, wait_until};

/// What prints or changes rules, of every backend and family.
const PROGRAMS: [&str; 25] = [
    "nft",
    "iptables",
    "iptables-save",
    "iptables-nft",
    "iptables-nft-save",
    "iptables-legacy",
    "iptables-legacy-save",
    "ip6tables",
    "ip6tables-save",
    "ip6tables-nft",
    "ip6tables-nft-save",
    "ip6tables-legacy",
    "ip6tables-legacy-save",
    "arptables",
    "arptables-save",
    "arptables-nft-save",
    "arptables-legacy-save",
    "ebtables",
    "ebtables-save",
    "ebtables-nft-save",
    "ebtables-legacy-save",
    "xtables-nft-multi",
    "xtables-legacy-multi",
    "ipset",
    "ip",
];

/// One rule of each kind, with what programs used to be asked for: names of ipsets, elements, declarations.
const EVERYTHING: &str = "ipset create friends hash:ip
     iptables-nft -A INPUT -p tcp --dport 22 -m set --match-set friends src -j ACCEPT
     iptables-nft -A INPUT -i eth9 -j LOG --log-prefix 'dropped: '; iptables-nft -A INPUT -i eth9 -j DROP
     ip6tables-nft -t nat -A POSTROUTING -j MASQUERADE
     iptables-legacy -A OUTPUT -m set --match-set friends dst -j ACCEPT
     ip6tables-legacy -A OUTPUT -j ACCEPT; arptables-legacy -A INPUT -j ACCEPT
     nft insert rule ip filter INPUT tcp dport { 23, 24 } accept
     nft 'add table inet x; add set inet x s { type ipv4_addr; }; add element inet x s { 10.0.0.1 }
          add map inet x m { type inet_service : verdict; }; add chain inet x c; add element inet x m { 80 : jump c }
          add chain inet x b { type filter hook input priority 0; }; add rule inet x b ip saddr @s tcp dport vmap @m'";

/// Every program that could print rules is one that tells when it is started, and then fails.
#[test]
fn live_reading_starts_no_program() {
    let netns = Netns::new();
    netns.sh(EVERYTHING);
    let directory = tempfile::tempdir().unwrap();
    let (fakes, started) = (directory.path().join("fakes"), directory.path().join("started"));
    std::fs::create_dir(&fakes).unwrap();
    for program in PROGRAMS {
        let fake = fakes.join(program);
        std::fs::write(&fake, format!("#!/bin/sh\necho \"$0 $*\" >> {}\nexit 1\n", started.display()))
            .unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", fakes.display(), std::env::var("PATH").unwrap());
    let monitor = |args: &[&str]| {
        let mut command = netns.command("env");
        command.arg(format!("PATH={path}")).arg(MONITOR).args(args);
        command
    };
    let said = || std::fs::read_to_string(&started).unwrap_or_default();
    assert!(!netns.command("env").arg(format!("PATH={path}")).arg("nft").output().unwrap().status.success());
    assert_eq!(said().lines().count(), 1, "the fakes are not found: {}", said());
    std::fs::remove_file(&started).unwrap();

    let lists = AllowlistDir::new(&[("filter", "^-A INPUT -i eth9 -j DROP$"), ("nftables", "^elements .*")]);
    let state = directory.path().join("state").display().to_string();
    let log = directory.path().join("kern.log");
    let line =
        "Nov 21 10:16:24 n kernel: dropped: IN=eth0 OUT= SRC=192.0.2.1 DST=10.0.0.2 PROTO=TCP SPT=1 DPT=2\n";
    std::fs::write(&log, line).unwrap();
    let source = format!("file:{}", log.display());
    let judged = ["--input", lists.path(), "--input6", lists.path()];
    let run = |args: &[&str], code: i32| {
        let output = monitor(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", lossy(&output));
        assert_eq!(said(), "", "{args:?}");
    };

    run(&[&["check", "--format", "json"], &judged[..]].concat(), 1);
    let checked =
        Checked::of(&monitor(&[&["check", "--format", "json"], &judged[..]].concat()).output().unwrap());
    assert_eq!(checked.reasons(), ["MixedBackends"], "{:#}", checked.json);
    {
        let args = ["--sink", "none", "--interval", "1h", "--state-dir", &state, "--drops-source", &source];
        let agent = Agent::spawn(&netns, &mut monitor(&[&args[..], &judged[..]].concat()));
        let limit = Duration::from_secs(60);
        agent.wait_for("violations", limit);
        netns.sh("iptables-nft -A INPUT -s 192.0.2.7 -j DROP; nft add element inet x s { 10.0.0.2 }");
        agent.wait("the change is seen", limit, |status| format!("{status}").contains("192.0.2.7/32"));
        let journal = || lossy(&monitor(&["history", "--state-dir", &state]).output().unwrap());
        wait_until("the change is in the journal", limit, || journal().contains("192.0.2.7/32"));
    }
    assert_eq!(said(), "", "the agent, and history");
    {
        let watch = Agent::spawn(&netns, &mut monitor(&[&["watch"], &judged[..]].concat()));
        wait_until("watch has begun", Duration::from_secs(60), || watch.log().contains("changes follow"));
        netns.sh("iptables-nft -D INPUT -s 192.0.2.7 -j DROP");
        wait_until("watch tells the change", Duration::from_secs(60), || {
            watch.log().contains("192.0.2.7/32")
        });
    }
    assert_eq!(said(), "", "watch");
    run(&["history", "--state-dir", &state], 0);
    let why = ["why", "iptables -A INPUT -i eth9 -j DROP", "--state-dir", &state];
    run(&[&why[..], &judged[..]].concat(), 0);
    run(&["drops", "--source", &source], 0);
    run(&["drops", "advise"], 0);
}

/// As the DaemonSet runs it: root with this capability and no other.
#[test]
fn with_one_capability_everything_is_read() {
    let netns = Netns::new();
    netns.sh(EVERYTHING);
    let args =
        ["--bounding-set=-all,+net_admin", "--inh-caps=-all", "--", MONITOR, "check", "--format", "json"];
    let output = netns.command("setpriv").args(args).args(["--profile", "base"]).output().unwrap();
    let (few, all) = (Checked::of(&output), netns.check(&["--profile", "base"]));
    assert_eq!(few.json["ruleset_hash"], all.json["ruleset_hash"], "{:#}", few.json);
    assert_eq!((few.verdict(), few.reasons(), few.rules()), (all.verdict(), all.reasons(), all.rules()));
}

/// The same where there is none to be found: an empty /usr/sbin in a mount namespace of its own.
#[test]
fn rules_are_read_without_any_program() {
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
    let script = format!(
        "mount -t tmpfs none /usr/sbin && PATH=/usr/bin:/bin exec {MONITOR} check --format json --input {0} --input6 {0}",
        lists.path()
    );
    let output = netns.command("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let checked = Checked::of(&output);
    checked.expect("violations", 1);
    let expected = ["ip filter INPUT tcp dport 23 accept", "-A OUTPUT -m mark --mark 0x4000/0x4000 -j DROP"];
    let mut lines = checked.lines();
    lines.sort_by_key(|line| line.starts_with('-'));
    assert_eq!(lines, expected, "{:#}", checked.json);
    assert_eq!(checked.reasons(), ["MixedBackends"], "{:#}", checked.json);
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
