use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::rules::kernel::sets::SET_MAP;
use crate::domain::rules::samples::{attribute, element};
use crate::domain::rules::text::native::types::DATA_VERDICT;

const fn part(of: Type, bytes: u32) -> Part {
    Part { of, order: Order::Network, bytes }
}

fn written(set: &Set, elements: &[Element], key: &[Part], value: &[Part]) -> Option<Vec<String>> {
    let (devices, cgroups) = (BTreeMap::new(), BTreeMap::new());
    texts(set, elements, key, value, Names { devices: &devices, cgroups: &cgroups })
}

fn keyed(key: &[u8], flags: u32) -> Element {
    Element { key: Some(key.to_vec()), flags, ..Element::default() }
}

fn to(element: Element, value: &[u8]) -> Element {
    Element { value: Some(Value::Bytes(value.to_vec())), ..element }
}

const IPV4: Part = part(Type::Ipv4, 4);
const PORT: Part = part(Type::Service, 2);
const DEVICE: Part = part(Type::DeviceName, 16);

fn plain() -> Set {
    Set::default()
}

fn of_intervals() -> Set {
    Set { flags: SET_INTERVAL, ..Set::default() }
}

fn map(flags: u32, data_type: u32, length: u32) -> Set {
    Set { flags: flags | SET_MAP, data_type: Some(data_type), data_length: Some(length), ..Set::default() }
}

fn device(name: &[u8], rest: u8) -> Vec<u8> {
    [name, &vec![rest; 16 - name.len()]].concat()
}

#[test]
fn what_nft_lists_between_braces() {
    let counter = element(b"counter", &[attribute(1, &[0; 8]), attribute(2, &[0; 8])].concat());
    let jump = Value::Verdict { code: -3, chain: Some(b"x y".to_vec()) };
    let full = Element {
        value: Some(jump),
        expressions: counter,
        timeout: Some(1500),
        userdata: Some(b"\x01\x04\x01\0\0\0\0\x03a\"\0".to_vec()),
        ..keyed(&device(b"lo", 0), 0)
    };
    let all = Element { flags: ELEMENT_CATCHALL, ..Element::default() };
    let object = Element { object: Some(b"c".to_vec()), ..keyed(&[1, 1, 1, 1], 0) };
    let of_objects = Set { object_type: Some(1), ..Set::default() };
    let concatenated = [1, 1, 1, 0, 0, 80, 0, 0];
    let until = Element { key_end: Some(vec![1, 1, 1, 255, 0, 90, 0, 0]), ..keyed(&concatenated, 0) };
    let wide = map(SET_INTERVAL, 7, 8);
    for (set, elements, key, value, expected) in [
        (plain(), vec![keyed(&[0, 22], 0), keyed(&[0, 23], 0)], &[PORT][..], &[][..], vec!["22", "23"]),
        (plain(), vec![keyed(&concatenated, 0)], &[IPV4, PORT], &[], vec!["1.1.1.0 . 80"]),
        (of_intervals(), vec![until], &[IPV4, PORT], &[], vec!["1.1.1.0/24 . 80-90"]),
        (plain(), vec![all.clone()], &[PORT], &[], vec!["*"]),
        (
            map(0, DATA_VERDICT, 16),
            vec![full],
            &[DEVICE],
            &[],
            vec![r#""lo" counter timeout 1500ms comment "a\"" : jump "x y""#],
        ),
        (of_objects, vec![object], &[IPV4], &[], vec![r#"1.1.1.1 : "c""#]),
        (
            map(0, 7 << 6 | 13, 8),
            vec![to(keyed(&[1; 4], 0), &[2, 2, 2, 2, 0, 80, 0, 0]), to(all, &[3, 3, 3, 3, 0, 80, 0, 0])],
            &[IPV4],
            &[IPV4, PORT],
            vec!["1.1.1.1 : 2.2.2.2 . 80", "* : 3.3.3.3 . 80"],
        ),
        (
            wide,
            vec![
                keyed(&[0; 4], 1),
                to(keyed(&[1, 1, 1, 0], 0), &[2, 2, 2, 0, 2, 2, 2, 255]),
                keyed(&[1, 1, 2, 0], 1),
            ],
            &[IPV4],
            &[IPV4],
            vec!["1.1.1.0/24 : 2.2.2.0/24"],
        ),
        (
            of_intervals(),
            vec![keyed(&device(b"eth", 0), 0), keyed(&device(b"eti", 0), 1)],
            &[DEVICE],
            &[],
            vec![r#""eth*""#],
        ),
        (
            plain(),
            vec![keyed(&[0x12, 0, 0, 0, 6, 0, 0, 0], 0)],
            &[part(Type::TcpFlags, 1), part(Type::Protocol, 1)],
            &[],
            vec!["(syn | ack) . tcp"],
        ),
    ] {
        let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(written(&set, &elements, key, value), Some(expected), "{elements:?}");
    }
}

#[test]
fn intervals_are_told_in_several_ways() {
    let text = |elements: &[(u8, u32)]| {
        let elements: Vec<_> = elements.iter().map(|(key, flags)| keyed(&[*key], *flags)).collect();
        written(&of_intervals(), &elements, &[part(Type::Integer, 1)], &[]).map(|texts| texts.join(", "))
    };
    for (elements, expected) in [
        (&[(9, 0), (5, 0), (7, 1), (0, 1)][..], Some("5-6, 9-255")),
        (&[(0, 0), (1, 1), (1, 0), (2, 1)], Some("0, 1")),
        (&[(5, 0), (7, 0), (9, 1)], Some("5-6, 7-8")),
        (&[(255, 0)], Some("255")),
        (&[(0, 0)], Some("0-255")),
        (&[], Some("")),
        (&[(0, 1)], Some("")),
        (&[(1, 1)], None),
        (&[(5, 0), (7, 1), (9, 1)], None),
        (&[(5, 0), (5, 0)], None),
        (&[(5, 0), (5, 1)], None),
        (&[(5, 4)], None),
    ] {
        let expected = expected.map(str::to_owned);
        assert_eq!(text(elements), expected, "{elements:?}");
    }
    let whole = Element { key_end: Some(vec![6]), ..keyed(&[5], 0) };
    let texts = |elements: &[Element]| written(&of_intervals(), elements, &[part(Type::Integer, 1)], &[]);
    let other = Element { key_end: Some(vec![255]), ..keyed(&[7], 0) };
    assert_eq!(texts(&[other.clone(), whole.clone()]), Some(vec!["5-6".to_owned(), "7-255".to_owned()]));
    let overlapping = Element { key_end: Some(vec![7]), ..keyed(&[6], 0) };
    assert_eq!(texts(&[whole.clone(), overlapping]), None);
    assert_eq!(texts(&[other.clone(), Element { key: Some(vec![9]), ..other }]), None);
    assert_eq!(texts(&[whole, keyed(&[7], 0)]), None, "told in two ways at once");
}

#[test]
fn what_has_no_place_is_not_left_out() {
    let texts = |set: &Set, element: Element| written(set, &[element], &[IPV4], &[IPV4]);
    let key = || keyed(&[1; 4], 0);
    let ok = to(key(), &[2; 4]);
    let map = map(0, 7, 4);
    assert!(texts(&map, ok.clone()).is_some());
    for wrong in [
        key(),
        Element { flags: ELEMENT_INTERVAL_END, ..ok.clone() },
        Element { flags: 4, ..ok.clone() },
        Element { flags: ELEMENT_CATCHALL, ..ok.clone() },
        Element { key: None, ..ok.clone() },
        Element { key_end: Some(vec![1; 4]), ..ok.clone() },
        Element { object: Some(b"c".to_vec()), ..ok.clone() },
        Element { expressions: element(b"log", &[]), ..ok.clone() },
        Element { expressions: vec![1], ..ok.clone() },
        to(key(), &[2; 5]),
        to(key(), &[2; 8]),
        to(keyed(&[1; 5], 0), &[2; 4]),
        Element { value: Some(Value::Verdict { code: 0, chain: None }), key: Some(vec![1; 5]), ..key() },
        Element { value: Some(Value::Verdict { code: 3, chain: None }), ..key() },
        Element { value: Some(Value::Verdict { code: 0, chain: Some(b"x".to_vec()) }), ..key() },
    ] {
        assert_eq!(texts(&map, wrong.clone()), None, "{wrong:?}");
    }
    assert_eq!(texts(&plain(), ok), None, "a value in a set");
    let padding = keyed(&[1, 1, 1, 1, 0, 80, 0, 1], 0);
    assert_eq!(written(&plain(), &[padding], &[IPV4, PORT], &[]), None);
}

/// What the kernel finds for a key of one byte: the value of the last element that begins at it or before, unless that is
/// an end.
fn found(elements: &[Element], key: u8) -> Option<(String, Option<Value>)> {
    let whole = elements.iter().find(|element| {
        let ends = element.key.as_ref().zip(element.key_end.as_ref());
        ends.is_some_and(|(from, to)| from[0] <= key && key <= to[0])
    });
    let begun = || {
        elements
            .iter()
            .filter(|element| element.key_end.is_none() && element.key.as_ref().is_some_and(|k| k[0] <= key))
            .max_by_key(|element| (element.key.clone(), element.flags & ELEMENT_INTERVAL_END == 0))
            .filter(|element| element.flags & ELEMENT_INTERVAL_END == 0)
    };
    let all = || elements.iter().find(|element| element.flags & ELEMENT_CATCHALL != 0);
    let hit = whole.or_else(begun).or_else(all)?;
    Some((
        hit.userdata.as_deref().and_then(|data| comment(data).ok().flatten()).map(quote).unwrap_or_default(),
        hit.value.clone(),
    ))
}

prop_compose! {
    fn any_element(bytes: usize)(
        key in prop::option::weighted(0.95, prop::collection::vec(any::<u8>(), bytes)),
        key_end in prop::option::weighted(0.2, prop::collection::vec(any::<u8>(), bytes)),
        flags in prop_oneof![6 => Just(0), 4 => Just(1), 1 => Just(2), 1 => any::<u32>()],
        value in prop::option::weighted(0.2, prop_oneof![
            prop::collection::vec(any::<u8>(), 4).prop_map(Value::Bytes),
            (-6..4, prop::option::of("[ab ]{0,2}")).prop_map(|(code, chain)| Value::Verdict {
                code,
                chain: chain.map(String::into_bytes),
            }),
        ]),
        object in prop::option::weighted(0.1, "[\"a ]{0,3}"),
        timeout in prop::option::weighted(0.1, 0..3000u64),
        userdata in prop::option::weighted(0.2, "[\"a\0 ]{0,3}"),
    ) -> Element {
        let userdata = userdata.map(|text| [&[0, text.len() as u8 + 1], text.as_bytes(), &[0]].concat());
        let object = object.map(String::into_bytes);
        Element { key, key_end, flags, value, object, timeout, userdata, expressions: Vec::new(), rest: Vec::new() }
    }
}

fn sorted(texts: Option<Vec<String>>) -> Option<Vec<String>> {
    let mut texts = texts?;
    texts.sort();
    Some(texts)
}

fn is_same(one: &[Element], two: &[Element]) -> bool {
    let list = |elements: &[Element]| {
        let mut list: Vec<_> = elements.iter().map(|element| format!("{element:?}")).collect();
        list.sort();
        list
    };
    list(one) == list(two)
}

/// A change of one byte somewhere, or a missing element.
fn changed(elements: &[Element], at: usize, what: u8, byte: u8) -> Vec<Element> {
    let mut elements = elements.to_vec();
    if elements.is_empty() {
        return elements;
    }
    let at = at % elements.len();
    let element = &mut elements[at];
    let poke = |bytes: &mut Option<Vec<u8>>| {
        if let Some(place) = bytes.as_mut().and_then(|bytes| {
            let length = bytes.len().max(1);
            bytes.get_mut(usize::from(what) % length)
        }) {
            *place = byte;
        }
    };
    match what % 8 {
        0 | 1 => poke(&mut element.key),
        2 => poke(&mut element.key_end),
        3 => element.flags ^= u32::from(byte & 3),
        4 => poke(&mut element.object),
        5 => poke(&mut element.userdata),
        6 => drop(elements.remove(at)),
        _ => match &mut element.value {
            Some(Value::Bytes(bytes)) => bytes[usize::from(what / 8) % 4] = byte,
            Some(Value::Verdict { code, .. }) => *code = i32::from(byte % 8) - 6,
            None => element.timeout = Some(byte.into()),
        },
    }
    elements
}

const KEYS: [&[Part]; 7] = [
    &[IPV4],
    &[part(Type::Integer, 4)],
    &[part(Type::CtState, 4)],
    &[PORT, part(Type::Protocol, 1)],
    &[part(Type::TcpFlags, 1), part(Type::CtLabel, 2)],
    &[part(Type::Text, 3), part(Type::IcmpType, 1)],
    &[part(Type::Class, 4), PORT, part(Type::Day, 1)],
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn lists_that_mean_something_else_have_other_texts(
        elements in prop::collection::vec(any_element(1), 0..4),
        (at, what, byte) in (any::<usize>(), any::<u8>(), any::<u8>()),
        is_map in any::<bool>(),
    ) {
        let set = if is_map { map(SET_INTERVAL, 7, 4) } else { of_intervals() };
        let other = changed(&elements, at, what, byte);
        let [one, two] = [&elements, &other]
            .map(|elements| sorted(written(&set, elements, &[part(Type::Integer, 1)], &[IPV4])));
        if one.is_some() && one == two {
            for key in 0..=255 {
                prop_assert_eq!(found(&elements, key), found(&other, key), "{:?} {:?} {:?}", one, elements, other);
            }
        }
    }

    #[test]
    fn elements_that_differ_have_other_texts(
        number in 0..KEYS.len(),
        flags in prop_oneof![Just(0), Just(SET_INTERVAL)],
        (seed, at, what, byte) in (any::<[u8; 12]>(), any::<usize>(), any::<u8>(), any::<u8>()),
        second in any::<[u8; 12]>(),
        elements in prop::collection::vec(any_element(12), 1..3),
        kind in 0..3,
    ) {
        let key = KEYS[number];
        let size = match key {
            [part] => part.bytes as usize,
            parts => parts.iter().map(|part| part.bytes.next_multiple_of(4) as usize).sum(),
        };
        let fit = |bytes: Option<Vec<u8>>, seed: &[u8; 12]| bytes.map(|bytes| {
            let bytes: Vec<u8> = bytes.iter().zip(seed).map(|(byte, seed)| if seed % 3 == 0 { *byte } else { 0 }).collect();
            bytes[..size].to_vec()
        });
        let elements: Vec<_> = elements.into_iter().map(|element| Element {
            key: fit(element.key, &seed),
            key_end: fit(element.key_end, &second),
            ..element
        }).collect();
        prop_assume!(flags == 0 || key.len() > 1);
        let set = match kind {
            0 => Set { flags, ..Set::default() },
            1 => map(flags, 7, 4),
            _ => Set { flags, object_type: Some(1), ..Set::default() },
        };
        let other = changed(&elements, at, what, byte);
        let [one, two] = [&elements, &other].map(|elements| sorted(written(&set, elements, key, &[IPV4])));
        if one.is_some() && one == two {
            prop_assert!(is_same(&elements, &other), "{:?} {:?} {:?}", one, elements, other);
        }
    }
}
