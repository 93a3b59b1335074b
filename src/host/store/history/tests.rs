use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rusqlite::Connection;
use rustix::fs::{CWD, FileType, Mode, mknodat};

mod older;

use super::error::FILE;
use super::file::COMPANIONS;
use super::*;
use crate::domain::changes::author::{Ancestor, Author, PodHint};
use crate::domain::changes::history::budget::Budget;
use crate::domain::changes::history::rule::Life;
use crate::domain::changes::history::{Change, Happening, Key, Moment, Place, Watch, digest};
use crate::domain::changes::judged::Judged;
use crate::domain::changes::{ChangeSet, RuleChange, What};
use crate::domain::rules::{Backend, Family, Kind};
use crate::domain::verdict::Verdict;

const LIMIT: u64 = 64 << 20;

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second)
}

fn author(pid: u32) -> Arc<Author> {
    Arc::new(Author {
        pid,
        name: "iptables".into(),
        executable: Some("/usr/sbin/xtables-nft-multi".into()),
        command_line: pid.is_multiple_of(2).then(|| "iptables -A INPUT \u{1b}[31m".into()),
        parents: vec![Ancestor { pid: 1, name: "sh".into(), command_line: None }],
        container: Some("0a1b".into()),
        pod: Some(PodHint {
            uid: "u".into(),
            name: pid.is_multiple_of(3).then(|| ("default".into(), "web".into())),
        }),
    })
}

fn changed(what: What, number: u8, judged: Judged) -> RuleChange {
    RuleChange {
        what,
        backend: Backend::IptablesNft,
        family: Family::Ip,
        table: "filter".into(),
        chain: number.is_multiple_of(2).then(|| "INPUT".into()),
        kind: Kind::Rule,
        position: Some(3),
        line: vec![b'-', number, 0xff],
        judged,
        authors: if number.is_multiple_of(3) {
            Vec::new()
        } else {
            vec![author(u32::from(number)), author(7)]
        },
    }
}

fn set(second: u64, changes: Vec<RuleChange>) -> ChangeSet {
    let (before, after) = (Some(Verdict::Unknown), Verdict::Violations);
    ChangeSet { at: at(second), before, after, changes, untold: second % 3 }
}

fn boundless() -> Budget {
    Budget::new(u32::MAX, 0.0)
}

/// The key of a line, and what a comparison is told of it.
fn present(number: u8, judged: Judged) -> (Key, Change) {
    let change = RuleChange { authors: Vec::new(), position: None, ..changed(What::Added, number, judged) };
    (crate::domain::changes::history::key_of(&change), Change::from(&change))
}

fn compare(store: &mut Store, second: u64, is_first: bool, lines: &[(Key, Change)]) -> Option<Moment> {
    let mut comparison =
        store.begin_reconciliation(at(second), Verdict::Compliant, is_first, boundless()).unwrap();
    for piece in lines.chunks(2) {
        store.reconcile(&mut comparison, piece).unwrap();
    }
    store.end_reconciliation(comparison).unwrap()
}

fn all(directory: &Path) -> Vec<Moment> {
    let reader = HistoryReader::open(directory).unwrap();
    reader
        .moments(&(SystemTime::UNIX_EPOCH..=at(1 << 41)), 0, u32::MAX)
        .unwrap()
        .into_iter()
        .map(|(_, moment)| moment)
        .collect()
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(What, u8, Judged)>),
    Compare(Vec<(u8, Judged)>),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = prop::sample::select(What::ALL.to_vec());
    let judged = || prop::sample::select(Judged::ALL.to_vec());
    let changes = prop::collection::vec((what, 0_u8..8, judged()), 0..6);
    let lines = prop::collection::vec((0_u8..8, judged()), 0..8);
    let step = prop_oneof![3 => changes.prop_map(Step::Append), 1 => lines.prop_map(Step::Compare), 1 => Just(Step::Reopen)];
    prop::collection::vec(step, 1..12)
}

/// The same, kept in memory the simple way.
#[derive(Default)]
struct Model {
    lives: BTreeMap<Key, (Change, Life)>,
    moments: Vec<Moment>,
}

impl Model {
    fn append(&mut self, set: &ChangeSet) {
        let Some(digested) = digest(set, &mut boundless()) else { return };
        for (change, key) in digested.moment.changes.iter().zip(digested.keys) {
            let Happening::Changed(what) = change.happening else { panic!("{change:?}") };
            let known = self.lives.get(&key).map(|(_, life)| *life);
            let life = Life::after(known, what, set.at, change.judged);
            self.lives.insert(key, (change.clone(), life));
        }
        self.moments.push(digested.moment);
    }

    fn compare(&mut self, at: SystemTime, lines: &[(Key, Change)]) {
        let mut copies = BTreeMap::<Key, u32>::new();
        for (key, change) in lines {
            *copies.entry(*key).or_default() += 1;
            let (_, life) = self.lives.entry(*key).or_insert_with(|| {
                (
                    change.clone(),
                    Life { copies: 0, gone_at: Some(at), ..Life::begin(at, true, change.judged) },
                )
            });
            life.judged = change.judged;
        }
        for (key, (_, life)) in &mut self.lives {
            life.find(copies.get(key).copied().unwrap_or_default(), at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_remembers_what_a_simple_model_does(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path(), LIMIT).unwrap();
        let mut model = Model::default();
        for (second, step) in steps.into_iter().enumerate() {
            let second = second as u64;
            match step {
                Step::Append(changes) => {
                    let changes = changes.into_iter().map(|(what, number, judged)| changed(what, number, judged));
                    let set = set(second, changes.collect());
                    store.append(digest(&set, &mut boundless()).iter()).unwrap();
                    model.append(&set);
                }
                Step::Compare(lines) => {
                    let lines: Vec<_> = lines.into_iter().map(|(number, judged)| present(number, judged)).collect();
                    let moment = compare(&mut store, second, second.is_multiple_of(2), &lines);
                    model.compare(at(second), &lines);
                    model.moments.extend(moment);
                }
                Step::Reopen => {
                    drop(store);
                    store = Store::open(directory.path(), LIMIT).unwrap();
                }
            }
        }
        prop_assert_eq!(all(directory.path()), model.moments);
        let reader = HistoryReader::open(directory.path()).unwrap();
        for (key, (_, life)) in &model.lives {
            prop_assert_eq!(reader.rule(*key, 5).unwrap().map(|found| found.life), Some(*life));
        }
        let standing: BTreeMap<_, _> = store.known().unwrap().into_iter().map(|(key, known)| (key, known.first_seen)).collect();
        let expected = model.lives.iter().filter(|(_, (_, life))| !life.judged.is_allowed() && life.copies > 0);
        prop_assert_eq!(standing, expected.map(|(key, (_, life))| (*key, life.since)).collect());
    }
}

#[test]
fn what_changed_while_nobody_watched_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path(), LIMIT).unwrap();
    store.alive(at(0), Verdict::Compliant).unwrap();
    let first = compare(
        &mut store,
        1,
        true,
        &[present(2, Judged::Allowed), present(4, Judged::Allowed), present(6, Judged::Unexpected)],
    )
    .unwrap();
    assert_eq!((first.watch, first.before, first.untold), (Watch::Resumed { since: None }, None, 0));
    let told = |moment: &Moment| -> Vec<_> {
        moment
            .changes
            .iter()
            .map(|change| (change.happening.as_str(), change.line.as_ref().unwrap()[1]))
            .collect()
    };
    assert_eq!(told(&first), [("added", 6)], "an allowed rule that was always there is no news");
    store.alive(at(50), Verdict::Compliant).unwrap();
    drop(store);
    let mut store = Store::open(directory.path(), LIMIT).unwrap();
    let lines = [
        present(2, Judged::Unexpected),
        present(2, Judged::Unexpected),
        present(6, Judged::Unexpected),
        present(8, Judged::Allowed),
    ];
    let next = compare(&mut store, 90, true, &lines).unwrap();
    assert_eq!(next.watch, Watch::Resumed { since: Some(at(50)) });
    assert_eq!(told(&next), [("rejudged", 2), ("added", 8), ("added", 2), ("removed", 4)]);
    assert_eq!(all(directory.path()), [first, next]);
}

#[test]
fn another_text_of_the_same_rules_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path(), LIMIT).unwrap();
    compare(
        &mut store,
        1,
        true,
        &[
            present(1, Judged::Allowed),
            present(2, Judged::Allowed),
            present(3, Judged::Unexpected),
            present(4, Judged::Allowed),
        ],
    );
    let is_of_version_1 = "UPDATE state SET text_version = 1";
    store.connection.execute(is_of_version_1, []).unwrap();
    // one stays as it was, three are written otherwise, and two came, nobody knows which
    let lines: Vec<_> = [1, 12, 13, 14, 15, 16]
        .map(|number| present(number, if number == 13 { Judged::Unexpected } else { Judged::Allowed }))
        .into();
    let moment = compare(&mut store, 2, true, &lines).unwrap();
    assert_eq!((moment.rewritten, moment.untold, moment.changes.len()), (3, 2, 0));
    assert_eq!(all(directory.path()).last(), Some(&moment));
    let next = compare(&mut store, 3, true, &[present(1, Judged::Allowed), present(17, Judged::Unexpected)])
        .unwrap();
    assert_eq!((next.rewritten, next.changes.len()), (0, 6), "{next:?}");
}

#[test]
fn who_brought_a_rule_is_known_to_the_next_process() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path(), LIMIT).unwrap();
    compare(&mut store, 1, true, &[]);
    let change = changed(What::Added, 4, Judged::Unexpected);
    store.append(digest(&set(5, vec![change.clone()]), &mut boundless()).iter()).unwrap();
    drop(store);
    let key = crate::domain::changes::history::key_of(&change);
    let known = Store::open(directory.path(), LIMIT).unwrap().known().unwrap();
    let found = &known[&key];
    assert_eq!((found.first_seen, found.is_older, &found.authors), (at(5), false, &change.authors));
    let remembered = HistoryReader::open(directory.path()).unwrap().rule(key, 9).unwrap().unwrap();
    assert_eq!(remembered.changes, [(at(5), Watch::Watched, Change::from(&change))]);
    assert_eq!(remembered.watched_until, Some(at(5)));
}

#[test]
fn times_of_broken_clocks_do_no_harm() {
    for time in [SystemTime::UNIX_EPOCH - Duration::from_secs(9), at(1 << 40), SystemTime::UNIX_EPOCH] {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path(), LIMIT).unwrap();
        let set = ChangeSet { at: time, ..set(1, vec![changed(What::Added, 1, Judged::Unexpected)]) };
        store.append(digest(&set, &mut boundless()).iter()).unwrap();
        assert_eq!(all(directory.path()).len(), 1);
    }
}

#[test]
fn a_newer_version_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path(), LIMIT).unwrap());
    let path = directory.path().join(FILE);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(directory.path(), LIMIT).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }) && !error.is_damage(), "{error:?}");
    assert!(error.to_string().contains("newer"), "{error}");
    assert!(matches!(HistoryReader::open(directory.path()).unwrap_err(), StoreError::Newer { .. }));
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn the_database_of_another_program_is_no_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (id INTEGER)").unwrap();
    assert!(matches!(Store::open(directory.path(), LIMIT).unwrap_err(), StoreError::Foreign));
    assert!(matches!(HistoryReader::open(directory.path()).unwrap_err(), StoreError::Foreign));
}

#[test]
fn only_the_owner_may_read_it() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    let mut store = Store::open(&directory, LIMIT).unwrap();
    store.append(digest(&set(1, Vec::new()), &mut boundless()).iter()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for name in [FILE].into_iter().chain(COMPANIONS) {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }
}

#[test]
fn rights_that_others_have_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let files = [FILE].into_iter().chain(COMPANIONS).map(|name| directory.path().join(name));
    let files: Vec<_> = files.collect();
    drop(Store::open(directory.path(), LIMIT).unwrap());
    let open_to_all = |path: &PathBuf| {
        std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    };
    files.iter().for_each(open_to_all);
    let _store = Store::open(directory.path(), LIMIT).unwrap();
    let modes = files.iter().map(|path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777);
    assert_eq!(modes.collect::<Vec<_>>(), [0o600; 3]);
}

#[test]
fn a_named_pipe_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert!(matches!(Store::open(directory.path(), LIMIT).unwrap_err(), StoreError::File { .. }));
    assert!(matches!(HistoryReader::open(directory.path()).unwrap_err(), StoreError::File { .. }));
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let victim = directory.path().join("victim");
    for name in [FILE].into_iter().chain(COMPANIONS) {
        std::fs::write(&victim, "important").unwrap();
        std::fs::set_permissions(&victim, Permissions::from_mode(0o644)).unwrap();
        let state = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&victim, state.path().join(name)).unwrap();
        assert!(Store::open(state.path(), LIMIT).is_err(), "{name}");
        let mode = std::fs::metadata(&victim).unwrap().permissions().mode() & 0o777;
        assert_eq!((std::fs::read_to_string(&victim).unwrap().as_str(), mode), ("important", 0o644));
    }
}

#[test]
fn a_second_writer_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), LIMIT).unwrap();
    assert!(!store.is_shared());
    let other = Store::open(directory.path(), LIMIT).unwrap();
    assert!(other.is_shared());
    drop((store, other));
    assert!(!Store::open(directory.path(), LIMIT).unwrap().is_shared());
}

#[test]
fn a_removed_file_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), LIMIT).unwrap();
    assert!(store.is_in_place());
    std::fs::remove_file(directory.path().join(FILE)).unwrap();
    assert!(!store.is_in_place());
    drop(Store::open(directory.path(), LIMIT).unwrap());
    assert!(!store.is_in_place());
}

/// What happens to the file of a journal with some content, and how it opens then.
fn after_damage(good: &[u8], damage: impl FnOnce(&mut Vec<u8>)) -> Result<(), StoreError> {
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = good.to_vec();
    damage(&mut bytes);
    std::fs::write(directory.path().join(FILE), bytes).unwrap();
    let _ = HistoryReader::open(directory.path())
        .and_then(|reader| reader.moments(&(SystemTime::UNIX_EPOCH..=at(1 << 41)), 0, 1_000));
    let mut store = Store::open(directory.path(), LIMIT)?;
    store.known()?;
    store.append(
        digest(&set(9, vec![changed(What::Removed, 2, Judged::Unexpected)]), &mut boundless()).iter(),
    )?;
    let mut comparison = store.begin_reconciliation(at(10), Verdict::Unknown, true, boundless())?;
    store.reconcile(&mut comparison, &[present(2, Judged::Allowed), present(9, Judged::Unexpected)])?;
    store.end_reconciliation(comparison)?;
    store.forget()?;
    Ok(())
}

fn with_content() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path(), LIMIT).unwrap();
    for second in 0..5 {
        let changes = (0..20)
            .map(|number| {
                changed(
                    What::Added,
                    number,
                    if number % 2 == 0 { Judged::Allowed } else { Judged::NotJudged },
                )
            })
            .collect();
        store.append(digest(&set(second, changes), &mut boundless()).iter()).unwrap();
    }
    drop(store);
    std::fs::read(directory.path().join(FILE)).unwrap()
}

#[test]
fn a_file_cut_anywhere_opens_or_is_called_damaged() {
    let good = with_content();
    let mut damaged = 0;
    // every byte of the first page and of the end, and samples between
    for length in
        (0..good.len()).filter(|length| *length < 700 || length % 997 == 0 || good.len() - length < 50)
    {
        match after_damage(&good, |bytes| bytes.truncate(length)) {
            Ok(()) => {}
            Err(error) if error.is_damage() => damaged += 1,
            Err(error) => panic!("cut at {length}: {error:?}"),
        }
    }
    assert!(damaged > 100, "{damaged}");
}

#[test]
fn flipped_bits_open_or_are_called_damaged() {
    let good = with_content();
    let mut random = 7_u64;
    let mut damaged = 0;
    for _ in 0..250 {
        let flip = |bytes: &mut Vec<u8>| {
            for _ in 0..3 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let place = (random >> 20) as usize % bytes.len();
                bytes[place] ^= 1 << (random >> 60 & 7);
            }
        };
        match after_damage(&good, flip) {
            // an unknown version, a write that cannot be: told as what it looks like
            Ok(()) | Err(StoreError::Newer { .. }) => {}
            Err(error) if error.is_damage() => damaged += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(damaged > 5, "{damaged}");
}

#[test]
fn a_damaged_file_is_set_aside_whole() {
    let directory = tempfile::tempdir().unwrap();
    for text in ["first", "second"] {
        std::fs::write(directory.path().join(FILE), text.repeat(100)).unwrap();
        std::fs::write(directory.path().join(COMPANIONS[0]), "x").unwrap();
        assert!(Store::open(directory.path(), LIMIT).unwrap_err().is_damage());
        let aside = Store::set_aside(directory.path()).unwrap();
        assert_eq!(std::fs::read_to_string(aside).unwrap(), text.repeat(100));
        drop(Store::open(directory.path(), LIMIT).unwrap());
    }
}

/// The same key for the same line, wherever it is made.
#[test]
fn keys_agree() {
    let change = changed(What::Moved, 4, Judged::Allowed);
    let place =
        Place { backend: change.backend, family: change.family, table: "filter", chain: Some("INPUT") };
    assert_eq!(Key::of(place, &change.line), present(4, Judged::Allowed).0);
}

/// Keeps every other process and connection from writing.
pub(crate) fn block_writers(directory: &Path) -> Connection {
    let connection = Connection::open(directory.join(FILE)).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}
