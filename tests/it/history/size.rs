//! The limit of the journal's size.

use std::path::Path;
use std::time::Duration;

use iptables_monitor::app::checks::history::MIN_LIMIT_BYTES;
use iptables_monitor::domain::changes::judged::Judged;
use iptables_monitor::domain::changes::{RuleChange, What};

use super::{at, author, change, close, compare, moments, open, set};
use crate::support::wait_until;

/// What all files in the directory take, in bytes.
fn size(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).unwrap().filter_map(|entry| entry.unwrap().metadata().ok());
    files.map(|file| file.len()).sum()
}

#[test]
fn a_hundred_thousand_changes_stay_within_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let unexpected = |number| change(What::Added, &format!("-A INPUT -s {number} -j DROP"), false);
    journal.record(&set(at(0), (0..50).map(unexpected).collect()));
    let mut largest = 0;
    for round in 1..=200_u64 {
        let changes = (0..500).map(|number| RuleChange {
            authors: vec![author()],
            ..change(
                What::Added,
                &format!("-A INPUT -s {round} -d {number} -m comment --comment \"{}\"", "x".repeat(200)),
                true,
            )
        });
        journal.record(&set(at(round * 10_000), changes.collect()));
        wait_until("it is written", Duration::from_secs(60), || journal.counts().written == 50 + 500 * round);
        largest = largest.max(size(directory.path()));
        assert!(largest <= MIN_LIMIT_BYTES, "{largest} after {round} rounds");
    }
    let counts = journal.counts();
    close(journal);
    assert_eq!((counts.shed, counts.failures, counts.set_aside), (0, 0, 0));
    assert!(counts.forgotten > 10_000 && largest > MIN_LIMIT_BYTES / 2, "{counts:?}");
    let moments = moments(directory.path());
    assert_eq!(moments[0].changes.len(), 50, "what is not allowed is kept");
    let newest = moments.last().unwrap();
    assert_eq!(newest.changes.len(), 500, "and what is new");
    assert_eq!(newest.changes[0].authors, [author()]);
}

/// As a set that changes all the time does: each of its contents is a line of its own.
#[test]
fn what_is_not_judged_pushes_out_nothing_unexpected() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let unexpected = |number| change(What::CameAndWent, &format!("-A INPUT -s {number} -j DROP"), false);
    journal.record(&set(at(0), (0..50).map(unexpected).collect()));
    for round in 1..=100_u64 {
        let changes = (0..500).map(|number| RuleChange {
            judged: Judged::NotJudged,
            ..change(What::CameAndWent, &format!("{round} {number} {}", "x".repeat(300)), false)
        });
        journal.record(&set(at(round), changes.collect()));
        wait_until("it is written", Duration::from_secs(60), || journal.counts().written == 50 + 500 * round);
    }
    let counts = journal.counts();
    close(journal);
    assert_eq!((counts.shed, counts.failures, counts.set_aside), (0, 0, 0));
    assert!(counts.forgotten > 10_000 && size(directory.path()) <= MIN_LIMIT_BYTES, "{counts:?}");
    let moments = moments(directory.path());
    assert_eq!(moments[0].changes.len(), 50, "what is unexpected is kept");
    assert_eq!(moments.last().unwrap().changes.len(), 500, "and what is new");
}

#[test]
fn more_rules_than_fit_are_known_by_their_keys_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let lines: Vec<_> =
        (0..120_000).map(|number| format!("-A INPUT -s {number} {}", "x".repeat(150))).collect();
    compare(&journal, at(0), lines.iter().map(String::as_str), true);
    wait_until("all is compared", Duration::from_secs(120), || !moments(directory.path()).is_empty());
    assert!(size(directory.path()) <= MIN_LIMIT_BYTES, "{}", size(directory.path()));
    assert_eq!(journal.counts().failures, 0);
    journal.record(&set(at(1), vec![change(What::Added, "-A INPUT -j DROP", false)]));
    close(journal);
    assert_eq!(moments(directory.path()).last().unwrap().changes.len(), 1);
}
