//! Why the agent ends, which decides what it says last.
//! Ends nothing.

/// Why the agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A signal asked for it.
    Stopped,
    /// The node is compliant and that was all to be found out.
    Compliant,
}
