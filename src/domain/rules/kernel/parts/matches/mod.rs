//! Matches.
//! Knows no target.

mod marks;

use super::Extension;

pub(super) const TABLES: &[&[Extension]] = &[marks::EXTENSIONS];
