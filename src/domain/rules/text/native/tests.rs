//! Rules that a real kernel held: their lines, and that no changed rule has the line of another.
//! Real versions of nft are in `tests/it/native/kernel.rs`.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // a helper that fails fails its test

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::domain::rules::kernel::expressions::{Dynset, Quota};
use crate::domain::rules::kernel::sets::{Element, Set, Value};
use crate::domain::rules::samples::{attribute, bytes, element};
use dataflow::Known;

/// A rule of `tests/data/kernel/native.txt`.
struct Rule {
    group: usize,
    userdata: Option<Vec<u8>>,
    expressions: Vec<u8>,
    line: &'static str,
}

#[derive(Default)]
struct Group {
    family: Option<Family>,
    sets: Sets,
    devices: BTreeMap<u32, Vec<u8>>,
}

fn optional(digits: &str) -> Option<Vec<u8>> {
    (digits != "-").then(|| bytes(digits))
}

fn value(text: &str) -> Option<Value> {
    match text.split_at(1) {
        ("v", digits) => Some(Value::Bytes(bytes(digits))),
        ("j", verdict) => {
            let (code, chain) = verdict.split_once('.').unwrap();
            Some(Value::Verdict { code: code.parse().unwrap(), chain: optional(chain) })
        }
        _ => None,
    }
}

fn captured() -> (Vec<Group>, Vec<Rule>) {
    let (mut groups, mut rules) = (Vec::<Group>::new(), Vec::new());
    let text = include_str!("../../../../../tests/data/kernel/native.txt");
    for row in text.lines().filter(|row| !row.starts_with('#')) {
        let (row, line) = row.split_once(" | ").unwrap_or((row, ""));
        let words: Vec<_> = row.split(' ').collect();
        let number = |at: usize| words[at].parse::<u32>().ok();
        if words[0] == "group" {
            groups.push(Group { family: Family::from_name(words[1]), ..Group::default() });
            continue;
        }
        let at = groups.len() - 1;
        let group = groups.last_mut().unwrap();
        match words[0] {
            "dev" => {
                group.devices.insert(number(1).unwrap(), bytes(words[2]));
            }
            "set" => {
                let set = Set {
                    name: bytes(words[1]),
                    flags: number(2).unwrap_or(0),
                    key_type: number(3).unwrap_or(0),
                    key_length: number(4).unwrap_or(0),
                    data_type: number(5),
                    data_length: number(6),
                    object_type: number(7),
                    size: number(8),
                    ..Set::default()
                };
                group.sets.insert(bytes(words[1]), Known { set, elements: Vec::new() });
            }
            "elem" => {
                let element = Element {
                    key: optional(words[2]),
                    key_end: optional(words[3]),
                    flags: number(4).unwrap(),
                    value: value(words[5]),
                    object: optional(words[6]),
                    timeout: words[7].parse().ok(),
                    userdata: optional(words[8]),
                    expressions: optional(words[9]).unwrap_or_default(),
                    ..Element::default()
                };
                group.sets.get_mut(&bytes(words[1])).unwrap().elements.push(element);
            }
            "rule" => rules.push(Rule {
                group: at,
                userdata: optional(words[1]),
                expressions: bytes(words[2]),
                line,
            }),
            other => panic!("{other}"),
        }
    }
    (groups, rules)
}

/// The line of a rule in the table `t`, without its place.
fn written(group: &Group, expressions: &[u8], userdata: Option<&[u8]>) -> String {
    let (cgroups, ipsets, bound) = (BTreeMap::new(), Ipsets::new(), Bound::new());
    let names = Names { devices: &group.devices, cgroups: &cgroups };
    let around = Around { ipsets: &ipsets, sets: &group.sets, bound: &bound, names };
    let place = Place { family: group.family.unwrap(), table: b"t", chain: b"c" };
    texts(place, expressions, userdata, around).join(" ")
}

#[test]
fn rules_of_a_real_kernel_have_their_line() {
    let (groups, rules) = captured();
    assert!(rules.len() > 400, "only {} rules", rules.len());
    for rule in &rules {
        let line = written(&groups[rule.group], &rule.expressions, rule.userdata.as_deref());
        let expected = rule.line.splitn(4, ' ').nth(3).unwrap();
        assert_eq!(line, expected);
    }
}

/// A rule without what decides nothing about packets: state, the numbers of the rule's own sets, padding.
fn without_state(sets: &Sets, expressions: &[u8]) -> Option<String> {
    let mut out = String::new();
    for expression in decode(expressions).ok()? {
        let inner = match &expression {
            Expression::Dynset(Dynset { expression: Some(one), .. }) => Some(attribute(1, one)),
            Expression::Dynset(Dynset { expressions: Some(list), .. }) => Some(list.to_vec()),
            _ => None,
        };
        let kept = match expression {
            Expression::Quota(quota) => Expression::Quota(Quota { flags: quota.flags & !2, ..quota }),
            Expression::Dynset(dynset) => {
                Expression::Dynset(Dynset { expression: None, expressions: None, ..dynset })
            }
            other => other,
        };
        let place = Place { family: Family::Ip, table: b"", chain: b"" };
        let (ipsets, bound, devices, cgroups) =
            (Ipsets::new(), Bound::new(), BTreeMap::new(), BTreeMap::new());
        let names = Names { devices: &devices, cgroups: &cgroups };
        let around = Around { ipsets: &ipsets, sets, bound: &bound, names };
        out.push_str(&raw::expression(&kept, place, around));
        if let Some(inner) = inner {
            out.push_str(&without_state(sets, &inner).unwrap_or_else(|| format!("{inner:?}")));
        }
    }
    Some(out)
}

/// Every byte of every rule changed: another rule has another line.
#[test]
fn no_changed_rule_has_the_line_of_another() {
    let (groups, rules) = captured();
    let (mut changed, mut wrong) = (0, Vec::new());
    for rule in &rules {
        let group = &groups[rule.group];
        let mut lines: HashMap<String, String> = HashMap::new();
        let state = without_state(&group.sets, &rule.expressions).unwrap();
        lines.insert(written(group, &rule.expressions, None), state);
        for at in 0..rule.expressions.len() {
            for flip in [1 << (at % 8), 0x80 >> (at % 5)] {
                let mut other = rule.expressions.clone();
                other[at] ^= flip;
                let Some(state) = without_state(&group.sets, &other) else { continue };
                let line = written(group, &other, None);
                assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line}");
                changed += 1;
                let known = lines.entry(line).or_insert_with(|| state.clone());
                // `NFT_REG_4` and `NFT_REG32_12` are one register
                let is_alias = [rule.expressions[at], other[at]] == [4, 20];
                if *known != state && !is_alias {
                    wrong.push(format!("byte {at} of {}: {}", rule.line, written(group, &other, None)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} are the line of two rules:\n{}", wrong.len(), wrong.join("\n"));
    assert!(changed > 30_000, "only {changed} changed rules");
}

#[test]
fn what_has_no_words_is_written_by_its_bytes() {
    let group = Group { family: Some(Family::Bridge), ..Group::default() };
    let number = |number: u32| number.to_be_bytes().to_vec();
    let expression = |name: &str, attributes: &[Vec<u8>]| element(name.as_bytes(), &attributes.concat());
    let odd = expression("gadget", &[attribute(1, &[7; 4])]);
    let counter = expression("counter", &[attribute(1, &[0; 8]), attribute(2, &[9; 8])]);
    assert_eq!(written(&group, &[odd, counter].concat(), None), "[gadget 1=0x07070707] [counter]");
    let mark = expression(
        "match",
        &[
            attribute(1, b"mark\0"),
            attribute(2, &number(1)),
            attribute(3, &[1, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]),
        ],
    );
    assert_eq!(written(&group, &mark, None), "-m mark --raw 1:01000000ffffffff0000000000000000");
    assert_eq!(written(&group, b"\x03\0", None), "[expressions 0x0300]");
    assert_eq!(written(&group, b"", Some(b"\x00\x02a\0")), "comment \"a\"");
    assert_eq!(written(&group, b"", Some(b"\x01\x02a\0")), "");
    assert_eq!(written(&group, b"", Some(b"\x00\x09a\0")), "[userdata 0x00096100]");
}

#[test]
fn a_jump_to_a_chain_of_the_rules_own_shows_its_rules() {
    let verdict = |code: i32, chain: &[u8]| {
        let mut verdict = attribute(1, &code.to_be_bytes());
        if !chain.is_empty() {
            verdict.extend(attribute(2, chain));
        }
        let data = attribute(2, &attribute(2, &verdict));
        element(b"immediate", &[attribute(1, &[0; 4]), data].concat())
    };
    let bound = Bound::from([(b"__chain7".to_vec(), vec![(verdict(1, b""), None), (verdict(0, b""), None)])]);
    let (devices, cgroups) = (BTreeMap::new(), BTreeMap::new());
    let names = Names { devices: &devices, cgroups: &cgroups };
    let around = Around { ipsets: &Ipsets::new(), sets: &Sets::new(), bound: &bound, names };
    let place = Place { family: Family::Inet, table: b"t", chain: b"c" };
    let jump = verdict(-3, b"__chain7\0");
    let line = texts(place, &jump, None, around).join(" ");
    assert_eq!(line, "jump { accept; drop }");
    // a load that nobody reads makes the statement one of bytes
    let unread = expressions(&[("meta", &[(2, be(3)), (1, be(1))])]);
    let line = texts(place, &[unread, jump].concat(), None, around).join(" ");
    assert!(line.ends_with(" { accept; drop }]"), "{line}");
}

/// An expression's name and its attributes by type.
type Named<'a> = (&'a str, &'a [(u16, Vec<u8>)]);

fn expressions(list: &[Named<'_>]) -> Vec<u8> {
    let one = |(name, attributes): &Named<'_>| {
        let attributes = attributes.iter().map(|(kind, value)| attribute(*kind, value));
        element(name.as_bytes(), &attributes.collect::<Vec<_>>().concat())
    };
    list.iter().map(one).collect::<Vec<_>>().concat()
}

fn be(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn data(value: &[u8]) -> Vec<u8> {
    attribute(1, value)
}

#[test]
fn an_operation_that_changes_nothing_is_written_and_is_no_test() {
    let group = Group { family: Some(Family::Inet), ..Group::default() };
    let mask = [(1, be(1)), (2, be(1)), (3, be(1)), (6, be(0)), (4, data(&[0xff])), (5, data(&[0]))];
    let port = [(1, be(1)), (2, be(2)), (3, be(2)), (4, be(2))];
    let rule = expressions(&[
        ("meta", &[(2, be(16)), (1, be(1))]),
        ("bitwise", &mask),
        ("cmp", &[(1, be(1)), (2, be(0)), (3, data(&[6]))]),
        ("payload", &port),
        ("cmp", &[(1, be(1)), (2, be(0)), (3, data(&[0, 22]))]),
    ]);
    assert_eq!(written(&group, &rule, None), "meta l4proto & 255 == tcp th dport 22");
    let ip = Group { family: Some(Family::Ip), ..Group::default() };
    let rule = expressions(&[
        ("payload", &[(1, be(1)), (2, be(1)), (3, be(9)), (4, be(1))]),
        ("bitwise", &mask),
        ("cmp", &[(1, be(1)), (2, be(0)), (3, data(&[6]))]),
    ]);
    assert_eq!(written(&ip, &rule, None), "ip protocol & 255 == tcp");
}

/// nft itself would put another test there, so that this one is written.
#[test]
fn a_test_of_another_kind_than_nft_would_put_is_written() {
    let cmp = |value: &[u8]| [(1, be(1)), (2, be(0)), (3, data(value))];
    let load =
        |base: u32, offset: u32, length: u32| [(1, be(1)), (2, be(base)), (3, be(offset)), (4, be(length))];
    let (ether, ip, arp, address) = (cmp(&[0, 1]), cmp(&[8, 0]), cmp(&[8, 6]), cmp(&[1, 1, 1, 1]));
    let ether = [ether[0].clone(), ether[1].clone(), (3, data(&1u16.to_ne_bytes()))];
    let (kind, protocol) = ([(2, be(8)), (1, be(1))], [(2, be(1)), (1, be(1))]);
    let (ether_type, source, operation) = (load(0, 12, 2), load(1, 12, 4), load(1, 6, 2));
    let request = cmp(&[0, 1]);
    let field = [("payload", &source[..]), ("cmp", &address[..])];
    let by_ether = [
        &[("meta", &kind[..]), ("cmp", &ether[..]), ("payload", &ether_type[..]), ("cmp", &ip[..])][..],
        &field[..],
    ]
    .concat();
    let by_protocol = [&[("meta", &protocol[..]), ("cmp", &ip[..])][..], &field[..]].concat();
    let arp_by_protocol =
        [("meta", &protocol[..]), ("cmp", &arp[..]), ("payload", &operation[..]), ("cmp", &request[..])];
    for (family, rule, expected) in [
        (Family::Inet, &by_ether[..], "ether type ip ip saddr 1.1.1.1"),
        (Family::Netdev, &by_ether[..], "ether type ip ip saddr 1.1.1.1"),
        (Family::Inet, &by_protocol[..], "meta protocol ip @nh,96,32 16843009"),
        (Family::Netdev, &by_protocol[..], "ip saddr 1.1.1.1"),
        (Family::Bridge, &by_protocol[..], "ip saddr 1.1.1.1"),
        (Family::Bridge, &arp_by_protocol[..], "meta protocol arp arp operation request"),
        (Family::Netdev, &arp_by_protocol[..], "arp operation request"),
    ] {
        let group = Group { family: Some(family), ..Group::default() };
        assert_eq!(written(&group, &expressions(rule), None), expected, "{family}");
    }
}

#[test]
fn a_value_that_is_partly_overwritten_has_no_words() {
    let group = Group { family: Some(Family::Ip6), ..Group::default() };
    let rule = |second: u32| {
        expressions(&[
            ("immediate", &[(1, be(1)), (2, data(&[0; 16]))]),
            ("immediate", &[(1, be(second)), (2, data(&[0, 80]))]),
            ("nat", &[(1, be(0)), (2, be(10)), (3, be(1)), (5, be(second)), (7, be(3))]),
        ])
    };
    assert_eq!(written(&group, &rule(2), None), "snat to [::]:80");
    let overwritten = written(&group, &rule(9), None);
    assert!(overwritten.starts_with("[immediate "), "{overwritten}");
}

#[test]
fn what_an_earlier_statement_left_in_a_register_makes_the_rule_bytes() {
    let group = Group { family: Some(Family::Ip), ..Group::default() };
    let cmp = |port: u8| [(1, be(1)), (2, be(1)), (3, data(&[0, port]))];
    let (first, second) = (cmp(1), cmp(2));
    let rule = expressions(&[
        ("payload", &[(1, be(1)), (2, be(2)), (3, be(2)), (4, be(2))]),
        ("cmp", &first),
        ("cmp", &second),
    ]);
    assert!(written(&group, &rule, None).starts_with("[payload "));
}

#[test]
fn bytes_that_were_swapped_are_no_address() {
    let group = Group { family: Some(Family::Ip), ..Group::default() };
    let load = [(1, be(1)), (2, be(1)), (3, be(12)), (4, be(4))];
    let swap = [(1, be(1)), (2, be(1)), (3, be(0)), (4, be(4)), (5, be(4))];
    let zero = data(&[0; 4]);
    let mask = [(1, be(1)), (2, be(1)), (3, be(4)), (6, be(0)), (4, data(&[255, 0, 0, 0])), (5, zero)];
    let equal = [(1, be(1)), (2, be(0)), (3, data(&[10, 0, 0, 0]))];
    let plain = [("payload", &load[..]), ("bitwise", &mask[..]), ("cmp", &equal[..])];
    assert_eq!(written(&group, &expressions(&plain), None), "ip saddr 10.0.0.0/8");
    let swapped = [plain[0], ("byteorder", &swap[..]), plain[1], plain[2]];
    assert!(written(&group, &expressions(&swapped), None).starts_with("[payload "));
}

#[test]
fn what_an_earlier_statement_left_behind_a_value_makes_the_rule_bytes() {
    let group = Group { family: Some(Family::Ip), ..Group::default() };
    let (wide, narrow) = (load_of(16), load_of(4));
    let differs = [(1, be(1)), (2, be(1)), (3, data(&[0; 16]))];
    let rule =
        [("payload", &wide[..]), ("cmp", &differs[..]), ("payload", &narrow[..]), ("cmp", &differs[..])];
    assert!(written(&group, &expressions(&rule), None).starts_with("[payload "));
}

fn load_of(bytes: u32) -> [(u16, Vec<u8>); 4] {
    [(1, be(1)), (2, be(1)), (3, be(0)), (4, be(bytes))]
}

/// A set of the rule's own for intervals of two parts, of which the kernel compares so many bytes.
#[test]
fn a_set_that_compares_less_than_the_rule_loads_has_no_words() {
    let lookup = |fields: Vec<u32>| {
        let set = Set { name: b"__set0".to_vec(), flags: 0x87, key_length: 8, fields, ..Set::default() };
        let key = Some(vec![10, 0, 0, 1, 10, 0, 0, 2]);
        let elements = vec![Element { key: key.clone(), key_end: key, ..Element::default() }];
        let sets = Sets::from([(b"__set0".to_vec(), Known { set, elements })]);
        let group = Group { family: Some(Family::Ip), sets, ..Group::default() };
        let source = [(1, be(1)), (2, be(1)), (3, be(12)), (4, be(4))];
        let target = [(1, be(9)), (2, be(1)), (3, be(16)), (4, be(4))];
        let lookup = [(1, b"__set0\0".to_vec()), (2, be(1))];
        let rule = [("payload", &source[..]), ("payload", &target[..]), ("lookup", &lookup[..])];
        written(&group, &expressions(&rule), None)
    };
    assert_eq!(lookup(vec![4, 4]), "ip saddr . ip daddr { 10.0.0.1 . 10.0.0.2 }");
    let less = lookup(vec![1, 1]);
    assert!(less.starts_with("[payload ") && less.contains("{0x87 8 [1, 1] "), "{less}");
}
