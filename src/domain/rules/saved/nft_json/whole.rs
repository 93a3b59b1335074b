//! Whether a saved file can be a whole rule set, by what it refers to and does not hold.
//! Judges nothing; a live node's answers are compared with the kernel instead.
//!
//! What tells (nftables 0.9.8 to 1.1.7):
//! - `list ruleset` and `list table` print each table before what is in it; `list chains`, `list chain`, `list sets`, `list
//!   maps` and the like print no table;
//! - `list tables` prints tables and nothing else, as would a node whose tables are all empty: neither is judged;
//! - `-t` (terse) leaves out the elements of named sets and maps. Where one set or map has some, the others are empty; where
//!   none has, nothing tells, unless packets or a clock change them (1.0.6 does not print the flag `dynamic`, so a rule that
//!   adds elements tells too). Some versions count elements they do not show;
//! - a rule of a chain, or a jump to one, that the file does not hold.

use std::collections::BTreeSet;

use super::json::Json;
use super::reader::Place;
use crate::domain::rules::Family;
use crate::domain::rules::text::word::name;

/// What was seen of a file so far.
#[derive(Debug, Default)]
pub struct Whole {
    tables: BTreeSet<(Family, String)>,
    chains: BTreeSet<Place>,
    /// Chains that rules are in or lead to.
    needed: BTreeSet<Place>,
    /// The first table that was not declared.
    undeclared: Option<(Family, String)>,
    /// Chains, sets, objects: whatever is no table.
    others: u64,
    elements: u64,
    /// Maps without elements, and sets without that no clock changes.
    empty_sets: BTreeSet<Place>,
    /// Sets and maps that rules put elements into.
    filled: BTreeSet<Place>,
    /// The first set whose elements are counted and not shown.
    untold: Option<Place>,
}

/// A set or map, as far as it matters here.
pub struct SeenSet {
    pub is_map: bool,
    /// Whether packets or a clock change its elements.
    pub is_fleeting: bool,
    /// How many elements are shown.
    pub shown: usize,
    /// How many there are, where that is said.
    pub said: Option<i128>,
}

impl Whole {
    /// Notes a table.
    pub fn table(&mut self, family: Family, table: &str) {
        self.tables.insert((family, table.to_owned()));
    }

    /// Notes something that is in a table.
    pub fn inside(&mut self, family: Family, table: &str) {
        self.others += 1;
        let table = (family, table.to_owned());
        if !self.tables.contains(&table) {
            self.undeclared.get_or_insert(table);
        }
    }

    /// Notes a chain.
    pub fn chain(&mut self, family: Family, table: &str, chain: &str) {
        self.inside(family, table);
        self.chains.insert((family, table.to_owned(), chain.to_owned()));
    }

    /// Notes where a rule or an element leads, and what it fills.
    pub fn leads(&mut self, family: Family, table: &str, json: &Json) {
        match json {
            Json::List(list) => list.iter().for_each(|item| self.leads(family, table, item)),
            Json::Object(entries) => {
                let has_key = |wanted: &str| entries.iter().any(|(key, _)| key == wanted);
                let is_update = has_key("op") && has_key("elem");
                for (key, value) in entries {
                    let set = match (key.as_str(), value) {
                        ("set" | "map", Json::Text(set)) if is_update => set.strip_prefix('@'),
                        _ => None,
                    };
                    if let Some(set) = set {
                        self.filled.insert((family, table.to_owned(), set.to_owned()));
                    }
                    let target = match (key.as_str(), value) {
                        ("jump" | "goto", Json::Object(entries)) => entries.first(),
                        _ => None,
                    };
                    match target {
                        Some((key, Json::Text(chain))) if key == "target" => self.needs(family, table, chain),
                        _ => self.leads(family, table, value),
                    }
                }
            }
            _ => {}
        }
    }

    /// Notes that the file has to hold a chain.
    pub fn needs(&mut self, family: Family, table: &str, chain: &str) {
        self.needed.insert((family, table.to_owned(), chain.to_owned()));
    }

    /// Notes a set or map.
    pub fn set(&mut self, place: Place, set: &SeenSet) {
        self.elements += set.shown as u64;
        if set.shown > 0 {
            return;
        }
        if set.said.is_some_and(|said| said > 0) {
            self.untold.get_or_insert_with(|| place.clone());
        }
        if set.is_map || !set.is_fleeting {
            self.empty_sets.insert(place);
        }
    }

    /// Notes elements that stand apart from their set.
    pub fn elements(&mut self, count: usize) {
        self.elements += count as u64;
    }

    /// What a whole rule set would have, and this file has not.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if let Some((family, table)) = &self.undeclared {
            let table = name(table);
            missing.push(format!(
                "the file does not hold table {family} {table} itself: it lists chains or sets, not all of the rules"
            ));
        } else if self.others == 0 && !self.tables.is_empty() {
            missing.push(
                "the file holds tables, and not one chain or set: this is what `nft -j list tables` prints"
                    .to_owned(),
            );
        }
        if let Some((family, table, chain)) = self.needed.difference(&self.chains).next() {
            let (table, chain) = (name(table), name(chain));
            missing.push(format!(
                "the file does not hold chain {family} {table} {chain}, to which its rules lead"
            ));
        }
        if let Some((family, table, set)) = &self.untold {
            let (table, set) = (name(table), name(set));
            missing.push(format!(
                "set {family} {table} {set} has elements that the file does not show: it was listed with -t (terse)"
            ));
        } else if self.elements == 0 && self.empty_sets.difference(&self.filled).next().is_some() {
            missing.push(
                "no set and no map of the file has an element: either all are empty, or it was listed with -t (terse)"
                    .to_owned(),
            );
        }
        missing
    }
}
