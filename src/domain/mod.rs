//! What is decided: pure functions from text and values to values.
//! Nothing here opens a file, asks for the time, logs or waits.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod allowlist;
pub mod audit;
pub mod author;
pub mod backoff;
pub mod change;
pub mod debounce;
pub mod drops;
pub mod escape;
pub mod go_regex;
pub mod history;
pub mod iptables_save;
pub mod nft_json;
pub mod pairing;
pub mod pending;
pub mod profiles;
pub mod provenance;
pub mod reaction;
pub mod report;
pub mod rules;
pub mod ruleset;
pub mod shadow;
pub mod shapes;
pub mod typed_rule;
pub mod why;
pub mod wording;
