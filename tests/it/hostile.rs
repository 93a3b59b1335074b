//! Rule states that other monitors take for compliant, on the real kernel.

use super::support::{AllowlistDir, Checked, Netns};

/// What the older system allows, as far as these states touch it.
fn older_allowlist() -> AllowlistDir {
    AllowlistDir::new(&[
        (
            "global",
            "^-N .*\n^-P .*\n^-A (KUBE-FIREWALL) .*\n\n^-A .* -j (KUBE-FIREWALL)\n^.*--comment.*cilium:\n\
             ^-A CILIUM_\\S+ \n",
        ),
        ("filter", "-A INPUT -p udp --dport 68 -j ACCEPT\n"),
        ("nat", "-A POSTROUTING -j SWIFT\n"),
    ])
}

const STATES: [(u32, &str); 9] = [
    (1, "iptables-nft -A INPUT -p tcp --dport 22 -j DROP"),
    (
        2,
        "iptables-nft -A INPUT -p tcp --dport 22 -j DROP
         nft add rule ip filter INPUT limit rate 3/second log prefix seen",
    ),
    (
        3,
        "nft add table inet evil
         nft add chain inet evil input '{ type filter hook input priority -300; }'
         nft add rule inet evil input tcp dport 22 drop",
    ),
    (4, "iptables-legacy -A INPUT -p tcp --dport 22 -j DROP"),
    (5, "iptables-nft -A INPUT -m comment --comment 'cilium: trust me' -j DROP"),
    (6, "iptables-nft -P INPUT DROP"),
    (7, "iptables-nft -A INPUT -m comment --comment $'hello\\n-N cilium: x' -j DROP"),
    (
        8,
        "iptables-nft -N KUBE-FIREWALL
         iptables-nft -A INPUT -p tcp --dport 22 -j KUBE-FIREWALL
         iptables-nft -A KUBE-FIREWALL -j DROP",
    ),
    (
        9,
        "iptables-nft -N KUBE-FIREWALL
         iptables-nft -A INPUT -j KUBE-FIREWALL
         nft add set ip filter s '{ type ipv4_addr; }'
         nft add rule ip filter INPUT ip saddr @s jump KUBE-FIREWALL",
    ),
];

fn judge(script: &str, args: &[&str]) -> Checked {
    let netns = Netns::new();
    netns.sh(script);
    netns.check(args)
}

#[test]
fn the_nine_states_under_the_older_allowlist() {
    let allowlist = older_allowlist();
    for (state, script) in STATES {
        let checked = judge(script, &["--input", allowlist.path(), "--ipv6", "false"]);
        // 5, 6 and 8 are what the text of that allowlist allows
        let allowed = matches!(state, 5 | 6 | 8);
        assert_eq!(checked.code == 0, allowed, "state {state}: {:#}", checked.json);
        assert!(matches!(checked.code, 0 | 1 | 3), "state {state}: {:#}", checked.json);
    }
}

#[test]
fn the_nine_states_under_our_profiles() {
    for (state, script) in STATES {
        let checked = judge(script, &["--profile", "base,kubernetes", "--ipv6", "false"]);
        let expected: &[i32] = if matches!(state, 5 | 6 | 8) { &[1] } else { &[1, 3] };
        assert!(expected.contains(&checked.code), "state {state}: {:#}", checked.json);
    }
}

#[test]
fn an_empty_node_is_compliant() {
    judge("true", &["--profile", "base"]).expect("compliant", 0);
}

#[test]
fn accepting_policies_and_empty_chains_are_compliant_in_both_backends() {
    let script = "for b in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do
        for t in filter nat mangle raw security; do $b -t $t -N USER; $b -t $t -L >/dev/null; done; done";
    let checked = judge(script, &["--profile", "base"]);
    checked.expect("compliant", 0);
    assert_eq!(checked.json["tables"].as_array().unwrap().len(), 20, "{:#}", checked.json);
}

#[test]
fn a_rule_that_iptables_misprints_is_shown_as_what_it_is() {
    let allowlist = AllowlistDir::new(&[("filter", "^-A INPUT -j TRUSTED$")]);
    let checked = judge(
        "iptables-nft -N TRUSTED
         iptables-nft -A INPUT -j TRUSTED
         nft add rule ip filter INPUT ip daddr set 10.0.0.9 jump TRUSTED",
        &["--input", allowlist.path(), "--profile", "base"],
    );
    checked.expect("violations", 1);
    assert_eq!(checked.lines(), ["ip filter INPUT ip daddr set 10.0.0.9 jump TRUSTED"]);
    let violation = &checked.json["violations"][0];
    assert_eq!((&violation["backend"], &violation["position"]), (&"nftables".into(), &2.into()));
}

#[test]
fn a_rule_that_a_program_adds_is_seen() {
    let netns = Netns::new();
    netns.within(|| {
        let iptables = iptables::new(false).expect("iptables(8)");
        iptables.new_chain("nat", "AGENT").expect("a chain");
        iptables.append("nat", "OUTPUT", "-d 169.254.169.254 -p tcp --dport 80 -j AGENT").expect("a rule");
    });
    let checked = netns.check(&["--profile", "base,kubernetes"]);
    checked.expect("violations", 1);
    assert_eq!(checked.lines(), ["-A OUTPUT -d 169.254.169.254/32 -p tcp -m tcp --dport 80 -j AGENT"]);
}

#[test]
fn rules_in_both_backends_are_reported_but_do_not_decide() {
    let allowlist = AllowlistDir::new(&[("filter", "^-A INPUT -j ACCEPT$")]);
    let script = "iptables-nft -A INPUT -j ACCEPT; iptables-legacy -A INPUT -j ACCEPT";
    let checked = judge(script, &["--input", allowlist.path(), "--profile", "base"]);
    checked.expect("compliant", 0);
    assert_eq!(checked.reasons(), ["MixedBackends"]);
}

#[test]
fn ipv6_rules_without_an_allowlist_make_the_verdict_unknown() {
    for tool in ["ip6tables-nft", "ip6tables-legacy"] {
        let netns = Netns::new();
        netns.sh(&format!("{tool} -N EMPTY"));
        netns.check(&["--profile", "base", "--input6", "/nonexistent"]).expect("compliant", 0);
        netns.sh(&format!("{tool} -A INPUT -j DROP"));
        let checked = netns.check(&["--profile", "base", "--input6", "/nonexistent"]);
        checked.expect("unknown", 3);
        assert_eq!(checked.reasons(), ["IPv6Unchecked"]);
        netns.check(&["--profile", "base", "--ipv6", "true"]).expect("violations", 1);
        netns.check(&["--profile", "base", "--ipv6", "false"]).expect("compliant", 0);
    }
    judge("ip6tables-nft -P FORWARD DROP", &["--profile", "base", "--input6", "/nonexistent"])
        .expect("unknown", 3);
}

#[test]
fn native_tables_can_be_left_out() {
    let script = "nft add table inet mine; nft add chain inet mine c '{ type filter hook input priority 0; policy drop; }'";
    judge(script, &["--profile", "base"]).expect("violations", 1);
    judge(script, &["--profile", "base", "--nftables", "false"]).expect("compliant", 0);
}

#[test]
fn reading_leaves_the_kernel_as_it_was() {
    let netns = Netns::new();
    netns.sh("iptables-legacy -A INPUT -j ACCEPT; nft add table inet x");
    let state = || {
        netns.sh("cat /proc/net/ip_tables_names /proc/net/ip6_tables_names /proc/net/arp_tables_names
                  nft -a list ruleset 2>/dev/null")
    };
    let generation = || {
        netns.within(|| {
            let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
            iptables_monitor::host::netlink::nfnetlink::Nfnetlink::open(end).unwrap().generation().unwrap()
        })
    };
    let before = (state(), generation());
    netns.check(&["--profile", "base", "--ipv6", "true"]).expect("violations", 1);
    assert_eq!((state(), generation()), before);
}

/// What stands behind the chain's name in the line of each rule, and of each chain that has no plain name: bytes that
/// could be read as something else are hexadecimal.
#[test]
fn forged_lines_of_interface_and_chain_names_never_pass() {
    for (script, expected) in [
        ("iptables-nft -A INPUT -i $'e\\n-N x' -j DROP", &["--raw-head 0"][..]),
        ("iptables-legacy -A INPUT -i $'e\\n-N x' -j DROP", &["--raw-head 0"]),
        (
            "iptables-nft -A INPUT -i '\"q' -j DROP; iptables-nft -A INPUT -j ACCEPT",
            &["--raw-head 0", "-j ACCEPT"],
        ),
        (
            "iptables-legacy -A INPUT -i '\"q' -j DROP; iptables-legacy -A INPUT -j ACCEPT",
            &["--raw-head 0", "-j ACCEPT"],
        ),
        (
            "iptables-legacy -N '\"x'; iptables-legacy -A '\"x' -j DROP; iptables-legacy -A INPUT -j '\"x'",
            &["-N --raw-chain 2278", "-j --raw-chain 2278", "-A --raw-chain 2278 -j DROP"],
        ),
        (
            "iptables-nft -N '\"x'; iptables-nft -A '\"x' -j DROP; iptables-nft -A INPUT -j '\"x'",
            &["-N --raw-chain 2278", "-j --raw-chain 2278", "-A --raw-chain 2278 -j DROP"],
        ),
        (
            "iptables-legacy -A INPUT -i '--comment \"x' -j DROP; iptables-legacy -A INPUT -m comment --comment 'a b' -j DROP",
            &["--raw-head 0", "-m comment --comment \"a b\" -j DROP"],
        ),
        ("iptables-legacy -A INPUT ! -i 'lo -p tcp' -j DROP", &["--raw-head 0"]),
        ("iptables-nft -A INPUT ! -i 'lo -p tcp' -j DROP", &["--raw-head 0"]),
        ("iptables-legacy -A INPUT -m recent --set --name 'a -j ACCEPT' -j DROP", &["-m recent --raw 1:"]),
        (
            "iptables-nft -A INPUT -m comment --comment $'a\\nCOMMIT' -j DROP",
            &["-m comment --raw 0:610a434f4d4d4954"],
        ),
        ("iptables-nft -A INPUT -m comment --comment $'x\\xff' -j DROP", &["-m comment --raw 0:78ff0000"]),
        ("iptables-legacy -A INPUT -j LOG --log-prefix $'x\\xff'", &["-j LOG --raw 0:040078ff0000"]),
        (
            "iptables-legacy -A INPUT -m comment --comment $'a\\nCOMMIT' -j DROP",
            &["-m comment --raw 0:610a434f4d4d4954"],
        ),
    ] {
        let checked = judge(script, &["--profile", "base", "--ipv6", "false"]);
        checked.expect("violations", 1);
        let lines = checked.lines();
        let rests: Vec<_> = lines.iter().map(|line| line.strip_prefix("-A INPUT ").unwrap_or(line)).collect();
        assert_eq!(rests.len(), expected.len(), "{script}: {lines:#?}");
        assert!(
            expected.iter().all(|start| rests.iter().any(|rest| rest.starts_with(start))),
            "{script}: {lines:#?}"
        );
        assert!(lines.iter().all(|line| !line.contains(['\n', '\t'])), "{lines:#?}");
    }
}

#[test]
fn tables_and_chains_that_are_not_in_force_are_no_compliance() {
    let allow_all = AllowlistDir::new(&[("global", "^-\n"), ("nftables", ".")]);
    let filter = "nft add table ip filter; nft add chain ip filter INPUT";
    for (script, reason) in [
        (
            "iptables-nft -A INPUT -j DROP; nft add table ip filter '{ flags dormant; }'".to_owned(),
            "TableInactive",
        ),
        (format!("{filter}; nft add rule ip filter INPUT counter drop"), "TableInactive"),
    ] {
        let checked = judge(&script, &["--input", allow_all.path(), "--ipv6", "false"]);
        assert!(matches!(checked.code, 1 | 3), "{script}: {:#}", checked.json);
        assert!(checked.reasons().contains(&reason), "{script}: {:#}", checked.json);
    }
    // a base chain elsewhere is judged as the native chain it is
    let foreign = format!("{filter} '{{ type filter hook prerouting priority -5; }}'");
    let checked = judge(&foreign, &["--profile", "base", "--ipv6", "false"]);
    assert_eq!(checked.code, 0, "an accepting base chain is allowed by the profile: {:#}", checked.json);
    let checked = judge(&foreign, &["--input", AllowlistDir::new(&[]).path(), "--ipv6", "false"]);
    assert!(
        checked.lines().iter().any(|line| line.starts_with("chain ip filter INPUT ")),
        "{:#}",
        checked.json
    );
}

#[test]
fn a_native_rule_among_those_of_iptables_disturbs_no_other() {
    let netns = Netns::new();
    netns.sh(
        "(echo '*filter'; for i in $(seq 2000); do echo \"-A INPUT -s 10.0.0.1 -j ACCEPT\"; done; echo COMMIT) |
            iptables-nft-restore
         nft add rule ip filter INPUT ct state established accept",
    );
    let allowlist = AllowlistDir::new(&[("filter", "^-A INPUT -s 10\\.0\\.0\\.1/32 -j ACCEPT$")]);
    let check = || netns.check(&["--input", allowlist.path(), "--profile", "base", "--ipv6", "false"]);
    let checked = check();
    checked.expect("violations", 1);
    assert_eq!(checked.lines(), ["ip filter INPUT ct state established accept"]);
    assert_eq!((checked.rules(), checked.reasons().len()), (2001, 0), "{:#}", checked.json["problems"]);
    // what changes beside it is seen
    netns.sh("iptables-nft -A INPUT -s 10.0.0.2 -j ACCEPT");
    assert_eq!(
        check().lines(),
        ["-A INPUT -s 10.0.0.2/32 -j ACCEPT", "ip filter INPUT ct state established accept"]
    );
}

#[test]
fn rules_of_arptables_are_native_lines_in_both_backends() {
    for tool in ["arptables-legacy", "arptables-nft"] {
        let netns = Netns::new();
        netns.sh(&format!("{tool} -A INPUT -j DROP; {tool} -A OUTPUT -d 10.0.0.1 -j MARK --set-mark 1"));
        let patterns =
            [("global", "^-"), ("nftables", "^chain arp filter \\S+ .* policy accept$")].map(|of| of);
        let allowlist = AllowlistDir::new(&patterns);
        let checked = netns.check(&["--input", allowlist.path(), "--ipv6", "false"]);
        checked.expect("violations", 1);
        let lines = checked.lines();
        assert!(
            lines[0].starts_with("arp filter INPUT ") && lines[0].ends_with("counter drop"),
            "{tool}: {lines:?}"
        );
        assert!(lines[1].starts_with("arp filter OUTPUT "), "{tool}: {lines:?}");
        assert!(
            (lines[1].contains("10.0.0.1") || lines[1].contains("0a000001"))
                && lines[1].contains(" -j MARK "),
            "{tool}: {lines:?}"
        );
        assert_eq!((lines.len(), checked.reasons().len()), (2, 0), "{tool}: {:#}", checked.json);
        let whole = AllowlistDir::new(&[("nftables", "^(chain )?arp ")]);
        netns.check(&["--input", whole.path(), "--ipv6", "false"]).expect("compliant", 0);
    }
}

#[test]
fn without_capabilities_the_refusal_is_one_sentence() {
    let netns = Netns::new();
    netns.sh("iptables-nft -A INPUT -j ACCEPT");
    let output = netns
        .command("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups"])
        .args([super::support::MONITOR, "check", "--format", "json", "--profile", "base"])
        .output()
        .unwrap();
    let checked = Checked::of(&output);
    checked.expect("unknown", 3);
    assert!(checked.reasons().contains(&"PermissionDenied"), "{:#}", checked.json);
}

/// nft leaves such text out, or aborts: the kernel does not.
#[test]
fn text_that_is_not_utf_8_is_shown() {
    let table = "nft add table inet t; nft add chain inet t c '{ type filter hook input priority 0; }'";
    for (script, line) in [
        (
            format!("{table}; nft add rule inet t c log prefix $'\"a\\xff\"' drop"),
            r#"inet t c log prefix "a\xff" drop"#,
        ),
        (
            format!("{table}; nft add rule inet t c drop comment $'\"a\\xff\"'"),
            r#"inet t c drop comment "a\xff""#,
        ),
        (
            "iptables-nft -A INPUT -j ACCEPT; nft add rule ip filter INPUT log prefix $'\"a\\xff\"' drop"
                .into(),
            r#"ip filter INPUT log prefix "a\xff" drop"#,
        ),
        (
            format!("{table}; nft add rule inet t c iifname != $'{{ \"a\\xff\", \"b\" }}' drop"),
            r#"inet t c iifname != { "a\xff", "b" } drop"#,
        ),
        (
            format!("{table}; nft add rule inet t c iifname $'\"a\\xff\"' drop"),
            r#"inet t c iifname "a\xff" drop"#,
        ),
        (
            format!("{table}; nft add rule inet t c tcp dport '{{ 22, 23 }}' log prefix $'\"a\\xff\"' drop"),
            r#"inet t c tcp dport { 22, 23 } log prefix "a\xff" drop"#,
        ),
    ] {
        let checked = judge(&script, &["--profile", "base", "--ipv6", "false"]);
        checked.expect("violations", 1);
        assert!(checked.lines().contains(&line), "{script}: {:#}", checked.json);
        assert_eq!(checked.reasons(), Vec::<&str>::new(), "{script}: {:#}", checked.json);
    }
    let allow_all = AllowlistDir::new(&[("global", "^-\n"), ("nftables", ".")]);
    for script in [
        format!("{table}; nft add rule inet t c iifname \"eth0\" log prefix '\"é\"' accept comment '\"ü\"'"),
        format!(
            "{table}; nft add set inet t s '{{ type ifname; }}'; nft add element inet t s $'{{ \"a\\xff\" }}'"
        ),
    ] {
        judge(&script, &["--input", allow_all.path(), "--ipv6", "false"]).expect("compliant", 0);
    }
}

/// iptables would print `-j __chain0` of it, and not what the chain does.
#[test]
fn a_chain_of_a_rules_own_is_shown_among_rules_of_iptables() {
    let script = "iptables-nft -A INPUT -s 10.0.0.1 -j ACCEPT
        nft add rule ip filter INPUT counter jump '{ tcp dport 22 accept; drop; }'";
    let allow_iptables = AllowlistDir::new(&[("global", "^-\n")]);
    let checked = judge(script, &["--input", allow_iptables.path(), "--ipv6", "false"]);
    checked.expect("violations", 1);
    assert_eq!(checked.lines(), ["ip filter INPUT counter jump { tcp dport 22 accept; drop }"]);
}

#[test]
fn devices_of_a_base_chain_are_shown() {
    let netns = Netns::new();
    netns.sh(
        "ip link add d0 type veth peer name d1
         nft add table netdev t
         nft add chain netdev t c '{ type filter hook ingress devices = { d1, d0 } priority 0; policy drop; }'",
    );
    let checked = netns.check(&["--profile", "base", "--ipv6", "false"]);
    checked.expect("violations", 1);
    assert_eq!(
        checked.lines(),
        ["chain netdev t c type filter hook ingress devices { \"d0\", \"d1\" } priority 0 policy drop"]
    );
    assert_eq!(checked.reasons(), [""; 0]);
}

/// From 6 kB on the kernel leaves out a rule that comes first in a dump, if the socket has received nothing large before.
#[test]
fn large_rules_are_read_whole_wherever_they_stand() {
    let allow_all = AllowlistDir::new(&[("global", "^-\n")]);
    for parts in [2, 3, 4, 8, 15] {
        let big = "-m u32 --u32 '6&0xFF=1' ".repeat(parts);
        let script = format!(
            "iptables-nft -A INPUT {big} -j DROP; iptables-nft -A INPUT -s 10.0.0.1 -j ACCEPT
             iptables-nft -N X; iptables-nft -A X -s 10.0.0.1 -j ACCEPT; iptables-nft -A X {big} -j DROP"
        );
        let checked = judge(&script, &["--input", allow_all.path(), "--ipv6", "false"]);
        checked.expect("compliant", 0);
        assert_eq!(checked.rules(), 4, "{parts} parts");
    }
}

#[test]
fn a_rule_too_large_for_every_tool_is_a_problem() {
    let allow_all = AllowlistDir::new(&[("global", "^-\n"), ("nftables", ".")]);
    let big = "-m u32 --u32 6&0xFF=1 ".repeat(25);
    let script = format!(
        "(echo '*filter'; echo '-A INPUT -s 10.0.0.1 -j ACCEPT'; echo \"-A INPUT {big} -j DROP\"
          echo '-A INPUT -s 10.0.0.2 -j DROP'; echo COMMIT) | iptables-nft-restore"
    );
    let checked = judge(&script, &["--input", allow_all.path(), "--ipv6", "false"]);
    checked.expect("unknown", 3);
    assert_eq!(checked.reasons(), ["CountMismatch"], "{:#}", checked.json);
}

#[test]
fn verdict_maps_and_their_jumps_are_read_whole() {
    let netns = Netns::new();
    netns.sh(
        "nft -f - <<'EOF'
         table inet t {
            chain a { accept; }
            chain b { goto a; }
            map m { type inet_service : verdict; elements = { 22 : jump a, 23 : goto b, 24 : drop }; }
            chain c { type filter hook input priority 0; policy accept; tcp dport vmap @m; tcp dport vmap { 80 : jump a, 81 : accept }; jump b; }
         }\nEOF".replace("\\n", "\n").as_str(),
    );
    let allow_all = AllowlistDir::new(&[("nftables", ".")]);
    let checked = netns.check(&["--input", allow_all.path(), "--ipv6", "false"]);
    checked.expect("compliant", 0);
    let none = netns.check(&["--profile", "base", "--ipv6", "false"]);
    for line in [
        "element inet t m 22 : jump a",
        "element inet t m 23 : goto b",
        "map inet t m type inet_service : verdict",
        "inet t c tcp dport vmap { 80 : jump a, 81 : accept }",
    ] {
        assert!(none.lines().contains(&line), "{line} in {:#?}", none.lines());
    }
}

#[test]
fn writes_into_packets_are_what_they_say() {
    let allow_all = AllowlistDir::new(&[("nftables", ".")]);
    for (family, writes) in [
        (
            "ip",
            &["ip daddr set 10.0.0.9", "ip ttl set 1", "ip dscp set 3", "ip ecn set 1", "ip id set 5"][..],
        ),
        (
            "ip",
            &["tcp dport set 80", "udp dport set 53", "tcp flags set syn", "tcp option maxseg size set 1200"],
        ),
        ("ip6", &["ip6 daddr set ::1", "ip6 hoplimit set 1", "ip6 dscp set 3", "tcp dport set 80"]),
        (
            "inet",
            &[
                "ip ttl set 1",
                "ip6 hoplimit set 1",
                "tcp dport set 80",
                "udp sport set 80",
                "ip saddr set 1.2.3.4",
            ],
        ),
        ("bridge", &["ether saddr set 00:11:22:33:44:55", "ip ttl set 1", "ip saddr set 1.2.3.4"]),
    ] {
        let netns = Netns::new();
        netns.sh(&format!(
            "nft add table {family} t; nft add chain {family} t c '{{ type filter hook input priority 0; }}'"
        ));
        for write in writes {
            netns.sh(&format!("nft add rule {family} t c {write}"));
            let checked =
                netns.check(&["--input", allow_all.path(), "--ipv6", "true", "--input6", allow_all.path()]);
            assert_eq!(checked.code, 0, "{family} {write}: {:#}", checked.json);
        }
    }
}
