//! What `nft list ruleset` prints, checked before nft loads it into a namespace of its own: only tables, counted, without
//! what nft would take from the machine that reads it. Renders no rule: what was loaded is read as a live node is.
//!
//! Text that is loaded can lie, so this accepts only what a listing is made of, and leaves out what does not say all:
//! - at the top level, nothing but `table FAMILY NAME {`: no command, no `include`, no `define`;
//! - no comment but the numbers that nft itself writes (`# handle 4`, `# count 2`, `# progname NAME`): behind others nft
//!   hides what it cannot print (`# match-set foo src counter drop`), and a rule loads without it;
//! - no empty line in a chain: so nft 1.0.6 prints a rule that it cannot read;
//! - no table that iptables-nft manages: nft 1.1 prints its parts translated, without a word, and not all of each;
//! - no rule with a name that belongs to the machine that wrote it (users, groups, realms, labels, cgroups, device groups)
//!   or a time in its zone;
//! - no concatenation with parts of bytes, which nft prints alike for two rules;
//! - names of priorities are numbers when loaded, since versions know them for other hooks;
//! - `flags owner` is taken out, or the table would be gone when nft ends; `expires` too, or elements would.
//!
//! What it cannot see: text that somebody forged by a quote inside a comment or prefix, which takes a program that writes
//! netlink messages itself; the JSON of nft escapes quotes. And what nft printed wrong without a trace: 1.0.6 leaves a
//! comparison with an anonymous set of conntrack labels out of its rule, and then those with all later sets, in text and in
//! JSON, and says so on standard error only.
//!
//! *Source*: nft(8), `src/parser_bison.y` and `src/rule.c` of nftables 0.9.8 to 1.1.7.

mod block;
mod devices;
mod names;
mod scanner;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeSet;

use self::scanner::Scanner;
use crate::domain::rules::{Family, Problem, Reason};
use crate::domain::words::cut;

pub use self::devices::{FIRST_INDEX, MAX_DEVICES};

/// Longer text is refused: that of 100,000 rules and as many elements is half of it.
pub const MAX_TEXT_BYTES: usize = 32 << 20;

/// A listing that can be loaded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// What nft is to load: the text, without what was left out.
    pub text: String,
    /// What has to be there then.
    pub tables: Vec<Table>,
    /// Devices that have to exist before.
    pub devices: BTreeSet<String>,
}

/// What a table of the text holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// How much of each.
    pub counts: Counts,
}

/// How much a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Chains, also those that a rule holds in braces.
    pub chains: u64,
    /// Rules, also those in such chains.
    pub rules: u64,
    /// Elements of named sets and maps.
    pub elements: u64,
}

/// Checks a listing, and tells `sink` what was left out of it and why.
///
/// # Errors
/// The problem that forbids to load anything of it.
pub fn scan(bytes: &[u8], sink: &mut impl FnMut(Problem)) -> Result<Listing, Problem> {
    if bytes.len() > MAX_TEXT_BYTES {
        let what = format!("the text has more than {} MiB", MAX_TEXT_BYTES >> 20);
        return Err(Problem::new(Reason::DumpTooLarge, what));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Problem::new(Reason::MalformedLine, "the text is not UTF-8: nft prints no such listing")
    })?;
    if !text.ends_with('\n') {
        let what = "the last line has no newline: the text stops early";
        sink(Problem::new(Reason::IncompleteDump, what));
    }
    Scanner::new(text, sink).listing()
}

/// A part of the text for a message: it may be forged, and of any length.
fn shown(text: &str) -> String {
    cut::to_bytes(text, 100)
}
