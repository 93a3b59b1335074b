//! What the kernel holds, decoded: bytes to values and back.
//! Writes no text but that of x_tables parts.
//!
//! # How live reading reads rules
//! The functions are in [`super::lines`]; what they take and give is decided here.
//!
//! **A chain of an iptables table in nf_tables.** For each rule of the answer to `NFT_MSG_GETRULE`, in order, with the
//! [`Line`](super::text::line::Line) truncated: [`write_rule`](super::lines::write_rule). It says
//! - `Written::Iptables`: the line is the rule, `-A CHAIN …`;
//! - `Written::Native(reason)`: no iptables-nft 1.8.7 to 1.8.13 could have written the rule, the line is untouched, and
//!   the rule is a native one. So is every rule of a chain whose name iptables does not give
//!   ([`names::may_be_chain_name`]);
//! - `references.jumps`: over all chains of a table, the sum of `NFTA_CHAIN_USE` is the number of rules, of their jumps,
//!   and of elements of verdict maps that jump;
//! - `references.names_ipset`: the line names ipsets, whose names must be asked for before and after reading.
//!
//! The lines of chains are [`text::rule::policy`](super::text::rule::policy) and
//! [`declaration`](super::text::rule::declaration).
//!
//! **A legacy table.** One answer of `IPT_SO_GET_INFO` (or `IP6T_`, `ARPT_`) is [`legacy::Hooks`] and the number of
//! entries, one of `IPT_SO_GET_ENTRIES` the entries: [`read_legacy`](super::lines::read_legacy) hands over every line with
//! its kind, chain and position. It copies no entry and keeps one line and one record for each chain. A
//! [`legacy::Fault`] means that the table is broken (`BrokenTable`): lines that were handed over before it are true as far
//! as they go, and the table is never compliant. [`legacy::stable`] hands over the bytes that are no state, to be hashed
//! or compared.
//!
//! # What decodes what
//! `expressions` knows attributes, `parts` knows x_tables structures, `head` what stands before the matches; `rule` is the
//! model that both backends become, and `rule::native` the forms of iptables-nft. `same` lists which states share a line.

pub mod attributes;
mod chains;
pub mod expectations;
pub mod expressions;
pub mod head;
pub mod hooks;
pub mod layout;
pub mod legacy;
pub mod names;
pub mod objects;
pub mod parts;
pub mod rule;
pub mod same;
pub mod sets;
pub mod taken;

use std::collections::BTreeMap;

pub use chains::{Chain, ChainFault, ChainShape, Hook, Table, TableFault, check_chain, check_table};

/// Names of ipsets by their index in the kernel.
pub type Ipsets = BTreeMap<u16, Vec<u8>>;
