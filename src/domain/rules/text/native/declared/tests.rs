use proptest::prelude::*;

use super::*;
use crate::domain::rules::kernel::objects::{Flowtable, Object};
use crate::domain::rules::samples::{attribute, element};

fn number(kind: u16, number: u32) -> Vec<u8> {
    attribute(kind, &number.to_be_bytes())
}

fn wide(kind: u16, number: u64) -> Vec<u8> {
    attribute(kind, &number.to_be_bytes())
}

fn text(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

fn set_line(attributes: &[Vec<u8>]) -> String {
    let all = [text(1, "t"), text(2, "s"), wide(16, 4), number(20, 7), attribute(14, &[])];
    set(Family::Inet, b"t", &Set::decode(&[all.concat(), attributes.concat()].concat()).unwrap())
}

#[test]
fn sets_are_said_whole() {
    let fields = |lengths: &[u32]| {
        let fields = lengths.iter().flat_map(|length| attribute(1, &number(1, *length)));
        attribute(9, &attribute(2, &fields.collect::<Vec<_>>()))
    };
    let typed = |key_type, length| [number(4, key_type), number(5, length)].concat();
    let note = |kind: u8, value: u32| [&[kind, 4][..], &value.to_ne_bytes()].concat();
    let counter = element(b"counter", &[wide(1, 5), wide(2, 6)].concat());
    let (_, one) = counter.split_at(4);
    let concatenated = 7 << 6 | 13;
    for (attributes, expected) in [
        (vec![typed(7, 4)], "set inet t s type ipv4_addr"),
        (
            vec![typed(concatenated, 8), fields(&[4, 2]), number(3, 0x80)],
            "set inet t s type ipv4_addr . inet_service",
        ),
        (vec![typed(concatenated, 8)], "set inet t s type ipv4_addr . inet_service"),
        (vec![typed(concatenated, 8), fields(&[4, 4])], "set inet t s type 461 8 bytes fields 4,4"),
        (vec![typed(99 << 6, 8)], "set inet t s type 6336 8 bytes"),
        (
            vec![typed(99 << 6, 8), number(3, 4)],
            "set inet t s type 6336 8 bytes flags interval [3=0x00000004]",
        ),
        (
            vec![
                typed(7, 4),
                number(3, 0x36),
                wide(11, 90_000),
                number(12, 1500),
                attribute(9, &number(1, 5)),
                number(8, 1),
                attribute(17, one),
                attribute(13, &[note(2, 1), vec![7, 3, b'a', b'"', 0]].concat()),
            ],
            "set inet t s type ipv4_addr flags constant,interval,timeout,dynamic timeout 90s gc-interval 1500ms size 5 \
             policy memory auto-merge counter comment \"a\\\"\"",
        ),
        (vec![typed(7, 5)], "set inet t s type 7 5 bytes"),
        (vec![typed(4, 4)], "set inet t s type integer 32 bits"),
        (vec![typed(4, 4), attribute(13, &note(0, 1))], "set inet t s type integer 32 bits host"),
        (
            vec![typed(4, 4), attribute(13, &note(0, 1)), number(3, 4)],
            "set inet t s type integer 32 bits flags interval",
        ),
        (vec![typed(18, 8)], "set inet t s type 18"),
        (vec![typed(43, 8)], "set inet t s type time"),
        (
            vec![typed(7, 4), number(3, 8), number(6, DATA_VERDICT), number(7, 16)],
            "map inet t s type ipv4_addr : verdict",
        ),
        (
            vec![typed(7, 4), number(3, 8), number(6, concatenated), number(7, 8)],
            "map inet t s type ipv4_addr : ipv4_addr . inet_service",
        ),
        (
            vec![typed(7, 4), number(3, 8), number(6, concatenated), number(7, 16)],
            "map inet t s type ipv4_addr : interval ipv4_addr . inet_service",
        ),
        (
            vec![typed(7, 4), number(3, 8), number(6, 7), number(7, 5)],
            "map inet t s type ipv4_addr : 7 5 bytes",
        ),
        (vec![typed(7, 4), number(3, 0x40), number(15, 7)], "map inet t s type ipv4_addr : ct timeout"),
        (vec![typed(7, 4), number(3, 0x40), number(15, 77)], "map inet t s type ipv4_addr : object 77"),
        // a map without values, a flag that is not known, an attribute that is not known, one of another size
        (vec![typed(7, 4), number(3, 8)], "set inet t s type ipv4_addr [3=0x00000008]"),
        (vec![typed(7, 4), number(3, 0x1000)], "set inet t s type ipv4_addr [3=0x00001000]"),
        (vec![typed(7, 4), attribute(30, &[1, 2])], "set inet t s type ipv4_addr [30=0x0102]"),
        (vec![typed(7, 4), attribute(11, &[1])], "set inet t s type ipv4_addr [11=0x01]"),
        (
            vec![typed(7, 4), attribute(9, &number(7, 1))],
            "set inet t s type ipv4_addr [9=0x0800070000000001]",
        ),
        (
            vec![typed(7, 4), attribute(18, &element(b"log", &number(2, 1)))],
            "set inet t s type ipv4_addr [log 2=0x00000001]",
        ),
    ] {
        assert_eq!(set_line(&attributes), expected, "{attributes:02x?}");
    }
    assert_eq!(
        set(Family::Ip, b"a b", &Set { name: b"\xff".to_vec(), ..Set::default() }),
        "set ip \"a b\" \"\\xff\" type 0 0 bytes"
    );
}

#[test]
fn who_owns_a_table_is_state() {
    let line = |flags: u32, more: Vec<u8>| {
        let attributes =
            [text(1, "a b"), number(2, flags), number(3, 1), wide(4, 1), attribute(6, b"x"), more];
        table(&Table::decode(Family::Ip, &attributes.concat()).unwrap())
    };
    assert_eq!(line(0, Vec::new()), None);
    assert_eq!(line(2, number(7, 4711)), None);
    assert_eq!(line(7, number(7, 4711)).as_deref(), Some("table ip \"a b\" flags dormant,persist"));
    assert_eq!(line(10, Vec::new()).as_deref(), Some("table ip \"a b\" [2=0x00000008]"));
    assert_eq!(line(0, attribute(8, &[5])).as_deref(), Some("table ip \"a b\" [8=0x05]"));
}

fn devices_of(devices: &[(u16, &[u8])]) -> Vec<u8> {
    devices.iter().flat_map(|(kind, name)| attribute(*kind, name)).collect()
}

#[test]
fn chains_say_where_they_are() {
    let line = |family, flags: u32, hook: Option<Vec<u8>>, more: Vec<u8>| {
        let base = hook.map(|hook| [attribute(4, &hook), number(5, 1), text(7, "filter")].concat());
        let attributes = [
            text(1, "t"),
            wide(2, 1),
            text(3, "c"),
            base.unwrap_or_default(),
            number(6, 3),
            number(10, flags),
            more,
        ];
        chain(&Chain::decode(family, &attributes.concat()).unwrap())
    };
    let at =
        |number_of: u32, priority: i32| [number(1, number_of), number(2, priority.cast_unsigned())].concat();
    assert_eq!(line(Family::Inet, 0, None, Vec::new()), None);
    assert_eq!(line(Family::Inet, 4, None, Vec::new()), None);
    assert_eq!(
        line(Family::Inet, 1, Some(at(1, -5)), attribute(8, &[1])).as_deref(),
        Some("chain inet t c type filter hook input priority -5 policy accept")
    );
    let twice = [at(0, 0), text(3, "lo"), attribute(4, &devices_of(&[(1, b"lo\0")]))].concat();
    assert_eq!(
        line(Family::Netdev, 3, Some(twice), Vec::new()).as_deref(),
        Some(
            "chain netdev t c type filter hook ingress devices { \"lo\" } priority 0 policy accept flags offload"
        )
    );
    let several = devices_of(&[(1, b"lo\0"), (2, b"eth\0"), (1, b"en"), (1, b"eth*\0")]);
    assert_eq!(
        line(Family::Netdev, 1, Some([at(1, 0), attribute(4, &several)].concat()), Vec::new()).as_deref(),
        Some(
            "chain netdev t c type filter hook egress devices { \"en*\", \"eth*\", \"eth\\\\*\", \"lo\" } \
             priority 0 policy accept"
        )
    );
    for (flags, hook, more, expected) in [
        (1, Some(at(9, 0)), Vec::new(), "chain inet t c [flags=0x1 policy=1 type=filter hook=9 priority=0]"),
        (0, Some(at(1, 0)), Vec::new(), "chain inet t c [flags=0x0 policy=1 type=filter hook=1 priority=0]"),
        (8, None, Vec::new(), "chain inet t c [flags=0x8]"),
        (0, None, attribute(13, &[1]), "chain inet t c [flags=0x0] [13=0x01]"),
        (
            1,
            Some([at(1, 0), attribute(5, &[7])].concat()),
            Vec::new(),
            "chain inet t c [flags=0x1 policy=1 type=filter] [4=0x080001000000000108000200000000000500050007000000]",
        ),
    ] {
        let found = line(Family::Inet, flags, hook, more).unwrap();
        assert_eq!(found, expected, "{flags}");
    }
}

#[test]
fn flowtables_and_objects_are_said_whole() {
    let flow = |more: Vec<u8>| {
        let devices = attribute(3, &devices_of(&[(1, b"b\0"), (1, b"a\0")]));
        let hook = [number(1, 0), number(2, 7), devices].concat();
        let attributes = [text(1, "t"), text(2, "f"), attribute(3, &hook), number(4, 9), wide(5, 1), more];
        flowtable(Family::Ip, b"t", &Flowtable::decode(&attributes.concat()).unwrap())
    };
    let head = "flowtable ip t f hook ingress priority 7 devices { \"a\", \"b\" }";
    assert_eq!(flow(number(7, 0)), head);
    assert_eq!(flow(number(7, 3)), format!("{head} flags offload,counter"));
    assert_eq!(flow(number(7, 6)), format!("{head} flags counter [7=0x00000006]"));
    assert_eq!(flow(attribute(8, &[1])), format!("{head} [8=0x01]"));

    let line = |kind: u32, data: &[Vec<u8>]| {
        let attributes = [
            text(1, "t"),
            text(2, "o"),
            number(3, kind),
            attribute(4, &data.concat()),
            number(5, 2),
            wide(6, 3),
        ];
        object(Family::Ip, b"t", &Object::decode(&attributes.concat()).unwrap())
    };
    let narrow = |kind: u16, number: u16| attribute(kind, &number.to_be_bytes());
    let times = |times: &[u32]| {
        let times = times.iter().zip(1..).flat_map(|(seconds, kind)| number(kind, *seconds));
        attribute(3, &times.collect::<Vec<_>>())
    };
    let usual = [120, 60, 432_000, 120, 60, 30, 120, 10, 120, 300, 300];
    let mut unusual = usual;
    unusual[2] = 100;
    unusual[7] = 4;
    let ct = |l4proto: u8| [attribute(2, &[l4proto]), narrow(1, 2)].concat();
    for (kind, data, expected) in [
        (1, vec![wide(1, 5), wide(2, 6)], "counter ip t o"),
        (1, vec![wide(1, 5), wide(2, 6), number(9, 1)], "counter ip t o [4=0x0800090000000001]"),
        (2, vec![wide(1, 1025), wide(4, 7), number(2, 3)], "quota ip t o over 1025 bytes"),
        (2, vec![wide(1, 1025), wide(4, 7)], "quota ip t o [4=0x0c0001000000000000000401]"),
        (
            3,
            vec![text(1, "ftp"), attribute(3, &[6]), narrow(2, 1)],
            "ct helper ip t o type \"ftp\" protocol tcp l3proto inet",
        ),
        (
            4,
            vec![wide(1, 10), wide(2, 1), number(3, 7), number(4, 0), number(5, 1)],
            "limit ip t o rate over 10/second burst 7 packets",
        ),
        (5, vec![number(1, 9), number(2, 1)], "ct count ip t o over 9"),
        (6, vec![number(1, 9)], "tunnel ip t o [4=0x0800010000000009]"),
        (7, vec![ct(6), times(&usual)], "ct timeout ip t o protocol tcp l3proto ip"),
        (
            7,
            vec![ct(6), times(&unusual)],
            "ct timeout ip t o protocol tcp l3proto ip policy { close : 4s, established : 100s }",
        ),
        (
            7,
            vec![ct(17), times(&[30, 180])],
            "ct timeout ip t o protocol udp l3proto ip policy { replied : 180s }",
        ),
        (
            7,
            vec![ct(17), times(&[30])],
            "ct timeout ip t o [4=0x05000200110000000600010000020000 0c0003000800010000 00001e]",
        ),
        (8, vec![text(1, "a:b")], "secmark ip t o \"a:b\""),
        (
            9,
            vec![
                narrow(1, 2),
                attribute(2, &[17]),
                narrow(3, 5),
                attribute(4, &120_000u32.to_ne_bytes()),
                attribute(5, &[12]),
            ],
            "ct expectation ip t o protocol udp l3proto ip dport 5 timeout 120000ms size 12",
        ),
        (
            10,
            vec![narrow(1, 1460), attribute(2, &[7]), number(3, 15)],
            "synproxy ip t o mss 1460 wscale 7 timestamp sack-perm",
        ),
        (
            10,
            vec![narrow(1, 1460), attribute(2, &[0]), number(3, 8)],
            "synproxy ip t o [4=0x0600010005b400000500020000000000080003000000 0008]",
        ),
        (77, vec![], "object 77 ip t o [4=0x]"),
    ] {
        let expected = match expected.split_once("[4=") {
            Some((head, hex)) => format!("{head}[4={}", hex.replace(' ', "")),
            None => expected.to_owned(),
        };
        assert_eq!(line(kind, &data), expected);
    }
    let comment = [text(2, "o"), number(3, 1), attribute(8, b"\0\x03cc\0")].concat();
    assert_eq!(
        object(Family::Ip, b"t", &Object::decode(&comment).unwrap()),
        "counter ip t o [4=0x] comment \"cc\""
    );
}

/// What of a set its line need not tell apart: see [`crate::domain::rules::kernel::same`].
fn without_what_may_be_alike(set: &Set) -> Set {
    let mut set = set.clone();
    if set.flags & SET_INTERVAL == 0 {
        set.flags &= !SET_CONCAT;
    }
    if key_parts(&set).is_some() {
        set.fields.clear();
    }
    if is_verdict(set.data_type) {
        set.data_length = None;
    }
    set
}

fn of(pool: &'static [u32]) -> impl Strategy<Value = u32> {
    prop_oneof![4 => prop::sample::select(pool), 1 => any::<u32>()]
}

const TYPES: &[u32] =
    &[0, 4, 5, 7, 13, 18, 43, 7 << 6 | 13, 4 << 6 | 7, 4 << 6 | 4, 63, 99 << 6, DATA_VERDICT];
const LENGTHS: &[u32] = &[0, 2, 4, 8, 12, 16, 32];

prop_compose! {
    fn any_set()(
        (flags, key_type, key_length) in (of(&[0, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x84, 0x100]), of(TYPES), of(LENGTHS)),
        data in prop::option::of((of(TYPES), prop::option::of(of(LENGTHS)))),
        object_type in prop::option::weighted(0.2, of(&[1, 2, 3, 11])),
        (policy, size) in (prop::option::weighted(0.2, 0..3u32), prop::option::weighted(0.2, 0..3u32)),
        fields in prop_oneof![Just(vec![]), Just(vec![4, 2]), Just(vec![4, 4]), Just(vec![2, 4]), Just(vec![4])],
        (timeout, gc_interval) in (prop::option::weighted(0.2, 998..1002u64), prop::option::weighted(0.2, 998..1002u32)),
        expressions in prop::sample::select(vec![
            Vec::new(),
            element(b"last", &[]),
            [element(b"last", &[]), element(b"last", &[])].concat(),
            element(b"log", &number(2, 1)),
            vec![1],
        ]),
        rest in prop::option::weighted(0.2, (20..22u16, prop::collection::vec(0..2u8, 0..2))),
    ) -> Set {
        Set {
            name: b"s".to_vec(),
            flags,
            key_type,
            key_length,
            data_type: data.map(|(of, _)| of),
            data_length: data.and_then(|(_, length)| length),
            object_type,
            policy,
            size,
            fields,
            timeout,
            gc_interval,
            userdata: Vec::new(),
            expressions,
            rest: rest.into_iter().map(|(kind, value)| Raw { kind, value }).collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn sets_that_differ_have_other_lines(one in any_set(), two in any_set(), field in 0..12) {
        // one field of another set, so that most of both is the same
        let mut other = one.clone();
        match field {
            0 => other.flags = two.flags,
            1 => other.key_type = two.key_type,
            2 => other.key_length = two.key_length,
            3 if one.data_type.is_some() && two.data_type.is_some() => other.data_type = two.data_type,
            4 if one.data_type.is_some() => other.data_length = two.data_length,
            5 => other.object_type = two.object_type,
            6 => other.policy = two.policy,
            7 => other.size = two.size,
            8 => other.fields = two.fields,
            9 => other.timeout = two.timeout,
            10 => other.expressions = two.expressions,
            _ => other.rest = two.rest,
        }
        let line = |of: &Set| set(Family::Ip, b"t", of);
        if line(&one) == line(&other) {
            prop_assert_eq!(
                without_what_may_be_alike(&one),
                without_what_may_be_alike(&other),
                "{}",
                line(&one)
            );
        }
    }
}
