//! `monitor drops --follow` killed at any moment while its source is written: every line is told at least once.
//! What the kernel's log and NFLOG lose is counted elsewhere: nobody keeps it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::program::{LIMIT, tcp};
use crate::drops_journal::saved;
use crate::support::{MONITOR, lossy, wait_until};

const KILLS: u64 = 14;

/// What the kernel says of a packet whose length is its number.
fn numbered(number: u64) -> String {
    format!("d: {}", tcp("10.0.0.1", "10.0.0.2", 80).replace("LEN=60", &format!("LEN={number}")))
}

/// Numbered lines, some hundred a second, into a file that is rotated by rename; says how many there were.
fn write_and_rotate(log: &Path, is_over: &AtomicBool) -> u64 {
    let mut count = 0;
    let mut file = File::options().create(true).append(true).open(log).unwrap();
    while !is_over.load(Ordering::Relaxed) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string();
        writeln!(file, "{now} n kernel: [1.5] {}", numbered(count)).unwrap();
        count += 1;
        if count % 700 == 0 {
            let at = |number: u32| log.with_file_name(format!("kern.log.{number}"));
            (1..9)
                .rev()
                .filter(|number| at(*number).exists())
                .for_each(|number| std::fs::rename(at(number), at(number + 1)).unwrap());
            std::fs::rename(log, at(1)).unwrap();
            file = File::options().create(true).append(true).open(log).unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    count
}

/// Numbered entries, some hundred a second, that systemd-journal-remote writes.
fn write_journal(directory: &Path, is_over: &AtomicBool) -> u64 {
    let mut remote = saved::writer(directory).spawn().expect("systemd-journal-remote: make test-tools");
    let mut input = remote.stdin.take().unwrap();
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        input.write_all(saved::entry_now(&numbered(count)).as_bytes()).unwrap();
        count += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(input);
    let output = remote.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", lossy(&output));
    count
}

fn follow(source: &str, directory: &Path) -> Child {
    let out = File::options().create(true).append(true).open(directory.join("out")).unwrap();
    let mut command = Command::new(MONITOR);
    command.args(["drops", "--source", source, "--format", "json", "--follow", "--since", "1h"]);
    command.arg("--checkpoint").arg(directory.join("checkpoint"));
    command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn().unwrap()
}

/// The numbers that were printed, each with where its line ends in the output.
fn told(directory: &Path) -> Vec<(u64, u64)> {
    let (mut told, mut end) = (Vec::new(), 0);
    for text in std::fs::read_to_string(directory.join("out")).unwrap().split_inclusive('\n') {
        end += text.len() as u64;
        // a killed program may leave the beginning of a line, and its successor writes on behind it
        let whole = text.rfind("{\"time\"").map(|begin| &text[begin..]).unwrap_or_default();
        let Ok(value) = serde_json::from_str::<Value>(whole) else { continue };
        told.push((value["length"].as_u64().unwrap(), end));
    }
    told
}

/// How much was printed when a program was killed, and how much of that before its last checkpoint but one: what was
/// printed while a checkpoint was made may be in the next only.
struct Kill {
    safe: u64,
    all: u64,
}

/// Lets a program print something, write so many checkpoints and live a little longer, and kills it.
fn kill_after(checkpoints: u64, more: Duration, source: &str, directory: &Path) -> Kill {
    let size = || std::fs::metadata(directory.join("out")).map_or(0, |facts| facts.len());
    let checkpoint = || std::fs::read(directory.join("checkpoint")).unwrap_or_default();
    let (before, mut last) = (size(), checkpoint());
    let mut child = follow(source, directory);
    wait_until("it prints something", LIMIT, || size() > before);
    let (mut safe, mut printed) = (0, 0);
    for _ in 0..checkpoints {
        let mut seen = 0;
        wait_until("it writes a checkpoint", LIMIT, || {
            seen = size();
            checkpoint() != last
        });
        last = checkpoint();
        safe = std::mem::replace(&mut printed, seen);
    }
    std::thread::sleep(more);
    child.kill().unwrap();
    child.wait().unwrap();
    Kill { safe, all: size() }
}

/// Kills the program again and again while `write` does, which returns how many lines it wrote.
fn kill_often(source: &str, directory: &Path, write: impl FnOnce(&AtomicBool) -> u64 + Send) {
    let is_over = AtomicBool::new(false);
    let (written, kills) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&is_over));
        // from at once to after the third checkpoint, at many moments between two
        let kill =
            |kill: u64| kill_after(kill % 4, Duration::from_millis(kill * 7919 % 1000), source, directory);
        let kills: Vec<_> = (0..KILLS).map(kill).collect();
        is_over.store(true, Ordering::Relaxed);
        (writer.join().unwrap(), kills)
    });
    let mut last = follow(source, directory);
    let is_last = |(number, _): &(u64, u64)| *number == written - 1;
    wait_until("the last line is told", LIMIT, || told(directory).iter().any(is_last));
    last.kill().unwrap();
    last.wait().unwrap();
    check(&told(directory), written, &kills);
}

fn check(told: &[(u64, u64)], written: u64, kills: &[Kill]) {
    let numbers: BTreeSet<_> = told.iter().map(|(number, _)| *number).collect();
    assert!(numbers.iter().copied().eq(0..written), "{} of {written} lines", numbers.len());
    for Kill { safe, all } in kills {
        let safe = told.iter().filter(|(_, end)| end <= safe).map(|(number, _)| number).max();
        let again = told.iter().filter(|(_, end)| end > all).map(|(number, _)| number).min();
        assert!(again.is_none() || safe < again, "{again:?} came again long after {safe:?} was told");
    }
    println!("{written} lines, {} again", told.len() as u64 - written);
}

#[test]
fn of_a_file_that_is_rotated_no_line_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("kern.log");
    let source = format!("file:{}", log.display());
    kill_often(&source, directory.path(), |is_over| write_and_rotate(&log, is_over));
}

#[test]
fn of_a_journal_no_entry_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let source = format!("journal:{}", journal.display());
    kill_often(&source, directory.path(), |is_over| write_journal(&journal, is_over));
}
