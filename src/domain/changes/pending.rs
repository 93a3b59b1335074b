//! What was heard to have changed since the last look: which parts, by whom, and when it is time to look again.
//! Hears nothing itself, and holds a bounded number of parts and authors: beyond, everything counts as changed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::author::Author;
use super::carried::News;
use super::debounce::{CALM, Chance, Debounce, Pace};
use super::{Part, Scope};
use crate::domain::rules::Family;

/// More parts than these are everything.
pub const PARTS_MAX: usize = 4096;
/// More authors of one part are left out.
pub const AUTHORS_MAX: usize = 8;

/// The parts that one transaction touches.
#[derive(Debug, Default)]
pub struct Touched {
    parts: BTreeSet<Part>,
    is_everything: bool,
    last: Option<Part>,
}

impl Touched {
    /// A chain of nf_tables. Many messages in a row are about the same one: that costs no memory.
    pub fn chain(&mut self, family: Family, table: &[u8], chain: &[u8]) {
        let is_last = matches!(&self.last, Some(Part::NftChain { family: f, table: t, chain: c })
            if *f == family && t == table && c == chain);
        if !is_last && !self.is_everything {
            self.insert(Part::NftChain { family, table: table.to_vec(), chain: chain.to_vec() });
        }
    }

    /// A table of nf_tables, or what it holds beside chains.
    pub fn table(&mut self, family: Family, table: &[u8]) {
        let is_last = matches!(&self.last, Some(Part::NftTable { family: f, table: t })
            if *f == family && t == table);
        if !is_last && !self.is_everything {
            self.insert(Part::NftTable { family, table: table.to_vec() });
        }
    }

    /// A legacy table.
    pub fn legacy(&mut self, family: Family, table: &str) {
        self.insert(Part::Legacy { family, table: table.to_owned() });
    }

    /// Nobody knows which parts.
    pub fn everything(&mut self) {
        self.is_everything = true;
        (self.parts, self.last) = (BTreeSet::new(), None);
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        !self.is_everything && self.parts.is_empty()
    }

    fn insert(&mut self, part: Part) {
        if self.is_everything {
            return;
        }
        self.last = Some(part.clone());
        self.parts.insert(part);
        if self.parts.len() > PARTS_MAX {
            self.everything();
        }
    }
}

/// What is to be looked at, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What may have changed, and who is said to have changed it.
    pub scope: Scope,
    /// When the first of it was heard of.
    pub first: Instant,
    /// The generation of nf_tables that `scope` is complete up to; none before the first transaction that was heard.
    pub generation: Option<u32>,
    /// What transactions brought that no pattern allows, and how often something could not be looked at.
    pub news: News,
}

/// Changes that nobody has looked at yet.
#[derive(Debug, Default)]
pub struct Pending {
    scope: Option<Scope>,
    debounce: Option<Debounce>,
    generation: Option<u32>,
    /// What came that no pattern allows.
    pub news: News,
    /// When the last change was heard of.
    last: Option<Instant>,
    /// The state of the numbers that are drawn.
    drawn: u64,
    /// Authors that were left out because a part had too many.
    pub authors_left_out: u64,
}

impl Pending {
    /// Nothing is pending; `seed` is for the moments of looks.
    pub fn new(seed: u64) -> Self {
        Self { drawn: seed, ..Self::default() }
    }

    /// SplitMix64, of which nobody sees more than eight bits.
    const fn draw(&mut self) -> Chance {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.drawn ^ (self.drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Chance((mixed >> 56) as u8)
    }

    /// Takes over what was touched, and leaves it empty. Says whether the look is due at another
    /// moment than before, or may be.
    pub fn add(&mut self, touched: &mut Touched, author: Option<&Arc<Author>>, now: Instant) -> bool {
        let Touched { parts, is_everything, .. } = std::mem::take(touched);
        if parts.is_empty() && !is_everything {
            return false;
        }
        let known = match self.scope.get_or_insert_with(|| Scope::Parts(BTreeMap::new())) {
            Scope::Parts(known) if !is_everything => Some(known),
            _ => None,
        };
        match known {
            Some(known) => {
                for part in parts {
                    self.authors_left_out += merge(known, part, author);
                }
                if known.len() > PARTS_MAX {
                    self.scope = Some(Scope::Everything);
                }
            }
            None => self.scope = Some(Scope::Everything),
        }
        let is_first = self.debounce.is_none();
        let is_after_calm = self.last.is_none_or(|last| now.saturating_duration_since(last) >= CALM);
        let chance = self.draw();
        let debounce = self.debounce.get_or_insert_with(|| Debounce::new(now, chance));
        debounce.heard(now);
        let is_hurried = is_first && is_after_calm || !self.news.is_empty();
        if is_hurried {
            debounce.hurry();
        }
        self.last = Some(now);
        is_first || is_hurried
    }

    /// All transactions up to this one are accounted for.
    pub const fn complete_up_to(&mut self, generation: u32) {
        self.generation = Some(generation);
    }

    /// When it is time to look, if there is anything to look at.
    pub fn due(&self, pace: Pace) -> Option<Instant> {
        self.debounce.map(|debounce| debounce.due(pace))
    }

    /// What is to be looked at; from now on changes count towards the next look.
    pub fn take(&mut self) -> Option<Heard> {
        let (scope, debounce) = (self.scope.take()?, self.debounce.take()?);
        let news = std::mem::take(&mut self.news);
        Some(Heard { scope, first: debounce.first(), generation: self.generation, news })
    }
}

/// Adds a part and its author; says how many authors were left out.
fn merge(known: &mut BTreeMap<Part, Vec<Arc<Author>>>, part: Part, author: Option<&Arc<Author>>) -> u64 {
    let authors = match known.entry(part) {
        Entry::Vacant(entry) => entry.insert(Vec::new()),
        Entry::Occupied(entry) => entry.into_mut(),
    };
    author.map_or(0, |author| add_author(authors, author))
}

/// Adds an author of one part, unless there are too many; says how many were left out.
pub fn add_author(authors: &mut Vec<Arc<Author>>, author: &Arc<Author>) -> u64 {
    if authors.iter().any(|known| Arc::ptr_eq(known, author) || known.is_like(author)) {
        return 0;
    }
    if authors.len() >= AUTHORS_MAX {
        return 1;
    }
    authors.push(Arc::clone(author));
    0
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has to begin at some moment")]
mod tests {
    use super::*;

    fn chain(name: &str) -> Touched {
        let mut touched = Touched::default();
        touched.chain(Family::Ip, b"filter", name.as_bytes());
        touched
    }

    fn author(pid: u32, name: &str) -> Arc<Author> {
        Arc::new(Author::named(pid, name.as_bytes()))
    }

    /// Every part, with the names of its authors.
    fn parts(pending: &mut Pending) -> Vec<(Part, Vec<String>)> {
        match pending.take().unwrap().scope {
            Scope::Everything => panic!("everything"),
            Scope::Parts(parts) => parts
                .into_iter()
                .map(|(part, authors)| (part, authors.iter().map(|author| author.name.clone()).collect()))
                .collect(),
        }
    }

    fn part(name: &str) -> Part {
        Part::NftChain { family: Family::Ip, table: b"filter".into(), chain: name.into() }
    }

    #[test]
    fn changes_are_merged_until_they_are_taken() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        assert_eq!((pending.take(), pending.due(Pace::default())), (None, None));
        assert!(pending.add(&mut chain("INPUT"), Some(&author(1, "nft")), now));
        assert!(!pending.add(&mut chain("OUTPUT"), Some(&author(2, "iptables")), now));
        assert!(!pending.add(&mut chain("INPUT"), Some(&author(2, "iptables")), now));
        assert!(!pending.add(&mut chain("INPUT"), None, now));
        assert!(pending.due(Pace::default()).is_some());
        let both = vec!["nft".to_owned(), "iptables".to_owned()];
        assert_eq!(
            parts(&mut pending),
            [(part("INPUT"), both), (part("OUTPUT"), vec!["iptables".to_owned()])]
        );
        assert_eq!((pending.take(), pending.due(Pace::default())), (None, None));
        assert!(pending.add(&mut chain("INPUT"), None, now));
    }

    #[test]
    fn nothing_touched_is_no_change() {
        let mut pending = Pending::default();
        assert!(!pending.add(&mut Touched::default(), Some(&author(1, "nft")), Instant::now()));
        assert_eq!(pending.take(), None);
    }

    #[test]
    fn runs_of_one_program_are_one_author_and_there_are_not_too_many() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        for pid in 0..100 {
            pending.add(&mut chain("INPUT"), Some(&author(pid, "iptables")), now);
        }
        assert_eq!(pending.authors_left_out, 0);
        for pid in 0..100 {
            pending.add(&mut chain("INPUT"), Some(&author(pid, &format!("p{pid}"))), now);
        }
        assert_eq!(pending.authors_left_out, 93);
        assert_eq!(parts(&mut pending)[0].1.len(), AUTHORS_MAX);
    }

    #[test]
    fn what_is_lost_is_everything_whatever_follows() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        pending.add(&mut chain("INPUT"), None, now);
        let mut lost = Touched::default();
        lost.everything();
        assert!(!lost.is_empty());
        pending.add(&mut lost, None, now);
        pending.add(&mut chain("OUTPUT"), None, now);
        assert_eq!(pending.take().unwrap().scope, Scope::Everything);
        pending.add(&mut chain("OUTPUT"), None, now);
        assert_eq!(parts(&mut pending).len(), 1);
    }

    #[test]
    fn too_many_parts_are_everything() {
        let mut touched = Touched::default();
        for number in 0..PARTS_MAX {
            for _ in 0..3 {
                touched.chain(Family::Ip6, b"nat", format!("C{number}").as_bytes());
            }
        }
        assert!(!touched.is_everything);
        touched.table(Family::Ip6, b"nat");
        assert!(touched.is_everything && touched.parts.is_empty());
        let (mut pending, now) = (Pending::default(), Instant::now());
        for number in 0..=PARTS_MAX {
            pending.add(&mut chain(&number.to_string()), None, now);
        }
        assert_eq!(pending.take().unwrap().scope, Scope::Everything);
    }

    #[test]
    fn a_name_that_comes_back_is_the_same_part() {
        let mut touched = chain("A");
        touched.chain(Family::Ip, b"filter", b"B");
        touched.chain(Family::Ip, b"filter", b"A");
        touched.chain(Family::Ip6, b"filter", b"A");
        touched.table(Family::Ip, b"filter");
        touched.legacy(Family::Ip, "filter");
        touched.legacy(Family::Ip, "nat");
        assert_eq!(touched.parts.len(), 6);
    }
}
