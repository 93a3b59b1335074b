//! Matches.
//! Knows no target.

mod addresses;
mod connection;
mod conntrack;
mod headers;
mod headers6;
mod local;
mod marks;
mod rates;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::{Extension, Info, Role};
use crate::domain::rules::text::line::Line;
use crate::domain::ruleset::Family;

pub(super) const TABLES: &[&[Extension]] = &[
    addresses::EXTENSIONS,
    connection::EXTENSIONS,
    conntrack::EXTENSIONS,
    headers::EXTENSIONS,
    headers6::EXTENSIONS,
    local::EXTENSIONS,
    marks::EXTENSIONS,
    rates::EXTENSIONS,
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
