//! The patterns that a report prints, taken as the allowlist of what is there.
//! Writes no rules but one that is foreign, for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use crate::support::{AllowlistDir, MONITOR, Netns, lossy};

/// An allowlist made of printed patterns.
pub struct Adopted {
    of: String,
    /// List and line of everything that was there.
    pub lines: BTreeSet<(String, String)>,
    allowlist: AllowlistDir,
}

/// The whole report with these allowlists: the printed one is cut after some lines.
fn report(netns: &Netns, allowlist: &AllowlistDir) -> Value {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("UTF-8");
    let input = ["check", "--input", allowlist.path(), "--input6", allowlist.path()];
    let output = netns.feed(MONITOR, &[&input[..], &["--format", "json", "--output", path]].concat(), b"");
    let text = std::fs::read(file.path()).expect("the report");
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {}", lossy(&output)))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn violations(report: &Value) -> &[Value] {
    report["violations"].as_array().expect("violations")
}

/// List and line of every violation.
fn lines(report: &Value) -> BTreeSet<(String, String)> {
    violations(report)
        .iter()
        .map(|one| (text(one, "table").to_owned(), text(one, "line").to_owned()))
        .collect()
}

fn patterns(of: &str, report: &Value) -> AllowlistDir {
    let mut lists: BTreeMap<&str, String> = BTreeMap::new();
    for violation in violations(report) {
        let pattern = violation["suggested_pattern"].as_str();
        let pattern = pattern.unwrap_or_else(|| panic!("{of}: no pattern for {violation}"));
        writeln!(lists.entry(list(violation)).or_default(), "{pattern}").expect("memory");
    }
    let lists: Vec<_> = lists.iter().map(|(list, text)| (*list, text.as_str())).collect();
    AllowlistDir::new(&lists)
}

/// The allowlist file that judges this line.
fn list(violation: &Value) -> &str {
    match text(violation, "backend") {
        "nftables" => "nftables",
        _ => text(violation, "table"),
    }
}

/// Whether a line has bytes where the tools of the rule would have words.
fn is_raw(line: &str) -> bool {
    line.contains(" --raw")
        || line
            .split(' ')
            .any(|word| word.split_once("=0x").is_some_and(|(name, _)| name.parse::<u8>().is_ok()))
}

/// Adopts all rules of a namespace.
///
/// # Panics
/// If there are none, if a problem stays, or if what was suggested does not allow exactly what is there.
///
/// `run` runs a script with an nft that can read what is there: an old one crashes on the rules of a newer one.
#[track_caller]
pub fn adopt(netns: &Netns, of: &str, run: &dyn Fn(&str)) -> Adopted {
    let nothing = AllowlistDir::new(&[]);
    let first = report(netns, &nothing);
    assert_eq!(text(&first, "verdict"), "violations", "{of}: {first:#}");
    let problems = first["problems"].as_array().expect("an array");
    // depends on how the kernel of this machine was built
    let is_other = |problem: &Value| problem["reason"] != "HooksUnlisted";
    assert!(!problems.iter().any(is_other), "{of}: {problems:#?}");
    let adopted = Adopted { of: of.into(), lines: lines(&first), allowlist: patterns(of, &first) };
    let raw: Vec<_> = adopted.lines.iter().map(|(_, line)| line).filter(|line| is_raw(line)).collect();
    println!("{of}: {} lines, raw: {raw:#?}", adopted.lines.len());
    adopted.expect_compliant(netns, "its patterns were taken");
    // what allowed everything would prove nothing
    run("nft add table inet foreign; nft add chain inet foreign c; nft add rule inet foreign c counter drop");
    let foreign = report(netns, &adopted.allowlist);
    assert_eq!(text(&foreign, "verdict"), "violations", "{of}: {foreign:#}");
    assert!(lines(&foreign).iter().all(|(_, line)| line.contains("inet foreign")), "{of}: {foreign:#}");
    run("nft delete table inet foreign");
    adopted
}

impl Adopted {
    #[track_caller]
    fn expect_compliant(&self, netns: &Netns, after: &str) {
        let again = report(netns, &self.allowlist);
        assert_eq!(text(&again, "verdict"), "compliant", "{} after {after}: {again:#}", self.of);
    }

    /// Compliant, with the same lines as when it was adopted.
    #[track_caller]
    pub fn expect_the_same(&self, netns: &Netns, after: &str) {
        self.expect_compliant(netns, after);
        let all = lines(&report(netns, &AllowlistDir::new(&[])));
        let gone: Vec<_> = self.lines.difference(&all).collect();
        assert!(gone.is_empty(), "{} after {after}: it wrote no {gone:#?}", self.of);
    }
}
