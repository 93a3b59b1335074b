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

use super::{Alias, Extension, Info, Role};
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

pub(super) const ALIASES: &[Alias] = conntrack::ALIASES;

const IP: &[Family] = &[Family::Ip];
const IP6: &[Family] = &[Family::Ip6];
const BOTH: &[Family] = &[Family::Ip, Family::Ip6];

/// A match without state.
const fn stateless(
    name: &'static str,
    families: &'static [Family],
    revisions: &'static [u8],
    source: &'static str,
    text: fn(&Info<'_>, &mut Line) -> Option<()>,
) -> Extension {
    Extension { name, role: Role::Match, families, revisions, state: &[], source, text }
}
