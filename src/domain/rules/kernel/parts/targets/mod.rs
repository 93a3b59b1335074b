//! The targets whose text is known, by kind.
//! Knows no match.

mod connection;
mod headers;
mod hmark;
mod logging;
mod marks;
mod nat;
mod routing;

#[cfg(test)]
mod tests;

pub use logging::Nflog;

use std::ops::Range;

use super::{Extension, Info, Role};
use crate::domain::rules::Family;
use crate::domain::rules::text::line::Line;

pub(super) const TABLES: &[&[Extension]] = &[
    connection::EXTENSIONS,
    headers::EXTENSIONS,
    hmark::EXTENSIONS,
    logging::EXTENSIONS,
    marks::EXTENSIONS,
    nat::EXTENSIONS,
    routing::EXTENSIONS,
];

/// A target. See [`Extension`].
const fn target(
    name: &'static str,
    families: &'static [Family],
    revisions: &'static [u8],
    state: &'static [Range<usize>],
    source: &'static str,
    text: fn(&Info<'_>, &mut Line) -> Option<()>,
) -> Extension {
    Extension { name, role: Role::Target, families, revisions, state, source, text }
}
