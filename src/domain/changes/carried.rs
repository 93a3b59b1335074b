//! Lines that a transaction brought and that no pattern allows: kept until a look says whether they are still there.
//! Hears and reads nothing itself.

use std::collections::HashMap;
use std::sync::Arc;

use super::author::Author;
use super::history::{Key, Place};
use super::judged::Judged;
use super::{RuleChange, What};
use crate::domain::rules::{Backend, Entry, Family, Kind};

/// More lines than these are not kept between two looks.
pub const CARRIED_MAX: usize = 1000;

/// A line that is not allowed and was in force when its transaction ended. All its text is untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Line {
    pub backend: Backend,
    pub family: Family,
    pub table: String,
    /// Its chain, or the set, map or object it declares.
    pub chain: Option<String>,
    pub kind: Kind,
    pub line: Vec<u8>,
    pub judged: Judged,
}

impl Line {
    /// Where it stands.
    pub fn place(&self) -> Place<'_> {
        Place { backend: self.backend, family: self.family, table: &self.table, chain: self.chain.as_deref() }
    }

    /// It as a line that is judged.
    pub fn entry(&self) -> Entry<'_> {
        let Self { kind, ref table, ref chain, ref line, .. } = *self;
        Entry { kind, table, chain: chain.as_deref(), position: None, line }
    }

    /// What tells it from every other line of the node.
    pub fn key(&self) -> Key {
        Key::of(self.place(), &self.line)
    }
}

/// A line and the process whose transaction carried it; none where the end of the transaction was not heard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Carried {
    pub line: Line,
    pub author: Option<Arc<Author>>,
}

impl Carried {
    /// It as a change: it came, and was gone when somebody looked.
    pub fn came_and_went(&self) -> RuleChange {
        let Line { backend, family, ref table, ref chain, kind, ref line, judged } = self.line;
        RuleChange {
            what: What::CameAndWent,
            backend,
            family,
            table: table.clone(),
            chain: chain.clone(),
            kind,
            position: None,
            line: line.clone(),
            judged,
            authors: self.author.iter().cloned().collect(),
        }
    }
}

/// What came since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    lines: HashMap<Key, Carried>,
    /// How often something could not be looked at: messages that were lost or not understood, lines beyond
    /// [`CARRIED_MAX`].
    pub missed: u64,
}

impl News {
    /// Nothing but that so often something could not be looked at.
    pub fn missed(missed: u64) -> Self {
        Self { missed, ..Self::default() }
    }

    /// Notes a line; the last process that carried it is its author.
    pub fn add(&mut self, carried: Carried) {
        let key = carried.line.key();
        if self.lines.len() >= CARRIED_MAX && !self.lines.contains_key(&key) {
            self.missed += 1;
            return;
        }
        self.lines.insert(key, carried);
    }

    /// Takes over what came later.
    pub fn extend(&mut self, later: Self) {
        self.missed += later.missed;
        later.lines.into_values().for_each(|carried| self.add(carried));
    }

    /// The process that carried the line of a change, if that is known.
    pub fn author_of(&self, change: &RuleChange) -> Option<Arc<Author>> {
        let place = Place {
            backend: change.backend,
            family: change.family,
            table: &change.table,
            chain: change.chain.as_deref(),
        };
        self.lines.get(&Key::of(place, &change.line))?.author.clone()
    }

    /// Takes what a look has decided: those of which `is_there` says whether they are there; the others stay.
    pub fn decide(&mut self, is_there: impl Fn(&Line) -> Option<bool>) -> Vec<Carried> {
        let mut went = Vec::new();
        self.lines.retain(|_, carried| match is_there(&carried.line) {
            None => true,
            Some(true) => false,
            Some(false) => {
                went.push(carried.clone());
                false
            }
        });
        went.sort_by(|one, other| {
            let order = |carried: &Carried| (carried.line.family, carried.line.table.clone());
            order(one).cmp(&order(other)).then_with(|| one.line.line.cmp(&other.line.line))
        });
        went
    }

    /// Forgets those that other allowlists allow.
    pub fn judge_by(&mut self, judge: impl Fn(&Line) -> Judged) {
        self.lines.retain(|_, carried| {
            carried.line.judged = judge(&carried.line);
            !carried.line.judged.is_allowed()
        });
    }

    /// How many lines are not decided yet.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.missed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(text: &str, name: &str) -> Carried {
        let line = Line {
            backend: Backend::Nftables,
            family: Family::Inet,
            table: "t".into(),
            chain: Some("c".into()),
            kind: Kind::Rule,
            line: text.into(),
            judged: Judged::Unexpected,
        };
        Carried { line, author: Some(Arc::new(Author::named(7, name.as_bytes()))) }
    }

    #[test]
    fn what_is_gone_at_a_look_came_and_went() {
        let mut news = News::default();
        ["gone", "there", "unread"].iter().for_each(|text| news.add(carried(text, "first")));
        news.add(carried("gone", "second"));
        let went = news.decide(|line| match line.line.as_slice() {
            b"gone" => Some(false),
            b"there" => Some(true),
            _ => None,
        });
        let change = went[0].came_and_went();
        assert_eq!((went.len(), change.what, change.line.as_slice()), (1, What::CameAndWent, &b"gone"[..]));
        assert_eq!(change.authors[0].name, "second");
        assert!(!news.is_empty(), "what was not read is decided later");
        news.judge_by(|_| Judged::Allowed);
        assert!(news.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_counted() {
        let mut news = News::default();
        for number in 0..CARRIED_MAX + 7 {
            news.add(carried(&number.to_string(), "x"));
            news.add(carried("0", "x"));
        }
        assert_eq!((news.lines.len(), news.missed), (CARRIED_MAX, 7));
        let mut later = news.clone();
        later.extend(news);
        assert_eq!((later.lines.len(), later.missed), (CARRIED_MAX, 14));
    }
}
