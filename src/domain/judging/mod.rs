//! What is allowed and what was found: allowlists, the audit of every line against them, the report and the reasons in it.
//! Reads no rule and no file; knows no cluster.

pub mod allowlist;
pub mod audit;
pub mod blocked;
pub mod go_regex;
pub mod netns;
pub mod profiles;
pub mod provenance;
pub mod report;
pub mod typed_rule;
pub mod why;
pub mod wording;
