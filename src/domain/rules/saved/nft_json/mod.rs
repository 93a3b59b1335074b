//! Canonical lines of native nftables rules, made from the JSON of `nft -j list ...`, one element at a time.
//! Reads no other text of nft, which can be forged, and judges nothing.
//!
//! `{"rule": {"family": "inet", "table": "t", "chain": "in", "handle": 4, "expr": [{"match": {"op": "==",
//! "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}, {"accept": null}]}}` becomes
//! `inet t in tcp dport 22 accept`: family, table, chain, then each statement in order.
//!
//! Two rules with different JSON have different lines, except for what decides nothing about packets (handles, counters,
//! used quotas, time left) and the order of elements in a set. Whatever is not known is shown as `json(...)` and told as
//! a [`Problem`]. So is what `nft -j` itself prints alike for two different rules (seen in 1.0.6):
//! a set and an interface name that begins with `@`; an interface name that holds `\*` and a wildcard; an interface's
//! number and a name made of digits; times of `ct expiration`, rounded to seconds; the level of `socket cgroupv2`;
//! the devices of a netdev chain; values of concatenations with parts of bytes, which nft 1.0.6 and later versions write and
//! print differently; the protocol where a rule changes a
//! transport header of any protocol; a wildcard in a set and a name ending with `*`; the flags of a table, which are
//! read from freed memory and may cut the JSON off.
//!
//! Whoever calls nft has to watch for what cannot be told here, because 1.0.6 exits 0 with JSON that looks whole:
//! - a set of a type nft cannot read (`ct label { 1, 2 }`) makes it and **all later sets** vanish from rules; only its
//!   stderr says so, thus anything on stderr means that the JSON is not whole;
//! - elements of sets that are not UTF-8 (interface names) vanish without a word, as do log prefixes and comments;
//! - `flags offload` of chains and flowtables and the comments of tables and chains are never printed;
//! - hours and days are printed in the time zone of nft.
//!
//! Names that the kernel or nft numbered (`__chain3`, `__set0`) stay as they are.
//!
//! *Source*: libnftables-json(5) and nft(8) of nftables 1.0.6.

mod decl;
mod expr;
mod json;
mod nat;
mod reader;
mod stmt;
mod value;
mod whole;

use std::io::Read;

use serde::de::DeserializeSeed;
use thiserror::Error;

use self::json::Json;
use self::reader::{Document, Reader};
use crate::domain::rules::{Family, Kind, Problem};

/// One thing the JSON says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A table.
    Table {
        /// Its family.
        family: Family,
        /// Its name.
        name: String,
    },
    /// A chain, base or not.
    Chain {
        /// The family of its table.
        family: Family,
        /// Its table.
        table: String,
        /// Its name.
        name: String,
        /// Whether it hangs on a hook.
        is_base: bool,
    },
    /// A line to be judged.
    Line(NativeLine),
    /// The elements of a plain set.
    SetElements {
        /// The family of its table.
        family: Family,
        /// Its table.
        table: String,
        /// Its name.
        set: String,
        /// How many there are.
        count: u64,
        /// SHA-256 over the sorted elements, each ended by a newline.
        hash: [u8; 32],
    },
    /// Something that was not understood.
    Problem(Problem),
}

/// A rule or declaration as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeLine {
    /// The family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its chain, or the set, map, flowtable or object it declares; none for a table.
    pub chain: Option<String>,
    /// What it declares.
    pub kind: Kind,
    /// The kernel's number for it.
    pub handle: Option<u64>,
    /// 1-based number of a rule in its chain, in the order listed.
    pub position: Option<u32>,
    /// The canonical text: printable ASCII.
    pub line: Vec<u8>,
    /// Whether it holds a match or target of x_tables, of which the text shows only the name: no text may allow it.
    pub has_xt: bool,
}

/// Why the JSON could not be read to its end. What was read before it has gone to the sink.
#[derive(Debug, Error)]
pub enum JsonError {
    /// The reader failed.
    #[error("reading JSON of nft: {0}")]
    Read(#[source] std::io::Error),
    /// It is no JSON, ends early, repeats a key, has no list `nftables` or goes on after it.
    #[error("JSON of nft: {0}")]
    Syntax(#[source] serde_json::Error),
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_io() { Self::Read(error.into()) } else { Self::Syntax(error) }
    }
}

/// Tells `sink` everything that the JSON of `nft -j list ...` says, as it is read.
///
/// One element of the list is in memory at a time. In saved files, `add`, `insert` and `create` of a thing count as the
/// thing; all other commands are a [`Problem`].
///
/// # Errors
/// When the reader fails, and for JSON that is cut off, repeats a key, goes on after its end or holds no `nftables`.
pub fn parse(reader: impl Read, sink: &mut impl FnMut(Item)) -> Result<(), JsonError> {
    let mut deserializer = serde_json::Deserializer::from_reader(std::io::BufReader::new(reader));
    Document(&mut Reader::new(sink)).deserialize(&mut deserializer)?;
    Ok(deserializer.end()?)
}

/// As [`parse`], of a file that somebody saved: told as well is what shows that it is not a whole rule set, and what means
/// something only in the time zone of the machine that wrote it.
///
/// # Errors
/// As [`parse`].
pub fn parse_file(reader: impl Read, sink: &mut impl FnMut(Item)) -> Result<(), JsonError> {
    let mut deserializer = serde_json::Deserializer::from_reader(std::io::BufReader::new(reader));
    let mut elements = Reader::of_file(sink);
    Document(&mut elements).deserialize(&mut deserializer)?;
    elements.finish();
    Ok(deserializer.end()?)
}

/// What is wrong with a part of the JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Odd(String);

impl Odd {
    fn new(expected: &str, found: &Json) -> Self {
        Self(format!("not {expected}: {}", excerpt(found)))
    }
}

/// The beginning of a part, for messages.
fn excerpt(part: &Json) -> String {
    let mut shown = part.fallback();
    shown.truncate(200);
    shown
}

/// Text of a part, or what is wrong with the part.
type Rendered = Result<String, Odd>;

/// What is rendered but may mean something else, collected beside the text.
#[derive(Default)]
struct Doubts {
    notes: Vec<String>,
    has_xt: bool,
    /// Whether the JSON is that of a file, whose writer may have been in any time zone.
    is_file: bool,
}

impl Doubts {
    fn add(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }

    /// The text of a part, or the part itself and a note.
    fn settle(&mut self, part: &Json, rendered: Rendered) -> String {
        rendered.unwrap_or_else(|Odd(odd)| {
            self.add(&format!("{odd} in {}", excerpt(part)));
            part.fallback()
        })
    }
}

#[cfg(test)]
mod tests;
