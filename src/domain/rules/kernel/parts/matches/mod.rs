//! Matches.
//! Knows no target.

mod addresses;
mod clock;
mod connection;
mod conntrack;
mod content;
mod headers;
mod headers6;
mod local;
mod marks;
mod memory;
mod origin;
mod policy;
mod rates;
mod routing6;
mod sctp;
mod sets;
#[cfg(test)]
mod tests;
mod transport;

use std::ops::Range;

pub use marks::Mark;
pub use rates::Limit;
pub use transport::{ANY_PORT, Tcp, Udp};

use super::{Extension, Info, Role};
use crate::domain::rules::Family;
use crate::domain::rules::text::line::Line;

pub(super) const TABLES: &[&[Extension]] = &[
    addresses::EXTENSIONS,
    clock::EXTENSIONS,
    connection::EXTENSIONS,
    conntrack::EXTENSIONS,
    content::EXTENSIONS,
    headers::EXTENSIONS,
    headers6::EXTENSIONS,
    local::EXTENSIONS,
    marks::EXTENSIONS,
    memory::EXTENSIONS,
    origin::EXTENSIONS,
    policy::EXTENSIONS,
    rates::EXTENSIONS,
    routing6::EXTENSIONS,
    sctp::EXTENSIONS,
    sets::EXTENSIONS,
    transport::EXTENSIONS,
];

/// A match, in the order of the columns of a table.
const fn matching(
    name: &'static str,
    families: &'static [Family],
    revisions: &'static [u8],
    state: &'static [Range<usize>],
    source: &'static str,
    text: fn(&Info<'_>, &mut Line) -> Option<()>,
) -> Extension {
    Extension { name, role: Role::Match, families, revisions, state, source, text }
}
