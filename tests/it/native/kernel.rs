//! Native rules of real kernels as lines, whichever nft wrote them.
//! The roots of other versions are those of `make test-versions`; without them the installed nft is the only one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

use super::{
    Case, Mark, cases, declarations, expressions, is_listed, listed, load, netns_with_devices, problems,
    rule_texts,
};
use crate::support::{Checked, MONITOR, Netns, lossy};

/// nft of this machine, or of a root.
struct Nft {
    version: String,
    root: Option<String>,
}

impl Nft {
    fn at(root: Option<String>) -> Self {
        let mut command = match &root {
            None => Command::new("nft"),
            Some(root) => {
                let mut command = Command::new("chroot");
                command.args([root, "nft"]);
                command
            }
        };
        let text = lossy(&command.arg("--version").output().expect("nft, or chroot as root"));
        // nftables v1.0.6 (Lester Gooch #5)
        let version = text.split(' ').nth(1).and_then(|word| word.strip_prefix('v'));
        Self { version: version.unwrap_or_else(|| panic!("{root:?}: {text}")).to_owned(), root }
    }

    /// Runs commands one after another; those that fail are passed over.
    fn run(&self, netns: &Netns, commands: &str) {
        match &self.root {
            None => netns.feed("nft", &["-i"], commands.as_bytes()),
            Some(root) => netns.feed("chroot", &[root, "nft", "-i"], commands.as_bytes()),
        };
    }
}

/// The installed nft first, then that of each root.
fn writers() -> Vec<Nft> {
    let roots = std::env::var("IPTABLES_ROOTS").unwrap_or_default();
    let mut writers = vec![Nft::at(None)];
    writers.extend(roots.split(':').filter(|root| !root.is_empty()).map(|root| Nft::at(Some(root.into()))));
    println!("nft {:?}", writers.iter().map(|nft| &nft.version).collect::<Vec<_>>());
    writers
}

/// The lines of the rules in the chains `c0`, `c1` and so on of one table, without family, table and chain.
fn read(netns: &Netns, family: &str, table: &str) -> BTreeMap<usize, String> {
    let empty = tempfile::tempdir().unwrap();
    let output = netns
        .command(MONITOR)
        .args(["check", "--format", "json", "--input"])
        .arg(empty.path())
        .output()
        .expect("monitor");
    let checked = Checked::of(&output);
    assert!(checked.reasons().is_empty(), "{}", checked.json["problems"]);
    let prefix = format!("{family} {table} c");
    let mut rules = BTreeMap::new();
    for line in checked.lines() {
        let Some((number, text)) = line.strip_prefix(&prefix).and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        if let Ok(number) = number.parse() {
            assert!(rules.insert(number, text.to_owned()).is_none(), "one rule a chain: {line}");
        }
    }
    rules
}

fn add(family: &str, rules: impl Iterator<Item = (usize, impl AsRef<str>)>) -> String {
    let mut commands = String::new();
    for (number, rule) in rules {
        writeln!(commands, "add rule {family} t c{number} {}", rule.as_ref()).unwrap();
    }
    commands
}

/// Rows of the table of changed lines in docs/native-lines.md: old and new.
fn listed_changes() -> Vec<(String, String)> {
    let text = include_str!("../../../docs/native-lines.md");
    let table = text.split("## Other versions").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let clean = |cell: &str| cell.trim_matches(['`', ' ', '|']).replace("\\|", "|");
        (clean(cells[0]), clean(cells[1]))
    })
    .collect()
}

/// What `nft -j` says rightly is the line; everything else is listed in docs/native-lines.md.
#[test]
fn lines_are_those_of_nft_1_0_6_or_listed() {
    let changes = listed_changes();
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for ((family, hook), cases) in &cases() {
        for cases in cases.chunks(400) {
            let netns = netns_with_devices();
            load(&netns, &declarations(family, "t", hook, cases.len()));
            let rules = cases.iter().enumerate().filter(|(_, case)| is_listed(case));
            load(&netns, &add(family, rules.map(|(number, case)| (number, case.rule))));
            let ours = read(&netns, family, "t");
            let items = listed(&netns, family, "t");
            let theirs = rule_texts(&items, family, "t");
            assert_eq!(ours.len(), theirs.len(), "a line for each rule");
            let doubted: Vec<_> = problems(&items).map(|problem| problem.detail.clone()).collect();
            for (number, text) in &ours {
                let old = &theirs[&format!("c{number}")];
                let about = format!("rule 1 of {family} t c{number}: ");
                let is_doubted = doubted.iter().any(|detail| detail.starts_with(&about));
                let change = (old.clone(), text.clone());
                if old != text && !is_doubted {
                    seen.push(change.clone());
                    if !changes.contains(&change) {
                        wrong.push(format!("{family} {hook} | {}\n  {old}\n  {text}", cases[*number].rule));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} not listed:\n{}", wrong.len(), wrong.join("\n"));
    // the lines of saved files have changed with these
    let is_blank_alone = |(old, new): &(String, String)| old.replace("  ", " ") == *new;
    let unseen: Vec<_> =
        changes.iter().filter(|change| !seen.contains(change) && !is_blank_alone(change)).collect();
    assert!(unseen.is_empty(), "listed and not so: {unseen:?}");
}

/// Our lines that nft 1.0.6 takes as other rules, or not at all, with the reason.
const NOT_TAKEN: [(&str, &str); 9] = [
    ("[", "bytes are no syntax of nft"),
    ("rt classid \"", "a realm in quotes is a name for nft"),
    ("meta rtclassid \"", "a realm in quotes is a name for nft"),
    ("meter ", "a second meter of the name"),
    ("meta nfproto ipv4 igmp", "nft adds the test once more"),
    ("ether type 8021q vlan type", "nft adds the test once more"),
    ("meta mark set meta mark & 4294967295", "nft leaves an operation out that changes nothing"),
    ("icmp type set", "nft refuses to change the type"),
    ("icmpv6 type set", "nft refuses to change the type"),
];

/// Each line, loaded again, is the same rule to the kernel.
#[test]
fn lines_load_again_as_the_same_rules() {
    let mut wrong = Vec::new();
    for ((family, hook), cases) in &cases() {
        for cases in cases.chunks(400) {
            wrong.extend(loaded_again(family, hook, cases));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn loaded_again(family: &str, hook: &str, cases: &[Case]) -> Vec<String> {
    let netns = netns_with_devices();
    load(&netns, &declarations(family, "t", hook, cases.len()));
    let rules = cases.iter().enumerate().filter(|(_, case)| is_listed(case));
    load(&netns, &add(family, rules.map(|(number, case)| (number, case.rule))));
    let first = read(&netns, family, "t");
    let kernel = expressions(&netns, family, "t");

    let again = netns_with_devices();
    load(&again, &declarations(family, "t", hook, cases.len()));
    // in the quotes of nft(8) a backslash is a backslash
    let taken = first.iter().map(|(number, text)| (*number, text.replace("\\\\", "\\")));
    Nft::at(None).run(&again, &add(family, taken));
    let second = read(&again, family, "t");
    let copy = expressions(&again, family, "t");
    let is_excepted = |text: &str| NOT_TAKEN.iter().any(|(part, _)| text.contains(part));
    let mut wrong = Vec::new();
    for (number, text) in &first {
        let chain = format!("c{number}");
        let is_same = second.get(number) == Some(text) && kernel.get(&chain) == copy.get(&chain);
        if !is_same && cases[*number].mark != Mark::Rewritten && !is_excepted(text) {
            let became = second.get(number).map_or("refused", String::as_str);
            wrong.push(format!(
                "{family} {hook} | {}\n  {text}\n  {became}\n{:?}\n{:?}",
                cases[*number].rule,
                kernel.get(&chain),
                copy.get(&chain)
            ));
        }
    }
    wrong
}

/// Rules of which versions of nft make other expressions: what the rule has in it, and why.
const VERSIONS_DIFFER: [(&str, &str); 10] = [
    ("udp checksum set", "nft 1.1 has the checksum mended by a flag"),
    ("udp length set", "nft 1.1 has the checksum mended by a flag"),
    ("udp dport set", "nft 1.1 has the checksum mended by a flag"),
    ("ip option ssrr type", "nft 1.1 asks for the option's presence"),
    ("meter ", "nft 1.1 makes a set that is not the rule's own"),
    ("ip6 dscp ", "nft 1.1 shifts the bits before it compares them"),
    ("tcp option ", "nft 0.9.8 tests the protocol before it"),
    ("bytes/", "nft 0.9.8 adds a burst"),
    ("tcp doff {", "nft 0.9.8 does not join intervals"),
    ("vlan id", "nft 0.9.8 takes another place of the packet"),
];

/// Whether a rule has a set of one element, which nft 0.9.8 leaves a set.
fn has_set_of_one(rule: &str) -> bool {
    rule.split("{ ").skip(1).filter_map(|rest| rest.split_once(" }")).any(|(set, _)| !set.contains(','))
}

/// The same command gives the same line whichever version of nft ran it.
#[test]
fn versions_of_nft_give_one_line() {
    let writers = writers();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for ((family, hook), cases) in &cases() {
        for cases in cases.chunks(400) {
            let mut lines: BTreeMap<usize, Vec<(String, &str)>> = BTreeMap::new();
            for nft in &writers {
                let netns = netns_with_devices();
                load(&netns, &declarations(family, "t", hook, cases.len()));
                let rules = cases.iter().enumerate().filter(|(_, case)| is_listed(case));
                nft.run(&netns, &add(family, rules.map(|(number, case)| (number, case.rule))));
                for (number, text) in read(&netns, family, "t") {
                    lines.entry(number).or_default().push((text, &nft.version));
                }
            }
            for (number, texts) in lines {
                compared += texts.len();
                let rule = cases[number].rule;
                let is_one = texts.iter().all(|(text, _)| *text == texts[0].0);
                let is_known = VERSIONS_DIFFER.iter().any(|(part, _)| rule.contains(part));
                if !is_one && !is_known && !has_set_of_one(rule) {
                    wrong.push(format!("{family} {hook} | {rule}: {texts:#?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 700 * writers.len(), "only {compared} lines");
}
