//! Rules of iptables that were allowed when they were heard of last: kube-proxy writes the same thousands again and again.
//! Remembers no rule, only a number for each, that nobody can aim at.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::domain::judging::audit::Rulebook;
use crate::host::netlink::nfnetlink::Rule;

/// More are not remembered at a time: 1.2 MB.
const KNOWN_MAX: usize = 65_536;

/// What is known to be allowed, and by which allowlists.
#[derive(Debug, Default)]
pub struct Known {
    /// With keys that are drawn for this process.
    hasher: RandomState,
    digests: HashSet<u64>,
    book: Option<Rulebook>,
}

impl Known {
    /// The number of a rule at its place.
    pub fn digest(&self, rule: Rule<'_>) -> u64 {
        let Rule { family, table, chain, userdata, expressions, .. } = rule;
        self.hasher.hash_one((family, table, chain, userdata, expressions))
    }

    /// Whether these allowlists allowed the rule; other ones begin anew.
    pub fn allows(&mut self, book: &Rulebook, digest: u64) -> bool {
        if !self.book.as_ref().is_some_and(|known| known.judges_as(book)) {
            self.digests.clear();
            self.book = Some(book.clone());
        }
        self.digests.contains(&digest)
    }

    /// Notes that the allowlists of the last question allow it.
    pub fn add(&mut self, digest: u64) {
        if self.digests.len() >= KNOWN_MAX {
            self.digests.clear();
        }
        self.digests.insert(digest);
    }
}
