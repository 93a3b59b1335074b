//! Different rules have different lines: rules near every listed one, as the kernel could hold them, and as it takes them.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use iptables_monitor::domain::rules::lines::{Place, Written, write_rule};
use iptables_monitor::domain::rules::text::line::Line;
use iptables_monitor::domain::ruleset::Family;

use super::kernel::{self, Kept};
use super::matrix::{Case, loaded};
use super::mutants::{self, Done, Random};
use super::ours;
use super::reload::{Lines, TABLES, reload};
use super::same::normal;
use super::state;
use super::tools::{Backend, FAMILIES, of_the_text, writers};
use super::wire::{self, Writer};

fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Lines and the one rule that each may stand for.
#[derive(Default)]
struct Seen {
    rules: HashMap<u64, u64>,
    shared: Vec<(Vec<u8>, Vec<u8>)>,
    read: usize,
    native: usize,
}

impl Seen {
    /// Writes a rule, and remembers the line and the rule.
    fn take(&mut self, backend: Backend, family: Family, place: Place<'_>, rule: &[u8], line: &mut Line) {
        line.truncate(0);
        self.read += 1;
        if !write(backend, place, rule, line) {
            self.native += 1;
            return;
        }
        let rule = normal(backend, family, rule);
        let first = *self.rules.entry(hash(line.as_bytes())).or_insert(hash(&rule));
        if first != hash(&rule) && self.shared.len() < 2000 {
            self.shared.push((line.as_bytes().to_vec(), rule));
        }
    }
}

fn write(backend: Backend, place: Place<'_>, rule: &[u8], line: &mut Line) -> bool {
    match backend {
        Backend::Nft => write_rule(place, rule, None, line).written == Written::Iptables,
        Backend::Legacy => super::table::line_of(place, rule, line),
    }
}

/// The lines that more than one rule has, each with its rules.
fn shared(backend: Backend, family: Family, cases: &[Case]) -> (Seen, String) {
    let ipsets = ours::ipsets();
    let mut seen = Seen::default();
    let mut line = Line::default();
    let mut each = |seen: &mut Seen, done: &mut Done, case: &Case| {
        let place = Place { family, chain: case.ours.kept.chain.as_bytes(), ipsets: &ipsets };
        let rule = &case.ours.kept.rule;
        seen.take(backend, family, place, rule, &mut line);
        mutants::near(backend, family, rule, done, |rule| seen.take(backend, family, place, rule, &mut line));
        if backend == Backend::Nft {
            mutants::rearranged(rule, |rule| seen.take(backend, family, place, &state::without(rule), &mut line));
        }
    };
    let mut done = Done::default();
    for case in cases {
        each(&mut seen, &mut done, case);
    }
    let mut problems = String::new();
    for (line, rule) in seen.shared.iter().take(200) {
        writeln!(problems, "{}\n    {}", String::from_utf8_lossy(line), show(backend, rule)).expect("memory");
    }
    (seen, problems)
}

fn show(backend: Backend, rule: &[u8]) -> String {
    match backend {
        Backend::Nft => format!("{:02x?}", wire::decode(rule)),
        Backend::Legacy => format!("{rule:02x?}"),
    }
}

fn check(backend: Backend, family: Family) {
    let writers = writers();
    let (_netns, cases) = loaded(&writers[0], backend, family);
    let (seen, problems) = shared(backend, family, &cases);
    println!("{} rules read, {} native, {} lines", seen.read, seen.native, seen.rules.len());
    assert!(seen.rules.len() > 100_000, "{} lines of {} rules", seen.rules.len(), seen.read);
    assert!(problems.is_empty(), "{} lines of several rules:\n{problems}", seen.shared.len());
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

/// Rules near the listed ones that the kernel takes, as it gives them back.
fn taken(family: Family, cases: &[Case], per_rule: usize) -> Vec<Kept> {
    let netns = kernel::namespace(Backend::Nft, family);
    let tools = &writers()[0];
    let mut lines = Lines::of_the_list();
    for table in TABLES {
        lines.chains.entry(table.to_owned()).or_default().insert("near".to_owned());
    }
    tools.restore(&netns, Backend::Nft, family, &lines.text(&[])).expect("chains");
    let mut random = Random(2026 + u64::from(family.nfproto()));
    netns.within(|| {
        let mut writer = Writer::open();
        for case in cases.iter().filter(|case| !is_costly(case)) {
            for _ in 0..per_rule {
                let rule = mutants::some(Backend::Nft, family, &case.ours.kept.rule, &mut random);
                // most are refused
                let _ = writer.rule(family, &case.ours.kept.table, "near", &rule);
            }
        }
    });
    kernel::read(&netns, Backend::Nft, family)
}

/// A hashlimit table of a changed size can take all of the memory.
fn is_costly(case: &Case) -> bool {
    case.listed.specification.contains("-m hashlimit")
}

fn check_taken(family: Family) {
    let all = writers();
    let (_netns, cases) = loaded(&all[0], Backend::Nft, family);
    let taken = taken(family, &cases, 12);
    assert!(taken.len() > 3000, "the kernel takes {}", taken.len());
    let ipsets = ours::ipsets();
    let mut seen = Seen::default();
    let mut line = Line::default();
    let mut problems = String::new();
    let mut lines = Lines::of_the_list();
    for table in TABLES {
        lines.chains.entry(table.to_owned()).or_default().insert("near".to_owned());
    }
    let mut rules = Vec::new();
    for kept in &taken {
        let place = Place { family, chain: b"near", ipsets: &ipsets };
        seen.take(Backend::Nft, family, place, &kept.rule, &mut line);
        let is_raw = line.as_bytes().windows(6).any(|bytes| bytes == b" --raw");
        if !line.is_empty() && !is_raw {
            lines.lines.push((kept.table.clone(), line.as_bytes().to_vec()));
            rules.push(normal(Backend::Nft, family, &kept.rule));
        }
    }
    for (line, rule) in &seen.shared {
        writeln!(problems, "several rules: {}\n    {}", String::from_utf8_lossy(line), show(Backend::Nft, rule))
            .expect("memory");
    }
    if let Some(tools) = of_the_text(&all) {
        let made = reload(tools, Backend::Nft, family, &lines);
        for (((_, line), rule), made) in lines.lines.iter().zip(&rules).zip(made) {
            let what = match made {
                Ok(made) if normal(Backend::Nft, family, &made.rule) == *rule => continue,
                Ok(made) => format!("becomes another rule\n    {}", show(Backend::Nft, &made.rule)),
                Err(message) => format!("is refused: {message}"),
            };
            let line = String::from_utf8_lossy(line);
            writeln!(problems, "{line} {what}\n    {}", show(Backend::Nft, rule)).expect("memory");
        }
    }
    println!("{} taken, {} native, {} in words", taken.len(), seen.native, lines.lines.len());
    assert!(lines.lines.len() > 1000, "{} in words", lines.lines.len());
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
