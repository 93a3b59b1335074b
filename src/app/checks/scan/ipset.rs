//! Whether ipsets have names that can stand in a rule's text, where iptables prints them without quotes.
//! Does not read what the sets hold.
//!
//! Names are read while the rules stand still: a set that a rule uses can be swapped with another, but not be renamed or
//! destroyed, so what the text shows at that time is what is checked here.

use super::{Context, nft};
use crate::domain::judging::audit::Audit;
use crate::domain::rules::kernel::is_set_name;
use crate::domain::rules::{Problem, Reason};
use crate::host::netlink::nfnetlink::Nfnetlink;

/// Names told in the problem.
const TOLD: usize = 20;

/// Looks at the names of all ipsets. For a node with rules that use some: see [`Nfnetlink::ipset_names`].
pub fn check_names(context: &Context<'_>, audit: &mut Audit<'_>) {
    let names = Nfnetlink::open(context.deadline().moment()).and_then(|mut kernel| kernel.ipset_names());
    match names {
        Ok(names) => names_problem(&names).into_iter().for_each(|problem| audit.problem(problem)),
        Err(error) => audit.problem(nft::netlink_problem(&error)),
    }
}

fn names_problem(names: &[Vec<u8>]) -> Option<Problem> {
    let unclean: Vec<_> = names.iter().filter(|name| !is_set_name(name)).collect();
    let shown: Vec<_> = unclean.iter().take(TOLD).map(|name| name.escape_ascii().to_string()).collect();
    let more = unclean.len().saturating_sub(TOLD);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!unclean.is_empty()).then(|| {
        Problem::new(
            Reason::UntrustedRule,
            format!(
                "rules use ipsets, whose names iptables prints without quotes, and these names can pass for other \
                 parts of a rule: `{}`{more}; rename them",
                shown.join("`, `")
            ),
        )
    })
}
