//! Which rule logged a packet: an index of the rules that log, by where they log to and their prefix.
//! Says so when several may have; never guesses. What becomes of the packet is read from the rules behind it.
//!
//! Rules of other network namespaces (containers with a firewall of their own) are not among the lines, and their
//! packets may be in the same log: a match is the one rule of *this* firewall that may have logged the packet.

mod after;
mod builder;
mod condition;
mod facts;
mod index;
pub(super) mod statement;

pub use after::{After, By, Verdict};
pub use builder::Builder;
pub use facts::{Facts, Hook, Via};
pub use index::{LogRule, RuleIndex, RuleMatch};

impl RuleIndex {
    /// An index to be fed with the lines of a scan.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

#[cfg(test)]
mod tests;
