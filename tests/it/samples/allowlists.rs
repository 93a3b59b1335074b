//! The ConfigMaps: every pattern compiles, allows a rule that the kernel holds, and nothing that only looks like it.
//! The rules are Cilium's as people print them in public; no Cilium runs.

use std::io::Write;
use std::process::{Command, Stdio};

use iptables_monitor::domain::judging::allowlist::{Allowlist, List, PatternFile};
use serde_json::Value;

use super::{documents, read};
use crate::support::{AllowlistDir, Checked, MONITOR, Netns, lossy};

fn config_maps() -> [Value; 2] {
    documents(&read("configmap.yaml")).try_into().expect("two ConfigMaps")
}

fn files(map: &Value) -> Vec<(&str, &str)> {
    let data = map["data"].as_object().expect("data");
    data.iter().map(|(name, text)| (name.as_str(), text.as_str().expect("text"))).collect()
}

fn rules(loopback: &str) -> String {
    include_str!("../../data/cilium.rules").replace("LOOPBACK", loopback)
}

const PROGRAMS: [(&str, &str); 2] = [("iptables", "127.0.0.1"), ("ip6tables", "::1")];

#[test]
fn every_pattern_compiles_and_is_used() {
    let maps = config_maps();
    for (map, (_, loopback)) in maps.iter().zip(PROGRAMS) {
        let text = rules(loopback);
        for (name, patterns) in files(map) {
            let list = List::from_name(name).unwrap_or_else(|| panic!("{name} is no allowlist file"));
            for pattern in patterns.lines() {
                let file = PatternFile { list, origin: name.to_owned(), text: pattern.as_bytes().to_vec() };
                let one = Allowlist::parse(&[file]);
                assert!(one.broken().is_empty(), "{:?}", one.broken());
                assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{pattern}");
                assert!(
                    text.lines().any(|line| one.allows(Some(name), line.as_bytes())),
                    "allows no rule: {pattern}"
                );
            }
        }
    }
}

/// `monitor check` of a saved dump with the shipped ConfigMaps.
fn check_saved(flag: &str, dump: &[u8]) -> Checked {
    let maps = config_maps();
    let [input, input6] = [&maps[0], &maps[1]].map(|map| AllowlistDir::new(&files(map)));
    let mut child = Command::new(MONITOR)
        .args(["check", "--format", "json", "--profile", "base,kubernetes", flag, "-"])
        .args(["--input", input.path(), "--input6", input6.path()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program under test");
    child.stdin.take().expect("piped").write_all(dump).expect("it reads");
    Checked::of(&child.wait_with_output().expect("the program under test"))
}

#[test]
fn rules_of_cilium_in_the_kernel_are_allowed() {
    for (backend, (program, loopback)) in
        ["nft", "legacy"].into_iter().flat_map(|backend| PROGRAMS.map(|program| (backend, program)))
    {
        let netns = Netns::new();
        let loaded = netns.feed(&format!("{program}-{backend}-restore"), &[], rules(loopback).as_bytes());
        assert!(loaded.status.success(), "{program}-{backend}: {}", lossy(&loaded));
        let dump = netns.sh(&format!("{program}-{backend}-save"));
        let flag = if program == "iptables" { "--rules" } else { "--rules6" };
        let checked = check_saved(flag, dump.as_bytes());
        checked.expect("compliant", 0);
        assert_eq!(checked.rules(), 28, "{dump}");
        let maps = config_maps();
        let [input, input6] = [&maps[0], &maps[1]].map(|map| AllowlistDir::new(&files(map)));
        let args = ["--profile", "base,kubernetes", "--input", input.path(), "--input6", input6.path()];
        netns.check(&args).expect("compliant", 0);
    }
}

#[test]
fn rules_that_only_look_like_ciliums_are_not() {
    let forged = [
        ("filter", "-A INPUT -p tcp -m comment --comment \"cilium: trust me\" -j DROP"),
        ("filter", "-A CILIUM_INPUT -p tcp -m tcp --dport 22 -j DROP"),
        ("filter", "-A INPUT -j CILIUM_INPUT"),
        ("filter", "-A INPUT -p tcp -m comment --comment \"cilium-feeder: CILIUM_INPUT\" -j CILIUM_INPUT"),
        ("filter", "-A CILIUM_INPUT -m comment --comment \"cilium: ACCEPT for proxy traffic\" -j ACCEPT"),
        (
            "filter",
            "-A CILIUM_FORWARD -i eth0 -m comment --comment \"cilium: cluster->any on lxc+ forward accept\" -j ACCEPT",
        ),
        (
            "mangle",
            "-A CILIUM_PRE_mangle -p tcp -m comment --comment \"cilium: TPROXY to host x proxy\" -j TPROXY --on-port 80 --on-ip 192.0.2.1 --tproxy-mark 0x200/0xffffffff",
        ),
        (
            "raw",
            "-A CILIUM_PRE_raw -m comment --comment \"cilium: NOTRACK for proxy traffic\" -j CT --notrack",
        ),
        ("nat", "-A CILIUM_PRE_nat -p tcp -j DNAT --to-destination 192.0.2.1"),
    ];
    for (table, rule) in forged {
        let chains = "CILIUM_INPUT CILIUM_FORWARD CILIUM_PRE_mangle CILIUM_PRE_raw CILIUM_PRE_nat"
            .split(' ')
            .map(|chain| format!(":{chain} - [0:0]\n"));
        let dump = format!("*{table}\n{}{rule}\nCOMMIT\n", chains.collect::<String>());
        let checked = check_saved("--rules", dump.as_bytes());
        checked.expect("violations", 1);
        assert_eq!(checked.lines(), [rule]);
    }
}
