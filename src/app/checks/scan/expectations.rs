//! Reads the expectations of connection tracking that send connections elsewhere or stay, but for those that a rule's helper
//! makes.

use std::io;

use super::Context;
use super::nft::netlink_problem;
use crate::domain::judging::audit::{Audit, Rulebook};
use crate::domain::rules::kernel::expectations::Expectation;
use crate::domain::rules::text::expectation::{family, line};
use crate::domain::rules::text::helpers::Helpers;
use crate::domain::rules::{Backend, Entry, Kind, Problem, Reason};
use crate::host::netlink::nfnetlink::{ExpectationId, Nfnetlink, NfnetlinkError, has_expectations};

/// So many are kept while they are read: a kernel takes a few thousand unless it is told otherwise.
const MAX_EXPECTATIONS: usize = 100_000;
/// What stands for the table of their lines.
const TABLE: &str = match Kind::Expectation.group() {
    Some(group) => group,
    None => "",
};

/// Reads and judges them. `helpers` says which helpers rules assign, and is asked only if there is one that matters.
pub fn read(
    context: &Context<'_>,
    book: &Rulebook,
    audit: &mut Audit<'_>,
    helpers: impl FnOnce() -> Helpers,
) {
    match has_expectations() {
        Ok(false) => return,
        // only root may read the file
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => {
            let what = format!("reading whether connections are expected: {error}");
            return audit.problem(Problem::new(Reason::KernelRead, what));
        }
        Ok(true) => {}
    }
    if let Err(error) = try_read(context, book, audit, helpers) {
        audit.problem(problem(&error));
    }
}

fn try_read(
    context: &Context<'_>,
    book: &Rulebook,
    audit: &mut Audit<'_>,
    helpers: impl FnOnce() -> Helpers,
) -> Result<(), NfnetlinkError> {
    let mut kernel = Nfnetlink::open(context.deadline().moment())?;
    let mut found = list(&mut kernel, book)?;
    if found.len() > MAX_EXPECTATIONS {
        let what =
            format!("more than {MAX_EXPECTATIONS} expectations of connection tracking: not all were judged");
        audit.problem(Problem::new(Reason::KernelRead, what));
    }
    if found.is_empty() {
        return Ok(());
    }
    let helpers = helpers();
    found.retain(|(expectation, _)| !is_of_rule(expectation, &helpers));
    for (expectation, id) in &mut found {
        expectation.zone = kernel.zone_of(family(expectation), id)?;
    }
    if found.iter().any(|(expectation, _)| expectation.zone.is_none()) {
        // its time may have ended meanwhile
        let still = list(&mut kernel, book)?;
        found.retain(|(expectation, id)| {
            expectation.zone.is_some() || still.iter().any(|(_, other)| other == id)
        });
    }
    judge(audit, found.iter().map(|(expectation, _)| expectation));
    Ok(())
}

fn list(
    kernel: &mut Nfnetlink,
    book: &Rulebook,
) -> Result<Vec<(Expectation, ExpectationId)>, NfnetlinkError> {
    let mut found = Vec::new();
    kernel.for_each_expectation(|expectation, id| {
        if expectation.is_of_interest()
            && book.covers(family(&expectation))
            && found.len() <= MAX_EXPECTATIONS
        {
            found.push((expectation, id));
        }
    })?;
    Ok(found)
}

fn is_of_rule(expectation: &Expectation, helpers: &Helpers) -> bool {
    let helper = expectation.helper.as_ref();
    expectation.has_one_source() && helper.is_some_and(|helper| helpers.assign(helper))
}

fn problem(error: &NfnetlinkError) -> Problem {
    match error {
        NfnetlinkError::Failed { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
            Problem::new(
                Reason::KernelRead,
                "connections are expected (/proc/net/nf_conntrack_expect), and the kernel does not list which: load the module \
             nf_conntrack_netlink",
            )
        }
        error => netlink_problem(error),
    }
}

/// The kernel lists them in the order of a hash that differs from boot to boot.
fn judge<'e>(audit: &mut Audit<'_>, found: impl Iterator<Item = &'e Expectation>) {
    let mut lines: Vec<_> = found.map(|expectation| (family(expectation), line(expectation))).collect();
    lines.sort();
    for (family, line) in lines {
        let entry = Entry {
            kind: Kind::Expectation,
            table: TABLE,
            chain: None,
            position: None,
            line: line.as_bytes(),
        };
        audit.judge(Backend::Netfilter, family, &entry);
    }
}
