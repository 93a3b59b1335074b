//! Packets that the firewall logged: what a log line or an NFLOG message says, and how it gets here.
//! Opens no file and no socket.

pub mod accounting;
pub mod advise;
pub mod batch;
mod civil;
mod envelope;
pub mod kernel_log;
pub mod kind;
pub mod lines;
pub mod message;
pub mod prefix;
pub mod recent;
pub mod record;
pub mod rule_text;
mod rule_words;
pub mod rules;
pub mod time_layout;
pub mod window;

pub use civil::Clock;
