//! The verdict on rules of every writer: allowed by what allows everything that iptables writes.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::matrix::loaded;
use super::tools::{BACKENDS, FAMILIES, writers};
use crate::support::{AllowlistDir, MONITOR};

/// With `^-A`, `^-P` and `^-N` alone, and no pattern for native lines, a rule that was read as anything else is unexpected.
#[test]
fn every_rule_that_iptables_wrote_is_allowed_by_patterns_of_its_lines() {
    let allowlists = AllowlistDir::new(&[("global", "^-A .*\n^-P .*\n^-N .*\n")]);
    for tools in writers() {
        for backend in BACKENDS {
            for family in FAMILIES {
                let (netns, cases) = loaded(&tools, backend, family);
                let checked = netns.check(&["--input", allowlists.path(), "--input6", allowlists.path()]);
                checked.expect("compliant", 0);
                let read = usize::try_from(checked.rules()).expect("not so many");
                assert!(read >= cases.len(), "{read} of {}", cases.len());
            }
        }
    }
}

/// Whatever a rule is, the pattern that the report prints for its line allows it.
#[test]
fn every_line_is_allowed_by_the_pattern_that_is_printed_for_it() {
    let nothing = AllowlistDir::new(&[]);
    for tools in writers() {
        for backend in BACKENDS {
            for family in FAMILIES {
                let (netns, cases) = loaded(&tools, backend, family);
                let report = tempfile::NamedTempFile::new().expect("a file");
                let path = report.path().to_str().expect("a name");
                let input = ["check", "--input", nothing.path(), "--input6", nothing.path()];
                let output =
                    netns.feed(MONITOR, &[&input[..], &["--format", "json", "--output", path]].concat(), b"");
                assert_eq!(output.status.code(), Some(1), "{output:?}");
                let text = std::fs::read(report.path()).expect("the report");
                let json: Value = serde_json::from_slice(&text).expect("JSON");
                let violations = json["violations"].as_array().expect("violations");
                assert!(violations.len() > cases.len(), "{} of {}", violations.len(), cases.len());
                let mut lists: BTreeMap<&str, String> = BTreeMap::new();
                for violation in violations {
                    let pattern = violation["suggested_pattern"].as_str();
                    let pattern = pattern.unwrap_or_else(|| panic!("no pattern for {violation}"));
                    let list = lists.entry(violation["table"].as_str().expect("a table")).or_default();
                    writeln!(list, "{pattern}").expect("memory");
                }
                let lists: Vec<_> = lists.iter().map(|(table, text)| (*table, text.as_str())).collect();
                let all = AllowlistDir::new(&lists);
                netns.check(&["--input", all.path(), "--input6", all.path()]).expect("compliant", 0);
            }
        }
    }
}
