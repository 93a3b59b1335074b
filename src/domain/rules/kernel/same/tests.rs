//! Every entry of the list, and that nothing else shares a line.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::domain::rules::kernel::expressions::decode;
use crate::domain::rules::kernel::layout::Name;
use crate::domain::rules::samples::{cmp, forms, line, list, load, mask, network, part, range, transport};

const COUNTER: Expression<'_> = Expression::Counter(Counter { bytes: 0, packets: 0 });

/// A structure with the padding of `XT_ALIGN`.
fn info<T: Field>(structure: T) -> Vec<u8> {
    let mut info = vec![0; T::SIZE.next_multiple_of(8)];
    structure.write(&mut info);
    info
}

/// Two rules that differ share a line and a form.
fn check(one: &[Expression<'_>], two: &[Expression<'_>]) {
    assert_ne!(list(one), list(two));
    let written = line(Family::Ip, &list(one)).expect("a rule of iptables");
    assert_eq!(line(Family::Ip, &list(two)), Ok(written));
    assert_eq!(canonical(Family::Ip, one), canonical(Family::Ip, two));
}

#[test]
fn order_of_the_head_and_place_of_the_protocol() {
    let source = [network(12, 4), cmp(EQ, &[10, 0, 0, 1])];
    let destination = [network(16, 1), cmp(NEQ, &[10])];
    let input = [load(META_IIFNAME), cmp(EQ, b"lo\0")];
    let output = [load(META_OIFNAME), cmp(EQ, b"eth")];
    let [old, new] = [[load(META_L4PROTO), cmp(EQ, &[6])], [network(9, 1), cmp(EQ, &[6])]];
    check(
        &[&input[..], &output, &old, &source, &destination, &[COUNTER]].concat(),
        &[&source[..], &destination, &input, &output, &new, &[COUNTER]].concat(),
    );
    check(&[&old[..], &[COUNTER]].concat(), &[&new[..], &[COUNTER]].concat());
}

#[test]
fn parts_and_native_expressions() {
    let ports = [22, 22];
    let tcp = info(Tcp { dpts: ports, flg_mask: 3, flg_cmp: 2, invflags: 2, ..ANY_TCP });
    let udp = info(Udp { spts: [1, 2], dpts: [3, 3], ..ANY_UDP });
    let mark = info(Mark { mark: 5, mask: 7, invert: 1 });
    let limit = info(parts::Limit { interval: 2_000, burst: 5 });
    let prefix = Name::read(&[b"x ".as_slice(), &[0; 62]].concat());
    let nflog = info(Nflog { len: 64, group: 5, threshold: 2, flags: 1, prefix });
    let of = |protocol: &'static [u8], rest: &[Expression<'static>]| {
        [&[load(META_L4PROTO), cmp(EQ, protocol)], rest].concat()
    };
    let with = |mut head: Vec<Expression<'static>>, name: &'static [u8], info: &'static [u8], revision| {
        head.extend([Expression::Match(part(name, revision, info)), COUNTER]);
        head
    };
    let leak = |info: Vec<u8>| -> &'static [u8] { info.leak() };
    check(
        &with(of(&[6], &[]), b"tcp", leak(tcp), 0),
        &of(
            &[6],
            &[
                transport(13, 1),
                mask(&[3], Some(MASK_XOR)),
                cmp(EQ, &[2]),
                transport(2, 2),
                cmp(NEQ, &[0, 22]),
                COUNTER,
            ],
        ),
    );
    check(
        &with(of(&[17], &[]), b"udp", leak(udp), 0),
        &of(
            &[17],
            &[transport(0, 2), range(EQ, &[0, 1], &[0, 2]), transport(2, 2), cmp(EQ, &[0, 3]), COUNTER],
        ),
    );
    check(
        &with(vec![], b"mark", leak(mark), 1),
        &[
            load(META_MARK),
            mask(leak(7u32.to_ne_bytes().to_vec()), Some(MASK_XOR)),
            cmp(NEQ, leak(5u32.to_ne_bytes().to_vec())),
            COUNTER,
        ],
    );
    let native = Limit { rate: 5, unit: 1, burst: 5, kind: LIMIT_PACKETS, flags: 0 };
    check(&with(vec![], b"limit", leak(limit), 0), &[Expression::Limit(native), COUNTER]);
    let native = Log {
        prefix: Some(Text(b"x ")),
        level: None,
        flags: None,
        group: Some(5),
        snaplen: Some(64),
        threshold: Some(2),
    };
    check(
        &[COUNTER, Expression::Target(part(b"NFLOG", 0, leak(nflog)))],
        &[COUNTER, Expression::Log(native)],
    );
    let trace = Immediate { dreg: REG32_01, data: Data::Value(&[1]) };
    let set = Meta { key: META_NFTRACE, dreg: None, sreg: Some(REG32_01) };
    check(
        &[COUNTER, Expression::Target(part(b"TRACE", 0, &[]))],
        &[COUNTER, Expression::Immediate(trace), Expression::Meta(set)],
    );
}

#[test]
fn masks_names_that_are_not_compared_and_negated_ranges() {
    check(
        &[network(12, 4), mask(&[255, 255, 0, 0], Some(MASK_XOR)), cmp(EQ, &[10, 1, 0, 0]), COUNTER],
        &[network(12, 2), cmp(EQ, &[10, 1]), COUNTER],
    );
    check(
        &[network(12, 4), mask(&[255, 128, 0, 0], None), cmp(EQ, &[10, 128, 0, 0]), COUNTER],
        &[network(12, 4), mask(&[255, 128, 0, 0], Some(MASK_XOR)), cmp(EQ, &[10, 128, 0, 0]), COUNTER],
    );
    check(&[load(META_OIFNAME), COUNTER], &[COUNTER]);
    let tcp = [load(META_L4PROTO), cmp(EQ, &[6])];
    check(
        &[&tcp[..], &[transport(2, 2), cmp(GT, &[0, 80]), COUNTER]].concat(),
        &[&tcp[..], &[transport(2, 2), range(EQ, &[0, 81], &[255, 255]), COUNTER]].concat(),
    );
}

/// Values from small sets, so that equal lines are frequent.
fn rule() -> impl Strategy<Value = Vec<Expression<'static>>> {
    let op = || prop::sample::select(vec![EQ, NEQ]);
    let names = [&b"lo\0"[..], b"lo", b"eth\0", b"eth+\0", b"INVAL/D\0", b"a b\0"].to_vec();
    let device = (prop::sample::select(vec![META_IIFNAME, META_OIFNAME]), op(), prop::sample::select(names))
        .prop_map(|(key, op, name)| vec![load(key), cmp(op, name)]);
    let loaded = prop::sample::select(vec![META_IIFNAME, META_OIFNAME]).prop_map(|key| vec![load(key)]);
    let protocol = (any::<bool>(), op(), prop::sample::select(vec![&[6][..], &[17], &[1]])).prop_map(
        |(is_new, op, number)| vec![if is_new { network(9, 1) } else { load(META_L4PROTO) }, cmp(op, number)],
    );
    let addresses = vec![
        vec![network(12, 4), cmp(EQ, &[10, 0, 0, 0])],
        vec![network(12, 1), cmp(EQ, &[10])],
        vec![network(12, 1), cmp(NEQ, &[10])],
        vec![network(12, 4), mask(&[255, 0, 0, 0], Some(MASK_XOR)), cmp(EQ, &[10, 0, 0, 0])],
        vec![network(12, 4), mask(&[255, 0, 0, 0], None), cmp(EQ, &[10, 0, 0, 0])],
        vec![network(16, 4), mask(&[255, 0, 255, 0], Some(MASK_XOR)), cmp(EQ, &[10, 0, 0, 0])],
        vec![network(16, 1), cmp(EQ, &[10])],
        vec![network(6, 2), mask(&[0x1f, 0xff], Some(MASK_XOR)), cmp(EQ, &[0, 0])],
        vec![network(6, 2), mask(&[0x1f, 0xff], Some(MASK_XOR)), cmp(NEQ, &[0, 0])],
    ];
    let head = prop::collection::vec(
        prop_oneof![device, loaded, protocol.clone(), prop::sample::select(addresses)],
        0..4,
    );
    let ports = vec![
        vec![transport(0, 2), cmp(EQ, &[0, 5])],
        vec![transport(2, 2), cmp(EQ, &[0, 5])],
        vec![transport(2, 2), cmp(NEQ, &[0, 5])],
        vec![transport(2, 2), cmp(GT, &[0, 5])],
        vec![transport(2, 2), cmp(LTE, &[0, 5])],
        vec![transport(2, 2), range(EQ, &[0, 6], &[255, 255])],
        vec![transport(2, 2), range(NEQ, &[0, 6], &[255, 255])],
        vec![transport(2, 2), range(NEQ, &[0, 0], &[255, 255])],
        vec![transport(0, 4), cmp(EQ, &[0, 5, 0, 5])],
        vec![transport(0, 4), cmp(NEQ, &[0, 5, 0, 5])],
        vec![transport(13, 1), mask(&[3], Some(MASK_XOR)), cmp(EQ, &[2])],
    ];
    let tcp: Vec<Vec<u8>> = vec![
        info(ANY_TCP),
        info(Tcp { dpts: [5, 5], ..ANY_TCP }),
        info(Tcp { spts: [5, 5], dpts: [5, 5], ..ANY_TCP }),
        info(Tcp { spts: [5, 5], dpts: [5, 5], invflags: 3, ..ANY_TCP }),
        info(Tcp { dpts: [6, u16::MAX], ..ANY_TCP }),
        info(Tcp { dpts: [0, 5], invflags: 2, ..ANY_TCP }),
        info(Tcp { dpts: ANY_PORT, invflags: 2, ..ANY_TCP }),
        info(Tcp { flg_mask: 3, flg_cmp: 2, ..ANY_TCP }),
    ];
    let tcp = tcp.into_iter().map(|info| vec![Expression::Match(part(b"tcp", 0, info.leak()))]);
    let marks = [(5u32, u32::MAX), (5, 7), (5, 5)].into_iter().flat_map(|(mark, bits)| {
        let made = info(Mark { mark, mask: bits, invert: 0 }).leak();
        let (value, bits) = (mark.to_ne_bytes().to_vec().leak(), bits.to_ne_bytes().to_vec().leak());
        [
            vec![Expression::Match(part(b"mark", 1, made))],
            vec![load(META_MARK), mask(bits, Some(MASK_XOR)), cmp(EQ, value)],
            vec![load(META_MARK), cmp(EQ, value)],
        ]
    });
    let matches: Vec<_> = ports.into_iter().chain(tcp).chain(marks).collect();
    let matches = prop::collection::vec(prop::sample::select(matches), 0..4);
    (protocol, head, any::<prop::sample::Index>(), matches).prop_map(|(protocol, mut head, at, matches)| {
        head.insert(at.index(head.len() + 1), protocol);
        let mut rule: Vec<_> = head.into_iter().chain(matches).flatten().collect();
        rule.push(COUNTER);
        rule
    })
}

#[test]
fn rules_share_a_line_only_if_they_share_a_form() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    const RULES: usize = 20_000;
    let mut runner = TestRunner::deterministic();
    let strategy = rule();
    let mut seen: HashMap<String, (Vec<u8>, Vec<u8>)> = HashMap::new();
    let mut shared = 0;
    for _ in 0..RULES {
        let rule = strategy.new_tree(&mut runner).unwrap().current();
        let Ok(written) = line(Family::Ip, &list(&rule)) else { continue };
        let (bytes, form) = (list(&rule), canonical(Family::Ip, &rule));
        let (first, known) = seen.entry(written.clone()).or_insert_with(|| (bytes.clone(), form.clone()));
        assert_eq!(*known, form, "{written}: {rule:#?}");
        shared += usize::from(*first != bytes);
    }
    assert!(seen.len() > 500 && shared > 500, "{} lines, {shared} shared", seen.len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_byte_changes_the_line_or_is_on_the_list(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let form = which.get(forms());
        let mut bytes = form.expressions.clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let (before, after) = (line(form.family, &form.expressions), line(form.family, &bytes));
        if before == after {
            let one = decode(&form.expressions).unwrap();
            let two = decode(&bytes).unwrap();
            prop_assert_eq!(canonical(form.family, &one), canonical(form.family, &two));
        }
    }
}
