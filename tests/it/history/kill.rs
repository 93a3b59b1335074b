//! A writer that is killed, and readers that read meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use iptables_monitor::domain::changes::What;
use iptables_monitor::domain::changes::history::Watch;

use super::{at, change, close, compare, moments, open, set};

const DIRECTORY: &str = "MONITOR_TEST_JOURNAL";
const KILLS: usize = 200;

fn line(number: usize) -> String {
    format!("-A INPUT -s {number} -m comment --comment \"{}\" -j DROP", "x".repeat(number % 300))
}

fn number(line: &[u8]) -> usize {
    let text = std::str::from_utf8(line).unwrap();
    let number = text.split(' ').nth(3).unwrap().parse().unwrap();
    assert_eq!(text, self::line(number));
    number
}

/// The numbers of the changes that were recorded as they happened; the others say that nothing changed.
fn numbers(directory: &Path) -> Vec<usize> {
    let mut found = Vec::new();
    for moment in moments(directory) {
        match moment.watch {
            Watch::Watched => {
                found.extend(moment.changes.iter().map(|change| number(change.line.as_ref().unwrap())))
            }
            _ => assert!(moment.changes.is_empty() && moment.untold == 0, "{moment:?}"),
        }
    }
    found
}

/// What the test below runs in a process of its own: records one numbered change after the other and says so.
#[test]
fn writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let journal = open(directory);
    let before = numbers(directory).len();
    let lines: Vec<_> = (0..before).map(line).collect();
    compare(&journal, at(before as u64), lines.iter().map(String::as_str), false);
    let mut out = std::io::stdout().lock();
    for number in before.. {
        let written = journal.counts().written;
        journal.record(&set(at(number as u64), vec![change(What::Added, &line(number), false)]));
        while journal.counts().written == written {
            std::thread::sleep(Duration::from_micros(100));
        }
        writeln!(out, "\nwritten {number}").unwrap();
        out.flush().unwrap();
    }
}

/// Runs the writer until it has said something, or longer, kills it, and returns the last number that it said.
fn run_and_kill(directory: &Path, after: Duration) -> Option<usize> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "history::kill::writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    lines.filter_map(|line| line.strip_prefix("written ")?.parse().ok()).last()
}

#[test]
fn a_killed_writer_has_lost_at_most_its_last_change() {
    let directory = tempfile::tempdir().unwrap();
    close(open(directory.path()));
    let mut total = 0;
    let mut random = 1_u64;
    for kill in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let said = run_and_kill(directory.path(), Duration::from_micros(5_000 + (random >> 33) % 60_000));
        let found = numbers(directory.path());
        assert!(found.iter().copied().eq(0..found.len()), "after kill {kill}: {found:?}");
        let least = said.map_or(total, |last| last + 1);
        assert!(
            (least..=least + 1).contains(&found.len()),
            "after kill {kill}: {} and not {least}",
            found.len()
        );
        total = found.len();
    }
    assert!(total > KILLS, "it was killed before it wrote: {total}");
    assert!(!directory.path().join("history.db.damaged").exists());
}

#[test]
fn readers_see_whole_moments_while_the_agent_writes() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let writer = std::thread::spawn(move || {
        for number in 0..400 {
            let changes =
                [2 * number, 2 * number + 1].map(|number| change(What::Added, &line(number), false));
            let written = journal.counts().written;
            journal.record(&set(at(number as u64), changes.into()));
            while journal.counts().written == written {
                std::thread::yield_now();
            }
        }
        journal
    });
    let mut seen = Vec::new();
    while !writer.is_finished() {
        let found = numbers(directory.path());
        assert!(found.iter().copied().eq(0..found.len()) && found.len().is_multiple_of(2), "{found:?}");
        seen.push(found.len());
    }
    let journal = writer.join().unwrap();
    assert_eq!((journal.counts().shed, journal.counts().failures), (0, 0));
    close(journal);
    assert_eq!(numbers(directory.path()).len(), 800);
    assert!(seen.is_sorted() && seen.iter().any(|count| (1..800).contains(count)), "{seen:?}");
}
