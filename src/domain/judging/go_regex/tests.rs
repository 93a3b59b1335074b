use proptest::prelude::*;
use regex_automata::meta::{Config, Regex};

use super::*;

/// Whether a text matches, by both trees where both apply; none where the pattern is refused.
fn is_match(pattern: &str, subject: &[u8]) -> Option<bool> {
    let parsed = GoRegex::parse(pattern).ok()?;
    let bytewise = Config::new().utf8_empty(false);
    let unicode = Regex::builder().configure(bytewise).build_from_hir(&parsed.unicode).unwrap();
    let found = unicode.is_match(decode_as_go(subject).as_bytes());
    if subject.is_ascii() {
        let ascii = Regex::builder().build_from_hir(&parsed.ascii).unwrap();
        assert_eq!(ascii.is_match(subject), found, "the two trees of {pattern:?} differ on {subject:?}");
    }
    Some(found)
}

/// `\xHH` and `\\` in the data file.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, width) = match (first, tail.first()) {
            (b'\\', Some(b'x')) => {
                (u8::from_str_radix(std::str::from_utf8(&tail[1..3]).unwrap(), 16).unwrap(), 4)
            }
            (b'\\', _) => (b'\\', 2),
            _ => (first, 1),
        };
        bytes.push(byte);
        rest = &rest[width..];
    }
    bytes
}

#[test]
fn answers_as_go_does() {
    let data = include_str!("../../../../tests/data/go_regex.tsv");
    let mut wrong = Vec::new();
    let mut rows = 0;
    for row in data.lines().filter(|row| !row.starts_with('#')) {
        let [pattern, subject, answer] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let expected = match answer {
            "true" => Some(true),
            "false" => Some(false),
            "error" => None,
            other => panic!("{other}"),
        };
        let found = is_match(&String::from_utf8(unescape(pattern)).unwrap(), &unescape(subject));
        if found != expected {
            wrong.push(format!("{row}\twe say {found:?}"));
        }
        rows += 1;
    }
    assert!(rows > 300, "{rows} rows");
    assert!(wrong.is_empty(), "{} of {rows} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[track_caller]
fn check_error(pattern: &str, column: usize, message: &str) {
    let error = GoRegex::parse(pattern).expect_err(pattern);
    assert_eq!((error.column, error.kind.to_string().as_str()), (column, message), "{pattern}");
}

#[test]
fn errors_say_where_and_why() {
    check_error("ab**", 4, "`**` repeats a repeat; group the first one if that is meant");
    check_error("x{2}{3}", 5, "`{2}{3}` repeats a repeat; group the first one if that is meant");
    check_error("é|*", 3, "`*` has nothing to repeat");
    check_error("a{1001}", 2, "`{1001}` repeats more than 1000 times, or its bounds are reversed");
    check_error("(a{10}){101}", 8, "`{101}` repeats more than 1000 times, or its bounds are reversed");
    check_error("a(b", 2, "this group is not closed with `)`");
    check_error("ab)", 3, "this `)` closes no group");
    check_error("a[b-", 2, "this `[` is not closed with `]`");
    check_error("[xb-a]", 3, "`b-a` is not a range of characters");
    check_error("[a--b]", 2, "`a--` is not a range of characters");
    check_error("a[[:foo:]]", 3, "no character class is named `foo`");
    check_error(r"a\p{Letter}", 2, "no character class is named `Letter`");
    check_error("a(?x)b", 2, "`(?x` is not a group of Go's syntax");
    check_error("(?P<a b>c)", 1, "`a b` is not a valid name for a group");
    check_error(r"a\Z", 2, r"`\Z` is not an escape of Go's syntax");
    check_error(r"a[\C]", 3, r"`\C` is not an escape of Go's syntax");
    check_error(r"a\", 2, r"nothing follows this `\`");
}

#[test]
fn named_groups_of_newer_go_are_read() {
    assert_eq!(is_match("^(?<name>a)$", b"a"), Some(true));
    check_error("(?<>a)", 1, "`` is not a valid name for a group");
    check_error("(?<n", 1, "`n` is not a valid name for a group");
    check_error("(?<", 1, "`(?<` is not a group of Go's syntax");
}

#[test]
fn depth_and_length_are_limited() {
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(GoRegex::parse(&nested(100)).is_ok());
    check_error(&nested(101), 1, "groups and repeats nest deeper than 100");
    check_error(&format!("a{}", "*(?i)".repeat(200)), 502, "groups and repeats nest deeper than 100");
    assert!(GoRegex::parse(&"a".repeat(MAX_PATTERN_CHARS)).is_ok());
    check_error(&"é".repeat(MAX_PATTERN_CHARS + 1), 8193, "the pattern is longer than 8192 characters");
}

#[test]
fn every_named_class_exists() {
    for name in class::CATEGORIES.split(' ').chain(class::SCRIPTS.split(' ')) {
        assert!(class::unicode(name, false, true).is_some_and(|set| !set.ranges().is_empty()), "{name}");
    }
}

#[test]
fn each_bad_byte_is_one_replacement_character() {
    assert_eq!(
        decode_as_go(b"a\xe2\x82b\xff\xed\xa0\x80\xc3\xa9"),
        "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\u{fffd}é"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    /// No text makes the parser panic, and a column is always inside the pattern.
    #[test]
    fn any_text_is_read_or_refused(pattern in r"(\PC|[\[\]\\(){}?*+^$|:a-z0-9-]){0,30}") {
        if let Err(error) = GoRegex::parse(&pattern) {
            prop_assert!((1..=pattern.chars().count()).contains(&error.column), "{error}");
        }
    }
}
