//! The fewest bytes of a line that would have to be other ones for a pattern to match it.
//! A search through the pattern's automaton for a person who waits, not for judging: there is an exact answer for that.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::primitives::StateID;

/// What a byte costs that is too much, missing or another one; and what it costs where bytes that are too much begin
/// inside a word: rules differ by whole words.
const EDIT: u16 = 4;
const SPLIT: u16 = 16;
/// Beyond so many bytes a pattern is not near.
const MAX_COST: u16 = 50 * EDIT;
/// Twice states times places of the largest search, which takes six bytes for each.
const MAX_NODES: usize = 8 << 20;
/// Not reached, or reached without a step before.
const NONE: u32 = u32::MAX;

/// One step of an alignment: a byte of the line, what the pattern takes there, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Where in the line.
    pub(super) at: usize,
    /// The line's byte; none where the pattern wants one more.
    pub(super) byte: Option<u8>,
    /// The bytes the pattern takes; none where it wants none.
    pub(super) expected: Option<(u8, u8)>,
}

impl Step {
    pub(super) fn is_edit(&self) -> bool {
        match (self.byte, self.expected) {
            (Some(byte), Some((from, to))) => !(from..=to).contains(&byte),
            _ => true,
        }
    }

    /// Whether pattern and line agree on this byte because the pattern has just this one, not because it takes many.
    pub(super) fn is_meant(&self) -> bool {
        !self.is_edit() && self.expected.is_some_and(|(from, to)| from == to)
    }
}

/// The steps of the best alignment; none if it is beyond the limits.
pub(super) fn align(nfa: &NFA, line: &[u8]) -> Option<Vec<Step>> {
    let states = nfa.states().len();
    let nodes = states.checked_mul(line.len() + 1)?.checked_mul(2).filter(|nodes| *nodes <= MAX_NODES)?;
    let mut search = Search {
        nfa,
        line,
        states,
        cost: vec![u16::MAX; nodes],
        parent: vec![NONE; nodes],
        queue: BinaryHeap::new(),
    };
    for at in 0..=line.len() {
        search.reach(Node { at, state: nfa.start_anchored(), is_gap: false }, 0, NONE);
    }
    let end = search.run()?;
    Some(search.steps(end))
}

/// A place in the line and a state of the automaton.
#[derive(Clone, Copy)]
struct Node {
    at: usize,
    state: StateID,
    /// Whether the byte before was too much.
    is_gap: bool,
}

struct Search<'a> {
    nfa: &'a NFA,
    line: &'a [u8],
    states: usize,
    /// The least cost of each node, and the node before it.
    cost: Vec<u16>,
    parent: Vec<u32>,
    queue: BinaryHeap<Reverse<(u16, u32)>>,
}

impl Search<'_> {
    /// Goes through the nodes in the order of their costs until the pattern matches.
    fn run(&mut self) -> Option<u32> {
        while let Some(Reverse((cost, number))) = self.queue.pop() {
            if self.cost.get(number as usize) != Some(&cost) {
                continue;
            }
            let node = self.node(number)?;
            let (nfa, line) = (self.nfa, self.line);
            let mut go = |next: StateID| self.reach(Node { state: next, ..node }, cost, number);
            match nfa.state(node.state) {
                State::Match { .. } => return Some(number),
                State::Fail => {}
                State::Capture { next, .. } => go(*next),
                State::Look { look, next } => {
                    if nfa.look_matcher().matches(*look, line, node.at) {
                        go(*next);
                    }
                }
                State::Union { alternates } => alternates.iter().copied().for_each(go),
                State::BinaryUnion { alt1, alt2 } => [*alt1, *alt2].into_iter().for_each(go),
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) => {
                    self.consume(node, cost, number)
                }
            }
        }
        None
    }

    fn consume(&mut self, node: Node, cost: u16, number: u32) {
        let Node { at, state, is_gap } = node;
        let byte = self.line.get(at).copied();
        for (from, to, next) in transitions(self.nfa.state(state)) {
            if let Some(edit) = byte.and_then(|byte| exchange(byte, from, to)) {
                self.reach(Node { at: at + 1, state: next, is_gap: false }, cost + edit, number);
            }
            self.reach(Node { at, state: next, is_gap: false }, cost + EDIT, number);
        }
        if byte.is_some() {
            let is_inside =
                at.checked_sub(1).and_then(|before| self.line.get(before)).is_some_and(|byte| *byte != b' ');
            let open = if is_inside && !is_gap { SPLIT } else { 0 };
            self.reach(Node { at: at + 1, state, is_gap: true }, cost + EDIT + open, number);
        }
    }

    fn reach(&mut self, node: Node, cost: u16, parent: u32) {
        let index = (node.at * self.states + node.state.as_usize()) * 2 + usize::from(node.is_gap);
        let (Some(known), Some(from)) = (self.cost.get_mut(index), self.parent.get_mut(index)) else {
            return;
        };
        if cost < *known && cost <= MAX_COST {
            (*known, *from) = (cost, parent);
            self.queue.push(Reverse((cost, index as u32)));
        }
    }

    fn node(&self, number: u32) -> Option<Node> {
        let place = number as usize / 2;
        let state = StateID::new(place % self.states).ok()?;
        Some(Node { at: place / self.states, state, is_gap: number % 2 == 1 })
    }

    /// The way to this node.
    fn steps(&self, end: u32) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut number = end;
        while let Some(&parent) = self.parent.get(number as usize).filter(|parent| **parent != NONE) {
            if let (Some(from), Some(to)) = (self.node(parent), self.node(number)) {
                steps.extend(self.step(from, to));
            }
            number = parent;
        }
        steps.reverse();
        steps
    }

    fn step(&self, from: Node, to: Node) -> Option<Step> {
        let byte = if to.at > from.at { self.line.get(from.at).copied() } else { None };
        let taken: Vec<_> = transitions(self.nfa.state(from.state))
            .filter(|(.., next)| *next == to.state && !to.is_gap)
            .map(|(first, last, _)| (first, last))
            .collect();
        let fits = |range: &&(u8, u8)| byte.is_some_and(|byte| (range.0..=range.1).contains(&byte));
        let expected = taken.iter().find(fits).or(taken.first()).copied();
        (byte.is_some() || expected.is_some()).then_some(Step { at: from.at, byte, expected })
    }
}

/// What it costs to take this byte of the line for one that the pattern has there. A blank is never taken for another
/// byte, and a class is no better than what stands there without it: else one word would grow over its neighbours.
fn exchange(byte: u8, from: u8, to: u8) -> Option<u16> {
    match (from..=to).contains(&byte) {
        true => Some(0),
        false if byte == b' ' || (from, to) == (b' ', b' ') => None,
        false if from == to => Some(EDIT),
        false => Some(2 * EDIT),
    }
}

/// The bytes that lead on from a state, and where to.
fn transitions(state: &State) -> impl Iterator<Item = (u8, u8, StateID)> + '_ {
    let (one, sparse, dense) = match state {
        State::ByteRange { trans } => (Some(trans), None, None),
        State::Sparse(sparse) => (None, Some(sparse), None),
        State::Dense(dense) => (None, None, Some(dense)),
        _ => (None, None, None),
    };
    let ranges = one.into_iter().chain(sparse.into_iter().flat_map(|sparse| sparse.transitions.iter()));
    let ranges = ranges.map(|trans| (trans.start, trans.end, trans.next));
    let bytes = dense.into_iter().flat_map(|dense| {
        (0..=u8::MAX).filter_map(|byte| dense.matches_byte(byte).map(|next| (byte, byte, next)))
    });
    ranges.chain(bytes)
}
