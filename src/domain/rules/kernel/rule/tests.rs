//! Rules that iptables-nft wrote, and rules near them that it did not.

use super::*;
use crate::domain::rules::Family;
use crate::domain::rules::kernel::expressions::form::{Data, Text, Verdict as NftVerdict};
use crate::domain::rules::kernel::expressions::numbers::*;
use crate::domain::rules::kernel::expressions::{Bitwise, Counter, Immediate, Limit, Meta, Raw};
use crate::domain::rules::lines::{Place, RuleRead, Written, write_rule};
use crate::domain::rules::samples::{self, cmp, forms, list, load, network, part, range, transport};
use crate::domain::rules::text::line::Line;

type Rules<'a> = Vec<Expression<'a>>;

fn mask(mask: &[u8]) -> Expression<'_> {
    samples::mask(mask, Some(MASK_XOR))
}

const COUNTER: Expression<'_> = Expression::Counter(Counter { bytes: 9, packets: 1 });
const DROP_IT: Expression<'_> = verdict(DROP, None);

const fn verdict(code: i32, chain: Option<Text<'_>>) -> Expression<'_> {
    let data = Data::Verdict(NftVerdict { code, chain });
    Expression::Immediate(Immediate { dreg: REG_VERDICT, data })
}

fn line(family: Family, rule: &[Expression<'_>]) -> Result<String, NotIptables> {
    samples::line(family, &list(rule))
}

/// `-p tcp` of 1.8.9.
fn tcp<'a>() -> Rules<'a> {
    vec![load(META_L4PROTO), cmp(EQ, &[6])]
}

#[test]
fn what_iptables_wrote_is_written_as_iptables_save_writes_it() {
    for form in forms() {
        let written = samples::line(form.family, &form.expressions);
        let chain = form.line.split(' ').nth(1).unwrap();
        let expected = form.line.replacen(chain, "INPUT", 1);
        assert_eq!(written, Ok(expected), "{} of {}", form.family, form.writers);
    }
}

#[test]
fn counters_are_not_written() {
    let written = line(Family::Ip, &[COUNTER, DROP_IT]).unwrap();
    assert_eq!(written, "-A INPUT -j DROP");
}

#[test]
fn forms_of_older_versions_and_kernels_are_read() {
    let old_mask = Expression::Bitwise(Bitwise { op: None, ..bitwise(&[255, 0, 0, 0]) });
    for (rule, expected) in [
        // before 1.8.7 a mask of whole bytes was one
        (vec![network(12, 4), old_mask, cmp(EQ, &[10, 0, 0, 0]), COUNTER], "-s 10.0.0.0/8"),
        (vec![network(12, 4), mask(&[0; 4]), cmp(NEQ, &[0; 4]), COUNTER], "! -s 0.0.0.0/0"),
        (vec![load(META_IIFNAME), COUNTER], ""),
        (vec![load(META_IIFNAME), load(META_OIFNAME), cmp(EQ, b"a\0"), COUNTER], "-o a"),
    ] {
        let expected =
            if expected.is_empty() { "-A INPUT".to_owned() } else { format!("-A INPUT {expected}") };
        assert_eq!(line(Family::Ip, &rule), Ok(expected));
    }
}

fn bitwise(bits: &[u8]) -> Bitwise<'_> {
    match mask(bits) {
        Expression::Bitwise(bitwise) => bitwise,
        _ => unreachable!(),
    }
}

#[test]
fn rules_near_those_of_iptables_are_none() {
    let ip = Family::Ip;
    let with = |head: &[Expression<'static>]| [head, &[COUNTER, DROP_IT]].concat();
    let of_tcp = |rest: &[Expression<'static>]| [&tcp()[..], rest, &[COUNTER, DROP_IT]].concat();
    use NotIptables as No;
    for (family, rule, expected) in [
        // order and number
        (ip, vec![DROP_IT], No::Order),
        (ip, vec![COUNTER, COUNTER, DROP_IT], No::Order),
        (ip, vec![COUNTER, DROP_IT, DROP_IT], No::Order),
        (ip, vec![DROP_IT, COUNTER], No::Order),
        (ip, with(&[cmp(EQ, &[6])]), No::Order),
        (ip, with(&[load(META_L4PROTO)]), No::Order),
        (ip, of_tcp(&[load(META_L4PROTO), cmp(EQ, &[6])]), No::Version),
        (ip, with(&[load(META_MARK), cmp(EQ, &[0; 4]), load(META_IIFNAME), cmp(EQ, b"a\0")]), No::Order),
        // interfaces
        (ip, with(&[load(META_IIFNAME), cmp(EQ, b"lo\0\0")]), No::Value),
        (ip, with(&[load(META_IIFNAME), cmp(EQ, b"eth+\0")]), No::Value),
        (ip, with(&[load(META_IIFNAME), cmp(EQ, b"abcdefghijklmnop\0")]), No::Value),
        (ip, with(&[load(META_IIFNAME), cmp(EQ, b"abcdefghijklmno")]), No::Value),
        (ip, with(&[load(META_IIFNAME), cmp(EQ, b"a\0b")]), No::Value),
        (ip, with(&[load(META_IIFNAME), cmp(EQ, b"\0")]), No::Value),
        (ip, with(&[load(META_IIFNAME), cmp(GT, b"a\0")]), No::Operator),
        (ip, with(&[load(4), cmp(EQ, &[1, 0, 0, 0])]), No::Order),
        // protocols
        (ip, with(&[load(META_L4PROTO), cmp(EQ, &[0])]), No::Value),
        (ip, with(&[load(META_L4PROTO), cmp(EQ, &[6, 0])]), No::Value),
        (ip, with(&[load(META_L4PROTO), cmp(GT, &[6])]), No::Operator),
        (Family::Ip6, with(&[network(6, 1), cmp(EQ, &[6])]), No::Order),
        // addresses
        (ip, with(&[network(12, 4), mask(&[255, 255, 255, 0]), cmp(EQ, &[10, 0, 0, 1])]), No::Value),
        (ip, with(&[network(12, 4), mask(&[255; 4]), cmp(EQ, &[10, 0, 0, 1])]), No::Value),
        (ip, with(&[network(12, 2), mask(&[255, 128]), cmp(EQ, &[10, 0])]), No::Value),
        (ip, with(&[network(12, 4), mask(&[0; 4]), cmp(EQ, &[0; 4])]), No::Value),
        (ip, with(&[network(12, 4), cmp(LTE, &[10, 0, 0, 1])]), No::Operator),
        (ip, with(&[network(12, 4), cmp(EQ, &[10, 0, 0])]), No::Value),
        (ip, with(&[network(12, 8), cmp(EQ, &[10, 0, 0, 1, 10, 0, 0, 2])]), No::Order),
        (ip, with(&[network(8, 1), cmp(EQ, &[64])]), No::Order),
        (ip, with(&[network(6, 2), cmp(NEQ, &[0, 0])]), No::Value),
        (ip, with(&[network(6, 2), mask(&[0x20, 0]), cmp(NEQ, &[0, 0])]), No::Value),
        // ports and flags
        (ip, with(&[transport(2, 2), cmp(EQ, &[0, 80])]), No::Protocol),
        (ip, with(&[load(META_L4PROTO), cmp(NEQ, &[6]), transport(2, 2), cmp(EQ, &[0, 80])]), No::Protocol),
        (ip, with(&[load(META_L4PROTO), cmp(EQ, &[132]), transport(2, 2), cmp(EQ, &[0, 80])]), No::Protocol),
        (ip, of_tcp(&[transport(2, 2), cmp(GT, &[255, 255])]), No::Value),
        (ip, of_tcp(&[transport(2, 2), cmp(LTE, &[0, 0])]), No::Value),
        (ip, of_tcp(&[transport(2, 2), cmp(2, &[0, 80])]), No::Value),
        (ip, of_tcp(&[transport(2, 2), cmp(5, &[0, 80])]), No::Value),
        (ip, of_tcp(&[transport(2, 2), range(EQ, &[0, 0], &[0, 80])]), No::Value),
        (ip, of_tcp(&[transport(2, 2), range(EQ, &[0, 80], &[0, 80])]), No::Value),
        (ip, of_tcp(&[transport(2, 2), range(EQ, &[0, 81], &[0, 80])]), No::Value),
        (ip, of_tcp(&[transport(2, 2), range(EQ, &[0, 0], &[255, 255])]), No::Value),
        (ip, of_tcp(&[transport(2, 2), range(2, &[0, 1], &[0, 80])]), No::Form),
        (ip, of_tcp(&[transport(0, 4), cmp(EQ, &[0, 0, 0, 80])]), No::Value),
        (ip, of_tcp(&[transport(4, 4), cmp(EQ, &[0, 0, 0, 80])]), No::Form),
        (ip, of_tcp(&[transport(13, 1), cmp(EQ, &[2])]), No::Value),
        (ip, of_tcp(&[transport(13, 1), mask(&[0xc2]), cmp(EQ, &[2])]), No::Value),
        (ip, of_tcp(&[transport(13, 1), mask(&[2]), cmp(EQ, &[0x42])]), No::Value),
        (ip, of_tcp(&[transport(13, 1), mask(&[0]), cmp(EQ, &[0])]), No::Value),
        // marks
        (ip, with(&[load(META_MARK), cmp(EQ, &[0; 3])]), No::Value),
        (ip, with(&[load(META_MARK), cmp(GT, &[0; 4])]), No::Operator),
        (ip, with(&[load(META_MARK), mask(&[255; 4]), cmp(EQ, &[0; 4])]), No::Value),
        (ip, with(&[load(META_MARK), mask(&[0; 3]), cmp(EQ, &[0; 4])]), No::Value),
        // verdicts
        (ip, vec![COUNTER, verdict(3, None)], No::Verdict),
        (ip, vec![COUNTER, verdict(JUMP, None)], No::Verdict),
        (ip, vec![COUNTER, verdict(ACCEPT, Some(Text(b"user")))], No::Verdict),
        (ip, vec![COUNTER, verdict(JUMP, Some(Text(b"LOG")))], No::Text),
        (ip, vec![COUNTER, verdict(JUMP, Some(Text(b"a name of thirty characters ..")))], No::Text),
        // forms of different versions
        (
            ip,
            with(&[
                load(META_IIFNAME),
                cmp(EQ, b"a\0"),
                network(9, 1),
                cmp(EQ, &[6]),
                network(12, 1),
                cmp(EQ, &[10]),
            ]),
            No::Version,
        ),
        (ip, with(&[network(12, 1), cmp(EQ, &[10]), load(META_L4PROTO), cmp(EQ, &[6])]), No::Version),
        (
            ip,
            with(&[network(9, 1), cmp(EQ, &[6]), Expression::Match(part(b"mark", 1, &[0; 16]))]),
            No::Version,
        ),
    ] {
        assert_eq!(line(family, &rule), Err(expected), "{rule:#?}");
    }
}

/// A limit on packets.
fn limit(rate: u64, unit: u64, burst: u32) -> Expression<'static> {
    Expression::Limit(Limit { rate, unit, burst, kind: LIMIT_PACKETS, flags: 0 })
}

#[test]
fn limits_are_those_that_iptables_writes() {
    for (one, expected) in [
        (limit(3, 3_600, 5), Some("--limit 3/hour")),
        (limit(7, 1, 5), Some("--limit 7/sec")),
        (limit(5, 60, 10_000), Some("--limit 5/min --limit-burst 10000")),
        (limit(20, 60, 0), Some("--limit 20/min --limit-burst 0")),
        (limit(10_000, 1, 5), Some("--limit 10000/sec")),
        (limit(7_000, 1, 5), None),
        (limit(60, 60, 5), None),
        (limit(5, 604_800, 5), None),
        (limit(28_968, 86_400, 5), None),
        (limit(0, 1, 5), None),
        (limit(1, 0, 5), None),
        (limit(u64::MAX, u64::MAX, 5), None),
        (limit(1, u64::MAX, 5), None),
        (limit(3, 3_600, 10_001), None),
        (Expression::Limit(Limit { rate: 3, unit: 1, burst: 5, kind: 1, flags: 0 }), None),
        (Expression::Limit(Limit { rate: 3, unit: 1, burst: 5, kind: 0, flags: 1 }), None),
    ] {
        let expected = expected.map(|text| format!("-A INPUT -m limit {text}"));
        assert_eq!(line(Family::Ip, &[one, COUNTER]), expected.ok_or(NotIptables::Value), "{one:?}");
    }
}

fn log(prefix: Option<&[u8]>, group: Option<u16>) -> Log<'_> {
    let prefix = prefix.map(Text);
    Log { prefix, level: None, flags: None, group, snaplen: None, threshold: None }
}

#[test]
fn logs_are_those_that_iptables_writes() {
    let long = [b'x'; 127];
    let long_text = format!("-j NFLOG --nflog-prefix {} --nflog-group 5", "x".repeat(127));
    let sized = Log { snaplen: Some(0), threshold: Some(7), ..log(Some(&long), Some(0)) };
    let sized_text =
        format!("-j NFLOG --nflog-prefix {} --nflog-size 0 --nflog-threshold 7", "x".repeat(127));
    let hidden = [b"\n".as_slice(), &[b'x'; 99]].concat();
    let hidden_text = format!("--raw log:1=0000,2=0a{}00", "78".repeat(99));
    for (one, expected) in [
        (log(None, Some(0)), Some("-j NFLOG")),
        (log(Some(b"a b"), Some(65_535)), Some("-j NFLOG --nflog-prefix \"a b\" --nflog-group 65535")),
        (log(Some(&long), Some(5)), Some(long_text.as_str())),
        (sized, Some(&sized_text)),
        (log(Some(&hidden), Some(0)), Some(&hidden_text)),
        (log(Some(b""), Some(0)), None),
        (log(Some(&[b'x'; 128]), Some(0)), None),
        (log(None, None), None),
        (Log { level: Some(4), ..log(None, Some(0)) }, None),
        (Log { flags: Some(1), ..log(None, Some(0)) }, None),
    ] {
        let expected = expected.map(|text| format!("-A INPUT {text}"));
        let written = line(Family::Ip, &[COUNTER, Expression::Log(one)]);
        assert_eq!(written, expected.ok_or(NotIptables::Value), "{one:?}");
    }
    let hidden = line(Family::Ip, &[COUNTER, Expression::Log(log(Some(b"a\nb"), Some(0)))]).unwrap();
    assert!(hidden.starts_with("-A INPUT -j NFLOG --raw 0:000000000000000000000000610a62"), "{hidden}");
}

#[test]
fn traces_are_read_whole() {
    let set = Expression::Meta(Meta { key: META_NFTRACE, dreg: None, sreg: Some(REG32_01) });
    let one = |value| Expression::Immediate(Immediate { dreg: REG32_01, data: Data::Value(value) });
    assert_eq!(line(Family::Ip, &[COUNTER, one(&[1]), set]).unwrap(), "-A INPUT -j TRACE");
    for rule in [vec![COUNTER, one(&[0]), set], vec![COUNTER, one(&[1])], vec![COUNTER, set]] {
        assert_eq!(line(Family::Ip, &rule), Err(NotIptables::Order));
    }
}

#[test]
fn parts_are_of_the_version_that_wrote_the_rest() {
    let [ports, any] = [[0, 0, 255, 255, 22, 0, 22, 0], [0, 0, 255, 255, 0, 0, 255, 255]];
    let info = |ports: [u8; 8], rest: [u8; 8]| [ports, rest].concat();
    let (dport, all) = (info(ports, [0; 8]), info(any, [0; 8]));
    let option = info(any, [5, 0, 0, 0, 0, 0, 0, 0]);
    let is_written = |head: &[Expression<'_>], info: &[u8]| {
        let rule = [head, &[Expression::Match(part(b"tcp", 0, info)), COUNTER]].concat();
        line(Family::Ip, &rule).map(|_| ())
    };
    let new = [network(9, 1), cmp(EQ, &[6])];
    let old = tcp();
    for info in [&all, &option] {
        assert_eq!([is_written(&old, info), is_written(&new, info)], [Ok(()); 2]);
    }
    assert_eq!([is_written(&old, &dport), is_written(&new, &dport)], [Ok(()), Err(NotIptables::Version)]);
    let native = [&old[..], &[transport(2, 2), cmp(EQ, &[0, 22])]].concat();
    assert_eq!(is_written(&native, &dport), Err(NotIptables::Version));
}

#[test]
fn ports_that_iptables_save_merges_are_raw() {
    let raw = |ports: &str| format!("-m tcp --raw 0:{ports}0000000000000000");
    let two = [raw("0000ffff50005000"), raw("0000ffffbb01bb01")].join(" ");
    let rule =
        [&tcp()[..], &[transport(2, 2), cmp(EQ, &[0, 80]), transport(2, 2), cmp(EQ, &[1, 187]), COUNTER]];
    assert_eq!(line(Family::Ip, &rule.concat()), Ok(format!("-A INPUT -p tcp {two}")));
}

#[test]
fn only_ipv4_and_ipv6_rules_without_user_data_are_read() {
    let (ipsets, rule) = (crate::domain::rules::kernel::Ipsets::new(), list(&[COUNTER, DROP_IT]));
    let read = |family, chain: &'static [u8], userdata: Option<&[u8]>| {
        let mut line = Line::default();
        write_rule(Place { family, chain, ipsets: &ipsets }, &rule, userdata, &mut line).written
    };
    for family in [Family::Ip, Family::Ip6] {
        assert_eq!(read(family, b"INPUT", None), Written::Iptables);
        assert_eq!(read(family, b"LOG", None), Written::Native(NotIptables::Chain));
        assert_eq!(read(family, b"INPUT", Some(b"\0\x02x\0")), Written::Native(NotIptables::Userdata));
    }
    for family in [Family::Inet, Family::Arp, Family::Bridge, Family::Netdev] {
        assert_eq!(read(family, b"INPUT", None), Written::Native(NotIptables::Family));
    }
}

#[test]
fn names_that_are_no_words_are_digits() {
    let ipsets = crate::domain::rules::kernel::Ipsets::new();
    let rule = list(&[COUNTER, verdict(GOTO, Some(Text(b"a -j ACCEPT")))]);
    let mut line = Line::default();
    let place = Place { family: Family::Ip, chain: b"\xc3\xa4\n", ipsets: &ipsets };
    let RuleRead { written, references } = write_rule(place, &rule, None, &mut line);
    assert_eq!((written, references.jumps), (Written::Iptables, 1));
    assert_eq!(line.as_bytes(), b"-A --raw-chain c3a40a -g --raw-chain 61202d6a20414343455054");
    let device = [load(META_IIFNAME), cmp(EQ, b"a -j\0"), COUNTER];
    let head = format!("{}61202d6a{}ffffffffff{}", "00".repeat(16), "00".repeat(28), "00".repeat(31));
    let written = samples::line(Family::Ip, &list(&device)).unwrap();
    assert_eq!(written, format!("-A INPUT --raw-head {head}"));
}

#[test]
fn unknown_expressions_are_no_part_of_iptables_rules() {
    let raw = Expression::Raw(Raw { name: b"fib", attributes: Some(b"") });
    for rule in [vec![raw, COUNTER], vec![COUNTER, raw], vec![raw]] {
        assert_eq!(line(Family::Ip, &rule), Err(NotIptables::Order));
    }
    assert_eq!(samples::line(Family::Ip, b"x"), Err(NotIptables::Malformed));
}
