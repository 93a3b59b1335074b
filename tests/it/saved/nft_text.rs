//! The text of `nft list ruleset`: loaded by the real nft into a namespace of its own, and never believed where it can lie.

use std::process::{Command, Stdio};

use super::{check, run};
use crate::support::{AllowlistDir, Checked, MONITOR, Netns, lossy};

const BASE: &[&str] = &["--profile", "base"];

/// A table with this rule, and nothing else.
fn table(rule: &str) -> String {
    format!(
        "table inet t {{\n\tchain c {{\n\t\ttype filter hook input priority filter; policy accept;\n\t\t{rule}\n\t}}\n}}\n"
    )
}

fn details(checked: &Checked) -> String {
    let problems = checked.json["problems"].as_array().unwrap();
    problems.iter().map(|problem| problem["detail"].as_str().unwrap().to_owned() + "\n").collect()
}

/// A rule set with much of what nft has, as nft itself prints it.
fn listed(netns: &Netns, options: &str) -> String {
    netns.sh("ip link add d0 type ifb; ip link add wg-5 type ifb");
    let script = r#"
table inet t {
  comment "a table } #"
  set addresses { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.1-192.0.2.9, 203.0.113.7 } ; }
  set timed { type ipv4_addr; flags timeout; timeout 1h; elements = { 192.0.2.1 timeout 5m, 192.0.2.2 } ; }
  set pairs { type ipv4_addr . inet_service; flags interval; elements = { 192.0.2.0/24 . 22-80, 192.0.2.7 . 443 } ; }
  map verdicts { type inet_service : verdict; elements = { 22 : accept, 80 : jump web, 81-89 : drop } ; flags interval; }
  map ports { type iface_index : verdict; elements = { "lo" : accept, "wg-5" : jump web } ; }
  counter seen { packets 5 bytes 100 ; }
  quota q { over 5 mbytes used 3 kbytes ; }
  ct helper ftp { type "ftp" protocol tcp ; }
  chain web { tcp dport { 80, 443 } counter accept comment "} # drop"; }
  chain input {
    type filter hook input priority filter - 5; policy drop;
    ct state established,related accept
    iif "lo" oif != "d0" accept
    ip saddr @addresses counter name seen drop
    ip saddr . tcp dport @pairs accept
    tcp dport vmap @verdicts
    meta skuid { 0, 1000-2000 } log prefix "x { y" group 2 accept
    ip saddr { 192.0.2.1, 198.51.100.0/24 } limit rate 5/minute burst 7 packets accept
  }
}
table netdev n {
  chain ingress { type filter hook ingress device "d0" priority 0; policy accept; ip protocol udp drop; }
}
table ip6 empty { }
"#;
    let output = netns.feed("nft", &["-f", "-"], script.as_bytes());
    assert!(output.status.success(), "{}", lossy(&output));
    netns.sh(&format!("nft {options} list ruleset"))
}

/// What is not the same for one node and the text of its rules.
fn judged(checked: &Checked) -> (Vec<&str>, &serde_json::Value, Vec<&str>) {
    (checked.lines(), &checked.json["tables"], checked.reasons())
}

#[test]
fn a_listing_is_judged_as_the_node_it_was_taken_from() {
    for options in ["", "-a", "-s"] {
        let netns = Netns::new();
        let text = listed(&netns, options);
        let live = netns.check(&["--profile", "base", "--ipv6", "false"]);
        let saved = check(&["--profile", "base", "--ipv6", "false"], &text);
        assert_eq!(judged(&saved), judged(&live), "{options}: {text}");
        assert_eq!((&saved.json["evidence"], saved.code), (&"namespace".into(), 1));
        // and again with every suggested pattern
        let violations = live.json["violations"].as_array().unwrap();
        let patterns: String = violations
            .iter()
            .map(|violation| violation["suggested_pattern"].as_str().unwrap().to_owned() + "\n")
            .collect();
        let allow = AllowlistDir::new(&[("nftables", &patterns)]);
        let args = ["--profile", "base", "--input", allow.path()];
        check(&args, &text).expect("compliant", 0);
        check(&args, &text.replace('\n', "\r\n")).expect("compliant", 0);
        let more = text.replacen("tcp dport { 80, 443 }", "tcp dport { 80, 444 }", 1);
        check(&args, &more).expect("violations", 1);
    }
}

/// Every lie that loading text can tell, and what it would have been.
#[test]
fn what_text_does_not_say_is_unknown_and_not_allowed() {
    let allow = AllowlistDir::new(&[
        ("nftables", "^(inet|ip) t c \n^chain inet t c \n^chain ip \n"),
        ("global", "^ip "),
    ]);
    let args = ["--profile", "base", "--input", allow.path()];
    check(&args, &table("tcp dport 22 accept")).expect("compliant", 0);
    for (text, reason) in [
        (table("# match-set foo src counter packets 0 bytes 0 drop"), "TableUnreadable"),
        (table("\n\t\tct state established accept"), "TableUnreadable"),
        (table("icmp id 5 accept"), "UnrenderedRule"),
        (table("xt match \"set\" counter packets 0 bytes 0 drop"), "TableUnreadable"),
        (table("meta skuid \"root\" accept"), "UnrenderedRule"),
        (table("meta skgid \"adm\" accept"), "UnrenderedRule"),
        (table("meta rtclassid \"cosmos\" accept"), "UnrenderedRule"),
        (table("meta iifgroup \"default\" accept"), "UnrenderedRule"),
        (table("ct label \"x\" accept"), "UnrenderedRule"),
        (table("socket cgroupv2 level 1 \"system.slice\" accept"), "UnrenderedRule"),
        (table("meta hour \"10:00\"-\"11:00\" accept"), "UnrenderedRule"),
        (table("ip version . ip saddr { 0 . 4.0.0.0 } accept"), "UnrenderedRule"),
        (table("ip saddr localhost accept"), "DumpFailed"),
        (table("tcp dport ssh accept"), "DumpFailed"),
        (table("iif \"0123456789abcdefg\" accept"), "DumpFailed"),
        (table("ip saddr 1.1.1.1 accept").repeat(2), "CountMismatch"),
        (format!("{}include \"/etc/hostname\"\n", table("accept")), "NotADump"),
        (format!("{}delete table inet t\n", table("accept")), "NotADump"),
        (format!("{}; flush ruleset\n", table("accept").trim_end()), "NotADump"),
        (format!("define x = 1\n{}", table("accept")), "NotADump"),
        (format!("{}flush chain inet t c\n", table("accept")), "NotADump"),
        (table("accept\n\t}\n}\nflush ruleset\ntable inet u {\n\tchain d {"), "NotADump"),
        (table("ip saddr $x accept"), "MalformedLine"),
        (table("log prefix \"no end accept"), "MalformedLine"),
        (table("log prefix \"a\0b\" accept"), "MalformedLine"),
        (table("accept\0"), "MalformedLine"),
        (format!("{}}}\n", table("accept")), "MalformedLine"),
        (table("accept").trim_end().to_owned(), "IncompleteDump"),
        (table("accept").trim_end().trim_end_matches('}').to_owned(), "IncompleteDump"),
        (table("accept").replace("\t\taccept\n", ""), "IncompleteDump"),
        ("table inet t\n".to_owned(), "IncompleteDump"),
        ("table inet t {\n}\n".to_owned(), "IncompleteDump"),
        (
            "table ip nat {\n\tchain PREROUTING {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n\t\t\
             tcp dport 22 redirect\n\t}\n}\n".to_owned(),
            "TableUnreadable",
        ),
        (
            format!("# Warning: table inet t is managed by iptables-nft, do not touch!\n{}", table("accept")),
            "TableUnreadable",
        ),
    ] {
        let checked = check(&args, &text);
        checked.expect("unknown", 3);
        assert_eq!(checked.reasons(), [reason], "{text}\n{}", details(&checked));
    }
}

/// A table that ends with its owner, or that is switched off, is read all the same.
#[test]
fn flags_of_a_table_do_not_hide_it() {
    for flags in ["owner", "owner,persist", "dormant", "dormant,owner"] {
        let text = table("tcp dport 22 drop").replacen('\n', &format!("\n\tflags {flags}\n\n"), 1);
        let checked = check(BASE, &text);
        assert!(checked.lines().contains(&"inet t c tcp dport 22 drop"), "{flags}: {:#}", checked.json);
    }
}

/// A rule that is left out does not hide the others, nor does a table.
#[test]
fn the_rest_is_judged() {
    let text = table("meta skuid \"root\" accept\n\t\ttcp dport 22 drop")
        + "table ip nat {\n\tchain OUTPUT {\n\t\taccept\n\t}\n}\ntable ip u {\n\tchain d {\n\t\tudp dport 53 drop\n\t}\n}\n";
    let checked = check(BASE, &text);
    checked.expect("violations", 1);
    assert!(checked.lines().contains(&"inet t c tcp dport 22 drop"), "{:#}", checked.json);
    assert!(checked.lines().contains(&"ip u d udp dport 53 drop"), "{:#}", checked.json);
    assert_eq!(checked.reasons(), ["TableUnreadable", "UnrenderedRule"], "{}", details(&checked));
}

/// A small number is the index of a device that is gone, and not one of those that were made.
#[test]
fn devices_keep_their_names_and_their_numbers() {
    let names = ["eth0", "enp0s31f6", "br-1", "cali0123456789a", "br@x", "veth.5"];
    let rules: Vec<String> = names.iter().map(|name| format!("iif \"{name}\" accept")).collect();
    let text = table(&[&rules.join("\n\t\t"), "\n\t\tiif 7 accept\n\t\toif { \"a\", \"b\" } drop"].concat());
    let checked = check(BASE, &text);
    for name in names {
        let line = format!("inet t c iif \"{name}\" accept");
        assert!(
            checked.lines().contains(&line.as_str()),
            "{line}: {:#}\n{}",
            checked.json,
            details(&checked)
        );
    }
    assert!(checked.lines().iter().any(|line| line.starts_with("inet t c iif ") && line.contains('7')));
    let rules = checked.lines().iter().filter(|line| line.starts_with("inet t c ")).count();
    assert_eq!(rules, names.len() + 2, "{:#}", checked.json);
}

#[test]
fn elements_that_are_about_to_expire_are_counted() {
    let set = "\tset s {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t\ttimeout 5m\n\t\telements = { 1.1.1.1 expires 1ms,\n\t\t\t     \
               1.1.1.2 timeout 10m expires 2ms }\n\t}\n\n\tchain";
    let checked = check(BASE, &table("ip saddr @s drop").replacen("\tchain", set, 1));
    assert_eq!(checked.reasons(), [""; 0], "{}", details(&checked));
    assert_eq!(checked.json["tables"][0]["set_elements"], 2, "{:#}", checked.json);
}

#[test]
fn bombs_are_refused_or_bounded() {
    let filler = "ip saddr 1.1.1.1 accept comment \"".to_owned() + &"x".repeat(100) + "\"\n\t\t";
    let large = table(&filler.repeat((100 << 20) / filler.len()));
    let output = run(&["--profile", "base", "--rules", "-"], large.as_bytes());
    assert_eq!(output.status.code(), Some(2), "{}", lossy(&output));
    assert!(lossy(&output).contains("more than 32 MiB of nft's text"), "{}", lossy(&output));
    for bomb in [
        table(&"jump {\n".repeat(50_000)),
        table(&format!("ip saddr {}", "{ ".repeat(50_000))),
        table(&"}\n".repeat(50_000)),
        table(&"{\n".repeat(50_000)),
        format!("table inet t {{{}", "\n;".repeat(1 << 20)),
        "table ".repeat(1 << 20) + "\n",
        table(&format!("ip saddr {{ {} }} accept", "1.1.1.1,".repeat(1 << 20))),
    ] {
        let checked = check(BASE, &bomb);
        checked.expect("unknown", 3);
        assert!(details(&checked).len() < 2000, "{}", details(&checked));
    }
}

/// Not only root: whoever may make a user namespace.
#[test]
fn no_privileges_are_needed() {
    let directory = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let program = directory.path().join("monitor");
    std::fs::copy(MONITOR, &program).unwrap();
    let report = directory.path().join("report.nft");
    std::fs::write(&report, table("iif \"eth5\" tcp dport 22 drop")).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&program)
        .args(["check", "--format", "json", "--profile", "base", "--rules"])
        .arg(&report)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let checked = Checked::of(&output);
    checked.expect("violations", 1);
    assert!(checked.lines().contains(&"inet t c iif \"eth5\" tcp dport 22 drop"), "{:#}", checked.json);
    assert_eq!(checked.reasons(), [""; 0], "{}", details(&checked));
}

#[test]
fn without_nft_or_a_namespace_the_problem_says_so() {
    for (namespace, prepare, reason, what) in [
        ("--mount", "mount --bind /dev/null /usr/sbin/nft", "MissingTool", "`nft` is not installed"),
        (
            "--user",
            "echo 0 > /proc/sys/user/max_net_namespaces",
            "KernelRead",
            "making a network namespace to load rules into",
        ),
    ] {
        let script = format!("{prepare} && exec {MONITOR} check --format json --profile base --rules -");
        let mut child = Command::new("unshare")
            .args([namespace, "--map-root-user", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), table("accept").as_bytes()).unwrap();
        let checked = Checked::of(&child.wait_with_output().unwrap());
        checked.expect("unknown", 3);
        assert_eq!(checked.reasons(), [reason], "{}", details(&checked));
        assert!(details(&checked).contains(what), "{}", details(&checked));
        assert!(details(&checked).contains("`nft -j list ruleset` is read without"), "{}", details(&checked));
    }
}

/// The machine that reads is as it was: its rules, its devices, its /etc.
#[test]
fn nothing_of_this_machine_changes_or_is_asked() {
    let netns = Netns::new();
    let state =
        |netns: &Netns| netns.sh("nft list ruleset; ip -o link; ls /etc; grep -c . /proc/self/mounts");
    netns.sh("nft add table inet here");
    let before = state(&netns);
    let output = netns.feed(
        MONITOR,
        &["check", "--format", "json", "--profile", "base", "--rules", "-"],
        table("iif \"eth5\" drop").as_bytes(),
    );
    Checked::of(&output).expect("violations", 1);
    assert_eq!(state(&netns), before);
}
