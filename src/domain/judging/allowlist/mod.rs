//! Allowlists: lists of patterns, and whether a line matches one of its table's list or of the global one.
//! Opens no file; what cannot be used is reported and never allows anything.
//!
//! A file has one pattern a line in Go's syntax (see [`super::go_regex`]), searched for anywhere in a line. `#` is
//! an ordinary character, blanks are significant, an empty line is nothing. For example `^-A KUBE-[A-Z]+ .*-j ACCEPT$`.

mod broken;
mod elements;
mod list;
pub mod nearest;
mod program;
mod reader;
mod suggest;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

pub use broken::BrokenPattern;
use elements::JudgedElements;
pub use elements::is_of_elements;
use list::lists_of;
pub use list::{List, MAX_FILE_BYTES, MAX_PATTERNS, Pattern, PatternFile};
use program::PatternSet;
pub use suggest::suggest;
use text::{Text, has_control_byte, without_quoted};

/// Patterns with their programs, and what was wrong with the others.
#[derive(Debug)]
pub struct Allowlist {
    patterns: Vec<Pattern>,
    broken: Vec<BrokenPattern>,
    sets: BTreeMap<List, PatternSet>,
    elements: JudgedElements,
    source: [u8; 32],
}

// === impl Allowlist ===

impl Allowlist {
    /// Reads pattern files; several may belong to one list. Never fails: see [`Self::broken`].
    pub fn parse(files: &[PatternFile]) -> Self {
        let (patterns, mut broken, members) = reader::read(files);
        let mut sets = BTreeMap::new();
        for (list, members) in members {
            match PatternSet::build(list, members) {
                Ok(set) => drop(sets.insert(list, set)),
                Err(failed) => broken
                    .extend(failed.iter().filter_map(|&id| Some(BrokenPattern::of_set(patterns.get(id)?)))),
            }
        }
        let elements = JudgedElements::new(&patterns, &broken);
        Self { patterns, broken, sets, elements, source: hash(files) }
    }

    /// The lines that could not be used, in the order they were read. They allow nothing.
    pub fn broken(&self) -> &[BrokenPattern] {
        &self.broken
    }

    /// The patterns that work, in the order they were read.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// How many patterns work.
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether no pattern works: then nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a pattern is broken that might have allowed a line of this table, or a native line if there is none.
    pub fn lacks(&self, table: Option<&str>) -> bool {
        let own = table.map_or(Some(List::Nftables), List::for_table);
        self.broken
            .iter()
            .any(|broken| broken.list.is_none_or(|list| list == List::Global || Some(list) == own))
    }

    /// Whether a line is judged at all: false for the content of a set that no pattern of list `nftables` asks for.
    pub fn judges_elements(&self, line: &[u8]) -> bool {
        self.elements.are_judged(line)
    }

    /// Whether these files are, byte for byte, the ones this was made from.
    pub fn is_same_source(&self, files: &[PatternFile]) -> bool {
        self.source == hash(files)
    }

    /// Whether a pattern of the table's list or of the global list allows a line of this iptables table.
    ///
    /// A line with a control byte is never allowed: its text may show as several lines.
    pub fn allows(&self, table: Option<&str>, line: &[u8]) -> bool {
        if has_control_byte(line) {
            return false;
        }
        let text = Text::of(line);
        lists_of(table).any(|list| self.set(list).is_some_and(|set| set.is_match(&self.patterns, &text)))
    }

    /// The first pattern that allows a line, the table's list before the global one; as [`Self::allows`], but slower.
    pub fn matching(&self, table: Option<&str>, line: &[u8]) -> Option<&Pattern> {
        if has_control_byte(line) {
            return None;
        }
        let text = Text::of(line);
        lists_of(table).find_map(|list| self.first_match(list, &text))
    }

    /// Whether the list `nftables` allows a native line, or the global list allows it with its quoted strings emptied.
    ///
    /// Quoted strings are comments and prefixes, which anybody may choose: a global pattern that trusts a comment
    /// was written for iptables and must not open native tables.
    pub fn allows_native(&self, line: &[u8]) -> bool {
        if has_control_byte(line) {
            return false;
        }
        let is_match = |list, line: &[u8]| {
            self.set(list).is_some_and(|set| set.is_match(&self.patterns, &Text::of(line)))
        };
        is_match(List::Nftables, line) || is_match(List::Global, &without_quoted(line))
    }

    /// The first pattern that allows a native line; as [`Self::allows_native`], but slower.
    pub fn matching_native(&self, line: &[u8]) -> Option<&Pattern> {
        if has_control_byte(line) {
            return None;
        }
        self.first_match(List::Nftables, &Text::of(line))
            .or_else(|| self.first_match(List::Global, &Text::of(&without_quoted(line))))
    }

    fn set(&self, list: List) -> Option<&PatternSet> {
        self.sets.get(&list)
    }

    fn first_match(&self, list: List, text: &Text<'_>) -> Option<&Pattern> {
        let id = self.set(list)?.first_match(&self.patterns, text)?;
        self.patterns.get(id)
    }
}

fn hash(files: &[PatternFile]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.list.as_str());
        for part in [file.origin.as_bytes(), &file.text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}
