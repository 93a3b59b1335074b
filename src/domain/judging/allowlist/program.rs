//! One list's patterns as programs: whole lines in a hash map, all others in one automaton.
//! Every pattern it is given is known to be valid; it decides nothing about tables.

use std::collections::HashMap;
use std::sync::OnceLock;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::nfa::thompson::{Compiler, NFA, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::{Input, MatchKind, PatternSet as Found};
use regex_syntax::hir::{Hir, HirKind, Look};

use crate::domain::judging::go_regex::GoRegex;

use super::list::{List, Pattern};
use super::text::Text;

/// The most that one pattern may take, in bytes of its automaton. `.{0,200}` takes a few thousand for ASCII.
pub(super) const MAX_ASCII_BYTES: usize = 256 << 10;
/// The same for text that is not ASCII, where each character is several states.
pub(super) const MAX_UNICODE_BYTES: usize = 1 << 20;
/// A list's automaton as a whole; what the reader lets through is far below.
const MAX_SET_BYTES: usize = 32 << 20;

/// The size of a pattern's program for ASCII lines, in bytes; none if it is too large.
pub(super) fn ascii_bytes(pattern: &GoRegex) -> Option<usize> {
    compile(std::slice::from_ref(&pattern.ascii), MAX_ASCII_BYTES).map(|nfa| nfa.memory_usage())
}

/// The size of a pattern's program for all other lines, in bytes; none if it is too large.
pub(super) fn unicode_bytes(pattern: &GoRegex) -> Option<usize> {
    compile(std::slice::from_ref(&pattern.unicode), MAX_UNICODE_BYTES).map(|nfa| nfa.memory_usage())
}

/// The only line that a pattern of the form `^literal$` matches.
///
/// Not with U+FFFD in it: for Go that is also any byte that is not UTF-8.
pub(super) fn exact_line(pattern: &GoRegex) -> Option<Box<[u8]>> {
    let HirKind::Concat(parts) = pattern.unicode.kind() else { return None };
    let [start, literal, end] = parts.as_slice() else { return None };
    let (HirKind::Look(Look::Start), HirKind::Literal(literal), HirKind::Look(Look::End)) =
        (start.kind(), literal.kind(), end.kind())
    else {
        return None;
    };
    let text = std::str::from_utf8(&literal.0).ok()?;
    (!text.contains(char::REPLACEMENT_CHARACTER)).then(|| literal.0.clone())
}

pub(super) fn compile(trees: &[Hir], limit: usize) -> Option<NFA> {
    let config = NFA::config().utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(limit));
    Compiler::new().configure(config).build_many_from_hir(trees).ok()
}

/// What a list consists of. Patterns are numbered over the whole allowlist.
#[derive(Default)]
pub(super) struct Members {
    exact: HashMap<Box<[u8]>, usize>,
    trees: Vec<Hir>,
    ids: Vec<usize>,
}

impl Members {
    pub(super) fn add_exact(&mut self, line: Box<[u8]>, id: usize) {
        self.exact.entry(line).or_insert(id);
    }

    pub(super) fn add_regex(&mut self, ascii: Hir, id: usize) {
        self.trees.push(ascii);
        self.ids.push(id);
    }
}

/// One list, ready to match.
#[derive(Debug)]
pub(super) struct PatternSet {
    list: List,
    exact: HashMap<Box<[u8]>, usize>,
    ids: Vec<usize>,
    ascii: Option<Program>,
    /// Made when the first line comes that is not ASCII: few nodes have one. None inside: it could not be made.
    unicode: OnceLock<Option<Program>>,
}

impl PatternSet {
    /// # Errors
    /// With the patterns' numbers, when they do not compile together.
    pub(super) fn build(list: List, members: Members) -> Result<Self, Vec<usize>> {
        let Members { exact, trees, ids } = members;
        let ascii = match Program::build(&trees, cache_bytes(list)) {
            None if !ids.is_empty() => return Err(ids),
            program => program,
        };
        Ok(Self { list, exact, ids, ascii, unicode: OnceLock::new() })
    }

    /// `patterns` are all of the allowlist.
    pub(super) fn is_match(&self, patterns: &[Pattern], text: &Text<'_>) -> bool {
        self.is_exact(text).is_some()
            || self.program(patterns, text).is_some_and(|(program, bytes)| program.is_match(bytes))
    }

    /// The number of the first pattern that matches.
    pub(super) fn first_match(&self, patterns: &[Pattern], text: &Text<'_>) -> Option<usize> {
        self.matches(patterns, text).first().copied()
    }

    /// The numbers of all patterns that match, in order; of equal whole lines only the first.
    pub(super) fn matches(&self, patterns: &[Pattern], text: &Text<'_>) -> Vec<usize> {
        let by_regex = self.program(patterns, text).map(|(program, bytes)| program.matches(bytes));
        let by_regex = by_regex.into_iter().flatten().filter_map(|index| self.ids.get(index).copied());
        let mut found: Vec<_> = self.is_exact(text).into_iter().chain(by_regex).collect();
        found.sort_unstable();
        found
    }

    fn is_exact(&self, text: &Text<'_>) -> Option<usize> {
        if self.exact.is_empty() { None } else { self.exact.get(text.line()).copied() }
    }

    fn program<'s>(&'s self, patterns: &[Pattern], text: &'s Text<'_>) -> Option<(&'s Program, &'s [u8])> {
        match text {
            Text::Ascii(line) => Some((self.ascii.as_ref()?, line)),
            Text::Unicode { decoded, .. } => {
                let program = self.unicode.get_or_init(|| self.build_unicode(patterns));
                Some((program.as_ref()?, decoded.as_bytes()))
            }
        }
    }

    fn build_unicode(&self, patterns: &[Pattern]) -> Option<Program> {
        let parse = |&id: &usize| GoRegex::parse(&patterns.get(id)?.text).ok().map(|parsed| parsed.unicode);
        let trees: Vec<Hir> = self.ids.iter().map(parse).collect::<Option<_>>()?;
        Program::build(&trees, cache_bytes(self.list) / 2)
    }
}

/// What the states of a lazily built automaton may take, in bytes; it starts with a few thousand.
fn cache_bytes(list: List) -> usize {
    if list == List::Global { 8 << 20 } else { 2 << 20 }
}

/// Many patterns in one automaton whose states are made as lines need them.
#[derive(Debug)]
struct Program {
    dfa: DFA,
    /// For lines that would need new states all the time: slower, but at a steady speed.
    vm: PikeVM,
    caches: Pool<
        Caches,
        Box<dyn Fn() -> Caches + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>,
    >,
}

#[derive(Debug)]
struct Caches {
    dfa: Cache,
    vm: Option<pikevm::Cache>,
}

impl Program {
    /// None without patterns, or when they do not compile together.
    fn build(trees: &[Hir], cache_bytes: usize) -> Option<Self> {
        if trees.is_empty() {
            return None;
        }
        let nfa = compile(trees, MAX_SET_BYTES)?;
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(cache_bytes)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(3))
            .minimum_bytes_per_state(Some(10));
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa.clone()).ok()?;
        let vm = PikeVM::builder()
            .configure(PikeVM::config().match_kind(MatchKind::All))
            .build_from_nfa(nfa)
            .ok()?;
        let for_caches = dfa.clone();
        let caches =
            Pool::new(Box::new(move || Caches { dfa: for_caches.create_cache(), vm: None }) as Box<_>);
        Some(Self { dfa, vm, caches })
    }

    fn is_match(&self, text: &[u8]) -> bool {
        let mut caches = self.caches.get();
        let input = Input::new(text).earliest(true);
        match self.dfa.try_search_fwd(&mut caches.dfa, &input) {
            Ok(found) => found.is_some(),
            Err(_) => self.vm.is_match(caches.vm(&self.vm), input),
        }
    }

    /// The places of the patterns that match among those it was built from.
    fn matches(&self, text: &[u8]) -> Vec<usize> {
        let mut caches = self.caches.get();
        let input = Input::new(text);
        let mut found = Found::new(self.dfa.pattern_len());
        if self.dfa.try_which_overlapping_matches(&mut caches.dfa, &input, &mut found).is_err() {
            self.vm.which_overlapping_matches(caches.vm(&self.vm), &input, &mut found);
        }
        found.iter().map(|id| id.as_usize()).collect()
    }
}

impl Caches {
    fn vm(&mut self, vm: &PikeVM) -> &mut pikevm::Cache {
        self.vm.get_or_insert_with(|| vm.create_cache())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With no room for states the automaton gives up, and the slower machine must give the same answers.
    #[test]
    fn answers_do_not_depend_on_the_room_for_states() {
        let patterns = ["cd.{5,30}dd.{3,9}cca", "^(a|b)*c$", "dcd.*b.*dda.{20}d", "(ab|ba){5}$"];
        let trees: Vec<Hir> = patterns.iter().map(|text| GoRegex::parse(text).unwrap().ascii).collect();
        let (roomy, tight) = (Program::build(&trees, 8 << 20).unwrap(), Program::build(&trees, 0).unwrap());
        let mut random = 1_u32;
        let mut matches = 0;
        for _ in 0..2_000 {
            let line: Vec<u8> = (0..60)
                .map(|_| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *b"ababcd".get(random as usize >> 16 & 7).unwrap_or(&b'a')
                })
                .collect();
            assert_eq!(roomy.is_match(&line), tight.is_match(&line));
            assert_eq!(roomy.matches(&line), tight.matches(&line));
            matches += usize::from(roomy.is_match(&line));
        }
        assert!((1..2_000).contains(&matches), "{matches}");
        assert!(tight.caches.get().vm.is_some() && roomy.caches.get().vm.is_none());
    }
}
