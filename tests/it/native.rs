//! Canonical lines of native rules against the real nft and kernel.
//! The tables of single renderings are beside the code, in `domain::rules::saved::nft_json`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a helper that fails fails its test

mod kernel;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use iptables_monitor::domain::rules::saved::nft_json::{Item, NativeLine, parse};
use iptables_monitor::domain::rules::{Kind, Problem};

use crate::support::{Netns, lossy};

/// `FAMILY HOOK | rule`, with a mark before it: `!` does not load here, `?` loads and is told as a problem,
/// `x` loads and kills `nft -j list`, `e` is listed in part with nothing but a message on stderr, `~` is loaded again
/// as other expressions of the same meaning.
const RULES: &str = include_str!("../data/native_rules.txt");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    Plain,
    Refused,
    Doubted,
    Crashing,
    Silenced,
    Rewritten,
}

struct Case {
    mark: Mark,
    rule: &'static str,
}

/// The rules of the file by family and hook.
fn cases() -> BTreeMap<(&'static str, &'static str), Vec<Case>> {
    let mut groups = BTreeMap::new();
    for line in RULES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (mark, rest) = match line.split_at(2) {
            ("! ", rest) => (Mark::Refused, rest),
            ("? ", rest) => (Mark::Doubted, rest),
            ("x ", rest) => (Mark::Crashing, rest),
            ("e ", rest) => (Mark::Silenced, rest),
            ("~ ", rest) => (Mark::Rewritten, rest),
            _ => (Mark::Plain, line),
        };
        let (place, rule) = rest.split_once(" | ").expect("a family, a hook and a rule");
        let place = place.split_once(' ').expect("a family and a hook");
        groups.entry(place).or_insert_with(Vec::new).push(Case { mark, rule });
    }
    groups
}

fn chain_type(hook: &str) -> &'static str {
    match hook {
        "prerouting" => "type filter hook prerouting priority 0;",
        "input" => "type filter hook input priority 0;",
        "forward" => "type filter hook forward priority 0;",
        "output" => "type filter hook output priority 0;",
        "natpre" => "type nat hook prerouting priority -100;",
        "natpost" => "type nat hook postrouting priority 100;",
        "ingress" => "type filter hook ingress device \"d0\" priority 0;",
        other => panic!("no chain for {other}"),
    }
}

/// What the rules of the file refer to.
fn declarations(family: &str, table: &str, hook: &str, chains: usize) -> String {
    let mut script = format!("table {family} {table} {{\n");
    script.push_str(
        "set s { type ipv4_addr; flags dynamic,timeout; }
        set s6 { type ipv6_addr; }
        set ss { type ipv4_addr . inet_service; flags dynamic,timeout; }
        set ports { type inet_service; flags interval; }
        set ifs { type ifname; }
        map vm { type inet_service : verdict; }
        map dm { type inet_service : ipv4_addr; }
        map am { type ipv4_addr : ipv4_addr; }
        map mc { type inet_service : counter; }
        map dynm { type ipv4_addr : ipv4_addr; flags dynamic; }
        counter cn { }
        quota q { over 5 mbytes }
        limit l { rate 5/second }\n",
    );
    if matches!(family, "ip" | "ip6" | "inet") {
        script.push_str("ct helper h {\n type \"ftp\" protocol tcp;\n }\n");
        script.push_str("ct timeout ti {\n protocol tcp; policy = { established : 9 }\n }\n");
        let l3proto = if family == "ip6" { "ip6" } else { "ip" };
        let expectation = "protocol tcp; dport 5; timeout 2m; size 5;";
        writeln!(script, "ct expectation e {{\n {expectation} l3proto {l3proto};\n }}").unwrap();
    }
    script.push_str("chain x { }\n");
    for number in 0..chains {
        writeln!(script, "chain c{number} {{ {} }}", chain_type(hook)).unwrap();
    }
    script.push_str("}\n");
    script
}

fn load(netns: &Netns, script: &str) {
    let output = netns.feed("nft", &["-f", "-"], script.as_bytes());
    assert!(output.status.success(), "{}", lossy(&output));
}

/// Adds each rule to its chain; when one does not load, the message names it.
fn add_rules(netns: &Netns, family: &str, table: &str, rules: &[(usize, impl AsRef<str>)]) {
    let commands: Vec<_> = rules
        .iter()
        .map(|(number, rule)| format!("add rule {family} {table} c{number} {}\n", rule.as_ref()))
        .collect();
    let script = commands.concat();
    if netns.feed("nft", &["-f", "-"], script.as_bytes()).status.success() {
        return;
    }
    let mut refused = String::new();
    for command in commands {
        let output = netns.feed("nft", &["-f", "-"], command.as_bytes());
        if !output.status.success() {
            writeln!(refused, "{command}{}", lossy(&output)).unwrap();
        }
    }
    panic!("{refused}");
}

/// What `nft -j` lists; it must have nothing to add on stderr, which is where it tells what it left out.
fn listed(netns: &Netns, family: &str, table: &str) -> Vec<Item> {
    let output = netns.command("nft").args(["-j", "list", "table", family, table]).output().expect("nft");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    items(&output.stdout)
}

fn items(json: &[u8]) -> Vec<Item> {
    let mut items = Vec::new();
    parse(json, &mut |item| items.push(item)).expect("nft writes JSON");
    items
}

fn lines(items: &[Item]) -> impl Iterator<Item = &NativeLine> {
    items.iter().filter_map(|item| match item {
        Item::Line(line) => Some(line),
        _ => None,
    })
}

fn problems(items: &[Item]) -> impl Iterator<Item = &Problem> {
    items.iter().filter_map(|item| match item {
        Item::Problem(problem) => Some(problem),
        _ => None,
    })
}

/// The rules of a table by chain, without family, table and chain.
fn rule_texts(items: &[Item], family: &str, table: &str) -> HashMap<String, String> {
    let mut texts = HashMap::new();
    for line in lines(items).filter(|line| line.kind == Kind::Rule) {
        let chain = line.chain.clone().unwrap();
        let text = String::from_utf8(line.line.clone()).expect("ASCII");
        let rule = text.strip_prefix(&format!("{family} {table} {chain} ")).expect("the place comes first");
        assert!(texts.insert(chain, rule.to_owned()).is_none(), "one rule a chain");
    }
    texts
}

/// What the kernel holds for each chain: its expressions, anonymous sets shown by their elements.
fn expressions(netns: &Netns, family: &str, table: &str) -> HashMap<String, String> {
    let output =
        netns.command("nft").args(["--debug=netlink", "list", "table", family, table]).output().expect("nft");
    assert!(output.status.success(), "{}", lossy(&output));
    let mut blocks: HashMap<String, Vec<String>> = HashMap::new();
    let mut current = String::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(header) = line.strip_prefix(&format!("{family} {table} ")) {
            current = header.split(' ').next().unwrap_or_default().to_owned();
        } else if line.starts_with("  [ ") || line.starts_with("\telement ") {
            blocks.entry(current.clone()).or_default().push(line.trim().to_owned());
        }
    }
    let mut sets = HashMap::new();
    for (name, mut elements) in blocks.clone() {
        if let Some(set) = name.strip_prefix("@__") {
            elements.sort();
            sets.insert(format!("__{set}"), elements.join(" "));
        }
    }
    blocks
        .into_iter()
        .filter(|(name, _)| !name.starts_with('@'))
        .map(|(chain, block)| (chain, block.iter().map(|line| with_elements(line, &sets)).collect()))
        .collect()
}

fn with_elements(line: &str, sets: &HashMap<String, String>) -> String {
    let mut text = String::new();
    for word in line.split(' ') {
        let shown =
            if word.starts_with("__") { sets.get(word).map_or("no such set", String::as_str) } else { word };
        write!(text, "{shown} ").unwrap();
    }
    text.push('\n');
    text
}

fn netns_with_devices() -> Netns {
    let netns = Netns::new();
    netns.sh("ip link add d0 type veth peer name d1");
    netns
}

/// Every rule of one family and hook goes in, comes out as our line, goes in again, and is the same to the kernel.
fn round_trip(family: &str, hook: &str, cases: &[Case]) -> Vec<String> {
    let netns = netns_with_devices();
    let loaded: Vec<_> = cases
        .iter()
        .enumerate()
        .filter(|(_, case)| is_listed(case))
        .map(|(n, case)| (n, case.rule))
        .collect();
    for table in ["t", "u"] {
        load(&netns, &declarations(family, table, hook, cases.len()));
    }
    add_rules(&netns, family, "t", &loaded);
    let mut wrong = still_refused(&netns, family, cases);

    let items = listed(&netns, family, "t");
    let texts = rule_texts(&items, family, "t");
    assert_eq!(texts.len(), loaded.len(), "a line for each rule");
    let doubted: Vec<String> = problems(&items).map(|problem| problem.detail.clone()).collect();
    let mut again = Vec::new();
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| is_listed(case)) {
        let text = &texts[&format!("c{number}")];
        let about = format!("rule 1 of {family} t c{number}: ");
        let note = doubted.iter().find(|detail| detail.starts_with(&about));
        if note.is_some() != (case.mark == Mark::Doubted) {
            wrong.push(format!("{family} {hook} | {} -> {text}: {note:?}", case.rule));
        } else if case.mark != Mark::Doubted {
            // In the quotes of nft(8) a backslash is a backslash.
            again.push((number, text.replace("\\\\", "\\")));
        }
    }
    add_rules(&netns, family, "u", &again);
    let texts_again = rule_texts(&listed(&netns, family, "u"), family, "u");
    let [kernel, copy] = ["t", "u"].map(|table| expressions(&netns, family, table));
    for (number, text) in again {
        let chain = format!("c{number}");
        if cases[number].mark == Mark::Plain && texts[&chain] != texts_again[&chain] {
            wrong.push(format!("{} becomes {}", texts[&chain], texts_again[&chain]));
        }

        let before = &kernel[&chain];
        let after = &copy[&chain];
        if (before == after) != (cases[number].mark == Mark::Plain) {
            wrong.push(format!("{family} {hook} | {} -> {text}\n{before}---\n{after}", cases[number].rule));
        }
    }
    wrong
}

fn is_listed(case: &Case) -> bool {
    matches!(case.mark, Mark::Plain | Mark::Doubted | Mark::Rewritten)
}

fn still_refused(netns: &Netns, family: &str, cases: &[Case]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| case.mark == Mark::Refused) {
        let script = format!("add rule {family} t c{number} {}\n", case.rule);
        if netns.feed("nft", &["-c", "-f", "-"], script.as_bytes()).status.success() {
            wrong.push(format!("loads after all: {script}"));
        }
    }
    wrong
}

#[test]
fn every_line_means_to_the_kernel_what_the_rule_meant() {
    let mut wrong = Vec::new();
    for ((family, hook), cases) in &cases() {
        // The kernel takes 1024 chains on one hook, and each rule needs two of its own.
        wrong.extend(cases.chunks(400).flat_map(|cases| round_trip(family, hook, cases)));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn rules_that_kill_nft_leave_no_whole_json() {
    for ((family, hook), cases) in &cases() {
        for case in cases.iter().filter(|case| case.mark == Mark::Crashing) {
            let netns = netns_with_devices();
            load(&netns, &declarations(family, "t", hook, 1));
            add_rules(&netns, family, "t", &[(0, case.rule)]);
            let output =
                netns.command("nft").args(["-j", "list", "table", family, "t"]).output().expect("nft");
            assert!(!output.status.success(), "{} lists after all", case.rule);
            assert!(parse(output.stdout.as_slice(), &mut |_| {}).is_err());
        }
    }
}

#[test]
fn what_nft_leaves_out_it_tells_on_stderr_alone() {
    for ((family, hook), cases) in &cases() {
        for case in cases.iter().filter(|case| case.mark == Mark::Silenced) {
            let netns = netns_with_devices();
            load(&netns, &declarations(family, "t", hook, 1));
            add_rules(&netns, family, "t", &[(0, case.rule)]);
            let output =
                netns.command("nft").args(["-j", "list", "table", family, "t"]).output().expect("nft");
            assert!(output.status.success() && !output.stderr.is_empty(), "{} is listed whole", case.rule);
        }
    }
}

pub const DECLARATIONS: &str = r#"table inet t {
    set s { type ipv4_addr . inet_service; flags interval,timeout; timeout 90s; gc-interval 5s; size 100; comment "sc"
        elements = { 1.2.3.4-1.2.3.8 . 80, 10.0.0.0/8 . 443 timeout 500s comment "el" } }
    set dyn { type ipv4_addr; flags dynamic; counter; }
    map m { type ifname : verdict; counter; elements = { "lo" : accept, "d0" : jump x } }
    map am { type ipv4_addr : ipv4_addr . inet_service; elements = { 1.1.1.1 : 2.2.2.2 . 80 } }
    map pm { type ipv4_addr : interval ipv4_addr; flags interval; elements = { 1.1.1.0/24 : 2.2.2.0/24 } }
    map cm { type ipv4_addr : counter; elements = { 1.1.1.1 : "c" } }
    counter c { comment "cc"
    }
    quota q { over 25 mbytes }
    limit l { rate over 10/second burst 7 packets }
    limit b { rate 10 mbytes/second burst 9 kbytes }
    ct helper h {
        type "ftp" protocol tcp; l3proto inet;
    }
    ct timeout ti {
        protocol tcp; l3proto ip; policy = { established : 100, close : 4 }
    }
    ct expectation e {
        protocol udp; dport 9876; timeout 2m; size 12; l3proto ip;
    }
    synproxy sp { mss 1460; wscale 7; timestamp sack-perm
    }
    chain x { }
    chain in { type filter hook input priority filter - 5; policy drop; }
}
"#;

#[test]
fn declarations_of_the_kernel_are_lines() {
    let netns = netns_with_devices();
    load(&netns, DECLARATIONS);
    let items = listed(&netns, "inet", "t");
    assert_eq!(problems(&items).collect::<Vec<_>>(), Vec::<&Problem>::new());
    let mut texts: Vec<_> = lines(&items).map(|line| String::from_utf8_lossy(&line.line)).collect();
    texts.sort();
    let expected = r#"
chain inet t in type filter hook input priority -5 policy drop
counter inet t c comment "cc"
ct expectation inet t e protocol udp l3proto ip dport 9876 timeout 120000ms size 12
ct helper inet t h type "ftp" protocol tcp l3proto inet
ct timeout inet t ti protocol tcp l3proto ip policy { close : 4s, established : 100s }
element inet t am 1.1.1.1 : 2.2.2.2 . 80
element inet t cm 1.1.1.1 : "c"
element inet t m "d0" counter : jump x
element inet t m "lo" counter : accept
element inet t pm 1.1.1.0/24 : 2.2.2.0/24
limit inet t b rate 10 mbytes/second burst 9 kbytes
limit inet t l rate over 10/second burst 7 packets
map inet t am type ipv4_addr : ipv4_addr . inet_service
map inet t cm type ipv4_addr : counter
map inet t m type ifname : verdict counter
map inet t pm type ipv4_addr : ipv4_addr flags interval
quota inet t q over 26214400 bytes
set inet t dyn type ipv4_addr counter
set inet t s type ipv4_addr . inet_service flags interval,timeout timeout 90s gc-interval 5s size 100 comment "sc"
synproxy inet t sp mss 1460 wscale 7 timestamp sack-perm"#;
    assert_eq!(texts, expected.trim_start().lines().collect::<Vec<_>>());
    assert!(items.iter().any(|item| matches!(item, Item::SetElements { set, count: 2, .. } if set == "s")));
    assert!(items.iter().any(|item| matches!(item, Item::Chain { name, is_base: false, .. } if name == "x")));
}

/// What nft 1.0.6 leaves out of its JSON, so that whoever relies on the JSON asks the kernel for it as well.
#[test]
fn the_json_of_nft_does_not_say_everything() {
    let netns = netns_with_devices();
    netns.sh(
        r#"nft 'add table netdev n; add chain netdev n c { type filter hook ingress device lo priority 0; }'
nft 'add table inet t; add chain inet t c'
printf 'add rule inet t c iifname != { "a\xff", "b", "c" } drop\n' | nft -f -"#,
    );
    assert_eq!(rule_texts(&listed(&netns, "inet", "t"), "inet", "t")["c"], r#"iifname != { "b", "c" } drop"#);
    assert_eq!(problems(&listed(&netns, "netdev", "n")).count(), 1, "the device is not shown");
}

/// nft 1.0.6 prints freed memory for the flags of a table, and exits 0: the JSON ends early or holds a strange flag.
#[test]
fn a_dormant_table_is_never_read_without_complaint() {
    let netns = Netns::new();
    for other in ["", "nft 'add table inet o; add chain inet o c; add rule inet o c drop'"] {
        netns.sh(&format!("nft 'add table inet d {{ flags dormant; }}'; {other}"));
        let output = netns.command("nft").args(["-j", "list", "ruleset"]).output().expect("nft");
        let mut seen = Vec::new();
        let result = parse(output.stdout.as_slice(), &mut |item| seen.push(item));
        assert!(result.is_err() || problems(&seen).count() > 0, "{}", lossy(&output));
    }
}

#[test]
fn rules_of_iptables_nft_are_marked() {
    let netns = Netns::new();
    netns.sh("iptables-nft -A INPUT -p tcp -m recent --name x --set -j DROP");
    let output = netns.command("nft").args(["-j", "list", "ruleset"]).output().expect("nft");
    let items = items(&output.stdout);
    assert!(lines(&items).any(|line| line.kind == Kind::Rule && line.has_xt), "{items:?}");
}

/// Real JSON with one byte changed: every rule that is still a rule is a line or a problem, and nothing panics.
#[test]
fn damaged_json_loses_no_rule() {
    let netns = netns_with_devices();
    load(&netns, DECLARATIONS);
    let rule =
        "ip saddr { 1.1.1.1, 10.0.0.0/8 } tcp dport vmap { 22 : jump x } counter log prefix \"x\" drop";
    load(&netns, &format!("add rule inet t in {rule} comment \"c\"\nadd rule inet t in ct state new accept"));
    let output = netns.command("nft").args(["-j", "list", "table", "inet", "t"]).output().expect("nft");
    for place in 0..output.stdout.len() {
        for byte in *b"x\"," {
            let mut damaged = output.stdout.clone();
            damaged[place] = byte;
            let mut seen = Vec::new();
            if parse(damaged.as_slice(), &mut |item| seen.push(item)).is_ok() {
                let rules = lines(&seen).filter(|line| line.kind == Kind::Rule).count();
                assert!(rules + problems(&seen).count() >= 2, "{}", String::from_utf8_lossy(&damaged));
            }
        }
    }
}
