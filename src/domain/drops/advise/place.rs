//! Where a rule stands that may drop packets, and how many such are kept.
//! Reads no rule.

use crate::domain::rules::{Backend, Family};

/// Rules that drop, and jumps to chains of others, that are remembered.
pub(super) const KEPT: usize = 1000;

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub backend: Backend,
    pub family: Family,
    pub table: String,
    pub chain: String,
    /// 1-based; none for the policy, behind all rules.
    pub position: Option<u32>,
}
