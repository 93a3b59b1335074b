//! The answer about one node, which everything shares.
//! Gives none: a report does.

/// The answer about one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was read and understood, and everything is allowed.
    Compliant,
    /// At least one line is not allowed.
    Violations,
    /// Nothing forbidden was seen, but not everything was read and understood.
    Unknown,
}

impl Verdict {
    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compliant => "compliant",
            Self::Violations => "violations",
            Self::Unknown => "unknown",
        }
    }
}
