use std::net::IpAddr;

use super::*;
use crate::domain::rules::kernel::expectations::Nat;

fn endpoint_of(address: &str, port: Option<u16>) -> Endpoint {
    Endpoint { address: address.parse::<IpAddr>().unwrap(), port }
}

fn tuple(source: (&str, u16), destination: (&str, u16)) -> Tuple {
    Tuple {
        source: endpoint_of(source.0, Some(source.1)),
        destination: endpoint_of(destination.0, Some(destination.1)),
        protocol: 6,
        zone: None,
        rest: Vec::new(),
    }
}

/// As the kernel answers for what a program made: any source port of one address.
fn expectation() -> Expectation {
    Expectation {
        tuple: tuple(("10.9.0.1", 0), ("10.9.0.2", 9922)),
        mask: tuple(("255.255.255.255", 0), ("255.255.255.255", 0xffff)),
        master: tuple(("10.9.0.1", 1111), ("10.9.0.2", 2222)),
        nat: Some(Nat { direction: ORIGINAL, tuple: tuple(("10.9.0.2", 9999), ("0.0.0.0", 0)) }),
        helper: Some(b"ftp".to_vec()),
        flags: PERMANENT,
        class: 0,
        function: Some(b"nat-follow-master".to_vec()),
        zone: Some(0),
        rest: Vec::new(),
    }
}

#[test]
fn a_line_tells_what_is_expected_and_where_it_goes() {
    assert_eq!(
        line(&expectation()),
        "expectation ip tcp 10.9.0.1 -> 10.9.0.2:9922 helper ftp nat 10.9.0.2:9999 permanent function nat-follow-master \
         of 10.9.0.1:1111 -> 10.9.0.2:2222"
    );
}

#[test]
fn everything_that_changes_what_it_does_changes_the_line() {
    type Change = fn(&mut Expectation);
    let changes: [Change; 22] = [
        |_| {},
        |it| it.tuple.source.address = "10.9.0.3".parse().unwrap(),
        |it| it.tuple.protocol = 17,
        |it| it.tuple.destination.port = Some(9923),
        |it| it.tuple.rest.push((5, vec![8])),
        |it| it.mask.source.address = "0.0.0.0".parse().unwrap(),
        |it| it.mask.source.address = "255.0.255.0".parse().unwrap(),
        |it| it.mask.source.port = Some(0xffff),
        |it| it.mask.destination.port = Some(0xff00),
        |it| it.mask.rest.push((5, vec![0])),
        |it| it.master.source.port = Some(1112),
        |it| it.master.protocol = 17,
        |it| it.nat = None,
        |it| it.nat.as_mut().unwrap().direction = 1,
        |it| it.nat.as_mut().unwrap().tuple.source.port = Some(1),
        |it| it.helper = None,
        |it| it.flags = PERMANENT | INACTIVE,
        |it| it.flags = PERMANENT | 0x10,
        |it| it.zone = Some(7),
        |it| it.zone = None,
        |it| it.tuple.zone = Some(7),
        |it| it.rest.push((12, vec![1])),
    ];
    let mut lines: Vec<_> = changes
        .iter()
        .map(|change| {
            let mut changed = expectation();
            change(&mut changed);
            line(&changed)
        })
        .collect();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), changes.len(), "{lines:#?}");
}

#[test]
fn masks_and_ipv6_are_written_as_people_do() {
    let mut wide = expectation();
    wide.mask.source.address = "0.0.0.0".parse().unwrap();
    assert!(line(&wide).starts_with("expectation ip tcp 10.9.0.1/0 -> 10.9.0.2:9922 "), "{}", line(&wide));
    let v6 = Expectation {
        tuple: tuple(("fe80::1", 0), ("fe80::2", 21)),
        mask: tuple(("ffff:ffff:ffff:ffff::", 0), ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0xffff)),
        nat: None,
        helper: None,
        function: None,
        flags: INACTIVE | USERSPACE,
        class: 3,
        master: tuple(("fe80::1", 1), ("fe80::2", 2)),
        ..expectation()
    };
    assert_eq!(
        line(&v6),
        "expectation ip6 tcp fe80::1/64 -> [fe80::2]:21 inactive userspace class 3 of [fe80::1]:1 -> [fe80::2]:2"
    );
    assert!(!v6.is_of_interest() && !v6.has_one_source());
    assert!(expectation().is_of_interest() && expectation().has_one_source());
}

#[test]
fn ports_are_found() {
    for (word, rest, expected) in [
        ("10.9.0.2", ":9922 helper", Some(5)),
        ("[fe80::2]", ":21", Some(3)),
        ("fe80", "::1 x", None),
        ("fe80:", ":1 x", None),
        ("10.9.0.2", ":99/0xff00", None),
        ("10.9.0.2", ": x", None),
        ("", ":1", None),
        ("name", ":1", None),
    ] {
        assert_eq!(port_length(word, rest), expected, "{word}{rest}");
    }
}
