//! `monitor check --compare`, with the real tools and with tools that fail.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use super::support::{MONITOR, Netns, lossy};

fn compare(netns: &Netns, path: &str, args: &[&str]) -> Output {
    let mut command = netns.command("env");
    command.arg(format!("PATH={path}")).args([MONITOR, "check", "--compare", "--node-name", "n"]).args(args);
    command.output().unwrap()
}

fn path() -> String {
    std::env::var("PATH").unwrap()
}

/// Plain rules of both backends and families, and a native table with a set and a map.
fn node() -> Netns {
    let netns = Netns::new();
    netns.sh("iptables-nft -N TRUSTED; iptables-nft -A TRUSTED -s 10.0.0.0/8 -j ACCEPT
         iptables-nft -A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -m comment --comment 'a \"b\"' -j TRUSTED
         iptables-nft -P FORWARD DROP; iptables-nft -t nat -A POSTROUTING -o eth0 -j MASQUERADE
         ip6tables-nft -A INPUT -p udp -m multiport --dports 53,67 -j ACCEPT
         iptables-legacy -A OUTPUT -m mark --mark 0x4000/0x4000 -j DROP; arptables-legacy -A INPUT -j ACCEPT
         nft 'add table inet x; add chain inet x c { type filter hook input priority 0; policy drop; }
              add set inet x s { type ipv4_addr; }; add element inet x s { 10.0.0.1, 10.0.0.2 }
              add map inet x m { type inet_service : verdict; }; add element inet x m { 80 : accept, 81 : drop }
              add rule inet x c ip saddr @s tcp dport vmap @m; add rule inet x c tcp dport { 22, 23 } counter accept'");
    netns
}

#[test]
fn tools_that_say_what_the_kernel_has_are_equal() {
    let output = compare(&node(), &path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", lossy(&output));
    let said = lossy(&output);
    assert!(said.starts_with("EQUAL  n: "), "{said}");
    for program in ["iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save", "nft"] {
        assert!(said.contains(program), "{program}: {said}");
    }
    assert!(said.contains("lines of arptables-legacy that are not compared: 4"), "{said}");
    let output = compare(&Netns::new(), &path(), &[]);
    assert!(lossy(&output).starts_with("EQUAL  n: 0 lines of the kernel"), "{}", lossy(&output));
}

/// nft 1.0.6 and iptables 1.8.9 print of these rules less than they do, or nothing.
#[test]
fn what_a_tool_leaves_out_is_shown_beside_what_the_kernel_has() {
    let netns = node();
    netns.sh("nft add rule ip filter INPUT ip daddr set 10.0.0.9 jump TRUSTED");
    let output = compare(&netns, &path(), &[]);
    let said = lossy(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("DIFFERENT  n: 1 difference between "), "{said}");
    let expected = "
iptables-nft, family ip, table filter, chain INPUT, rule 2
  kernel             | ip filter INPUT ip daddr set 10.0.0.9 jump TRUSTED
  iptables-nft-save  | -A INPUT -j TRUSTED
";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_missing_tool_is_named() {
    let netns = node();
    // an empty /usr/sbin in a mount namespace of its own
    let script =
        format!("mount -t tmpfs none /usr/sbin && PATH=/usr/bin:/bin exec {MONITOR} check --compare");
    let output = netns.command("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", lossy(&output));
    assert!(lossy(&output).contains("`iptables-save` is not installed"), "{}", lossy(&output));
    assert!(output.stdout.is_empty(), "{}", lossy(&output));
}

#[test]
fn a_tool_that_fails_or_hangs_is_not_compared_with() {
    for (script, why) in [
        ("nft -j list ruleset; echo 'something broke' >&2; exit 1", "something broke"),
        ("sleep 120", "did not end in time"),
        ("echo '{\"nftables\": [', ", "gave no whole answer"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let fake = directory.path().join("nft");
        std::fs::write(&fake, format!("#!/bin/sh\nPATH={}\n{script}\n", path())).unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", directory.path().display(), path());
        let output = compare(&node(), &path, &["--dump-timeout", "5s"]);
        assert_eq!(output.status.code(), Some(3), "{script}: {}", lossy(&output));
        assert!(lossy(&output).contains(why), "{script}: {}", lossy(&output));
    }
}
