//! Where a dump comes from.
//! Reads none.

/// Where the text comes from, which decides what may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A `*-save` program that just ran: exactly its own output.
    Live,
    /// A file that a person kept: also restore files, with indentation, remarks and `-I`.
    Saved,
    /// What `iptables -t TABLE -S CHAIN` just printed: `-P` or `-N`, then `-A` lines, as they are judged.
    Listing,
}
