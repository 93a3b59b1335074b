//! Compares what the kernel holds with what the installed tools print of it: iptables-save of both backends and families, and
//! `nft -j list ruleset`. Judges nothing, and trusts no tool.
//!
//! Both sides are read as for a check whose allowlists allow nothing, and so list every line.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::run::check_once;
use super::scan::ScanOptions;
use super::scan::dump::{OUTPUT_LIMIT_BYTES, command_problem, ending_problem};
use super::scan::saved::{self, Source};
use crate::domain::judging::allowlist::{Allowlist, List, PatternFile};
use crate::domain::judging::audit::{InForce, Ipv6, Outcome, Rulebook};
use crate::domain::judging::report::{Report, Violation};
use crate::domain::rules::{Backend, Family, Kind, Problem, Reason};
use crate::domain::words::error_chain::chain_of;
use crate::host::process::command::{self, Deadline};

/// How often both sides are read, if the rules change meanwhile.
const ATTEMPTS: u32 = 3;

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The kernel was not read in full.
    #[error("the kernel was not read in full: {0}")]
    Kernel(String),
    /// A tool is missing, or did not give a whole answer.
    #[error("{program} gave no whole answer: {detail}")]
    Tool {
        /// Its name.
        program: String,
        /// What went wrong.
        detail: String,
    },
    /// No two reads of the kernel around one of the tools were the same.
    #[error("the rules changed during each of {ATTEMPTS} comparisons; try again when they stand still")]
    Changing,
}

/// Where a line stands, or a group of lines that have no numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Whose table it is; a native rule in a table of iptables counts as one of iptables.
    pub backend: Backend,
    /// The family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its chain, or the set, map or object.
    pub chain: Option<String>,
    /// What the line declares.
    pub kind: Kind,
    /// 1-based number of a rule in its chain.
    pub position: Option<u32>,
}

/// A place of which the kernel and a tool say different things. The text is untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub place: Place,
    /// The line made of the kernel's bytes; none where it has nothing.
    pub kernel: Option<Vec<u8>>,
    /// The tool's line; none where it says nothing.
    pub tool: Option<Vec<u8>>,
    /// The tool.
    pub program: String,
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// The tools that were asked.
    pub programs: Vec<String>,
    /// Lines made of the kernel's bytes.
    pub lines: usize,
    /// Where the two are not the same.
    pub differences: Vec<Difference>,
    /// What the tools complained of, and could not say in full. Untrusted.
    pub notes: Vec<String>,
}

/// The lines of both sides at one place.
#[derive(Debug, Default)]
struct Sides {
    kernel: Vec<Vec<u8>>,
    tool: Vec<Vec<u8>>,
}

/// What one tool printed.
struct Printed {
    program: String,
    /// Which backend it shows.
    backend: Backend,
    family: Option<Family>,
    outcome: Outcome,
}

impl Printed {
    fn shows(&self, place: &Place) -> bool {
        self.backend == place.backend && self.family.is_none_or(|family| family == place.family)
    }
}

/// Reads the kernel and asks the tools; each may take [`ScanOptions::dump_timeout`].
///
/// # Errors
/// If a tool is missing or fails, if the kernel was not read in full, and if the rules change again and again.
pub fn compare(options: &ScanOptions) -> Result<Comparison, CompareError> {
    let options = ScanOptions { limit: usize::MAX, ..options.clone() };
    let book = nothing_allowed();
    for _ in 0..ATTEMPTS {
        let before = kernel(&book, &options)?;
        let mut notes = Vec::new();
        let printed = tools(&book, &options, &before, &mut notes)?;
        if kernel(&book, &options)?.ruleset_hash == before.ruleset_hash {
            return Ok(compared(&before, &printed, notes));
        }
    }
    Err(CompareError::Changing)
}

/// Allowlists that allow nothing, and ask what all sets hold.
fn nothing_allowed() -> Rulebook {
    let asking = PatternFile { list: List::Nftables, origin: String::new(), text: b"^elements $".to_vec() };
    let nothing = InForce { patterns: Arc::new(Allowlist::parse(&[asking])), is_missing: false };
    Rulebook { ipv4: nothing.clone(), ipv6: Ipv6::Checked(nothing), problems: Vec::new() }
}

fn kernel(book: &Rulebook, options: &ScanOptions) -> Result<Report, CompareError> {
    let report = check_once(book, options, "");
    let unread = report.problems.iter().find(|problem| {
        matches!(
            problem.reason,
            Reason::PermissionDenied
                | Reason::DumpTimeout
                | Reason::KernelRead
                | Reason::TornRead
                | Reason::CountMismatch
        )
    });
    match unread {
        Some(problem) => Err(CompareError::Kernel(problem.detail.clone())),
        None => Ok(report),
    }
}

fn tools(
    book: &Rulebook,
    options: &ScanOptions,
    kernel: &Report,
    notes: &mut Vec<String>,
) -> Result<Vec<Printed>, CompareError> {
    let mut all = Vec::new();
    for (family, iptables) in [(Family::Ip, "iptables"), (Family::Ip6, "ip6tables")] {
        let backends = [(Backend::IptablesNft, "nft"), (Backend::IptablesLegacy, "legacy")];
        let programs = backends.map(|(backend, name)| (backend, format!("{iptables}-{name}-save")));
        let known = all.len();
        for (backend, program) in &programs {
            if command::find(program).is_ok() {
                let outcome = run(book, options, (program, &[], family), notes)?;
                all.push(Printed {
                    program: program.clone(),
                    backend: *backend,
                    family: Some(family),
                    outcome,
                });
            }
        }
        if all.len() == known {
            all.push(unnamed(book, options, (&format!("{iptables}-save"), family), notes)?);
        }
        for (backend, program) in programs {
            let is_asked = all.iter().any(|one| (one.backend, one.family) == (backend, Some(family)));
            let is_there =
                kernel.tables.iter().any(|table| (table.backend, table.family) == (backend, family));
            if is_there && !is_asked {
                let detail = "it is not installed, and the kernel has tables of its backend".to_owned();
                return Err(CompareError::Tool { program, detail });
            }
        }
    }
    if options.nftables {
        let outcome = run(book, options, ("nft", &["-j", "list", "ruleset"], Family::Ip), notes)?;
        all.push(Printed { program: "nft".to_owned(), backend: Backend::Nftables, family: None, outcome });
    }
    Ok(all)
}

/// What a program prints whose name does not say of which backend it is. That of iptables-legacy does not say so in its
/// text either.
fn unnamed(
    book: &Rulebook,
    options: &ScanOptions,
    (program, family): (&str, Family),
    notes: &mut Vec<String>,
) -> Result<Printed, CompareError> {
    let outcome = run(book, options, (program, &[], family), notes)?;
    let is_nft = outcome.tables.iter().any(|table| table.backend == Backend::IptablesNft);
    let backend = if is_nft { Backend::IptablesNft } else { Backend::IptablesLegacy };
    Ok(Printed { program: program.to_owned(), backend, family: Some(family), outcome })
}

/// Runs a tool and reads all it prints.
fn run(
    book: &Rulebook,
    options: &ScanOptions,
    (program, args, family): (&str, &[&str], Family),
    notes: &mut Vec<String>,
) -> Result<Outcome, CompareError> {
    let failed = |detail| CompareError::Tool { program: program.to_owned(), detail };
    let deadline = Deadline::after(options.dump_timeout, Arc::clone(&options.cancelled));
    let mut running = command::start(program, args, b"", &deadline, OUTPUT_LIMIT_BYTES)
        .map_err(|error| failed(command_problem(&error).detail))?;
    let source = Source { name: program.to_owned(), family, reader: Box::new(&mut running) };
    let read = saved::files(book, options.limit, options.dump_timeout, vec![source]);
    // how it ended says more than what its text lacks
    let ended = running.finish().map_err(|error| failed(command_problem(&error).detail))?;
    match ending_problem(program, &ended) {
        Some(Problem { reason: Reason::UnexpectedOutput, detail }) => notes.push(detail),
        Some(problem) => return Err(failed(problem.detail)),
        None => {}
    }
    let outcome = read.map_err(|error| failed(chain_of(&error)))?.0.outcome;
    for Problem { reason, detail } in &outcome.problems {
        match reason {
            // a node without rules: there is no file that could have been cut
            Reason::IncompleteDump if outcome.tables.is_empty() => {}
            // rules of which it shows a part: their lines differ, or are those of iptables
            Reason::UnrenderedRule => {}
            Reason::MalformedLine | Reason::NotADump => {
                return Err(failed(detail.clone()));
            }
            _ => notes.push(format!("{program}: {detail}")),
        }
    }
    Ok(outcome)
}

fn compared(kernel: &Report, printed: &[Printed], mut notes: Vec<String>) -> Comparison {
    let managed: Vec<(Family, &str)> = kernel
        .tables
        .iter()
        .filter(|table| table.backend == Backend::IptablesNft)
        .map(|table| (table.family, table.table.as_str()))
        .collect();
    let is_managed = |line: &Violation| managed.contains(&(line.family, line.table.as_str()));
    let (mut sides, mut unasked): (BTreeMap<Place, Sides>, usize) = (BTreeMap::new(), 0);
    for line in &kernel.violations {
        let is_of_iptables = line.backend == Backend::Nftables && is_managed(line);
        let place = place(line, if is_of_iptables { Backend::IptablesNft } else { line.backend });
        match printed.iter().any(|one| one.shows(&place)) {
            true => sides.entry(place).or_default().kernel.push(line.line.clone()),
            false => unasked += 1,
        }
    }
    for one in printed {
        let is_nft = one.backend == Backend::Nftables;
        for line in one.outcome.violations.iter().filter(|line| !(is_nft && is_managed(line))) {
            sides.entry(place(line, one.backend)).or_default().tool.push(line.line.clone());
        }
    }
    if unasked > 0 {
        notes.push(format!("lines of arptables-legacy that are not compared: {unasked}"));
    }
    let program = |place: &Place| {
        printed.iter().find(|one| one.shows(place)).map(|one| one.program.clone()).unwrap_or_default()
    };
    let differences =
        sides.into_iter().flat_map(|(place, sides)| differences(place, sides, &program)).collect();
    let programs = printed.iter().map(|one| one.program.clone()).collect();
    Comparison { programs, lines: kernel.violations.len() - unasked, differences, notes }
}

fn place(line: &Violation, backend: Backend) -> Place {
    let (table, chain) = (line.table.clone(), line.chain.clone());
    Place { backend, family: line.family, table, chain, kind: line.kind, position: line.position }
}

/// What is left of one place when what both sides say is gone.
fn differences(place: Place, sides: Sides, program: &impl Fn(&Place) -> String) -> Vec<Difference> {
    let Sides { kernel, mut tool } = sides;
    let mut alone = Vec::new();
    for line in kernel {
        match tool.iter().position(|other| *other == line) {
            Some(at) => drop(tool.swap_remove(at)),
            None => alone.push(line),
        }
    }
    // iptables-save prints the policy of built-in chains that do not exist, which accept everything
    let is_absent = place.kind == Kind::Policy && alone.is_empty();
    tool.retain(|line| !(is_absent && line.ends_with(b" ACCEPT")));
    let count = alone.len().max(tool.len());
    let (mut kernel, mut tool) = (alone.into_iter(), tool.into_iter());
    let pairs = (0..count).map(|_| (kernel.next(), tool.next()));
    pairs
        .map(|(kernel, tool)| Difference { place: place.clone(), kernel, tool, program: program(&place) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(kind: Kind, kernel: &[&str], tool: &[&str]) -> Vec<(Option<String>, Option<String>)> {
        let lines = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        let (table, backend) = ("filter".to_owned(), Backend::IptablesNft);
        let place = Place { backend, family: Family::Ip, table, chain: None, kind, position: None };
        let text = |line: Option<Vec<u8>>| line.map(|line| String::from_utf8(line).unwrap());
        let sides = Sides { kernel: lines(kernel), tool: lines(tool) };
        differences(place, sides, &|_| String::new())
            .into_iter()
            .map(|found| (text(found.kernel), text(found.tool)))
            .collect()
    }

    #[test]
    fn what_both_sides_say_is_no_difference() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(left(Kind::Element, &["a", "b"], &["b", "a"]), []);
        assert_eq!(left(Kind::Element, &["a", "a"], &["a"]), [(some("a"), None)]);
        assert_eq!(left(Kind::Rule, &["a"], &["b"]), [(some("a"), some("b"))]);
        assert_eq!(left(Kind::Rule, &[], &["b"]), [(None, some("b"))]);
    }

    #[test]
    fn an_absent_chain_may_be_printed_as_accepting() {
        let both = (Some("-P INPUT DROP".to_owned()), Some("-P INPUT ACCEPT".to_owned()));
        assert_eq!(left(Kind::Policy, &[], &["-P FORWARD ACCEPT"]), []);
        assert_eq!(left(Kind::Policy, &[], &["-P FORWARD DROP"]).len(), 1);
        assert_eq!(left(Kind::Policy, &["-P INPUT DROP"], &["-P INPUT ACCEPT"]), [both]);
    }
}
