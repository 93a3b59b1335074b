//! What is remembered of the rules: when each came and went, and what each check found to be other than before.
//! Stores nothing: a record is a value, and what becomes of it is decided here.

pub mod budget;
pub mod retention;
pub mod rule;

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::author::Author;
use super::judged::Judged;
use super::{ChangeSet, RuleChange, What};
use crate::domain::rules::{Backend, Family, Kind};
use crate::domain::verdict::Verdict;
use budget::Budget;

/// Of a longer line only this many bytes are remembered; its key is still that of the whole line.
pub const MAX_LINE_BYTES: usize = 2048;
/// Changes of rules that are not allowed that one moment lists; the rest are counted.
pub const MAX_NOT_ALLOWED: usize = 1000;

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Who shows the rule.
    pub backend: Backend,
    /// Its family.
    pub family: Family,
    /// Its table.
    pub table: &'a str,
    /// Its chain, or the set, map or object it declares.
    pub chain: Option<&'a str>,
}

/// Tells a line at its place from every other: the first half of a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// The key of this line.
    pub fn of(place: Place<'_>, line: &[u8]) -> Self {
        let mut hash = Sha256::new();
        let chain = place.chain.map(str::as_bytes);
        let names = [
            Some(place.backend.as_str().as_bytes()),
            Some(place.family.as_str().as_bytes()),
            Some(place.table.as_bytes()),
            chain,
        ];
        for name in names {
            // a length that no name has stands for none
            hash.update(name.map_or(u64::MAX, |name| name.len() as u64).to_le_bytes());
            hash.update(name.unwrap_or_default());
        }
        hash.update(line);
        let mut key = [0; 16];
        key.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        Self(key)
    }
}

/// A line that a check has read. Its text is untrusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present<'a> {
    /// Where it stands.
    pub place: Place<'a>,
    /// What it declares.
    pub kind: Kind,
    /// The line.
    pub line: &'a [u8],
    /// What the allowlists say of it.
    pub judged: Judged,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Happening {
    /// The rule itself changed.
    Changed(What),
    /// The rule stayed, and the allowlists say another word of it than before.
    Rejudged,
}

impl Happening {
    /// Everything that happens.
    pub const ALL: [Self; 5] = [
        Self::Changed(What::Added),
        Self::Changed(What::Removed),
        Self::Changed(What::Moved),
        Self::Changed(What::CameAndWent),
        Self::Rejudged,
    ];

    /// The name used in JSON and in the journal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed(what) => what.as_str(),
            Self::Rejudged => "rejudged",
        }
    }

    /// The same for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Changed(what) => what.words(),
            Self::Rejudged => "rejudged",
        }
    }

    /// What has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|happening| happening.as_str() == name)
    }
}

/// How it was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// By a check that followed another of the same process.
    Watched,
    /// By the first check of a process: it happened since that time, or since ever.
    Resumed {
        /// When a process last looked.
        since: Option<SystemTime>,
    },
    /// By comparing everything, after changes that were only counted.
    CaughtUp,
}

/// One remembered change of a rule. All its text is untrusted: escape it when shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What became of it.
    pub happening: Happening,
    /// Who shows the rule.
    pub backend: Backend,
    /// Its family.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its chain, or the set, map or object it declares.
    pub chain: Option<String>,
    /// What the line declares.
    pub kind: Kind,
    /// 1-based number in the chain; the former one of a removed rule.
    pub position: Option<u32>,
    /// The line, or its beginning; none where only its key was kept.
    pub line: Option<Vec<u8>>,
    /// Whether the line is longer than what is kept of it.
    pub is_cut: bool,
    /// What the allowlists say of it.
    pub judged: Judged,
    /// Who is said to have done it.
    pub authors: Vec<Arc<Author>>,
}

/// What one check brought that is worth remembering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When the check ended.
    pub at: SystemTime,
    /// How it was noticed.
    pub watch: Watch,
    /// The verdict before.
    pub before: Option<Verdict>,
    /// The verdict after.
    pub after: Verdict,
    /// Changes of rules that are only counted.
    pub untold: u64,
    /// Rules of which this program writes another text than the one before it, so that neither text is a change.
    pub rewritten: u64,
    /// The others, those of rules that are not allowed first.
    pub changes: Vec<Change>,
}

impl From<&ChangeSet> for Moment {
    /// All of it.
    fn from(set: &ChangeSet) -> Self {
        Self {
            at: set.at,
            watch: Watch::Watched,
            before: set.before,
            after: set.after,
            untold: set.untold,
            rewritten: 0,
            changes: set.changes.iter().map(Change::from).collect(),
        }
    }
}

impl From<&RuleChange> for Change {
    fn from(change: &RuleChange) -> Self {
        let (line, is_cut) = kept(&change.line);
        Self {
            happening: Happening::Changed(change.what),
            backend: change.backend,
            family: change.family,
            table: change.table.clone(),
            chain: change.chain.clone(),
            kind: change.kind,
            position: change.position,
            line: Some(line.to_vec()),
            is_cut,
            judged: change.judged,
            authors: change.authors.clone(),
        }
    }
}

/// What is kept of a line, and whether that is not all of it.
pub fn kept(line: &[u8]) -> (&[u8], bool) {
    line.get(..MAX_LINE_BYTES).map_or((line, false), |start| (start, line.len() > MAX_LINE_BYTES))
}

/// The key of a changed line.
pub fn key_of(change: &RuleChange) -> Key {
    let RuleChange { backend, family, ref table, ref chain, .. } = *change;
    Key::of(Place { backend, family, table, chain: chain.as_deref() }, &change.line)
}

/// A moment, with the keys of its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digested {
    /// What is remembered.
    pub moment: Moment,
    /// The key of each of its changes.
    pub keys: Vec<Key>,
}

/// What is remembered of a change set: every change of a rule that is not allowed, and of the others as many as the
/// budget has room for. None if nothing happened.
pub fn digest(set: &ChangeSet, budget: &mut Budget) -> Option<Digested> {
    if set.changes.is_empty() && set.untold == 0 && set.before == Some(set.after) {
        return None;
    }
    let (allowed, mut others): (Vec<_>, Vec<_>) =
        set.changes.iter().partition(|change| change.judged.is_allowed());
    others.sort_by_key(|change| change.judged);
    let others = others.into_iter().take(MAX_NOT_ALLOWED);
    let told: Vec<_> = others.chain(allowed.into_iter().take_while(|_| budget.take(set.at))).collect();
    let moment = Moment {
        at: set.at,
        watch: Watch::Watched,
        before: set.before,
        after: set.after,
        untold: set.untold.saturating_add((set.changes.len() - told.len()) as u64),
        rewritten: 0,
        changes: told.iter().map(|&change| Change::from(change)).collect(),
    };
    Some(Digested { moment, keys: told.iter().map(|change| key_of(change)).collect() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn change(number: u64, judged: Judged) -> RuleChange {
        RuleChange {
            what: What::Added,
            backend: Backend::IptablesNft,
            family: Family::Ip,
            table: "filter".into(),
            chain: Some("INPUT".into()),
            kind: Kind::Rule,
            position: Some(1),
            line: format!("-A INPUT -s {number}").into_bytes(),
            judged,
            authors: Vec::new(),
        }
    }

    fn set(changes: Vec<RuleChange>, untold: u64) -> ChangeSet {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        ChangeSet { at, before: Some(Verdict::Compliant), after: Verdict::Compliant, changes, untold }
    }

    #[test]
    fn no_two_places_have_one_key() {
        let place = |table, chain| Place { backend: Backend::Nftables, family: Family::Ip, table, chain };
        let keys = [
            Key::of(place("a", Some("b")), b"c"),
            Key::of(place("ab", Some("")), b"c"),
            Key::of(place("a", None), b"bc"),
            Key::of(place("a", Some("")), b"bc"),
            Key::of(place("a", Some("bc")), b""),
            Key::of(Place { family: Family::Ip6, ..place("a", Some("b")) }, b"c"),
            Key::of(Place { backend: Backend::Iptables, ..place("a", Some("b")) }, b"c"),
        ];
        let different: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }

    /// Keys are on disk: another hash is another version of the journal.
    #[test]
    fn keys_do_not_change_between_versions() {
        let place = Place {
            backend: Backend::IptablesNft,
            family: Family::Ip,
            table: "filter",
            chain: Some("INPUT"),
        };
        let key = Key::of(place, b"-A INPUT -j DROP");
        assert_eq!(crate::domain::words::escape::hex(&key.0), "af05244bdae49de08a021228f594708b");
    }

    #[test]
    fn what_is_not_allowed_is_told_whatever_else_changes() {
        let judged = |number| match number % 10 {
            0 => Judged::NotJudged,
            1 => Judged::Unexpected,
            _ => Judged::Allowed,
        };
        let changes: Vec<_> = (0..3_000).map(|number| change(number, judged(number))).collect();
        let digested = digest(&set(changes, 7), &mut Budget::new(5, 0.0)).unwrap();
        let told = digested.moment.changes.chunk_by(|a, b| a.judged == b.judged);
        let told: Vec<_> = told.map(|run| (run[0].judged, run.len())).collect();
        assert_eq!(told, [(Judged::Unexpected, 300), (Judged::NotJudged, 300), (Judged::Allowed, 5)]);
        assert_eq!(digested.keys.len(), 605);
        assert_eq!(digested.moment.untold, 7 + 3_000 - 605);
    }

    #[test]
    fn a_check_that_found_nothing_is_not_remembered() {
        let budget = &mut Budget::new(5, 0.0);
        assert_eq!(digest(&set(Vec::new(), 0), budget), None);
        assert!(digest(&set(Vec::new(), 1), budget).is_some());
        let worse = ChangeSet { after: Verdict::Unknown, ..set(Vec::new(), 0) };
        assert_eq!(digest(&worse, budget).unwrap().moment.after, Verdict::Unknown);
    }

    #[test]
    fn long_lines_are_cut_and_marked() {
        assert_eq!(kept(&[b'x'; MAX_LINE_BYTES]), ([b'x'; MAX_LINE_BYTES].as_slice(), false));
        assert_eq!(kept(&[b'x'; MAX_LINE_BYTES + 1]), ([b'x'; MAX_LINE_BYTES].as_slice(), true));
        assert_eq!(kept(b""), (b"".as_slice(), false));
    }
}
