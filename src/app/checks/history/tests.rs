use std::ops::Deref;
use std::path::Path;

use super::shared::BURST;
use super::*;
use crate::domain::changes::RuleChange;
use crate::domain::changes::history::Watch;
use crate::domain::changes::judged::Judged;
use crate::domain::rules::{Backend, Family, Kind};

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second)
}

fn change(number: u64, judged: Judged) -> RuleChange {
    RuleChange {
        what: What::Added,
        backend: Backend::IptablesNft,
        family: Family::Ip,
        table: "filter".into(),
        chain: Some("INPUT".into()),
        kind: Kind::Rule,
        position: None,
        line: format!("-A INPUT -s {number}").into_bytes(),
        judged,
        authors: Vec::new(),
    }
}

fn set(second: u64, changes: Vec<RuleChange>) -> ChangeSet {
    let verdict = Verdict::Violations;
    ChangeSet { at: at(second), before: Some(verdict), after: verdict, changes, untold: 0 }
}

/// The rules of these numbers, all allowed but the first.
fn lines(numbers: std::ops::Range<u64>) -> Vec<RuleChange> {
    numbers
        .clone()
        .map(|number| {
            change(number, if number == numbers.start { Judged::Unexpected } else { Judged::Allowed })
        })
        .collect()
}

fn compare(journal: &HistoryStore, second: u64, lines: &[RuleChange]) {
    let present = lines.iter().map(|rule| {
        let RuleChange { backend, family, ref table, ref chain, kind, judged, .. } = *rule;
        let place = Place { backend, family, table, chain: chain.as_deref() };
        Present { place, kind, line: &rule.line, judged }
    });
    journal.reconcile(at(second), Verdict::Violations, present);
}

fn moments(directory: &Path) -> Vec<Moment> {
    let mut moments = Vec::new();
    read(directory, &(SystemTime::UNIX_EPOCH..=at(1 << 41)), |moment| {
        moments.push(moment.clone());
        true
    })
    .unwrap();
    moments
}

/// A journal, and the thread that writes it.
struct Open {
    journal: HistoryStore,
    thread: Thread<()>,
}

impl Deref for Open {
    type Target = HistoryStore;

    fn deref(&self) -> &HistoryStore {
        &self.journal
    }
}

fn open(directory: &Path) -> Open {
    let (journal, thread) = HistoryStore::open(directory.to_owned(), MIN_LIMIT_BYTES).unwrap();
    Open { journal, thread }
}

/// Waits until all is written.
fn close(Open { journal, thread }: Open) {
    drop(journal);
    thread.join().unwrap();
}

#[track_caller]
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "still waiting until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_restart_goes_on_where_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    assert!(journal.wants_reconcile(at(0)));
    compare(&journal, 0, &lines(0..2_000));
    assert!(!journal.wants_reconcile(at(9_999)));
    journal.record(&set(1, vec![change(5_000, Judged::Unexpected)]));
    close(journal);
    let journal = open(directory.path());
    let key = |number| history::key_of(&change(number, Judged::Unexpected));
    let since = |number| journal.first_seen(key(number)).map(|found| (found.first_seen, found.is_older));
    assert_eq!([0, 5_000, 1, 9].map(since), [Some((at(0), true)), Some((at(1), false)), None, None]);
    let mut now = lines(0..2_000);
    now.push(change(6_000, Judged::Unexpected));
    compare(&journal, 100, &now);
    close(journal);
    let moments = moments(directory.path());
    let last = moments.last().unwrap();
    assert_eq!((moments.len(), last.watch), (3, Watch::Resumed { since: Some(at(1)) }));
    let told: Vec<_> = last.changes.iter().map(|change| change.happening.as_str()).collect();
    assert_eq!(told, ["added", "removed"]);
}

#[test]
fn churn_of_allowed_rules_is_summarised_and_caught_up_later() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    compare(&journal, 0, &[]);
    journal.record(&set(1, lines(0..2_000)));
    let told = u64::from(BURST) + 1;
    assert!(!journal.wants_reconcile(at(2)), "not so soon");
    assert!(journal.wants_reconcile(at(1_000)));
    compare(&journal, 1_000, &lines(0..2_000));
    close(journal);
    let moments = moments(directory.path());
    assert_eq!((moments[1].changes.len() as u64, moments[1].untold), (told, 2_000 - told));
    assert_eq!(moments.len(), 2, "what was counted is not told again");
    let place =
        Place { backend: Backend::IptablesNft, family: Family::Ip, table: "filter", chain: Some("INPUT") };
    let found = remembered(directory.path(), place, b"-A INPUT -s 1999", 5).unwrap().unwrap();
    assert_eq!((found.life.since, found.life.is_older, found.changes), (at(1_000), true, Vec::new()));
}

#[test]
fn counts_alone_are_told_once_a_minute() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    compare(&journal, 0, &[]);
    for second in 1..=60 {
        journal.record(&ChangeSet { untold: 10, ..set(second, Vec::new()) });
    }
    journal.record(&ChangeSet { untold: 10, ..set(61, Vec::new()) });
    journal.record(&ChangeSet { untold: 10, ..set(62, vec![change(1, Judged::Unexpected)]) });
    close(journal);
    let told: Vec<_> = moments(directory.path()).iter().map(|moment| (moment.at, moment.untold)).collect();
    assert_eq!(told, [(at(0), 0), (at(60), 600), (at(62), 20)]);
}

#[test]
fn nothing_is_noted_once_a_minute() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    compare(&journal, 0, &[]);
    (0..100).for_each(|second| journal.record(&set(second, Vec::new())));
    close(journal);
    assert_eq!(moments(directory.path()).len(), 1);
    let journal = open(directory.path());
    compare(&journal, 200, &[]);
    close(journal);
    assert_eq!(moments(directory.path())[1].watch, Watch::Resumed { since: Some(at(60)) });
}

#[test]
fn without_a_directory_nothing_is_kept() {
    let journal = HistoryStore::none();
    journal.record(&set(1, lines(0..2_000)));
    compare(&journal, 2, &lines(0..2_000));
    assert!(!journal.wants_reconcile(at(9)));
    assert_eq!(journal.counts(), HistoryCounts::default());
}

#[test]
fn a_missing_directory_is_tried_again() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("not/yet");
    let journal = open(&directory);
    assert_eq!((journal.counts().failures, journal.counts().is_open), (1, false));
    assert!(!journal.wants_reconcile(at(0)));
    journal.record(&set(1, vec![change(1, Judged::Unexpected)]));
    wait_until("the change is lost", || journal.counts().shed == 1);
    std::fs::create_dir(parent.path().join("not")).unwrap();
    wait_until("it is tried again", || {
        journal.record(&set(2, vec![change(2, Judged::Unexpected)]));
        journal.counts().is_open
    });
    assert!(journal.wants_reconcile(at(3)), "what was lost is to be found");
    compare(&journal, 3, &lines(1..3));
    close(journal);
    let told = moments(&directory)
        .iter()
        .flat_map(|moment| moment.changes.clone())
        .filter(|told| !told.judged.is_allowed())
        .count();
    assert!(told >= 2, "{told}");
}

#[test]
fn a_damaged_file_is_set_aside_and_the_journal_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    std::fs::write(&path, "no database ".repeat(1_000)).unwrap();
    let journal = open(directory.path());
    assert_eq!((journal.counts().set_aside, journal.counts().is_open), (1, true));
    compare(&journal, 0, &lines(0..10));
    journal.record(&set(1, vec![change(100, Judged::Unexpected)]));
    wait_until("it is written", || journal.counts().written == 2);
    std::fs::remove_file(&path).unwrap();
    journal.record(&set(2, vec![change(101, Judged::Unexpected)]));
    wait_until("it is written to a new file", || journal.counts().written == 3);
    assert!(journal.wants_reconcile(at(3)));
    close(journal);
    assert_eq!(moments(directory.path()).len(), 1);
}

/// Whether two hundred sets were recorded before the writer gave up its first wait for a disk that is blocked all the
/// time; each wait takes two seconds.
fn is_recorded_meanwhile() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    compare(&journal, 0, &[]);
    journal.record(&set(1, vec![change(1, Judged::Unexpected)]));
    wait_until("the disk is idle", || journal.counts().written == 1);
    let blocker = crate::host::store::history::block_writers(directory.path());
    (0..200).for_each(|second| journal.record(&set(second, vec![change(second, Judged::Unexpected)])));
    let counts = journal.counts();
    assert!(counts.shed >= 200 - 3 * QUEUE as u64, "{counts:?}");
    drop(blocker);
    wait_until("all that waited is written or lost", || {
        journal.counts().written + journal.counts().shed == 201
    });
    close(journal);
    counts.failures == 0
}

#[test]
fn a_slow_disk_stops_nobody() {
    // a busy machine may stop everybody for two seconds, but not again and again
    assert!((0..10).any(|_| is_recorded_meanwhile()));
}
