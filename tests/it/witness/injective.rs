//! Different rules have different lines: rules near every listed one, as the kernel could hold them, and as it takes them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use iptables_monitor::domain::rules::Family;
use iptables_monitor::domain::rules::kernel::same::canonical;
use iptables_monitor::domain::rules::kernel::{Ipsets, expressions};
use iptables_monitor::domain::rules::lines::{Place, Written, write_rule};
use iptables_monitor::domain::rules::text::line::Line;

use super::fields::fields;
use super::kernel::{self, Kept};
use super::matrix::{Case, loaded};
use super::mutants::{self, Done, Random};
use super::ours::{self, is_raw};
use super::reload::{Lines, TABLES, reload};
use super::same::normal;
use super::state;
use super::table;
use super::tools::{Backend, of_the_text, writers};
use super::wire::{self, Expr, Writer};

/// Lines in a message.
const SHOWN: usize = 300;

fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Lines and the one rule that each may stand for, as hashes: there are millions.
#[derive(Default)]
struct Seen {
    rules: HashMap<u64, u64>,
    /// Hashes of lines that several rules have.
    shared: HashSet<u64>,
    read: usize,
    native: usize,
}

impl Seen {
    /// Writes a rule, and remembers the line and the rule. False if no iptables could have written it.
    fn take(&mut self, backend: Backend, place: Place<'_>, rule: &[u8], line: &mut Line) -> bool {
        line.truncate(0);
        self.read += 1;
        if !write(backend, place, rule, line) {
            self.native += 1;
            return false;
        }
        let (line, rule) = (hash(line.as_bytes()), hash(&plain(backend, place.family, rule)));
        if *self.rules.entry(line).or_insert(rule) != rule {
            self.shared.insert(line);
        }
        true
    }
}

/// The same bytes for rules that may share a line: by the product's own list, which the tests' own one checks in `matrix`.
fn plain(backend: Backend, family: Family, rule: &[u8]) -> Vec<u8> {
    match backend {
        Backend::Nft => {
            let rule = normal(backend, family, &state::without(rule));
            expressions::decode(&rule).map_or_else(|_| rule.clone(), |rule| canonical(family, &rule))
        }
        Backend::Legacy => normal(backend, family, rule),
    }
}

fn write(backend: Backend, place: Place<'_>, rule: &[u8], line: &mut Line) -> bool {
    match backend {
        Backend::Nft => write_rule(place, rule, None, line).written == Written::Iptables,
        Backend::Legacy => table::line_of(place, rule, line),
    }
}

/// Of so many listed rules the neighbours of one are looked at, where the time is short.
const SOME: usize = 4;

/// Whether there is time: with the iptables of other versions, as in `make test-versions`.
pub fn is_thorough() -> bool {
    writers().len() > 1
}

/// Hands over every listed rule and those near it, or near some.
fn each(backend: Backend, family: Family, cases: &[Case], mut take: impl FnMut(&Case, &[u8])) {
    let mut done = Done::default();
    let step = if is_thorough() { 1 } else { SOME };
    for (index, case) in cases.iter().enumerate() {
        if index % step != 0 {
            take(case, &case.ours.kept.rule);
            continue;
        }
        take(case, &case.ours.kept.rule);
        mutants::near(backend, family, &case.ours.kept.rule, &mut done, |rule| take(case, rule));
    }
}

fn place<'a>(family: Family, case: &'a Case, ipsets: &'a Ipsets) -> Place<'a> {
    Place { family, chain: case.ours.kept.chain.as_bytes(), ipsets }
}

/// The rules of one line: what was typed near each, and its values.
type OfLine = BTreeMap<Vec<u8>, (String, String)>;

fn check(backend: Backend, family: Family) {
    let (_netns, cases) = loaded(&writers()[0], backend, family);
    let ipsets = ours::ipsets();
    let (mut seen, mut line) = (Seen::default(), Line::default());
    each(backend, family, &cases, |case, rule| {
        seen.take(backend, place(family, case, &ipsets), rule, &mut line);
    });
    println!("{} rules, {} native, {} lines", seen.read, seen.native, seen.rules.len());
    let expected = if is_thorough() { 100_000 } else { 100_000 / SOME };
    assert!(seen.rules.len() > expected, "{} lines of {} rules", seen.rules.len(), seen.read);
    if seen.shared.is_empty() {
        return;
    }
    // once more, to show the rules of each shared line
    let mut rules: BTreeMap<Vec<u8>, OfLine> = BTreeMap::new();
    each(backend, family, &cases, |case, rule| {
        line.truncate(0);
        let is_written = write(backend, place(family, case, &ipsets), rule, &mut line);
        if is_written && seen.shared.contains(&hash(line.as_bytes())) {
            let typed = case.listed.specification.clone();
            let of_line = rules.entry(line.as_bytes().to_vec()).or_default();
            of_line.entry(plain(backend, family, rule)).or_insert((typed, show(backend, family, rule)));
        }
    });
    let mut problems = String::new();
    for (line, rules) in rules.iter().take(SHOWN) {
        writeln!(problems, "{}", String::from_utf8_lossy(line)).expect("memory");
        for (typed, rule) in rules.values().take(3) {
            writeln!(problems, "    near {typed}: {rule}").expect("memory");
        }
    }
    panic!("{} lines of several rules:\n{problems}", seen.shared.len());
}

fn show(backend: Backend, family: Family, rule: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match backend {
        Backend::Legacy => {
            let fields = fields(backend, family, rule)
                .into_iter()
                .filter(|field| field.of == "head" || field.kind > 1);
            fields.map(|field| format!("{}:{}", field.of, hex(&rule[field.at]))).collect::<Vec<_>>().join(" ")
        }
        Backend::Nft => {
            let expression = |expr: &Expr| {
                let attributes = expr.attributes.iter().map(|(kind, value)| format!("{kind}={}", hex(value)));
                format!(
                    "{}({})",
                    expr.name[..expr.name.len() - 1].escape_ascii(),
                    attributes.collect::<Vec<_>>().join(" ")
                )
            };
            wire::decode(rule).iter().map(expression).collect::<Vec<_>>().join(" ")
        }
    }
}

#[test]
fn different_ip_rules_of_nf_tables_have_different_lines() {
    check(Backend::Nft, Family::Ip);
}

#[test]
fn different_ip6_rules_of_nf_tables_have_different_lines() {
    check(Backend::Nft, Family::Ip6);
}

#[test]
fn different_ip_rules_of_legacy_tables_have_different_lines() {
    check(Backend::Legacy, Family::Ip);
}

#[test]
fn different_ip6_rules_of_legacy_tables_have_different_lines() {
    check(Backend::Legacy, Family::Ip6);
}

/// The chain of rules near the listed ones.
pub const NEAR: &str = "near";

/// No lines yet, and the chains that such rules name or stand in.
pub fn with_near() -> Lines {
    let mut lines = Lines::of_the_list();
    for table in TABLES {
        lines.chains.entry(table.to_owned()).or_default().insert(NEAR.to_owned());
    }
    lines
}

/// Rules near the listed ones that the kernel takes, as it gives them back.
fn taken(family: Family, cases: &[Case], per_rule: usize) -> Vec<Kept> {
    let netns = kernel::namespace(Backend::Nft, family);
    let tools = &writers()[0];
    tools.restore(&netns, Backend::Nft, family, &with_near().text(&[])).expect("chains");
    let mut random = Random(2026 + u64::from(family.nfproto()));
    netns.within(|| {
        let mut writer = Writer::open();
        for case in cases.iter().filter(|case| !is_costly(case)) {
            for _ in 0..per_rule {
                let rule = mutants::some(Backend::Nft, family, &case.ours.kept.rule, &mut random);
                // most are refused
                let _ = writer.rule(family, &case.ours.kept.table, NEAR, &rule);
            }
        }
    });
    kernel::read(&netns, Backend::Nft, family)
}

/// What iptables 1.8.9 says against lines that it prints itself.
const REFUSALS: [&str; 4] = [
    // -t nat … -j DROP
    "is not intended for filtering",
    // -p igmp -j DNAT --to-destination 10.0.0.1:80
    "Need TCP, UDP, SCTP or DCCP with port specification",
    // node 32
    "bad value for option \"--cluster-local-nodemask\"",
    // 128 bytes of which some are no letters
    "STRING too long",
];

/// A hashlimit table of a changed size can take all of the memory.
fn is_costly(case: &Case) -> bool {
    case.listed.specification.contains("-m hashlimit")
}

/// Whether the line has a mask that iptables before 1.8.11 prints and does not read: one that is no prefix.
fn has_mask_of_newer(line: &[u8]) -> bool {
    const OPTIONS: [&str; 7] =
        ["--to", "--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst", "--tunnel-src", "--tunnel-dst"];
    let line = String::from_utf8_lossy(line);
    let words: Vec<_> = line.split(' ').collect();
    words.windows(2).any(|pair| {
        let mask = pair[1].split_once('/').map(|(_, mask)| mask);
        OPTIONS.contains(&pair[0]) && mask.is_some_and(|mask| mask.parse::<std::net::IpAddr>().is_ok())
    })
}

fn check_taken(family: Family) {
    let all = writers();
    let (_netns, cases) = loaded(&all[0], Backend::Nft, family);
    let per_rule = if is_thorough() { 6 } else { 1 };
    let taken = taken(family, &cases, per_rule);
    assert!(taken.len() > 250 * per_rule, "the kernel takes {}", taken.len());
    let ipsets = ours::ipsets();
    let (mut seen, mut line) = (Seen::default(), Line::default());
    let mut problems = String::new();
    let mut lines = with_near();
    let mut rules: Vec<&Kept> = Vec::new();
    for kept in &taken {
        let place = Place { family, chain: NEAR.as_bytes(), ipsets: &ipsets };
        let is_written = seen.take(Backend::Nft, place, &kept.rule, &mut line);
        if is_written && !is_raw(line.as_bytes()) {
            lines.lines.push((kept.table.clone(), line.as_bytes().to_vec()));
            rules.push(kept);
        }
        if seen.shared.contains(&hash(line.as_bytes())) {
            writeln!(
                problems,
                "several rules: {}\n    {}",
                String::from_utf8_lossy(line.as_bytes()),
                show(Backend::Nft, family, &kept.rule)
            )
            .expect("memory");
        }
    }
    if let Some(tools) = of_the_text(&all) {
        let made = reload(tools, Backend::Nft, family, &lines);
        for (((_, line), rule), made) in lines.lines.iter().zip(&rules).zip(made) {
            let what = match made {
                Ok(made)
                    if plain(Backend::Nft, family, &made.rule) == plain(Backend::Nft, family, &rule.rule) =>
                {
                    continue;
                }
                Ok(_) if has_mask_of_newer(line) => continue,
                Ok(made) => format!("becomes another rule\n    {}", show(Backend::Nft, family, &made.rule)),
                Err(message) if REFUSALS.iter().any(|known| message.contains(known)) => continue,
                Err(message) => format!("is refused: {message}"),
            };
            let line = String::from_utf8_lossy(line);
            writeln!(problems, "{line} {what}\n    {}", show(Backend::Nft, family, &rule.rule))
                .expect("memory");
        }
    }
    println!("{} taken, {} native, {} in words", taken.len(), seen.native, lines.lines.len());
    assert!(lines.lines.len() > 200 * per_rule, "{} in words", lines.lines.len());
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn ip_rules_that_the_kernel_takes_have_lines_of_their_own_that_make_them_again() {
    check_taken(Family::Ip);
}

#[test]
fn ip6_rules_that_the_kernel_takes_have_lines_of_their_own_that_make_them_again() {
    check_taken(Family::Ip6);
}
