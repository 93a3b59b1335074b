//! The match `set`, whose options are in [`ipsets`].
//! Knows no target.

use super::matching;
use crate::domain::rules::kernel::parts::{BOTH, Extension, ipsets};

pub(super) const EXTENSIONS: &[Extension] =
    &[matching("set", BOTH, &[4], &[], "netfilter/xt_set.h", ipsets::set)];
