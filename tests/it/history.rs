//! The journal: what is remembered, what survives, and what `monitor history` prints of it.
//! What is in it is recorded through the library, but where the agent itself is the subject.

mod agent;
mod cli;
mod filters;
mod judged;
mod kill;
mod size;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use iptables_monitor::app::checks::history::{self, HistoryStore, MIN_LIMIT_BYTES};
use iptables_monitor::app::service::Thread;
use iptables_monitor::domain::changes::author::{Ancestor, Author, PodHint};
use iptables_monitor::domain::changes::history::{Moment, Place, Present};
use iptables_monitor::domain::changes::judged::Judged;
use iptables_monitor::domain::changes::{ChangeSet, RuleChange, What};
use iptables_monitor::domain::rules::{Backend, Family, Kind};
use iptables_monitor::domain::verdict::Verdict;

/// Some time ago, so many seconds later.
pub fn at(second: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(7 * 86_400) + Duration::from_secs(second)
}

pub fn change(what: What, line: &str, is_allowed: bool) -> RuleChange {
    RuleChange {
        what,
        backend: Backend::IptablesNft,
        family: Family::Ip,
        table: "filter".into(),
        chain: Some("INPUT".into()),
        kind: Kind::Rule,
        position: Some(1),
        line: line.as_bytes().to_vec(),
        judged: if is_allowed { Judged::Allowed } else { Judged::Unexpected },
        authors: Vec::new(),
    }
}

pub fn set(at: SystemTime, changes: Vec<RuleChange>) -> ChangeSet {
    let (before, after) = (Some(Verdict::Compliant), Verdict::Violations);
    ChangeSet { at, before, after, changes, untold: 0 }
}

pub fn author() -> Arc<Author> {
    let parent = |pid, name: &str| Ancestor { pid, name: name.into(), command_line: None };
    Arc::new(Author {
        pid: 4711,
        name: "iptables".into(),
        executable: Some("/usr/sbin/xtables-nft-multi".into()),
        command_line: Some("iptables -A INPUT -j DROP".into()),
        parents: vec![parent(4000, "bash"), parent(800, "sshd"), parent(1, "init")],
        container: Some("0123abcd".into()),
        pod: Some(PodHint { uid: "u-1".into(), name: Some(("default".into(), "web-0".into())) }),
    })
}

/// A journal, and the thread that writes it.
pub struct Open {
    journal: HistoryStore,
    thread: Thread<()>,
}

impl Deref for Open {
    type Target = HistoryStore;

    fn deref(&self) -> &HistoryStore {
        &self.journal
    }
}

pub fn open(directory: &Path) -> Open {
    let (journal, thread) = HistoryStore::open(directory.to_owned(), MIN_LIMIT_BYTES).unwrap();
    Open { journal, thread }
}

/// Waits until all is written.
pub fn close(Open { journal, thread }: Open) {
    drop(journal);
    thread.join().unwrap();
}

/// Tells the journal that these lines are what is present.
pub fn compare<'a>(
    journal: &HistoryStore,
    at: SystemTime,
    lines: impl Iterator<Item = &'a str>,
    is_allowed: bool,
) {
    let place =
        Place { backend: Backend::IptablesNft, family: Family::Ip, table: "filter", chain: Some("INPUT") };
    let judged = if is_allowed { Judged::Allowed } else { Judged::Unexpected };
    let present = lines.map(|line| Present { place, kind: Kind::Rule, line: line.as_bytes(), judged });
    journal.reconcile(at, Verdict::Violations, present);
}

pub fn moments(directory: &Path) -> Vec<Moment> {
    let mut found = Vec::new();
    let ever = SystemTime::UNIX_EPOCH..=SystemTime::now() + Duration::from_secs(365 * 86_400);
    history::read(directory, &ever, |moment| {
        found.push(moment.clone());
        true
    })
    .expect("a journal");
    found
}
