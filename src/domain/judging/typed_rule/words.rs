//! The words of a typed rule, and why one is not understood.
//! Knows no option.

use std::collections::VecDeque;

pub(super) const WHAT_THERE_IS: &str = "only rules (-A, -I), policies (-P) and chains (-N) are explained; ask about the rule itself: -A CHAIN ...";
pub(super) const NO_VALUE: &str = "its value is missing";

/// Why a text is not exactly one rule, policy or chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misread {
    /// The word that was not understood; untrusted: escape it when shown.
    pub word: String,
    /// What is wrong with it, and what to do.
    pub advice: &'static str,
}

impl Misread {
    pub(in super::super) fn new(word: impl Into<String>, advice: &'static str) -> Self {
        Self { word: word.into(), advice }
    }
}

/// What is still to be read.
pub(super) struct Words(pub(super) VecDeque<String>);

impl Words {
    /// `--dport=22` is two words.
    pub(super) fn next(&mut self) -> Option<String> {
        let word = self.0.pop_front()?;
        let Some((name, value)) = word.split_once('=').filter(|(name, _)| name.starts_with("--")) else {
            return Some(word);
        };
        self.0.push_front(value.to_owned());
        Some(name.to_owned())
    }

    pub(super) fn next_if(&mut self, wanted: impl FnOnce(&str) -> bool) -> Option<String> {
        if wanted(self.0.front()?) { self.0.pop_front() } else { None }
    }

    /// Any word at all.
    pub(super) fn text(&mut self, option: &str) -> Result<String, Misread> {
        self.0.pop_front().ok_or_else(|| Misread::new(option, NO_VALUE))
    }

    /// A word that is no option.
    pub(super) fn value(&mut self, option: &str) -> Result<String, Misread> {
        self.plain().ok_or_else(|| Misread::new(option, NO_VALUE))
    }

    pub(super) fn plain(&mut self) -> Option<String> {
        self.next_if(|word| !word.starts_with('-') && word != "!" && !word.is_empty())
    }
}
