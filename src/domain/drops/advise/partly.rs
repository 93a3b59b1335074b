//! Native rules that drop some of the packets they match, as verdict maps do: no log rule could ask the same of a packet.
//! Finds them; says nothing.

use std::collections::HashSet;

use super::place::{KEPT, Place};
use crate::domain::drops::rule_words::{Word, words};
use crate::domain::rules::Family;

/// Maps that are remembered; beyond it, every map may drop.
const MAPS: usize = 10_000;

/// A named map: family, table, name.
type Map = (Family, String, Vec<u8>);

/// The rules, and the maps that drop; a map's elements may come before or after the rules.
#[derive(Debug, Default)]
pub(super) struct Partly {
    rules: Vec<Rule>,
    maps: HashSet<Map>,
    untold: u64,
}

/// A rule that drops some packets, or does if its map does.
#[derive(Debug)]
pub(super) struct Rule {
    pub place: Place,
    pub is_logged: bool,
    map: Option<Map>,
}

impl Partly {
    /// Takes an element of a map: `element inet t m 22 : drop`.
    pub fn element(&mut self, family: Family, table: &str, line: &[u8]) {
        let words = words(line);
        let drops = words.last().is_some_and(|verdict| verdict.is("drop"));
        if let Some(name) = words.get(3).filter(|_| drops && self.maps.len() < MAPS) {
            self.maps.insert((family, table.to_owned(), name.text.to_vec()));
        }
    }

    /// Takes a rule that may decide in a way that its last words do not tell.
    pub fn rule(&mut self, place: Place, line: &[u8], is_logged: bool) {
        let words = words(line);
        let mut behind = words.iter().skip_while(|word| !word.is("vmap")).skip(1);
        let name = behind.next().and_then(|word| word.text.strip_prefix(b"@").filter(|_| !word.is_quoted));
        let map = name.map(|name| (place.family, place.table.clone(), name.to_vec()));
        if map.is_none() && !words.iter().skip(3).any(drops) {
            return;
        }
        match self.rules.len() < KEPT {
            true => self.rules.push(Rule { place, is_logged, map }),
            false => self.untold += 1,
        }
    }

    /// The rules that drop, in the order of their places.
    pub fn rules(&self) -> Vec<&Rule> {
        let knows_all = self.maps.len() < MAPS;
        let drops = |rule: &&Rule| rule.map.as_ref().is_none_or(|map| !knows_all || self.maps.contains(map));
        let mut rules: Vec<_> = self.rules.iter().filter(drops).collect();
        rules.sort_by(|a, b| a.place.cmp(&b.place));
        rules
    }

    /// Rules that are not listed, because there were too many.
    pub const fn untold(&self) -> u64 {
        self.untold
    }
}

/// `drop`, or `drop,` between the elements of a map.
fn drops(word: &Word<'_>) -> bool {
    word.is_any(&["drop", "drop,", "reject"])
}
