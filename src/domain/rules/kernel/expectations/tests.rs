use super::*;

/// What Linux 6.18 answers for a permanent expectation with NAT and a mask of all addresses, on a machine of little-endian
/// numbers.
const RECORDED: &str = "\
    3400028014000180080001000a090001080002000a0900021c0002800500010006000000060002000000000006000300\
    26c200003400038014000180080001000000000008000200ffffffff1c00028005000100060000000600020000000000\
    06000300ffff00003400018014000180080001000a090001080002000a0900021c000280050001000600000006000200\
    045700000600030008ae000040000a8008000100000000003400028014000180080001000a0900020800020000000000\
    1c000280050001000600000006000200270f00000600030000000000080004000000012b08000500dc2bd01e08000800\
    000000010800090000000000080006006674700016000b006e61742d666f6c6c6f772d6d6173746572000000";

fn recorded() -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap();
    RECORDED.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Where an attribute begins, and how long it is with its padding.
fn at(attributes: &[u8], wanted: u16) -> std::ops::Range<usize> {
    let mut begin = 0;
    loop {
        let half = |at: usize| u16::from_ne_bytes([attributes[at], attributes[at + 1]]);
        let end = begin + usize::from(half(begin)).next_multiple_of(4);
        if half(begin + 2) & 0x3fff == wanted {
            return begin..end;
        }
        begin = end;
    }
}

fn endpoint(address: &str, port: u16) -> Endpoint {
    Endpoint { address: address.parse().unwrap(), port: Some(port) }
}

fn tuple(source: (&str, u16), destination: (&str, u16)) -> Tuple {
    let (source, destination) = (endpoint(source.0, source.1), endpoint(destination.0, destination.1));
    Tuple { source, destination, protocol: 6, zone: None, rest: Vec::new() }
}

#[test]
fn the_answer_of_a_kernel_is_understood() {
    let expected = Expectation {
        tuple: tuple(("10.9.0.1", 0), ("10.9.0.2", 9922)),
        mask: tuple(("0.0.0.0", 0), ("255.255.255.255", 0xffff)),
        master: tuple(("10.9.0.1", 1111), ("10.9.0.2", 2222)),
        nat: Some(Nat { direction: ORIGINAL, tuple: tuple(("10.9.0.2", 9999), ("0.0.0.0", 0)) }),
        helper: Some(b"ftp".to_vec()),
        flags: PERMANENT,
        class: 0,
        function: Some(b"nat-follow-master".to_vec()),
        zone: None,
        rest: Vec::new(),
    };
    assert_eq!(Expectation::decode(&recorded()), Ok(expected));
}

#[test]
fn time_and_number_are_state_and_what_is_newer_is_kept() {
    let (decoded, mut later) = (Expectation::decode(&recorded()).unwrap(), recorded());
    for state in [4, 5] {
        let place = at(&later, state);
        later[place.start + 4..place.end].fill(0x55);
    }
    assert_eq!(Expectation::decode(&later).as_ref(), Ok(&decoded));
    later.extend([5, 0, 12, 0, 7, 0, 0, 0]);
    let newer = Expectation { rest: vec![(12, vec![7])], ..decoded };
    assert_eq!(Expectation::decode(&later), Ok(newer));
}

#[test]
fn what_is_not_whole_is_refused() {
    let whole = recorded();
    for missing in [CTA_EXPECT_TUPLE, CTA_EXPECT_MASK, CTA_EXPECT_MASTER, CTA_EXPECT_FLAGS] {
        let mut part = whole.clone();
        part.drain(at(&whole, missing));
        assert_eq!(Expectation::decode(&part), Err(Malformed), "{missing}");
    }
    for length in 0..whole.len() {
        let _ = Expectation::decode(&whole[..length]);
    }
    for place in 0..whole.len() {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut other = whole.clone();
            other[place] = byte;
            let _ = Expectation::decode(&other);
        }
    }
}
