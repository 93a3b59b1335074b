//! What tables declare - sets, maps, their elements, objects, flowtables, base chains - as lines from the kernel's own
//! answers, against what the real nft says of the same tables.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a helper that fails fails its test

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use iptables_monitor::domain::rules::Kind;
use iptables_monitor::domain::rules::saved::nft_json::{Item, parse};
use iptables_monitor::domain::rules::text::native::constants::Names;
use iptables_monitor::domain::rules::text::native::contents::{self, Contents, Hash};
use iptables_monitor::domain::rules::text::native::declared;
use iptables_monitor::domain::rules::text::native::elements::Shape;
use iptables_monitor::host::netlink::nfnetlink::Nfnetlink;

use crate::native::DECLARATIONS;
use crate::support::live::Agent;
use crate::support::{AllowlistDir, MONITOR, Netns, lossy, wait_until};

/// Every line but those of rules, from the kernel. The elements of plain sets are one line, or one for each.
fn lines(netns: &Netns, is_each: bool) -> BTreeSet<String> {
    netns.within(|| {
        let mut kernel = Nfnetlink::open(Instant::now() + Duration::from_secs(60)).unwrap();
        let mut lines: Vec<String> = Vec::new();
        lines.extend(kernel.tables().unwrap().iter().filter_map(declared::table));
        lines.extend(kernel.chains(None).unwrap().iter().filter_map(declared::chain));
        for flowtable in kernel.flowtables(None).unwrap() {
            lines.push(declared::flowtable(flowtable.family, &flowtable.table, &flowtable.what));
        }
        for object in kernel.objects(None).unwrap() {
            lines.push(declared::object(object.family, &object.table, &object.what));
        }
        for set in kernel.sets(None).unwrap().iter().filter(|set| !set.what.is_anonymous()) {
            lines.push(declared::set(set.family, &set.table, &set.what));
            let (devices, cgroups) = (BTreeMap::new(), BTreeMap::new());
            let names = Names { devices: &devices, cgroups: &cgroups };
            let key = declared::key_parts(&set.what).unwrap_or_default();
            let value = declared::value_parts(&set.what).unwrap_or_default();
            let mut contents = Contents::new(Shape { set: &set.what, key: &key, value: &value, names });
            let mut texts = Vec::new();
            kernel
                .for_each_element(set.family, &set.table, &set.what.name, |element| {
                    contents.add(&element, |text| texts.push(text));
                })
                .unwrap();
            contents.finish(|text| texts.push(text));
            let (family, table, name) = (set.family, &set.table, &set.what.name);
            if set.what.is_map() || is_each {
                lines.extend(texts.iter().map(|text| contents::map_line(family, table, name, text)));
            } else {
                let mut hash = Hash::default();
                texts.into_iter().for_each(|text| hash.add(text));
                lines.push(contents::line(family, table, name, hash.finish()));
            }
        }
        let count = lines.len();
        let lines: BTreeSet<_> = lines.into_iter().collect();
        assert_eq!(lines.len(), count, "no line twice");
        lines
    })
}

/// The same as nft -j has them.
fn listed(netns: &Netns) -> BTreeSet<String> {
    let output = netns.command("nft").args(["-j", "list", "ruleset"]).output().expect("nft");
    assert!(output.status.success(), "{}", lossy(&output));
    let mut lines = BTreeSet::new();
    parse(output.stdout.as_slice(), &mut |item| match item {
        Item::Line(line) if line.kind != Kind::Rule => {
            lines.insert(String::from_utf8(line.line).unwrap());
        }
        Item::SetElements { family, table, set, count, hash } => {
            lines.insert(contents::line(family, table.as_bytes(), set.as_bytes(), (count, hash)));
        }
        _ => {}
    })
    .expect("nft writes JSON");
    lines
}

fn load(netns: &Netns, script: &str) {
    let output = netns.feed("nft", &["-f", "-"], script.as_bytes());
    assert!(output.status.success(), "{}", lossy(&output));
}

/// What the lines from the kernel say that those from nft's JSON do not, in pairs: the JSON's line, the kernel's.
fn differences(netns: &Netns) -> Vec<(String, String)> {
    let (ours, theirs) = (lines(netns, false), listed(netns));
    let name = |line: &str| line.split(' ').take(4).collect::<Vec<_>>().join(" ");
    let mut differences: Vec<(String, String)> = Vec::new();
    let mut only_theirs: Vec<_> = theirs.difference(&ours).cloned().collect();
    for line in ours.difference(&theirs) {
        let at = only_theirs.iter().position(|other| name(other) == name(line));
        differences.push((at.map_or_else(String::new, |at| only_theirs.remove(at)), line.clone()));
    }
    differences.extend(only_theirs.into_iter().map(|line| (line, String::new())));
    differences
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
}

#[test]
fn declarations_of_the_kernel_are_lines() {
    let netns = Netns::new();
    netns.sh("ip link add d0 type veth peer name d1");
    load(&netns, DECLARATIONS);
    let expected = pairs(&[
        (
            "map inet t pm type ipv4_addr : ipv4_addr flags interval",
            "map inet t pm type ipv4_addr : interval ipv4_addr flags interval",
        ),
        ("set inet t dyn type ipv4_addr counter", "set inet t dyn type ipv4_addr flags dynamic counter"),
    ]);
    assert_eq!(differences(&netns), expected);
    assert!(lines(&netns, false).len() > 20);
}

/// What nft 1.0.6 leaves out of its JSON: `dynamic`, `auto-merge`, `interval` of values, the size of an integer, all
/// statements of an element but the first.
#[test]
fn sets_are_those_of_nft() {
    let netns = Netns::new();
    load(&netns, include_str!("../data/sets.nft"));
    let declared: Vec<_> = differences(&netns)
        .into_iter()
        .filter(|(_, ours)| !ours.starts_with("elements inet t two "))
        .collect();
    let expected = pairs(&[
        (
            "map inet t pc type ipv4_addr : ipv4_addr . inet_service flags interval",
            "map inet t pc type ipv4_addr : interval ipv4_addr . inet_service flags interval",
        ),
        (
            "map inet t pm type ipv4_addr : ipv4_addr flags interval",
            "map inet t pm type ipv4_addr : interval ipv4_addr flags interval",
        ),
        (
            "set inet t cc type ipv4_addr ct count over 3",
            "set inet t cc type ipv4_addr flags dynamic ct count over 3",
        ),
        ("set inet t dyn type ipv4_addr counter", "set inet t dyn type ipv4_addr flags dynamic counter"),
        (
            "set inet t q type inet_service flags interval",
            "set inet t q type inet_service flags interval auto-merge",
        ),
        (
            "set inet t two type ipv4_addr counter quota over 3072 mbytes",
            "set inet t two type ipv4_addr flags dynamic counter quota over 3072 mbytes",
        ),
        ("set inet t ty type integer . dscp", "set inet t ty type integer 32 bits host . dscp"),
        ("set inet t ty2 type integer flags interval", "set inet t ty2 type integer 32 bits flags interval"),
    ]);
    assert_eq!(declared, expected);
    let each = lines(&netns, true);
    for line in [
        "element inet t two 1.1.1.1 counter quota over 3072 mbytes",
        "element inet t ty 5 . 3",
        "element inet t p 1.2.3.4-1.2.3.8 counter timeout 10s comment \"x\"",
        "element inet t iw \"eth*\" . 1.1.1.1",
    ] {
        assert!(each.contains(line), "{line} in {each:#?}");
    }
}

#[test]
fn declarations_of_all_kinds_are_lines() {
    let netns = Netns::new();
    netns.sh("ip link add d0 type veth peer name d1");
    load(&netns, include_str!("../data/declared.nft"));
    let expected = r#"
chain arp a a type filter hook output priority 0 policy accept
chain inet o p type filter hook ingress devices { "d0", "lo" } priority 5 policy drop
chain ip d a type nat hook postrouting priority 100 policy accept
chain netdev n e type filter hook egress devices { "d0" } priority 0 policy accept
chain netdev n i type filter hook ingress devices { "lo" } priority 0 policy accept
ct helper inet o f type "sip" protocol udp l3proto inet
ct timeout inet o u protocol udp l3proto ip policy { replied : 180s }
ct timeout inet o u2 protocol udp l3proto ip6 policy { unreplied : 10s }
element bridge b s 00:11:22:33:44:55
element inet o cid 1:2
element inet o cl 4
element inet o dd 00:11:22:33:44:55 : fe80::1 . 80
element inet o dsc 63
element inet o dsc cs1
element inet o dt "Monday"
element inet o hr "10:00"-"12:00"
element inet o ic echo-request . port-unreachable
element inet o if2 1
element inet o ps 200
element inet o ps tcp
element inet o qm 21-30 : "q2"
element inet o star "eth\\*"
element inet o tm * : 7
element inet o tm 1.1.1.1 timeout 3000s : 5
element inet o tmx "2022-07-01 11:00:00"
element inet o uid 0 . 0
element inet o vl 5
element inet o vm * : drop
element inet o vm 10.0.0.0/8 . 1-100 : goto x
element inet o vv established : return
element inet o vv invalid | untracked : accept
element inet o vv new : continue
limit inet o l2 rate 3/week burst 5 packets
map inet o dd type ether_addr : ipv6_addr . inet_service
map inet o qm type inet_service : quota flags interval
map inet o tm type ipv4_addr : mark flags timeout timeout 1500500ms
map inet o vm type ipv4_addr . inet_service : verdict flags interval
map inet o vv type ct_state : verdict
quota inet o q2 1025 bytes
set bridge b s type ether_addr
set inet o cid type classid
set inet o cl type ct_label
set inet o dsc type dscp flags constant size 2
set inet o dt type day
set inet o hr type hour flags interval
set inet o ic type icmp_type . icmp_code
set inet o if2 type iface_index
set inet o ps type inet_proto size 5 policy memory
set inet o star type ifname
set inet o tmx type time
set inet o uid type uid . gid
set inet o vl type integer 16 bits
synproxy inet o sp2 mss 1460 wscale 7
table ip d flags dormant"#;
    let found: Vec<_> = lines(&netns, true).into_iter().collect();
    assert_eq!(found, expected.trim_start().lines().collect::<Vec<_>>());
}

/// The content of a set is judged where a pattern asks for it; check, history and why say the same of it.
#[test]
fn the_content_of_a_set_is_judged_where_someone_asks_for_it() {
    let netns = Netns::new();
    load(
        &netns,
        "add table inet shop\nadd set inet shop blocked { type ipv4_addr; flags interval; }
        add element inet shop blocked { 192.0.2.1 }",
    );
    let line = lines(&netns, false).into_iter().find(|line| line.starts_with("elements ")).unwrap();
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().to_str().unwrap();
    let said = |patterns: &str, expected: (&str, i32), why: &str| {
        let allowlist = AllowlistDir::new(&[("nftables", patterns)]);
        let args = ["--input", allowlist.path(), "--ipv6", "false"];
        let checked = netns.check(&args);
        let output = netns.command(MONITOR).args(["why", &line]).args(args).output().unwrap();
        assert!(lossy(&output).contains(why), "{}", lossy(&output));
        assert_eq!(output.status.code(), Some(expected.1), "{}", lossy(&output));
        checked.expect(expected.0, expected.1).lines().join("\n")
    };
    // what an agent that is killed then has written down by the time that the journal says this
    let remembered = |patterns: &str, expected: &str| {
        let allowlist = AllowlistDir::new(&[("nftables", patterns)]);
        let args = ["--input", allowlist.path(), "--ipv6", "false", "--listen", "off"];
        let _agent = Agent::start(&netns, &[&args[..], &["--state-dir", directory]].concat());
        let history =
            || lossy(&netns.command(MONITOR).args(["history", "--state-dir", directory]).output().unwrap());
        wait_until(expected, Duration::from_secs(30), || history().contains(expected));
        history()
    };
    let (set, exact) = ("^set inet shop ", format!("^{line}$"));
    said(set, ("compliant", 0), "NOT JUDGED");
    said(&format!("{set}\n{exact}"), ("compliant", 0), "ALLOWED");
    said(&format!("{set}\n^elements inet other blocked "), ("compliant", 0), "NOT JUDGED");
    let told = said(&format!("{set}\n^elements inet shop blocked 2 "), ("violations", 1), "UNEXPECTED");
    assert_eq!(told, line);
    remembered(set, "Z  compliant\n");
    load(&netns, "add element inet shop blocked { 192.0.2.9 }");
    // what changed while no agent ran is found by comparing the journal with what is there
    let history = remembered(set, "elements inet shop blocked 2 ");
    assert!(!history.contains("unexpected") && !history.contains("rejudged"), "{history}");
    load(&netns, "add element inet shop blocked { 0.0.0.0/1 }");
    let allowlist = AllowlistDir::new(&[("nftables", &format!("{set}\n{exact}"))]);
    netns.check(&["--input", allowlist.path(), "--ipv6", "false"]).expect("violations", 1);
}
