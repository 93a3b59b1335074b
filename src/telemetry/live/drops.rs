//! The drops that are followed, as the page and the status show them.
//! Follows nothing: it looks at what others keep up to date, when somebody asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

use crate::domain::drops::accounting::{Accounting, DropCounts, Fate};
use crate::domain::drops::recent::Recent;
use crate::domain::drops::record::Record;
use crate::domain::words::moment::utc;

/// Pairs that are told.
const TOP: usize = 100;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Since when drops are followed.
    pub since: SystemTime,
    /// Nothing but drops is looked at: there are no checks to wait for.
    pub is_all: bool,
    /// What was seen lately.
    pub recent: Arc<Mutex<Recent>>,
    /// The sources by name, and what became of their lines.
    pub sources: Vec<(String, Arc<Accounting>)>,
}

/// What was seen up to one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Since when drops are followed.
    pub since: SystemTime,
    /// Nothing but drops is looked at.
    pub is_all: bool,
    /// The sources by name, and what became of their lines.
    pub sources: Vec<(String, DropCounts)>,
    /// Who sent, to whom, and how many packets: the pairs with most of them, the most first.
    pub top: Vec<(String, String, u64)>,
    /// The last packets that were told, the newest first, and how many each stood for.
    pub last: Vec<(Record, u64)>,
}

impl Followed {
    /// What was seen up to now.
    pub fn seen(&self) -> Seen {
        let sources = self.sources.iter().map(|(name, accounting)| (name.clone(), accounting.counts()));
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let top = recent.top(TOP).into_iter();
        Seen {
            since: self.since,
            is_all: self.is_all,
            sources: sources.collect(),
            top: top.map(|(src, dst, count)| (src.to_owned(), dst.to_owned(), count)).collect(),
            last: recent.last().cloned().collect(),
        }
    }
}

impl Seen {
    /// The member `drops` of the status: `docs/schema/check.v2.json`.
    ///
    /// # Errors
    /// Never: no key is anything but text.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&Drops {
            since: utc(self.since),
            sources: self.sources.iter().map(|(name, counts)| Source::new(name, counts)).collect(),
            top: self.top.iter().map(|(src, dst, count)| Pair { src, dst, count: *count }).collect(),
            last: self.last.iter().map(|(record, count)| Last { record, count: *count }).collect(),
        })
    }
}

#[derive(Serialize)]
struct Drops<'a> {
    since: String,
    sources: Vec<Source<'a>>,
    top: Vec<Pair<'a>>,
    last: Vec<Last<'a>>,
}

#[derive(Serialize)]
struct Source<'a> {
    name: &'a str,
    arrived: u64,
    read: u64,
    lost: u64,
    gaps: u64,
    reported: u64,
    folded: u64,
    ignored: u64,
    unparsed: u64,
    shed: u64,
}

impl<'a> Source<'a> {
    fn new(name: &'a str, counts: &DropCounts) -> Self {
        Self {
            name,
            arrived: counts.arrived(),
            read: counts.read(),
            lost: counts.lost,
            gaps: counts.gaps,
            reported: counts.of(Fate::Reported),
            folded: counts.of(Fate::Folded),
            ignored: counts.of(Fate::Ignored),
            unparsed: counts.of(Fate::Unparsed),
            shed: counts.of(Fate::Shed),
        }
    }
}

#[derive(Serialize)]
struct Pair<'a> {
    src: &'a str,
    dst: &'a str,
    count: u64,
}

#[derive(Serialize)]
struct Last<'a> {
    #[serde(flatten)]
    record: &'a Record,
    count: u64,
}
