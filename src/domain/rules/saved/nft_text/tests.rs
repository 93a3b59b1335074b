use proptest::prelude::*;

use super::*;

/// What is loaded, or the problem that forbids it, and the other problems.
fn scanned(text: &str) -> (Result<Listing, Problem>, Vec<Problem>) {
    let mut problems = Vec::new();
    let listing = scan(text.as_bytes(), &mut |problem| problems.push(problem));
    (listing, problems)
}

#[track_caller]
fn refused(text: &str) -> (Reason, String) {
    match scanned(text).0 {
        Err(Problem { reason, detail }) => (reason, detail),
        Ok(listing) => panic!("accepted: {listing:?}"),
    }
}

/// A listing of which nothing is left out.
#[track_caller]
fn whole(text: &str) -> Listing {
    let (listing, problems) = scanned(text);
    assert_eq!(problems, []);
    listing.unwrap()
}

/// The one problem of a table or rule that is left out, and what is left.
#[track_caller]
fn left_out(text: &str) -> (Listing, Reason, String) {
    let (listing, mut problems) = scanned(text);
    let Problem { reason, detail } = problems.pop().expect("a problem");
    assert_eq!(problems, []);
    (listing.unwrap(), reason, detail)
}

const LISTING: &str = "table ip t { # handle 1
\tcomment \"a } # { \\\"
\tflags owner

\tset s {
\t\ttype ipv4_addr
\t\tsize 4\t# count 2
\t\telements = { 1.1.1.1 timeout 5s expires 3s200ms,
\t\t\t     1.1.1.2 comment \"x, y\" }
\t}

\tmap m {
\t\ttype iface_index . inet_service : verdict
\t\telements = { \"eth7\" . 22 : jump u, \"lo\" . 23 : drop }
\t}

\tchain u { # handle 2
\t\tip saddr { 1.2.3.4,
\t\t\t   5.6.7.8 } counter packets 0 bytes 0 drop # handle 9
\t}

\tchain c {
\t\ttype filter hook ingress device \"eth1\" priority filter - 10; policy accept;
\t\tiif \"eth2\" oif { \"eth3\", \"eth4\" } jump {
\t\t\tlog prefix \"} { #\" accept
\t\t\tdrop
\t\t}
\t\tmeta skuid 0 meta skgid { 1000-2000, 5 } accept
\t}
}
table inet e {
\tchain c {
\t}
}
";

#[test]
fn a_listing_is_counted_and_its_devices_are_named() {
    let listing = whole(LISTING);
    let counts = |chains, rules, elements| Counts { chains, rules, elements };
    let tables: Vec<_> =
        listing.tables.iter().map(|table| (table.family, &*table.name, table.counts)).collect();
    assert_eq!(tables, [(Family::Ip, "t", counts(3, 5, 4)), (Family::Inet, "e", counts(1, 0, 0))]);
    let devices: Vec<_> = listing.devices.iter().map(String::as_str).collect();
    assert_eq!(devices, ["eth1", "eth2", "eth3", "eth4", "eth7"]);
}

#[test]
fn comments_owners_and_times_left_are_not_loaded() {
    let text = whole(LISTING).text;
    for gone in ["# handle", "owner", "flags", "expires", "# count"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    for kept in ["comment \"a } # { \\\"", "timeout 5s", "comment \"x, y\"", "log prefix \"} { #\" accept"] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    let dormant = whole("table ip t {\n\tflags dormant,owner,persist\n\n\tchain c {\n\t\tdrop\n\t}\n}\n");
    assert!(dormant.text.contains("flags dormant"), "{}", dormant.text);
    assert!(!dormant.text.contains("owner") && !dormant.text.contains("persist"), "{}", dormant.text);
    assert_eq!(whole(&LISTING.replace('\n', "\r\n")).text.matches('\r').count(), 0);
}

#[test]
fn priorities_are_loaded_as_numbers() {
    for (family, named, number) in [
        ("ip", "dstnat", "-100"),
        ("inet", "srcnat + 1", "101"),
        ("ip6", "filter - 5", "-5"),
        ("bridge", "dstnat - 10", "-310"),
        ("bridge", "out", "100"),
        ("ip", "out", "out"),
        ("ip", "-7", "-7"),
    ] {
        let chain = format!(
            "\tchain c {{\n\t\ttype nat hook output priority {named}; policy drop;\n\t\tdrop\n\t}}\n"
        );
        let text = whole(&format!("table {family} t {{\n{chain}}}\n")).text;
        let words: Vec<_> = text.split_whitespace().collect();
        assert!(words.contains(&&*format!("{number};")), "{text}");
    }
}

#[test]
fn only_tables_stand_at_the_top() {
    let table = "table ip t {\n\tchain c {\n\t\tdrop\n\t}\n}\n";
    for command in
        ["flush ruleset", "delete table ip t", "include \"/etc/x\"", "define x = 1", "add table ip x"]
    {
        for text in [
            format!("{command}\n{table}"),
            format!("{table}{command}\n"),
            format!("{};{command}\n", table.trim()),
        ] {
            let (reason, detail) = refused(&text);
            assert_eq!(reason, Reason::NotADump, "{text}: {detail}");
            let word = command.split(' ').next().unwrap();
            assert!(detail.contains(&format!("`{word}` is a command")), "{detail}");
        }
        let inside = table.replace("\tchain", &format!("\t{command}\n\tchain"));
        assert_eq!(refused(&inside).0, Reason::NotADump);
    }
    assert_eq!(refused("#!/usr/sbin/nft -f\ntable ip t {\n}\n").0, Reason::NotADump);
    for odd in [
        "table t {\n}\n",
        "table ip t {\n} table ip u {\n}\n",
        "table ip t {\n}\n}\n",
        "table ip t {\n\tchain c {\n\t\tip saddr $x drop\n\t}\n}\n",
        "table ip t {\n\tchain c {\n\t\tdrop \\\n\t}\n}\n",
        "table ip t {\n\tchain c {\n\t\tdrop\n\t} chain d {\n\t}\n}\n",
        "table ip t {\n\tchain c {\n\t\tip saddr { 1.1.1.1; flush ruleset } drop\n\t}\n}\n",
        "table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { { 1.1.1.1 } }\n\t}\n}\n",
        "table ip t {\n\tflags x\n}\n",
        "table ip t {\n\tchain c {\n\t\tlog prefix \"a\nb\"\n\t}\n}\n",
        "table ip t {\n\tchain c {\n\t\tlog prefix \"a\0b\"\n\t}\n}\n",
        "table ip t {\n\tchain c {\n\t\tdrop\0\n\t}\n}\n",
        "table ip t {\n\tchain c {\n\t\tcomment \"no end\n\t}\n}\n",
        "table ip t {\n\tchain \u{e9} {\n\t}\n}\n",
    ] {
        assert_eq!(refused(odd).0, Reason::MalformedLine, "{odd}");
    }
}

#[test]
fn a_text_that_stops_early_is_refused_wherever_it_stops() {
    let second = LISTING.find("table inet").unwrap();
    for end in (0..LISTING.len()).filter(|&end| end != second) {
        let (listing, problems) = scanned(&LISTING[..end]);
        let is_told = problems.iter().any(|problem| problem.reason == Reason::IncompleteDump);
        assert!(listing.is_err() || is_told, "{}", &LISTING[..end]);
    }
}

#[test]
fn listings_of_less_than_all_are_told() {
    let (reason, detail) = refused("table ip t\ntable ip6 u\n");
    assert!(reason == Reason::IncompleteDump && detail.contains("a list of tables"), "{detail}");
    let chains = "chain c {\n\t}\n\tchain d {\n\t\ttype filter hook input priority 0; policy drop;\n\t}";
    let counted = "set s {\n\t\ttype ipv4_addr\n\t\tsize 4\t# count 1\n\t}";
    let full = "set u {\n\t\ttype ipv4_addr\n\t\telements = { 1.1.1.1 }\n\t}";
    let fleeting = "type ipv4_addr : verdict\n\t\tflags timeout";
    for (inside, what) in [
        ("", "nothing in them"),
        (chains, "list chains"),
        (&format!("{counted}\n\t{full}"), "-t"),
        ("set s {\n\t\ttype ipv4_addr\n\t}", "terse"),
        (&format!("map m {{\n\t\t{fleeting}\n\t}}"), "terse"),
    ] {
        let (_, reason, detail) = left_out(&format!("table ip t {{\n\t{inside}\n}}\n"));
        assert!(reason == Reason::IncompleteDump && detail.contains(what), "{reason:?} {detail}: {inside}");
    }
    whole(&format!("table ip t {{\n\tset e {{\n\t\ttype ipv4_addr\n\t}}\n\t{full}\n}}\n"));
    whole("table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t}\n}\n");
}

#[test]
fn tables_of_iptables_and_remarks_are_left_out() {
    let other = "table inet other {\n\tchain INPUT {\n\t\tdrop\n\t}\n}\n";
    for table in [
        "table ip nat {\n\tchain POSTROUTING {\n\t\tmasquerade\n\t}\n}\n",
        "# Warning: table ip x is managed by iptables-nft, do not touch!\ntable ip x {\n\tchain c {\n\t\taccept\n\t}\n}\n",
        "table ip x {\n\tchain c {\n\t\t# match-set foo src counter packets 0 bytes 0 drop\n\t}\n}\n",
        "table ip x {\n\tchain c {\n\t\txt match \"set\" counter packets 0 bytes 0 drop\n\t}\n}\n",
        "table ip x {\n\tchain c {\n\t\tdrop # handle 5 and more\n\t}\n}\n",
        "table ip x {\n\tchain c {\n\t\taccept\n\t\t\n\t}\n}\n",
        "table ip x {\n\tchain c {\n\t\t # handle 5\n\t}\n}\n",
        "table bridge filter {\n\tchain FORWARD {\n\t\tdrop\n\t}\n}\n",
    ] {
        let (listing, reason, detail) = left_out(&format!("{table}{other}"));
        assert_eq!(reason, Reason::TableUnreadable, "{detail}");
        assert!(detail.contains("is left out"), "{detail}");
        assert_eq!(
            (listing.tables.len(), listing.text.contains("inet other")),
            (1, true),
            "{}",
            listing.text
        );
        assert!(!listing.text.contains("table ip ") && !listing.text.contains("bridge"), "{}", listing.text);
    }
    whole("table ip nat {\n\tchain postrouting {\n\t\tmasquerade\n\t}\n}\n");
}

#[test]
fn rules_with_names_of_another_machine_are_left_out() {
    for rule in [
        "meta skuid \"root\" accept",
        "meta skuid root accept",
        "meta skuid != root accept",
        "meta skgid { 0, \"adm\" } accept",
        "meta skuid . tcp dport { 0 . 22, \"root\" . 80 } accept",
        "meta skuid . meta skgid 0 . \"adm\" accept",
        "meta skuid vmap { 0 : drop, \"root\" : accept }",
        "meta rtclassid \"cosmos\" drop",
        "rt classid \"cosmos\" drop",
        "ct label \"important\" drop",
        "ct label set \"important\"",
        "socket cgroupv2 level 2 \"a/b\" accept",
        "meta iifgroup \"default\" accept",
        "meta hour \"10:00\"-\"11:00\" drop",
        "meta time >= \"2026-01-01 00:00:00\" drop",
        "ip version . ip saddr { 0 . 4.0.0.0 } drop",
        "ip version >> 4 . ip saddr { 0 . 4.0.0.0 } drop",
        "tcp dport . tcp doff { 22 . 5 } drop",
        "icmp id 5 drop",
        "icmpv6 sequence 5 drop",
        "iif 1592590336 drop",
        "jump {\n\t\t\tmeta skuid \"root\" drop\n\t\t}",
    ] {
        let text = format!("table ip t {{\n\tchain c {{\n\t\t{rule}\n\t\ttcp dport 22 drop\n\t}}\n}}\n");
        let (listing, reason, detail) = left_out(&text);
        assert_eq!(reason, Reason::UnrenderedRule, "{detail}");
        let inside = u64::from(rule.starts_with("jump"));
        let counts = Counts { chains: 1 + inside, rules: 1 + inside, elements: 0 };
        assert_eq!(listing.tables[0].counts, counts, "{rule}");
        assert!(
            listing.text.contains("tcp dport 22 drop") && !listing.text.contains("root"),
            "{}",
            listing.text
        );
    }
    for rule in [
        "meta skuid 0 accept",
        "meta skuid != { 0, 1000-2000 } accept",
        "meta skuid . tcp dport { 0 . 22, 33 . 80-90 } accept",
        "meta skuid . meta skgid 0 . 5 comment \"x\"",
        "meta skuid vmap { 0 : drop, 5 : jump foo }",
        "meta skuid @users drop comment \"root\"",
        "ct label set 0x5",
        "socket cgroupv2 level 2 5 accept",
        "jump label",
        "ip version 4 accept",
        "vlan id . ip saddr { 5 . 1.1.1.1 } accept",
        "icmp type echo-request icmp id 5 drop",
        "reject with icmp port-unreachable",
        "ip saddr . tcp dport { 1.1.1.1 . 22 } accept",
    ] {
        whole(&format!("table ip t {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n"));
    }
}

#[test]
fn sets_with_such_names_leave_their_table_out() {
    for set in [
        "type uid\n\t\telements = { 0, \"root\" }",
        "typeof meta skuid . tcp dport\n\t\telements = { \"root\" . 22 }",
        "type uid : verdict\n\t\telements = { root : accept }",
        "type cgroupsv2\n\t\telements = { \"a/b\" }",
        "typeof ip version . ip saddr\n\t\telements = { 4 . 1.1.1.1 }",
        "type iface_index\n\t\telements = { 1592590336 }",
    ] {
        let table = format!("table ip t {{\n\tset s {{\n\t\t{set}\n\t}}\n}}\n");
        let (listing, reason, detail) = left_out(&table);
        assert_eq!((reason, listing.tables.len()), (Reason::UnrenderedRule, 0), "{set}: {detail}");
    }
    for set in [
        "type uid : verdict\n\t\telements = { 0 counter packets 1 bytes 2 : accept }",
        "type uid\n\t\telements = { 0 timeout 5m expires 4m3s comment \"root\", 6 limit rate 5/second }",
    ] {
        whole(&format!("table ip t {{\n\tset s {{\n\t\t{set}\n\t}}\n}}\n"));
    }
}

#[test]
fn what_is_too_deep_or_too_long_is_refused() {
    let deep = format!("table ip t {{\n\tchain c {{\n{}", "jump {\n".repeat(100_000));
    assert_eq!(refused(&deep).0, Reason::MalformedLine);
    let braces = format!("table ip t {{\n\tchain c {{\nip saddr {}", "{ ".repeat(100_000));
    assert_eq!(refused(&braces).0, Reason::MalformedLine);
    let long = format!("table ip t {{\n\tchain c {{\nip saddr {{ {}", "1, ".repeat(300_000));
    assert_eq!(refused(&long).0, Reason::MalformedLine);
    let large = vec![b'a'; MAX_TEXT_BYTES + 1];
    assert_eq!(scan(&large, &mut drop).unwrap_err().reason, Reason::DumpTooLarge);
    let devices: String = (0..=MAX_DEVICES).map(|number| format!("\t\tiif \"d{number}\" drop\n")).collect();
    let many = format!("table ip t {{\n\tchain c {{\n{devices}\t}}\n}}\n");
    assert_eq!(refused(&many).0, Reason::DumpTooLarge);
    assert!(refused(&format!("table ip t {{\n{}\n", "x".repeat(100_000))).1.len() < 400);
}

proptest! {
    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = scan(&bytes, &mut drop);
    }

    /// Pieces of listings in any order: what is accepted has as many braces as it opens, and no comment.
    #[test]
    fn any_pieces_are_safe(pieces in proptest::collection::vec(proptest::sample::select(vec![
        "table ip t {", "\n", "}", "chain c {", "set s {", "type ipv4_addr", "elements = {", "1.1.1.1", ",", "jump {",
        "drop", ";", "\"", "\"a\"", "#", "# handle 1", "flags owner", " ", "map m {", "iif", "\\", "\r\n", "include",
    ]), 0..60)) {
        let text = pieces.join(" ");
        if let (Ok(listing), _) = scanned(&text) {
            let text: String = listing.text.split('"').step_by(2).collect();
            prop_assert_eq!(text.matches('{').count(), text.matches('}').count());
            prop_assert!(!text.contains('#') && !text.contains("include"), "{}", text);
        }
    }
}
