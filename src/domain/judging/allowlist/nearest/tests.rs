use proptest::prelude::*;

use super::*;
use crate::domain::judging::allowlist::list::PatternFile;

fn allowlist(files: &[(List, &str)]) -> Allowlist {
    let file = |(list, text): &(List, &str)| PatternFile {
        list: *list,
        origin: list.as_str().to_owned(),
        text: text.as_bytes().to_vec(),
    };
    Allowlist::parse(&files.iter().map(file).collect::<Vec<_>>())
}

/// Number, found and expected of each difference to the nearest pattern of the list filter.
fn nearest(patterns: &str, line: &str) -> Vec<(usize, usize, String, String)> {
    let list = allowlist(&[(List::Filter, patterns)]);
    let explanation = list.explain(Some("filter"), line.as_bytes());
    assert!(explanation.allowing.is_empty(), "{explanation:?}");
    let Some(nearest) = explanation.nearest.first() else { return Vec::new() };
    let tell = |difference: &Difference| {
        let found = String::from_utf8_lossy(&difference.found).into_owned();
        (nearest.pattern.line, difference.at, found, difference.expected.clone())
    };
    nearest.differences.iter().map(tell).collect()
}

#[track_caller]
fn check(patterns: &str, line: &str, expected: &[(usize, usize, &str, &str)]) {
    let found = nearest(patterns, line);
    let found: Vec<_> = found.iter().map(|(line, at, a, b)| (*line, *at, a.as_str(), b.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_difference_is_told_in_whole_words() {
    let patterns =
        "^-P INPUT ACCEPT$\n^-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT$\n^-A FORWARD -j KUBE-FORWARD$";
    check(patterns, "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", &[(2, 31, "22", "443")]);
    check(patterns, "-A INPUT -p tcp -m tcp --dport 443 -j DROP", &[(2, 38, "DROP", "ACCEPT")]);
    check(
        patterns,
        "-A INPUT -p udp -m udp --dport 443 -j ACCEPT",
        &[(2, 12, "udp", "tcp"), (2, 19, "udp", "tcp")],
    );
    check(patterns, "-P INPUT DROP", &[(1, 9, "DROP", "ACCEPT")]);
    check(
        patterns,
        "-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 443 -j ACCEPT",
        &[(2, 9, "-s 10.0.0.0/8", "")],
    );
}

#[test]
fn classes_and_repeats_are_shown_as_what_they_take() {
    check("^-A INPUT --dport [0-9]+ -j ACCEPT$", "-A INPUT --dport x -j ACCEPT", &[(1, 17, "x", "[0-9]")]);
    check(
        "^-A KUBE-SVC-[A-Z0-9]{4} -j OK$",
        "-A KUBE-SVC-AB -j OK",
        &[(1, 3, "KUBE-SVC-AB", "KUBE-SVC-AB[0-9][0-9]")],
    );
    let with_address = "^-A OUT -d ([0-9]{1,3}\\.){3}[0-9]{1,3}/32 -j OK$";
    check(with_address, "-A OUT ! -s 10.1.0.0/16 -d 10.0.0.1/32 -j OK", &[(1, 7, "! -s 10.1.0.0/16", "")]);
    check("^-A INPUT .*-j ACCEPT$", "-A INPUT -p tcp -j DROP", &[(1, 19, "DROP", "ACCEPT")]);
    check("-A INPUT -j ACCEPT$", "-A INPUT -j ACCEPT ", &[(1, 12, "ACCEPT ", "ACCEPT")]);
}

#[test]
fn nothing_is_near_what_is_far() {
    check("^-A KUBE-SERVICES -d 10\\.0\\.0\\.1/32 -j KUBE-SVC-X$\nfoo\n^.{3}Z", "-P INPUT ACCEPT", &[]);
    check("", "-P INPUT ACCEPT", &[]);
}

#[test]
fn every_pattern_that_allows_is_told_the_own_list_first() {
    let list = allowlist(&[(List::Global, "^-A X\n^-P "), (List::Filter, "INPUT\n^-P INPUT ACCEPT$\n^-P I")]);
    let explanation = list.explain(Some("filter"), b"-P INPUT ACCEPT");
    let told: Vec<_> = explanation.allowing.iter().map(|pattern| (pattern.list, pattern.line)).collect();
    assert_eq!(told, [(List::Filter, 1), (List::Filter, 2), (List::Filter, 3), (List::Global, 2)]);
    assert!(explanation.nearest.is_empty() && explanation.elsewhere.is_empty());
}

#[test]
fn a_pattern_in_the_wrong_file_is_told() {
    let list =
        allowlist(&[(List::Nat, "^-A A -j B$"), (List::Filter, "^-A A -j C$"), (List::Nftables, "^-A A")]);
    let explanation = list.explain(Some("filter"), b"-A A -j B");
    let told: Vec<_> = explanation.elsewhere.iter().map(|pattern| pattern.list).collect();
    assert_eq!(told, [List::Nat, List::Nftables]);
    assert!(list.explain(Some("nat"), b"-A A -j B").elsewhere.is_empty(), "it is allowed");
}

#[test]
fn a_global_pattern_does_not_see_what_a_native_line_quotes() {
    let list = allowlist(&[(List::Global, "comment \"web\"")]);
    let explanation = list.explain(None, b"ip t c accept comment \"web\"");
    assert_eq!((explanation.allowing.len(), explanation.elsewhere.len()), (0, 1));
    assert_eq!(list.explain(Some("nat"), b"-m comment \"web\"").allowing.len(), 1);
}

#[test]
fn a_control_byte_is_told() {
    let list = allowlist(&[(List::Global, ".")]);
    let explanation = list.explain(Some("filter"), b"-A A\n-A B");
    assert!(
        explanation.has_control_byte && explanation.allowing.is_empty() && explanation.nearest.is_empty()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The search and the automaton that judges agree on what matches.
    #[test]
    fn no_edits_are_needed_exactly_where_a_pattern_matches(
        pattern in "\\^?(-A )?(a|b|[ab]|a\\*|b\\+|\\.|(ab|b){1,2}|\u{e9}){1,5}\\$?", line in "(-A )?[ab\u{e9}]{0,8}"
    ) {
        let list = allowlist(&[(List::Filter, &pattern)]);
        prop_assume!(!list.is_empty());
        let parsed = GoRegex::parse(&pattern).unwrap();
        let nfa = compile(std::slice::from_ref(&parsed.unicode), MAX_UNICODE_BYTES).unwrap();
        let edits = align(&nfa, line.as_bytes()).unwrap().iter().filter(|step| step.is_edit()).count();
        prop_assert_eq!(edits == 0, list.allows(Some("filter"), line.as_bytes()));
    }

    #[test]
    fn any_line_is_explained(line in prop::collection::vec(any::<u8>(), 0..40), table in prop::option::of("filter|nat|x")) {
        let list = allowlist(&[(List::Filter, "^-A [A-Z]+ -j (A|B)$"), (List::Global, "x.*\u{e9}\n\\bfoo\\b"), (List::Nftables, "^ip ")]);
        let explanation = list.explain(table.as_deref(), &line);
        let is_allowed = match &table {
            Some(table) => list.allows(Some(table), &line),
            None => list.allows_native(&line),
        };
        prop_assert_eq!(!explanation.allowing.is_empty(), is_allowed);
    }
}
