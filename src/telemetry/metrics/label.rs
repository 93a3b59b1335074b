//! Values of labels that come from names others choose.
//! Counts nothing.

use crate::domain::words::escape;

/// Characters of a table's name that a label shows.
pub(super) const MAX_LABEL: usize = 64;
pub(super) const OTHER: &str = "other";

/// An untrusted name as a label shows it.
pub(super) fn shown(name: &str) -> String {
    escape::line(name.as_bytes()).text.chars().take(MAX_LABEL).collect()
}
