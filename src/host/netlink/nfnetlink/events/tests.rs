use super::*;

/// A message of nf_tables with these attributes.
fn message(number: u16, flags: u16, nfproto: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![nfproto, 0, 0, 0];
    for (kind, value) in attributes {
        body.extend_from_slice(&u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
        body.extend_from_slice(&kind.to_ne_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut bytes = u32::try_from(body.len() + 16).unwrap().to_ne_bytes().to_vec();
    bytes.extend_from_slice(&(NFTABLES << 8 | number).to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0, 77, 0, 0, 0]);
    bytes.extend_from_slice(&body);
    bytes
}

fn newgen(generation: u32) -> Vec<u8> {
    message(15, 0, 0, &[(1, &generation.to_be_bytes()), (2, &[0, 0, 1, 0]), (3, b"iptables\0")])
}

/// What a datagram says, after this generation.
fn heard(bytes: &[u8], generation: Option<u32>) -> (Vec<String>, Result<Option<u32>, String>) {
    let (mut facts, mut generation) = (Vec::new(), generation);
    let ended = datagram(bytes, &mut generation, &mut |fact, _| {
        facts.push(match fact {
            Fact::Chain { family, table, chain } => {
                format!("{family} {} {}", table.escape_ascii(), chain.escape_ascii())
            }
            Fact::Table { family, table } => format!("{family} {}", table.escape_ascii()),
            Fact::Renamed => "renamed".to_owned(),
            Fact::Commit { generation, pid, name } => {
                format!("{generation} by {pid} {}", name.escape_ascii())
            }
        });
    });
    (facts, ended.map(|()| generation).map_err(|loss| loss.to_string()))
}

#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let (facts, ended) = heard(bytes, None);
    assert_eq!(facts, [expected]);
    assert!(ended.is_ok(), "{ended:?}");
}

const CREATE: u16 = 0x400;

#[test]
fn every_message_says_what_it_touches() {
    let chain: &[(u16, &[u8])] = &[(1, b"filter\0"), (3, b"INPUT\0"), (2, &[0; 8])];
    let hooked: &[(u16, &[u8])] = &[(1, b"filter\0"), (3, b"INPUT\0"), (2, &[0; 8]), (4, &[])];
    let rule: &[(u16, &[u8])] = &[(1, b"filter\0"), (2, b"INPUT\0"), (3, &[0; 8]), (4, b"????")];
    check(&message(3, CREATE, 2, chain), "ip filter INPUT");
    check(&message(3, 0x200, 2, chain), "ip filter INPUT");
    check(&message(3, 0, 10, hooked), "ip6 filter INPUT");
    check(&message(3, 0, 2, chain), "renamed");
    for number in [5, 27] {
        check(&message(number, 0, 1, chain), "inet filter INPUT");
    }
    for number in [6, 8, 28] {
        check(&message(number, 0, 5, rule), "netdev filter INPUT");
    }
    for number in [0, 2, 9, 11, 12, 14, 18, 20, 22, 24, 26, 29, 30, 31, 32] {
        check(&message(number, 0, 7, rule), "bridge filter");
    }
    check(&newgen(7), "7 by 256 iptables");
}

#[test]
fn a_quota_that_packets_have_used_up_is_no_change() {
    let mut object = message(18, 0, 2, &[(1, b"t\0")]);
    check(&object, "ip t");
    object[12..16].fill(0);
    assert_eq!(heard(&object, Some(3)), (Vec::new(), Ok(Some(3))));
}

#[test]
fn generations_follow_each_other() {
    let two = [newgen(8), newgen(9)].concat();
    assert_eq!(heard(&two, Some(7)).1, Ok(Some(9)));
    assert_eq!(heard(&two, None).1, Ok(Some(9)));
    assert_eq!(heard(&newgen(1), Some(u32::MAX)).1, Ok(Some(1)));
    for last in [6, 8, 9] {
        let (facts, ended) = heard(&two, Some(last));
        assert!(facts.is_empty() && ended.is_err(), "{last}");
    }
}

#[test]
fn what_is_not_understood_is_lost() {
    let table: &[(u16, &[u8])] = &[(1, b"filter\0")];
    let unterminated: &[(u16, &[u8])] = &[(1, b"filter")];
    for bytes in [
        message(35, 0, 2, table),
        message(1, 0, 2, table),
        message(255, 0, 2, table),
        message(0, 0, 99, table),
        message(0, 0, 2, unterminated),
        message(0, 0, 2, &[]),
        message(6, 0, 2, table),
        message(3, CREATE, 2, table),
        message(15, 0, 0, table),
        message(15, 0, 0, &[(1, &[0; 4]), (2, &[0; 3]), (3, b"x\0")]),
        newgen(1)[..30].to_vec(),
        [newgen(1), vec![0; 4]].concat(),
    ] {
        assert!(heard(&bytes, None).1.is_err(), "{bytes:?}");
    }
    let mut other_subsystem = newgen(1);
    other_subsystem[5] = 6;
    assert!(heard(&other_subsystem, None).1.is_err());
    let mut overrun = newgen(1);
    overrun[4..6].copy_from_slice(&NLMSG_OVERRUN.to_ne_bytes());
    assert!(heard(&overrun, None).1.is_err());
    overrun[12..16].fill(0);
    overrun[4..6].copy_from_slice(&NLMSG_NOOP.to_ne_bytes());
    assert_eq!(heard(&overrun, Some(3)), (Vec::new(), Ok(Some(3))));
}

#[test]
fn any_bytes_are_parsed_without_panic() {
    use proptest::prelude::*;
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(number in 0..40u16, body in proptest::collection::vec(any::<u8>(), 0..80))| {
        let mut bytes = message(number, 0, 2, &[]);
        bytes.extend_from_slice(&body);
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        let _ = heard(&bytes, None);
    });
}
