//! The fewest bytes of a line that would have to be other ones for a pattern to match it.
//! A search through the pattern's automaton for a person who waits, not for judging: there is an exact answer for that.

use std::collections::VecDeque;

use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::primitives::StateID;

/// Beyond so many bytes a pattern is not near.
const MAX_EDITS: u8 = 60;
/// States times places of the largest search, which takes seven bytes for each.
const MAX_NODES: usize = 4 << 20;
/// A class of at least so many bytes says little about the line.
const WIDE: u8 = 40;
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

    /// Whether pattern and line agree on this byte because the pattern means it, not because it takes any.
    pub(super) fn is_meant(&self) -> bool {
        !self.is_edit() && self.expected.is_some_and(|(from, to)| to - from < WIDE)
    }
}

/// The steps of the best alignment; none if it is beyond the limits.
pub(super) fn align(nfa: &NFA, line: &[u8]) -> Option<Vec<Step>> {
    let states = nfa.states().len();
    let nodes = states.checked_mul(line.len() + 1).filter(|nodes| *nodes <= MAX_NODES)?;
    let mut search = Search {
        nfa,
        line,
        states,
        cost: vec![u8::MAX; nodes],
        parent: vec![NONE; nodes],
        queue: VecDeque::new(),
    };
    for at in 0..=line.len() {
        search.reach(at, nfa.start_anchored(), 0, NONE);
    }
    let end = search.run()?;
    Some(search.steps(end))
}

struct Search<'a> {
    nfa: &'a NFA,
    line: &'a [u8],
    states: usize,
    /// Edits up to each node; a node is a place in the line and a state.
    cost: Vec<u8>,
    parent: Vec<u32>,
    queue: VecDeque<(u32, u8)>,
}

impl Search<'_> {
    /// Goes through the nodes in the order of their costs until the pattern matches.
    fn run(&mut self) -> Option<usize> {
        while let Some((node, cost)) = self.queue.pop_front() {
            let node = node as usize;
            if self.cost.get(node) != Some(&cost) {
                continue;
            }
            let (at, state) = (node / self.states, StateID::new(node % self.states).ok()?);
            let nfa = self.nfa;
            match nfa.state(state) {
                State::Match { .. } => return Some(node),
                State::Fail => {}
                State::Capture { next, .. } => self.reach(at, *next, cost, node as u32),
                State::Look { look, next } => {
                    if nfa.look_matcher().matches(*look, self.line, at) {
                        self.reach(at, *next, cost, node as u32);
                    }
                }
                // the last first: what is reached at no cost goes to the front
                State::Union { alternates } => {
                    alternates.iter().rev().for_each(|next| self.reach(at, *next, cost, node as u32));
                }
                State::BinaryUnion { alt1, alt2 } => {
                    [alt2, alt1].into_iter().for_each(|next| self.reach(at, *next, cost, node as u32));
                }
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) => {
                    self.consume(at, state, cost, node as u32);
                }
            }
        }
        None
    }

    fn consume(&mut self, at: usize, state: StateID, cost: u8, node: u32) {
        let byte = self.line.get(at).copied();
        for (from, to, next) in transitions(self.nfa.state(state)) {
            if let Some(byte) = byte {
                let edit = u8::from(!(from..=to).contains(&byte));
                self.reach(at + 1, next, cost + edit, node);
            }
            self.reach(at, next, cost + 1, node);
        }
        if byte.is_some() {
            self.reach(at + 1, state, cost + 1, node);
        }
    }

    fn reach(&mut self, at: usize, state: StateID, cost: u8, parent: u32) {
        let node = at * self.states + state.as_usize();
        let (Some(known), Some(from)) = (self.cost.get_mut(node), self.parent.get_mut(node)) else { return };
        if cost >= *known || cost > MAX_EDITS {
            return;
        }
        (*known, *from) = (cost, parent);
        // costs in the queue differ by one at most
        let is_cheap = self.queue.front().is_none_or(|(_, first)| cost <= *first);
        match (is_cheap, node as u32) {
            (true, node) => self.queue.push_front((node, cost)),
            (false, node) => self.queue.push_back((node, cost)),
        }
    }

    /// The way to this node.
    fn steps(&self, end: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut node = end;
        while let Some(&parent) = self.parent.get(node).filter(|parent| **parent != NONE) {
            let parent = parent as usize;
            steps.extend(self.step(parent, node));
            node = parent;
        }
        steps.reverse();
        steps
    }

    fn step(&self, parent: usize, node: usize) -> Option<Step> {
        let (at, to_at) = (parent / self.states, node / self.states);
        let (state, to_state) = (parent % self.states, node % self.states);
        let byte = if to_at > at { self.line.get(at).copied() } else { None };
        let taken: Vec<_> = transitions(self.nfa.state(StateID::new(state).ok()?))
            .filter(|(.., next)| next.as_usize() == to_state)
            .map(|(from, to, _)| (from, to))
            .collect();
        let fits = |range: &&(u8, u8)| byte.is_some_and(|byte| (range.0..=range.1).contains(&byte));
        let expected = taken.iter().find(fits).or(taken.first()).copied();
        (byte.is_some() || expected.is_some()).then_some(Step { at, byte, expected })
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
