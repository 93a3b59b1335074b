//! Allowlists: lists of patterns, and whether a line matches one of its table's list or of the global one.
//! Opens no file; what cannot be used is reported and never allows anything.
//!
//! A file has one pattern a line in Go's syntax (see [`super::go_regex`]), searched for anywhere in a line. `#` is
//! an ordinary character, blanks are significant, an empty line is nothing. For example `^-A KUBE-[A-Z]+ .*-j ACCEPT$`.

mod broken;
pub mod nearest;
mod program;
mod reader;
mod suggest;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::go_regex;
pub use broken::BrokenPattern;
use program::PatternSet;
pub use suggest::suggest;

/// The most patterns, broken ones included, that one allowlist may hold.
pub const MAX_PATTERNS: usize = 10_000;

/// The largest pattern file, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Patterns with their programs, and what was wrong with the others.
#[derive(Debug)]
pub struct Allowlist {
    patterns: Vec<Pattern>,
    broken: Vec<BrokenPattern>,
    sets: BTreeMap<List, PatternSet>,
    source: [u8; 32],
}

/// The content of one pattern file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternFile {
    /// Which lines its patterns may allow.
    pub list: List,
    /// Where it comes from, for people: a path, or the name of a profile.
    pub origin: String,
    /// The whole file.
    pub text: Vec<u8>,
}

/// One pattern that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The list it is in.
    pub list: List,
    /// Where its file comes from.
    pub origin: Arc<str>,
    /// Its line in that file, 1-based.
    pub line: usize,
    /// As written.
    pub text: Box<str>,
}

/// Which lines a pattern may allow; each list is a file of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum List {
    /// Lines of every iptables table, and native lines with their quoted strings emptied.
    Global,
    /// Lines of the iptables table nat.
    Nat,
    /// Lines of the iptables table mangle.
    Mangle,
    /// Lines of the iptables table filter.
    Filter,
    /// Lines of the iptables table raw.
    Raw,
    /// Lines of the iptables table security.
    Security,
    /// Native nftables lines.
    Nftables,
}

// === impl List ===

impl List {
    /// Every list, in the order they are read and shown.
    pub const ALL: [Self; 7] =
        [Self::Global, Self::Nat, Self::Mangle, Self::Filter, Self::Raw, Self::Security, Self::Nftables];

    /// The name of its file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Nat => "nat",
            Self::Mangle => "mangle",
            Self::Filter => "filter",
            Self::Raw => "raw",
            Self::Security => "security",
            Self::Nftables => "nftables",
        }
    }

    /// The list whose file has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.as_str() == name)
    }

    /// The list of this iptables table; none for another name.
    pub fn for_table(table: &str) -> Option<Self> {
        Self::from_name(table).filter(|list| !matches!(list, Self::Global | Self::Nftables))
    }
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
        Self { patterns, broken, sets, source: hash(files) }
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

fn lists_of(table: Option<&str>) -> impl Iterator<Item = List> {
    table.and_then(List::for_table).into_iter().chain([List::Global])
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

/// Without an early end, so that it compiles to a few wide instructions.
fn has_control_byte(line: &[u8]) -> bool {
    line.iter().fold(false, |found, &byte| found | (byte < 0x20) | (byte == 0x7f))
}

/// `"…"` becomes `""`; inside, a backslash keeps the next byte from ending the string. What is open stays open.
fn without_quoted(line: &[u8]) -> Cow<'_, [u8]> {
    if !line.contains(&b'"') {
        return Cow::Borrowed(line);
    }
    let mut masked = Vec::with_capacity(line.len());
    let mut bytes = line.iter();
    let mut is_quoted = false;
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => drop(bytes.next()),
            _ => {}
        }
        if !is_quoted || byte == b'"' {
            masked.push(byte);
        }
    }
    Cow::Owned(masked)
}

/// A line as the programs want it.
#[derive(Debug)]
enum Text<'a> {
    Ascii(&'a [u8]),
    Unicode { line: &'a [u8], decoded: Cow<'a, str> },
}

impl<'a> Text<'a> {
    fn of(line: &'a [u8]) -> Self {
        if line.is_ascii() {
            return Self::Ascii(line);
        }
        let decoded = match std::str::from_utf8(line) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(go_regex::decode_as_go(line)),
        };
        Self::Unicode { line, decoded }
    }

    fn line(&self) -> &'a [u8] {
        match self {
            Self::Ascii(line) | Self::Unicode { line, .. } => line,
        }
    }
}
