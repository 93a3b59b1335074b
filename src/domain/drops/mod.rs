//! Packets that the firewall logged: what a log line or an NFLOG message says, and how it gets here.
//! Opens no file and no socket.

pub mod advise;
pub mod batch;
mod rule_words;
pub mod rules;
