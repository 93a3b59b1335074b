//! What of a journal `monitor history` is asked for.

use iptables_monitor::domain::changes::author::Author;
use iptables_monitor::domain::changes::judged::Judged;
use iptables_monitor::domain::changes::{RuleChange, What};

use super::cli::text;
use super::{Arc, at, author, change, close, open, set};

/// Four moments, a second apart: an unexpected rule of a pod, an allowed one, one not judged in another table, and one that
/// came and went.
fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let by = |name: &str| vec![Arc::new(Author::named(7, name.as_bytes()))];
    let changes = [
        RuleChange { authors: vec![author()], ..change(What::Added, "-A INPUT -j FIRST", false) },
        RuleChange { authors: by("kube-proxy"), ..change(What::Added, "-A INPUT -j SECOND", true) },
        RuleChange {
            table: "shop".into(),
            chain: Some("blocked".into()),
            judged: Judged::NotJudged,
            authors: by("nft"),
            ..change(What::Added, "THIRD", false)
        },
        RuleChange { authors: by("flap"), ..change(What::CameAndWent, "-A INPUT -j FOURTH", false) },
    ];
    for (second, change) in (100..).zip(changes) {
        journal.record(&set(at(second), vec![change]));
    }
    close(journal);
    directory
}

const ALL: [&str; 4] = ["FIRST", "SECOND", "THIRD", "FOURTH"];

#[test]
fn each_filter_leaves_what_it_names() {
    let directory = filled();
    let shown = |args: &[&str]| -> Vec<&str> {
        let text = text(directory.path(), args);
        ALL.into_iter().filter(|name| text.contains(name)).collect()
    };
    let second = |second| format!("{:.0}", jiff::Timestamp::try_from(at(second)).unwrap());
    let (from, to) = (second(101), second(102));
    for (args, expected) in [
        (&[][..], &ALL[..]),
        (&["--unexpected"], &["FIRST", "THIRD", "FOURTH"]),
        (&["--table", "shop"], &["THIRD"]),
        (&["--chain", "INPUT"], &["FIRST", "SECOND", "FOURTH"]),
        (&["--author", "default/web"], &["FIRST"]),
        (&["--author", "sshd"], &["FIRST"]),
        (&["--author", "kube-proxy", "--unexpected"], &[]),
        (&["-n", "2"], &["THIRD", "FOURTH"]),
        (&["-n", "1", "--author", "kube"], &["SECOND"]),
        (&["--since", &from], &["SECOND", "THIRD", "FOURTH"]),
        (&["--since", &from, "--until", &to], &["SECOND", "THIRD"]),
        (&["--until", "1h"], &ALL[..]),
        (&["--since", "1h"], &[]),
    ] {
        assert_eq!(shown(args), expected, "{args:?}");
    }
    let nothing = text(directory.path(), &["--table", "none"]);
    assert_eq!(nothing, "nothing of that kind was recorded in that time\n");
}

#[test]
fn three_words_and_what_came_and_went_are_told() {
    let directory = filled();
    let told = text(directory.path(), &[]);
    for expected in [
        "  + added  unexpected  ",
        "  + added  allowed  ",
        "  + added  not judged  iptables-nft, family ip, table shop, chain blocked",
        "  ! came and went  unexpected  ",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    let json = text(directory.path(), &["--format", "json"]);
    let of = |key: &str| -> Vec<String> {
        let lines = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["type"] == "change").map(|line| line[key].to_string()).collect()
    };
    assert_eq!(of("judgement"), ["\"unexpected\"", "\"allowed\"", "\"not_judged\"", "\"unexpected\""]);
    assert_eq!(of("allowed"), ["false", "true", "false", "false"]);
    assert_eq!(of("change"), ["\"added\"", "\"added\"", "\"added\"", "\"came_and_went\""]);
}
