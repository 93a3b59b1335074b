//! What `monitor history` prints.

use std::process::{Command, Output};

use iptables_monitor::domain::changes::author::Author;
use iptables_monitor::domain::changes::{ChangeSet, RuleChange, What};
use iptables_monitor::domain::verdict::Verdict;
use serde_json::Value;

use super::{Arc, Path, at, author, change, close, compare, open, set};
use crate::support::{MONITOR, lossy};

const SCHEMA: &str = include_str!("../../../docs/schema/history.v2.json");

pub fn run(directory: &Path, args: &[&str]) -> Output {
    Command::new(MONITOR).arg("history").arg("--state-dir").arg(directory).args(args).output().unwrap()
}

pub fn text(directory: &Path, args: &[&str]) -> String {
    let output = run(directory, args);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", lossy(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A journal with one of everything, and with text that wants to be more than text.
fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    compare(&journal, at(0), ["-A INPUT -i lo -j ACCEPT", "-A INPUT -j LOG"].into_iter(), true);
    let evil = "evil\u{1b}[2J\n2026-01-01T00:00:00Z  compliant";
    let hostile = Author { name: evil.into(), command_line: Some(evil.into()), ..(*author()).clone() };
    let changes = vec![
        RuleChange {
            authors: vec![author()],
            ..change(What::Added, "-A INPUT -s 6.6.6.6/32 -j DROP", false)
        },
        RuleChange {
            authors: vec![Arc::new(hostile)],
            ..change(What::Moved, &format!("-A INPUT {evil}"), false)
        },
        RuleChange { line: vec![b'-', 0xff], ..change(What::Removed, "", true) },
        change(What::Removed, &"long ".repeat(2_000), false),
    ];
    journal.record(&ChangeSet { untold: 1_204, ..set(at(100), changes) });
    journal.record(&ChangeSet {
        before: Some(Verdict::Violations),
        after: Verdict::Unknown,
        ..set(at(200), Vec::new())
    });
    close(journal);
    let journal = open(directory.path());
    compare(&journal, at(6 * 86_400), ["-A INPUT -i lo -j ACCEPT"].into_iter(), false);
    close(journal);
    directory
}

#[test]
fn people_read_what_changed_when_and_by_whom() {
    let directory = filled();
    let text = text(directory.path(), &[]);
    for expected in [
        "  the first look: what stands now may be older\n",
        "  compliant -> violations\n  + added  unexpected  iptables-nft, family ip, table filter, chain INPUT, rule 1\n",
        "      | -A INPUT -s 6.6.6.6/32 -j DROP\n      reported process iptables (pid 4711, /usr/sbin/xtables-nft-multi), started by bash (4000), sshd (800), init (1), in pod default/web-0\n      | iptables -A INPUT -j DROP\n",
        "  - removed  allowed  ",
        "      | -\\xff\n",
        " lon...\n",
        "  1,204 more changes are only counted\n",
        "  violations -> unknown\n",
        "  watching again; what changed did so unwatched, since ",
        "  = rejudged  unexpected  ",
    ] {
        assert!(text.contains(expected), "{expected}\n---\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.lines().all(|line| line.starts_with("20") || line.starts_with("  ")), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("20")).count(), 4, "{text}");
}

#[test]
fn programs_get_one_object_a_line_that_follows_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    for other in
        [include_str!("../../../docs/schema/check.v2.json"), include_str!("../../../docs/schema/why.v2.json")]
    {
        let other: Value = serde_json::from_str(other).unwrap();
        assert_eq!(schema["$defs"]["process"], other["$defs"]["process"], "one process, one shape");
    }
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let directory = filled();
    let text = text(directory.path(), &["--format", "json"]);
    assert!(text.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte)));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        let errors: Vec<_> = validator.iter_errors(line).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{line:#}");
    }
    let of = |key: &str| lines.iter().filter_map(|line| line[key].as_str()).collect::<Vec<_>>();
    assert_eq!(of("type").iter().filter(|kind| **kind == "check").count(), 4);
    assert_eq!(
        of("change"),
        ["added", "moved", "removed", "removed", "rejudged", "removed", "removed", "removed"]
    );
    let added = lines.iter().find(|line| line["change"] == "added").unwrap();
    assert_eq!(added["reported_processes"][0]["pod"]["name"], "web-0");
    assert_eq!(lines.iter().find(|line| line["line_hex"] == "2dff").unwrap()["allowed"], true);
    assert!(lines.iter().any(|line| line["line_truncated"] == true));
    assert!(lines.iter().any(|line| line["untold_changes"] == 1_204));
    let refused = |pointer: &str, bad: Value| {
        let mut line = added.clone();
        *line.pointer_mut(pointer).expect(pointer) = bad;
        assert!(!validator.is_valid(&line), "{pointer}");
    };
    refused("/type", "other".into());
    refused("/change", "Added".into());
    refused("/time", "today".into());
    refused("/verdict_after", "fine".into());
    refused("/reported_processes/0/pid", (-1).into());
    let mut extra = added.clone();
    extra["extra"] = true.into();
    assert!(!validator.is_valid(&extra));
}

#[test]
fn since_leaves_out_what_is_older() {
    let directory = filled();
    let lately = text(directory.path(), &["--since", "2d"]);
    assert_eq!(lately.lines().filter(|line| line.starts_with("20")).count(), 1, "{lately}");
    assert!(text(directory.path(), &["--since", "1s"]).contains("nothing was recorded"));
    assert_eq!(text(directory.path(), &["--since", "1s", "--format", "json"]), "");
}

#[test]
fn without_a_journal_the_error_says_so() {
    let directory = tempfile::tempdir().unwrap();
    for missing in [directory.path(), &directory.path().join("gone")] {
        let output = run(missing, &[]);
        assert_eq!(output.status.code(), Some(2), "{}", lossy(&output));
        assert!(
            lossy(&output).contains("history.db") && lossy(&output).contains("No such file"),
            "{}",
            lossy(&output)
        );
        assert!(!missing.join("history.db").exists(), "reading makes no journal");
    }
    let output = Command::new(MONITOR).arg("history").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", lossy(&output));
    std::fs::write(directory.path().join("history.db"), "no journal").unwrap();
    let output = run(directory.path(), &[]);
    assert_eq!(output.status.code(), Some(2), "{}", lossy(&output));
}
