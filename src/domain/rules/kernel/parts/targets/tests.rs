//! The text of infos that the kernel held, and of some that no text says.

use super::*;
use crate::domain::rules::kernel::parts::{Part, Surroundings, write};

/// What is written of a target, with ipsets 0 to 3 called as the list of rules calls them.
fn text(family: Family, name: &str, revision: u8, info: &[u8]) -> String {
    let ipsets = ["first", "second", "list", "cali40s:FwWFZt5wPdmIYB_Wmq4cNLE"];
    let ipsets = (0..).zip(ipsets.map(|name| name.as_bytes().to_vec())).collect();
    let mut line = Line::default();
    let part = Part { name: name.as_bytes(), revision, info };
    write(Role::Target, &part, Surroundings { family, ipsets: &ipsets }, &mut line)
        .expect("a name that is a word");
    String::from_utf8(line.as_bytes().to_vec()).expect("text")
}

/// So many bytes that begin with these digits.
fn info(digits: &str, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("digits"))
        .collect();
    bytes.resize(length, 0);
    bytes
}

#[test]
fn infos_are_written_as_iptables_save_writes_them() {
    let saved = include_str!("../../../../../../tests/data/kernel/targets.txt");
    let mut count = 0;
    for line in saved.lines().filter(|line| !line.starts_with('#')) {
        let (part, expected) = line.split_once(" | ").expect("a text");
        let [family, name, revision, length, digits] =
            part.split(' ').collect::<Vec<_>>().try_into().expect("five words");
        let family = Family::from_name(family).expect("a family");
        let info = info(digits.trim_matches('-'), length.parse().expect("bytes"));
        let shown = text(family, name, revision.parse().expect("a revision"), &info);
        assert_eq!(shown, format!(" {expected}"));
        count += 1;
    }
    assert!(count > 200, "{count}");
}

#[test]
fn what_no_text_says_is_raw() {
    for (name, revision, length, digits) in [
        ("MARK", 1, 8, ""),                                         // another revision
        ("MARK", 2, 16, ""),                                        // another length
        ("CONNMARK", 2, 16, "0100000002000000ff00000000000000"),    // a mask that is not written
        ("CONNMARK", 2, 16, "0100000002000000ffffffff00000001"),    // padding
        ("CT", 2, 72, "0200"),                                      // an alias without what it stands for
        ("CT", 2, 72, "000000000004"),                              // an event without a name
        ("CT", 2, 72, "0100000000000000000000006674700a"),          // a helper with a control byte
        ("LOG", 0, 32, "0400610a62"),                               // the same in a prefix
        ("LOG", 0, 32, "0400610062"),                               // text behind the NUL
        ("REJECT", 0, 8, "04"),                                     // an answer without a name
        ("SET", 3, 24, "09000102ffff0000ffff000000000000ffffffff"), // a set without a name
        ("SNAT", 0, 24, "01000000000000000a0000010a000001"),        // addresses that are not used
        (
            "HMARK",
            0,
            64,
            "0000000000000000000000000000000000000000000000000000000000000000000000000000000000200000",
        ),
    ] {
        let info = info(digits, length);
        let shown = text(Family::Ip, name, revision, &info);
        assert!(shown.starts_with(&format!(" -j {name} --raw {revision}:")), "{shown}");
        assert_eq!(shown.len(), format!(" -j {name} --raw {revision}:").len() + 2 * length, "{shown}");
    }
}

#[test]
fn state_is_neither_written_nor_compared() {
    let plain = info("01010101", 40);
    let mut other = plain.clone();
    other[32..].fill(0xff);
    assert_eq!(text(Family::Ip, "TEE", 1, &plain), text(Family::Ip, "TEE", 1, &other));
    other[16] = b'\n';
    assert_eq!(
        text(Family::Ip, "TEE", 1, &other),
        format!(" -j TEE --raw 1:01010101{}0a{}", "00".repeat(12), "00".repeat(23))
    );
}
