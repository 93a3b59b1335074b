//! Packets that the firewall logged: what a log line or an NFLOG message says, and how it gets here.
//! Opens no file and no socket.

pub mod advise;
pub mod batch;
mod civil;
mod envelope;
pub mod ip_header;
pub mod kernel_log;
pub mod packet;
pub mod prefix;
pub mod record;
pub mod time_layout;

pub use civil::Clock;
pub mod lines;
mod rule_words;
pub mod rules;
