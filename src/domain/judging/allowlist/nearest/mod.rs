//! Why a line is allowed, or which patterns come nearest to allowing it and where they differ.
//! For people who ask about one line: slow and thorough. Whether a line is allowed is decided elsewhere.

mod align;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use align::{Step, align};

use super::Allowlist;
use super::list::{List, Pattern, lists_of};
use super::program::{MAX_UNICODE_BYTES, compile};
use super::text::{Text, has_control_byte, without_quoted};
use crate::domain::judging::go_regex::GoRegex;

/// Patterns that are told as near.
const NEAREST: usize = 3;
/// A pattern that agrees with fewer bytes of a line is not near it, however short it is.
const AGREED: usize = 6;

/// What one allowlist says about one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// Every pattern that allows the line.
    pub allowing: Vec<&'a Pattern>,
    /// If there is none: the patterns that miss it by little, the nearest first.
    pub nearest: Vec<Nearest<'a>>,
    /// If there is none: patterns that match the line but stand in a list that does not judge it.
    pub elsewhere: Vec<&'a Pattern>,
    /// The line holds a control byte: nothing may allow it.
    pub has_control_byte: bool,
}

/// A pattern that nearly matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest<'a> {
    /// The pattern.
    pub pattern: &'a Pattern,
    /// How many bytes differ.
    pub edits: usize,
    /// Where.
    pub differences: Vec<Difference>,
}

/// A part of a line that a pattern wants otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where in the line, in bytes.
    pub at: usize,
    /// What stands there; empty where something is missing.
    pub found: Vec<u8>,
    /// What the pattern would take; empty where something is too much. Classes are shown as `[0-9]` and `.`.
    pub expected: String,
}

/// The lists that judge a line: of this iptables table, or native.
pub fn judging(table: Option<&str>) -> Vec<List> {
    match table {
        Some(table) => lists_of(Some(table)).collect(),
        None => vec![List::Nftables, List::Global],
    }
}

impl Allowlist {
    /// Explains how a line of this iptables table is judged, or a native line if there is no table.
    pub fn explain(&self, table: Option<&str>, line: &[u8]) -> Explanation<'_> {
        let judging = judging(table);
        let matches = |lists: &[List], line: &[u8]| -> Vec<&Pattern> {
            let text = Text::of(line);
            let sets = lists.iter().filter_map(|list| self.set(*list));
            sets.flat_map(|set| set.matches(&self.patterns, &text))
                .filter_map(|id| self.patterns.get(id))
                .collect()
        };
        let masked = without_quoted(line);
        let judged = |list: List| if table.is_none() && list == List::Global { &*masked } else { line };
        let has_control_byte = has_control_byte(line);
        let mut allowing = Vec::new();
        if !has_control_byte {
            judging.iter().for_each(|list| allowing.extend(matches(&[*list], judged(*list))));
        }
        if !allowing.is_empty() || has_control_byte {
            return Explanation { allowing, nearest: Vec::new(), elsewhere: Vec::new(), has_control_byte };
        }
        let others: Vec<_> = List::ALL.into_iter().filter(|list| !judging.contains(list)).collect();
        let mut elsewhere = matches(&others, line);
        if table.is_none() {
            elsewhere.extend(matches(&[List::Global], line));
        }
        let mine = |pattern: &&Pattern| judging.contains(&pattern.list) && !elsewhere.contains(pattern);
        let nearest = self.patterns.iter().filter(mine);
        let nearest = rank(nearest.filter_map(|pattern| near(pattern, judged(pattern.list))));
        Explanation { allowing, nearest, elsewhere, has_control_byte }
    }
}

/// The nearest first: those that agree with most of the line and differ in least of it.
fn rank<'a>(found: impl Iterator<Item = (usize, Nearest<'a>)>) -> Vec<Nearest<'a>> {
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|(agreed, Nearest { edits, .. })| Reverse(agreed.saturating_sub(edits * 2)));
    found.into_iter().take(NEAREST).map(|(_, nearest)| nearest).collect()
}

/// How near a pattern is, and how many bytes it means to match, not only happens to; none if it has more against the
/// line than for it.
fn near<'a>(pattern: &'a Pattern, line: &[u8]) -> Option<(usize, Nearest<'a>)> {
    let parsed = GoRegex::parse(&pattern.text).ok()?;
    let nfa = compile(std::slice::from_ref(&parsed.unicode), MAX_UNICODE_BYTES)?;
    let steps = align(&nfa, line)?;
    let agreed = steps.iter().filter(|step| step.is_meant()).count();
    let edits = steps.iter().filter(|step| step.is_edit()).count();
    (edits > 0 && agreed >= AGREED && agreed > edits)
        .then(|| (agreed, Nearest { pattern, edits, differences: differences(&steps) }))
}

/// Whole words of the line that differ.
fn differences(steps: &[Step]) -> Vec<Difference> {
    let is_gap = |step: &Step| step.byte == Some(b' ') && !step.is_edit();
    let mut found: Vec<Difference> = Vec::new();
    let mut end = None;
    let mut before = 0;
    for word in steps.split_inclusive(is_gap) {
        let start = before;
        before += word.len();
        let (inner, gap) = match word.split_last() {
            Some((last, inner)) if is_gap(last) => (inner, 1),
            _ => (word, 0),
        };
        if !inner.iter().any(Step::is_edit) {
            continue;
        }
        match found.last_mut() {
            // two words in a row are one difference
            Some(last) if end == Some(start) => {
                last.found.push(b' ');
                last.expected.push(' ');
                last.found.extend(inner.iter().filter_map(|step| step.byte));
                last.expected.push_str(&expected(inner));
            }
            _ => found.push(Difference {
                at: inner.first().map_or(0, |step| step.at),
                found: inner.iter().filter_map(|step| step.byte).collect(),
                expected: expected(inner),
            }),
        }
        end = (gap == 1).then_some(before);
    }
    found.iter_mut().for_each(Difference::trim);
    found
}

impl Difference {
    /// Leaves out the words at both ends that are the same.
    fn trim(&mut self) {
        let space = |byte: &u8| *byte == b' ';
        let (mut found, mut expected): (Vec<_>, Vec<_>) =
            (self.found.split(space).collect(), self.expected.split(' ').collect());
        while found.last().zip(expected.last()).is_some_and(|(found, expected)| *found == expected.as_bytes())
        {
            found.pop();
            expected.pop();
        }
        let same = found.iter().zip(&expected).take_while(|(found, expected)| **found == expected.as_bytes());
        let (words, bytes) =
            same.fold((0, 0), |(words, bytes), (found, _)| (words + 1, bytes + found.len() + 1));
        let (found, expected) = (found.split_off(words).join(&b' '), expected.split_off(words).join(" "));
        // what differs in blanks alone is shown with the words around them
        if !found.is_empty() || !expected.is_empty() {
            *self = Self { at: self.at + bytes, found, expected };
        }
    }
}

fn expected(steps: &[Step]) -> String {
    let mut out = Vec::new();
    for step in steps {
        match (step.byte, step.expected) {
            (Some(byte), Some(_)) if !step.is_edit() => out.push(byte),
            (_, Some((from, to))) if from == to => out.push(from),
            (_, Some(_)) if step.expected.is_some_and(is_any) => out.push(b'.'),
            (_, Some((from, to))) => out.extend([b'[', from, b'-', to, b']']),
            (_, None) => {}
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_any((from, to): (u8, u8)) -> bool {
    to - from >= 64
}
