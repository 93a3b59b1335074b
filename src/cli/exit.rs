//! How the program ends.
//! Ends nothing.

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was read and is allowed, or the agent was asked to stop.
    Success = 0,
    /// Rules that no pattern allows, or differences that `check --compare` found.
    Violations = 1,
    /// Wrong usage, missing input or a broken allowlist.
    Usage = 2,
    /// Not everything was read and understood.
    Unknown = 3,
}
