use proptest::prelude::*;

use super::*;

fn file(list: List, text: impl AsRef<[u8]>) -> PatternFile {
    PatternFile { list, origin: format!("dir/{}", list.as_str()), text: text.as_ref().to_vec() }
}

fn global(text: impl AsRef<[u8]>) -> Allowlist {
    Allowlist::parse(&[file(List::Global, text)])
}

fn broken(allowlist: &Allowlist) -> Vec<String> {
    allowlist.broken().iter().map(ToString::to_string).collect()
}

// === files ===

#[test]
fn lists_are_named_after_their_files() {
    for list in List::ALL {
        assert_eq!(List::from_name(list.as_str()), Some(list));
    }
    for table in crate::domain::rules::IPTABLES_TABLES {
        assert_eq!(List::for_table(table), List::from_name(table), "{table}");
    }
    for name in ["global", "nftables", "broute", "", "NAT"] {
        assert_eq!(List::for_table(name), None, "{name}");
    }
}

#[test]
fn a_line_is_a_pattern_with_its_blanks() {
    let allowlist = global("^a $\r\n\n#b\n  c\r\n");
    assert_eq!(broken(&allowlist), [""; 0]);
    assert_eq!(allowlist.len(), 3);
    for (line, allowed) in
        [("a ", true), ("a", false), ("x#b", true), ("b", false), ("  c", true), (" c", false), ("", false)]
    {
        assert_eq!(allowlist.allows(None, line.as_bytes()), allowed, "{line:?}");
    }
    let [_, _, last] = allowlist.patterns() else { panic!() };
    assert_eq!((&*last.origin, last.line, &*last.text), ("dir/global", 4, "  c"));
}

#[test]
fn nothing_is_allowed_without_patterns() {
    for allowlist in [Allowlist::parse(&[]), global(""), global("\n\r\n"), global(" \n\t\r\n")] {
        assert!(allowlist.is_empty());
        assert!(!allowlist.allows(Some("nat"), b"-A INPUT -j ACCEPT"));
        assert!(!allowlist.allows(Some("nat"), b""));
        assert!(!allowlist.allows_native(b"table ip x"));
    }
}

#[test]
fn broken_lines_are_reported_and_the_others_work() {
    let text = b"a(\nok\n \n\xc2\xa0\t\nx\xc3\xa9\xff\nq\\Z\x1b[31m\nalso ok\ra\n";
    let allowlist = global(text);
    assert_eq!(
        broken(&allowlist),
        [
            "dir/global:1:2: this group is not closed with `)`: a(",
            "dir/global:3:1: a line of only white space would allow every rule; remove it:  ",
            r"dir/global:4:1: a line of only white space would allow every rule; remove it: \u{a0}\t",
            "dir/global:5:3: a byte that is not UTF-8: xé\u{fffd}",
            r"dir/global:6:2: `\Z` is not an escape of Go's syntax: q\Z\u{1b}[31m",
        ]
    );
    assert_eq!(allowlist.len(), 2);
    assert!(allowlist.allows(None, b"ok"));
    assert!(!allowlist.allows(None, b"a x q"));
}

#[test]
fn a_nul_in_a_file_is_an_ordinary_character() {
    let allowlist = global("a\0b|c");
    assert!(allowlist.broken().is_empty() && allowlist.allows(None, b"c"));
}

#[test]
fn patterns_that_would_be_expensive_are_refused_and_real_ones_are_not() {
    let refused =
        ["(.{1000}){1}(.{1000}){1}.{1000}.{1000}.{1000}.{1000}.{1000}.{1000}", r"\pL{500}", r"(\PN{100}){5}"];
    let allowlist = global(refused.join("\n"));
    assert_eq!(allowlist.broken().len(), refused.len(), "{:?}", broken(&allowlist));
    assert!(broken(&allowlist).iter().all(|text| text.contains("too large")));

    let real = [
        "^-A [A-Z0-9-]{1,29} .{0,200}$",
        r"^-A \S{1,29} (-s \d{1,3}(\.\d{1,3}){3}/\d{1,2} )?.{0,1000}-j [[:upper:]]{1,28}$",
        r"\w{1,255}",
        r"\p{Han}{1,10} \pL+",
    ];
    assert_eq!(broken(&global(real.join("\n"))), [""; 0]);
}

#[test]
fn files_and_lists_have_a_largest_size() {
    let allowlist = global("a\n".repeat(MAX_FILE_BYTES / 2) + "b");
    assert_eq!(
        broken(&allowlist),
        ["dir/global:1:1: the file is larger than 1048576 bytes; none of it is used"]
    );
    assert!(allowlist.is_empty());

    let files = [file(List::Nat, "(\n".repeat(4_000)), file(List::Raw, "^abc$\n".repeat(7_000))];
    let allowlist = Allowlist::parse(&files);
    assert_eq!((allowlist.len(), allowlist.broken().len()), (6_000, 4_001));
    let last = "dir/raw:6001:1: more than 10000 patterns: this line and all after it are not used: ^abc$";
    assert_eq!(broken(&allowlist).last().map(String::as_str), Some(last));
}

#[test]
fn many_patterns_together_have_a_limit_too() {
    let text: String = (0..2_000).map(|n| format!("^x{n} .{{0,600}}$\n")).collect();
    let allowlist = global(text);
    let count = allowlist.len();
    assert!((10..2_000).contains(&count), "{count}");
    let reason = "the patterns before this one take all the memory that patterns may use";
    let expected = format!(
        "dir/global:{}:1: {reason}: this line and all after it are not used: ^x{count} .{{0,600}}$",
        count + 1
    );
    assert_eq!(broken(&allowlist), [expected]);
    assert!(allowlist.allows(None, b"x9 y") && allowlist.allows(None, "x9 é".as_bytes()));
    assert!(!allowlist.allows(None, b"x1999 y"));
}

#[test]
fn ordinary_patterns_fit_in_thousands() {
    let text: String = (0..3_000)
        .map(|n| format!("^-A KUBE-SVC-{n}[A-Z0-9]{{13}} .*-j KUBE-SEP-[A-Z0-9]{{16}}$\n"))
        .collect();
    assert_eq!(broken(&global(text)), [""; 0]);
    let text: String = (0..MAX_PATTERNS).map(|n| format!("^-A CHAIN-{n} \n")).collect();
    let allowlist = global(text);
    assert_eq!(allowlist.len(), MAX_PATTERNS);
    assert!(allowlist.allows(None, b"-A CHAIN-9999 -j X") && !allowlist.allows(None, b"-A CHAIN-10000 -j X"));
}

/// Each of these takes a millisecond to refuse, or to read and find harmless: only the first few are tried.
#[test]
fn patterns_that_only_take_time_have_a_limit() {
    for pattern in [r"\pL{500}", r"(?i)[\pL\PL\pL\PL]"] {
        let allowlist = global(format!("{pattern}\n").repeat(9_000));
        assert!(allowlist.len() + allowlist.broken().len() < 1_000, "{pattern}: {}", allowlist.len());
        assert!(broken(&allowlist).last().unwrap().contains("all the memory"));
    }
}

#[test]
fn the_source_is_known_again() {
    let files = [file(List::Nat, "a\n"), file(List::Raw, "b\n")];
    let allowlist = Allowlist::parse(&files);
    assert!(allowlist.is_same_source(&files));
    assert!(!allowlist.is_same_source(&[file(List::Nat, "a\n"), file(List::Raw, "c\n")]));
    assert!(!allowlist.is_same_source(&[file(List::Nat, "a\n"), file(List::Mangle, "b\n")]));
    assert!(!allowlist.is_same_source(&files[..1]));
}

// === which list ===

#[test]
fn a_table_has_its_own_list_and_the_global_one() {
    let allowlist =
        Allowlist::parse(&[file(List::Global, "^g"), file(List::Nat, "^n"), file(List::Nftables, "^t")]);
    let tables = |line: &str| {
        let tables = [Some("nat"), Some("filter"), Some("other"), Some("global"), Some("nftables"), None];
        tables.map(|table| allowlist.allows(table, line.as_bytes()))
    };
    assert_eq!(tables("g"), [true; 6]);
    assert_eq!(tables("n"), [true, false, false, false, false, false]);
    assert_eq!(tables("t"), [false; 6]);
}

#[test]
fn the_pattern_that_allows_is_named() {
    let files =
        [file(List::Global, "z\nA|é\nA INPUT"), file(List::Filter, "^nothing$\n^-A INPUT -j X$\nINPUT")];
    let allowlist = Allowlist::parse(&files);
    let find = |table, line: &str| {
        allowlist.matching(table, line.as_bytes()).map(|pattern| (pattern.list, pattern.line))
    };
    assert_eq!(find(Some("filter"), "-A INPUT -j X"), Some((List::Filter, 2)));
    assert_eq!(find(Some("filter"), "-A INPUT -j Y"), Some((List::Filter, 3)));
    assert_eq!(find(Some("nat"), "-A INPUT -j Y"), Some((List::Global, 2)));
    assert_eq!(find(Some("filter"), "INPUT é"), Some((List::Filter, 3)));
    assert_eq!(find(Some("filter"), "é"), Some((List::Global, 2)));
    assert_eq!(find(Some("filter"), "-B"), None);
    assert_eq!(find(Some("filter"), "-A INPUT\n"), None);
}

#[test]
fn control_bytes_are_never_allowed() {
    let allowlist = Allowlist::parse(&[file(List::Global, "(?s).*"), file(List::Nftables, "(?s).*")]);
    for byte in 0..=255_u8 {
        let is_control = byte < 0x20 || byte == 0x7f;
        let line = [b'a', byte, b'b'];
        assert_eq!(allowlist.allows(None, &line), !is_control, "{byte:#x}");
        assert_eq!(allowlist.allows_native(&line), !is_control, "{byte:#x}");
        assert_eq!(allowlist.matching_native(&line).is_some(), !is_control, "{byte:#x}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_seen_as_go_sees_them() {
    let allowlist = global("^a.b$\n^x\u{fffd}y$\n^[^é]$");
    for (line, allowed) in [
        (&b"a\xffb"[..], true),
        (b"a\xc3\xa9b", true),
        (b"a\xe2\x82b", false),
        (b"x\xffy", true),
        (b"x\xef\xbf\xbdy", true),
        (b"\xe9", true),
        (b"\xc3\xa9", false),
    ] {
        assert_eq!(allowlist.allows(None, line), allowed, "{line:?}");
    }
}

#[test]
fn a_global_pattern_does_not_see_the_quoted_strings_of_native_lines() {
    let allowlist =
        Allowlist::parse(&[file(List::Global, "cilium:\n^rule a \"\" b$"), file(List::Nftables, "docker")]);
    assert!(allowlist.allows(Some("filter"), br#"-m comment --comment "cilium: x""#));
    for (line, allowed) in [
        (r#"rule a "anything" b"#, true),
        (r#"rule a "cilium:" c"#, false),
        (r#"rule a "\"cilium:" c"#, false),
        (r#"rule a "\\" cilium: c"#, true),
        (r#"rule a "x" cilium: "y""#, true),
        (r#"rule a "cilium: never closed"#, false),
        (r#"rule a "docker" c"#, true),
        (r#"rule a "é cilium:" c"#, false),
    ] {
        assert_eq!(allowlist.allows_native(line.as_bytes()), allowed, "{line}");
        assert_eq!(allowlist.matching_native(line.as_bytes()).is_some(), allowed, "{line}");
    }
}

#[test]
fn quoted_strings_are_emptied() {
    for (line, masked) in [
        (r#"a"#, "a"),
        (r#"a "b" c "d""#, r#"a "" c """#),
        (r#"a "b\"c" d"#, r#"a "" d"#),
        (r#"a "b\\" d"#, r#"a "" d"#),
        (r#"a \"b" c"#, r#"a \"" c"#),
        (r#"a "b"#, r#"a ""#),
        (r#"a "b\"#, r#"a ""#),
    ] {
        assert_eq!(without_quoted(line.as_bytes()), masked.as_bytes(), "{line}");
    }
}

// === speed and size ===

/// Sets of `a.*b` patterns make new automaton states all the time; the answers stay right.
#[test]
fn hostile_patterns_and_lines_only_cost_time() {
    let text: String = (0..300).map(|n| format!("{n:03}.{{10,60}}{n:03}.*{:03}z\n", n + 1)).collect();
    let allowlist = global(&text);
    assert_eq!(broken(&allowlist), [""; 0]);
    let mut random = 1_u32;
    for round in 0..200 {
        let mut line = String::new();
        for _ in 0..100 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            line.push_str(&format!("{:03}", (random >> 16) % 400));
        }
        assert!(!allowlist.allows(None, line.as_bytes()), "{line}");
        if round % 50 == 0 {
            line.push_str("-007-----------007--008z");
            assert!(allowlist.allows(None, line.as_bytes()));
        }
    }
}

// === suggestions ===

#[track_caller]
fn check_suggestion(line: &str, pattern: &str) {
    assert_eq!(suggest(line.as_bytes()).as_deref(), Some(pattern));
    assert!(global(pattern).allows(None, line.as_bytes()), "{pattern}");
}

#[test]
fn suggestions_are_whole_lines() {
    check_suggestion("-P INPUT ACCEPT", "^-P INPUT ACCEPT$");
    check_suggestion(
        r#"-A A -s 1.2.3.4/32 -m comment --comment "a (b) \" é" -j X"#,
        r#"^-A A -s 1\.2\.3\.4/32 -m comment --comment "a \(b\) \\" é" -j X$"#,
    );
    check_suggestion("-A A -i eth+ {x}[y]|^$?*", r"^-A A -i eth\+ \{x\}\[y\]\|\^\$\?\*$");
    check_suggestion(
        "ip x { __chain85, __set3 __map7 }",
        r"^ip x \{ __chain[0-9]+, __set[0-9]+ __map[0-9]+ \}$",
    );
    check_suggestion("vmap @__map7", "^vmap @__map[0-9]+$");
    check_suggestion(
        r#"x__set3 "__set3" __set3x __set é__set3 -__set3"#,
        r#"^x__set3 "__set3" __set3x __set é__set3 -__set3$"#,
    );
    check_suggestion(r#""\"__set3" __set3"#, r#"^"\\"__set3" __set[0-9]+$"#);
}

#[test]
fn suggestions_allow_other_numbers_of_anonymous_names() {
    let allowlist = global(suggest(b"jump __chain85").unwrap());
    assert!(allowlist.allows(None, b"jump __chain7") && !allowlist.allows(None, b"jump __chain"));
}

#[test]
fn some_lines_have_no_suggestion() {
    for line in [&b"a\nb"[..], b"a\x7f", b"a\xff", "a\u{fffd}".as_bytes(), &[b'.'; 4096]] {
        assert_eq!(suggest(line), None, "{line:?}");
    }
}

// === laws ===

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(cases(300))]

    /// A list allows what one of its patterns alone allows, and names the first that does.
    #[test]
    fn a_list_is_its_patterns(
        patterns in proptest::collection::vec(r"\^?(a|b|é|k|\.|\\S|\[\^a\]|\.\*|b\+|\\B|\(\?i\)|\\bk|a\{2\}|\|){1,5}\$?", 1..8),
        lines in proptest::collection::vec("[abkKé\u{212a} ]{0,5}", 1..8),
    ) {
        let all = global(patterns.join("\n"));
        prop_assume!(all.broken().is_empty());
        for line in lines {
            let alone = patterns.iter().position(|pattern| global(pattern).allows(None, line.as_bytes()));
            prop_assert_eq!(all.allows(None, line.as_bytes()), alone.is_some(), "{:?}", line);
            let first = all.matching(None, line.as_bytes()).map(|pattern| pattern.line - 1);
            prop_assert_eq!(first, alone, "{:?}", line);
        }
    }

    /// A suggestion allows its line and no line that differs in one byte.
    #[test]
    fn a_suggestion_is_exact(line in "(-[A-Za-z]{1,2} |[0-9./]{1,5}|[ -~]{1,4}|[é中\u{212a}ſ]|k|S){1,8}", by in 1..=255_u8) {
        prop_assume!(!line.contains("__"));
        let allowlist = global(suggest(line.as_bytes()).unwrap());
        prop_assert!(allowlist.broken().is_empty(), "{:?}", allowlist.broken());
        prop_assert!(allowlist.allows(Some("nat"), line.as_bytes()));
        for at in 0..line.len() {
            let mut other = line.clone().into_bytes();
            other[at] ^= by;
            prop_assert!(!allowlist.allows(Some("nat"), &other), "{:?}", other);
        }
    }

    /// Only the digits of an anonymous name may differ.
    #[test]
    fn a_general_suggestion_is_nearly_exact(before in "[a-z .]{0,6} ", number in 0..1000_u32, by in 1..=255_u8) {
        let line = format!("{before}__chain{number}");
        let allowlist = global(suggest(line.as_bytes()).unwrap());
        prop_assert!(allowlist.allows(None, line.as_bytes()));
        for at in 0..line.len() {
            let mut other = line.clone().into_bytes();
            other[at] ^= by;
            let is_digit = at >= before.len() + 7 && other[at].is_ascii_digit();
            prop_assert_eq!(allowlist.allows(None, &other), is_digit, "{:?}", other);
        }
    }

    /// No bytes make the reader panic, and every line is a pattern, a broken one, or empty.
    #[test]
    fn any_file_is_read(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let allowlist = global(&text);
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !matches!(line, [] | [b'\r'])).count();
        prop_assert_eq!(allowlist.len() + allowlist.broken().len(), lines);
    }
}
