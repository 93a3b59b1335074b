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
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError, has_expectations};

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
    let found = match list(context, book) {
        Ok(found) => found,
        Err(error) => return audit.problem(problem(&error)),
    };
    if found.len() > MAX_EXPECTATIONS {
        let what =
            format!("more than {MAX_EXPECTATIONS} expectations of connection tracking: not all were judged");
        audit.problem(Problem::new(Reason::KernelRead, what));
    }
    if !found.is_empty() {
        judge(audit, &found, &helpers());
    }
}

fn list(context: &Context<'_>, book: &Rulebook) -> Result<Vec<Expectation>, NfnetlinkError> {
    let mut found = Vec::new();
    let mut kernel = Nfnetlink::open(context.deadline().moment())?;
    kernel.for_each_expectation(|expectation| {
        if expectation.is_of_interest()
            && book.covers(family(&expectation))
            && found.len() <= MAX_EXPECTATIONS
        {
            found.push(expectation);
        }
    })?;
    Ok(found)
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
fn judge(audit: &mut Audit<'_>, found: &[Expectation], helpers: &Helpers) {
    let is_of_rule = |expectation: &Expectation| {
        let helper = expectation.helper.as_ref();
        expectation.has_one_source() && helper.is_some_and(|helper| helpers.assign(helper))
    };
    let lines = found.iter().filter(|expectation| !is_of_rule(expectation));
    let mut lines: Vec<_> = lines.map(|expectation| (family(expectation), line(expectation))).collect();
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
