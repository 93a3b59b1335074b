//! Attributes that kernels wrote, and others.

use proptest::prelude::*;

use super::*;
use crate::domain::rules::samples::{attribute, element, forms, list};

/// Attributes with these types and values, one behind the other.
fn attributes(all: &[(u16, &[u8])]) -> Vec<u8> {
    all.iter().flat_map(|(kind, value)| attribute(*kind, value)).collect()
}

/// The flag bit of nested attributes (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;

#[test]
fn what_the_kernel_wrote_is_decoded_and_encoded_to_the_same_bytes() {
    let mut count = 0;
    for form in forms() {
        let expressions = decode(&form.expressions).expect("well formed");
        assert!(!expressions.iter().any(|one| matches!(one, Expression::Raw(_))), "{}", form.line);
        assert_eq!(list(&expressions), form.expressions, "{}", form.line);
        count += expressions.len();
    }
    assert!(count > 500, "{count}");
}

#[test]
fn order_padding_and_the_flag_of_nested_attributes_do_not_count() {
    let value = attributes(&[(1, b"lo\0")]);
    let (sreg, op) = (&1u32.to_be_bytes()[..], &0u32.to_be_bytes()[..]);
    let expected = Expression::Cmp(Cmp { sreg: 1, op: 0, data: Data::Value(b"lo\0") });
    for cmp in [
        attributes(&[(1, sreg), (2, op), (3, &value)]),
        attributes(&[(3, &value), (2, op), (1, sreg)]),
        attributes(&[(1, sreg), (2, op), (3 | NESTED, &value)]),
    ] {
        assert_eq!(decode(&element(b"cmp", &cmp)).unwrap(), [expected]);
    }
    let (bytes, packets) = (&7u64.to_be_bytes()[..], &1u64.to_be_bytes()[..]);
    let expected = Expression::Counter(Counter { bytes: 7, packets: 1 });
    for counter in
        [attributes(&[(1, bytes), (2, packets)]), attributes(&[(3, b""), (1, bytes), (3, b""), (2, packets)])]
    {
        assert_eq!(decode(&element(b"counter", &counter)).unwrap(), [expected]);
    }
}

#[test]
fn what_is_not_declared_is_raw_and_whole() {
    let value = attributes(&[(1, b"lo\0")]);
    let (sreg, op) = (&1u32.to_be_bytes()[..], &0u32.to_be_bytes()[..]);
    for cmp in [
        attributes(&[(1, sreg), (2, op), (3, &value), (4, b"x")]),
        attributes(&[(1, sreg), (2, op), (3, &value), (0, b"")]),
        attributes(&[(1, sreg), (2, op), (3, &value), (3, &value)]),
        attributes(&[(1, sreg), (2, op)]),
        attributes(&[(1, &sreg[..3]), (2, op), (3, &value)]),
        attributes(&[(1, sreg), (2, op), (3, &attributes(&[(1, b"lo\0"), (2, b"")]))]),
        attributes(&[(1, sreg), (2, op), (3, b"lo")]),
    ] {
        let expected = Expression::Raw(Raw { name: b"cmp", attributes: Some(&cmp) });
        assert_eq!(decode(&element(b"cmp", &cmp)).unwrap(), [expected]);
    }
    let expected = Expression::Raw(Raw { name: b"fib", attributes: Some(b"") });
    assert_eq!(decode(&element(b"fib", b"")).unwrap(), [expected]);
    let nameless = attributes(&[(1, b"notrack\0")]);
    let expected = Expression::Raw(Raw { name: b"notrack", attributes: None });
    assert_eq!(decode(&attributes(&[(1, &nameless)])).unwrap(), [expected]);
}

#[test]
fn lists_of_another_format_are_refused() {
    for broken in [
        attributes(&[(2, &attributes(&[(1, b"cmp\0")]))]),
        attributes(&[(1, b"x")]),
        attributes(&[(1, &attributes(&[(1, b"cmp")]))]),
        attributes(&[(1, &attributes(&[(2, b"")]))]),
        vec![9, 0, 1, 0],
    ] {
        assert_eq!(decode(&broken), Err(Malformed), "{broken:?}");
    }
}

#[test]
fn programs_behind_a_descriptor_are_found() {
    for (revision, mode, expected) in
        [(1u32, 2u16, true), (1, 3, true), (1, 0, false), (1, 1, false), (0, 2, false)]
    {
        let info = [&mode.to_ne_bytes()[..], &[0; 534]].concat();
        let part = attributes(&[(1, b"bpf\0"), (2, &revision.to_be_bytes()), (3, &info)]);
        let found = references_of(&element(b"match", &part));
        assert_eq!(found.hides_program, expected, "revision {revision}, mode {mode}");
    }
}

#[test]
fn jumps_and_ipsets_are_found_in_raw_expressions_too() {
    let chain = attributes(&[(1, &(-3i32).to_be_bytes()), (2, b"user\0")]);
    let verdict = attributes(&[(2, &chain)]);
    let plain = attributes(&[(1, &0u32.to_be_bytes()), (2, &verdict)]);
    let newer = attributes(&[(1, &0u32.to_be_bytes()), (2, &verdict), (3, b"?")]);
    let drop =
        attributes(&[(1, &0u32.to_be_bytes()), (2, &attributes(&[(2, &attributes(&[(1, &[0; 4])]))]))]);
    let set = attributes(&[(1, b"set\0"), (2, &4u32.to_be_bytes()), (3, &[0; 24])]);
    let newer_set = attributes(&[(1, b"SET\0"), (9, b"?")]);
    for (name, attributes, jumps, names_ipset) in [
        (&b"immediate"[..], &plain, 1, false),
        (b"immediate", &newer, 1, false),
        (b"immediate", &drop, 0, false),
        (b"match", &set, 0, true),
        (b"target", &newer_set, 0, true),
        (b"cmp", &plain, 0, false),
    ] {
        let list = element(name, attributes);
        let expressions = decode(&list).unwrap();
        assert_eq!(
            references(&expressions),
            References {
                jumps,
                names_ipset,
                has_part: matches!(name, b"match" | b"target"),
                ..References::default()
            },
            "{expressions:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_byte_is_kept_or_makes_an_expression_raw(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = which.get(forms()).expressions.clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(expressions) = decode(&bytes) {
            let _ = references(&expressions);
            let is_raw = expressions.iter().any(|one| matches!(one, Expression::Raw(_)));
            prop_assert!(is_raw || form::is_same(&list(&expressions), &bytes, NO_PAD));
        }
    }

    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(expressions) = decode(&bytes) {
            let _ = references(&expressions);
        }
    }
}
