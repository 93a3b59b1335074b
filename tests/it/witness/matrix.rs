//! Every writer × every listed rule × both families × both backends: our line is that of iptables-save 1.8.9 where that
//! says what the kernel holds, and the real iptables-restore makes the same rule of it again.

use std::collections::BTreeMap;
use std::fmt::Write;

use iptables_monitor::domain::rules::Family;

use super::exceptions::{BY_VERSION, Exceptions, OTHER_TEXT, RAW, REFUSED};
use super::kernel;
use super::list::{Listed, listed};
use super::ours::{self, Ours};
use super::reload::{Lines, reload, saved, saved_of};
use super::same::normal;
use super::tools::{BACKENDS, Backend, FAMILIES, Tools, of_the_text, writers};
use crate::support::Netns;

/// A listed rule as one writer wrote it.
#[derive(Clone, Debug)]
pub struct Case {
    pub listed: Listed,
    pub ours: Ours,
}

impl Case {
    fn typed(&self) -> &str {
        &self.listed.specification
    }
}

/// A namespace with every listed rule that this writer takes, in the kernel's order.
pub fn loaded(tools: &Tools, backend: Backend, family: Family) -> (Netns, Vec<Case>) {
    let mut lines = Lines::of_the_list();
    let mut typed: BTreeMap<(String, String), Vec<Listed>> = BTreeMap::new();
    for rule in listed(family, backend).into_iter().filter(|rule| rule.is_taken_by(tools.version)) {
        let line = format!("-A {}", rule.specification).into_bytes();
        let chain = rule.specification.split(' ').next().expect("a chain").to_owned();
        let place = typed.entry((rule.table.to_owned(), chain)).or_default();
        place.extend(std::iter::repeat_n(rule.clone(), rule.copies()));
        lines.lines.push((rule.table.to_owned(), line));
    }
    let netns = kernel::namespace(backend, family);
    tools.restore(&netns, backend, family, &lines.text(&lines.lines)).expect("every rule of the list loads");
    let ours = ours::read(&netns, backend, family);
    let of_chain = |ours: &Ours| (ours.kept.table.clone(), ours.kept.chain.clone());
    let mut cases = Vec::new();
    for chain in ours.chunk_by(|one, other| one.kept.is_in(&other.kept)) {
        let typed = typed.remove(&of_chain(&chain[0])).expect("a chain of the list");
        assert_eq!(typed.len(), chain.len(), "{:?}", of_chain(&chain[0]));
        let pairs = typed.into_iter().zip(chain);
        cases.extend(pairs.map(|(listed, ours)| Case { listed, ours: ours.clone() }));
    }
    assert!(typed.is_empty(), "the kernel has no {:?}", typed.keys());
    (netns, cases)
}

/// What one writer's rules are found to be, for messages.
struct Problems {
    at: String,
    text: String,
}

impl Problems {
    fn new(tools: &Tools, backend: Backend, family: Family) -> Self {
        Self { at: format!("{:?} {backend:?} {family:?}", tools.version), text: String::new() }
    }

    fn add(&mut self, what: &str, typed: &str, lines: &[&[u8]]) {
        writeln!(self.text, "{} {what}: {typed}", self.at).expect("memory");
        for line in lines {
            writeln!(self.text, "    {}", String::from_utf8_lossy(line)).expect("memory");
        }
    }
}

/// Each of the given lines, loaded by the writer of the rules.
fn again(
    tools: &Tools,
    backend: Backend,
    family: Family,
    lines: Vec<(String, Vec<u8>)>,
) -> Vec<Result<Vec<u8>, String>> {
    let lines = Lines { lines, ..Lines::of_the_list() };
    let made = reload(tools, backend, family, &lines);
    made.into_iter().map(|made| made.map(|kept| normal(backend, family, &kept.rule))).collect()
}

/// Compares our lines with those of 1.8.9, and gives both back to the writer.
fn check(
    tools: &Tools,
    oracle: Option<&Tools>,
    backend: Backend,
    family: Family,
    known: &mut Exceptions,
) -> String {
    let mut problems = Problems::new(tools, backend, family);
    let (netns, cases) = loaded(tools, backend, family);
    let line = |case: &Case| (case.listed.table.to_owned(), case.ours.line.clone());
    let words: Vec<&Case> = cases.iter().filter(|case| !case.ours.is_raw()).collect();
    let made = again(tools, backend, family, words.iter().map(|case| line(case)).collect());
    for (case, made) in words.iter().zip(made) {
        let is_same = |made: &Vec<u8>| *made == normal(backend, family, &case.ours.kept.rule);
        match made {
            Ok(made) if is_same(&made) => {}
            Ok(_) => problems.add("our line becomes another rule", case.typed(), &[&case.ours.line]),
            Err(_) if known.has(REFUSED, case.typed()) => {}
            Err(message) => {
                problems.add("our line is refused", case.typed(), &[&case.ours.line, message.as_bytes()])
            }
        }
    }
    let Some(oracle) = oracle else { return problems.text };
    let kept = cases.iter().map(|case| &case.ours.kept);
    let theirs = saved_of(kept, saved(&oracle.save(&netns, backend, family)));
    let mut raw = Vec::new();
    for (case, theirs) in cases.iter().zip(theirs) {
        if case.ours.line == theirs || known.has(OTHER_TEXT, case.typed()) {
        } else if case.ours.is_raw() {
            raw.push((case, theirs));
        } else {
            problems.add("our line is not that of 1.8.9", case.typed(), &[&case.ours.line, &theirs]);
        }
    }
    // raw is right only where the line of 1.8.9 says something else
    let lines = raw.iter().map(|(case, theirs)| (case.listed.table.to_owned(), theirs.clone()));
    let made = again(tools, backend, family, lines.collect());
    for ((case, theirs), made) in raw.iter().zip(made) {
        let is_same = made.is_ok_and(|made| made == normal(backend, family, &case.ours.kept.rule));
        if is_same && !known.has(RAW, case.typed()) {
            problems.add("raw, although 1.8.9 says it all", case.typed(), &[&case.ours.line, theirs]);
        }
    }
    problems.text
}

#[test]
fn every_line_is_that_of_1_8_9_and_becomes_the_same_rule_again() {
    let writers = writers();
    let oracle = of_the_text(&writers);
    if oracle.is_none() {
        println!("no iptables 1.8.9 here: its lines are not compared");
    }
    let mut known = Exceptions::default();
    let mut problems = String::new();
    for tools in &writers {
        for backend in BACKENDS {
            for family in FAMILIES {
                problems += &check(tools, oracle, backend, family, &mut known);
            }
        }
    }
    assert!(problems.is_empty(), "{problems}");
    known.assert_used(&writers, &[OTHER_TEXT, RAW, REFUSED]);
}

/// The same command becomes the same line, whichever version wrote it; and every other version takes the line.
#[test]
fn every_writer_gets_the_same_line_for_the_same_command() {
    let writers = writers();
    let mut known = Exceptions::default();
    let mut problems = String::new();
    for backend in BACKENDS {
        for family in FAMILIES {
            problems += &compare(&writers, backend, family, &mut known);
        }
    }
    assert!(problems.is_empty(), "{problems}");
    known.assert_used(&writers, &[BY_VERSION]);
}

fn compare(writers: &[Tools], backend: Backend, family: Family, known: &mut Exceptions) -> String {
    let mut text = String::new();
    let all: Vec<_> = writers.iter().map(|tools| loaded(tools, backend, family).1).collect();
    let key = |case: &Case, nth: usize| (case.listed.table, case.listed.specification.clone(), nth);
    let mut first: BTreeMap<_, Vec<u8>> = BTreeMap::new();
    for (tools, cases) in writers.iter().zip(&all) {
        let mut problems = Problems::new(tools, backend, family);
        let mut nth: BTreeMap<&str, usize> = BTreeMap::new();
        for case in cases {
            let nth = nth.entry(case.typed()).or_default();
            *nth += 1;
            let line = first.entry(key(case, *nth)).or_insert_with(|| case.ours.line.clone());
            if *line != case.ours.line && !known.has(BY_VERSION, case.typed()) {
                problems.add("another line than the first writer's", case.typed(), &[&case.ours.line, line]);
            }
        }
        text += &problems.text;
    }
    // what the first writer's rules are called is given to the others
    for tools in writers.iter().skip(1) {
        let mut problems = Problems::new(tools, backend, family);
        let given: Vec<&Case> = all[0]
            .iter()
            .filter(|case| !case.ours.is_raw() && case.listed.is_taken_by(tools.version))
            .collect();
        let lines = given.iter().map(|case| (case.listed.table.to_owned(), case.ours.line.clone())).collect();
        let made = reload(tools, backend, family, &Lines { lines, ..Lines::of_the_list() });
        let ipsets = ours::ipsets();
        for (case, made) in given.iter().zip(made) {
            match made {
                // legacy entries are read as whole tables, in the other test
                Ok(made) if backend == Backend::Nft => {
                    let line = ours::line_of(family, &made, &ipsets);
                    if line != case.ours.line && !known.has(BY_VERSION, case.typed()) {
                        problems.add(
                            "our line comes back as another",
                            case.typed(),
                            &[&case.ours.line, &line],
                        );
                    }
                }
                Ok(_) => {}
                Err(_) if known.has(REFUSED, case.typed()) => {}
                Err(message) => {
                    problems.add("our line is refused", case.typed(), &[&case.ours.line, message.as_bytes()])
                }
            }
        }
        text += &problems.text;
    }
    text
}
