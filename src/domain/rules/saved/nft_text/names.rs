//! What in a rule or set belongs to the machine that wrote the text: names that nft looks up there, times in its zone,
//! values that nft prints alike for two rules. Finds them by where they stand; too much is found rather than too little.
//!
//! *Source*: nft(8) of 1.0.6 and 1.1.7, DATA TYPES; `src/meta.c`, `rt.c`, `ct.c`, `socket.c`.

use super::token::{Kind, Token};
use crate::domain::rules::saved::PARTS_OF_BYTES;

/// Keys whose values are names of that machine, or times in its zone, unless they are numbers.
const KEYS: [(&str, &str); 10] = [
    ("skuid", "the name of a user"),
    ("skgid", "the name of a group"),
    ("rtclassid", "the name of a realm"),
    ("classid", "the name of a realm"),
    ("label", "the name of a conntrack label"),
    ("cgroupv2", "the path of a cgroup"),
    ("iifgroup", "the name of a group of devices"),
    ("oifgroup", "the name of a group of devices"),
    ("hour", "a time in the zone of the machine that wrote it"),
    ("time", "a time in the zone of the machine that wrote it"),
];

/// Types of sets whose elements are such.
const TYPES: [(&str, &str); 8] = [
    ("uid", "the name of a user"),
    ("gid", "the name of a group"),
    ("realm", "the name of a realm"),
    ("ct_label", "the name of a conntrack label"),
    ("cgroupsv2", "the path of a cgroup"),
    ("devgroup", "the name of a group of devices"),
    ("hour", "a time in the zone of the machine that wrote it"),
    ("time", "a time in the zone of the machine that wrote it"),
];

/// Whether a word is a number, an address or a range of such, and no name.
pub fn is_number(word: &str) -> bool {
    let is_digits = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/' | b'-');
    match word.strip_prefix("0x") {
        Some(digits) => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => {
            let starts = word.starts_with(|first: char| first.is_ascii_digit()) || word.contains("::");
            let has_letter = word.bytes().any(|byte| byte.is_ascii_alphabetic());
            starts && word.bytes().all(is_digits) && (!has_letter || word.contains(':'))
        }
    }
}

/// Whether the values of a set of this type, or of these expressions, are such names, and which.
pub fn of_type(tokens: &[Token<'_>]) -> Option<&'static str> {
    let known = |word: &str| TYPES.iter().chain(&KEYS).find(|(key, _)| *key == word).map(|(_, what)| *what);
    tokens.iter().filter_map(Token::word).find_map(known)
}

/// What in a rule belongs to another machine.
pub fn of_rule(tokens: &[Token<'_>]) -> Option<&'static str> {
    let tokens = match tokens {
        [rule @ .., comment, Token { kind: Kind::Text(_), .. }] if comment.word() == Some("comment") => rule,
        rule => rule,
    };
    (0..tokens.len()).find_map(|index| {
        let word = tokens.get(index)?.word()?;
        let (_, what) = KEYS.iter().find(|(key, _)| *key == word)?;
        is_compared_with_name(tokens.get(index + 1..)?).then_some(*what)
    })
}

/// Whether the first value behind a key is a name. Behind a concatenation, any name in the list that follows.
fn is_compared_with_name(rest: &[Token<'_>]) -> bool {
    let mut is_concatenation = false;
    let mut rest = rest.iter();
    while let Some(token) = rest.next() {
        match token.kind {
            // a number of its own
            Kind::Word("level") => drop(rest.next()),
            Kind::Word(".") => is_concatenation = true,
            Kind::Open => return has_name(rest.as_slice()),
            Kind::Text(_) => return true,
            Kind::Symbol(b'@') | Kind::Close | Kind::Semicolon | Kind::Newline => return false,
            Kind::Symbol(_) | Kind::Comment(_) => {}
            Kind::Word("set" | "vmap" | "map" | "and" | "or" | "xor" | "eq" | "ne") => {}
            Kind::Word(_) if is_concatenation => {}
            Kind::Word(word) if !is_number(word) => return true,
            Kind::Word(_) if rest.as_slice().first().and_then(Token::word) == Some(".") => {}
            Kind::Word(_) => return false,
        }
    }
    false
}

/// Whether a name stands in a list: not in what an element leads to.
fn has_name(list: &[Token<'_>]) -> bool {
    let mut is_value = false;
    for token in list {
        match token.kind {
            Kind::Close => return false,
            Kind::Word(":") => is_value = true,
            Kind::Symbol(b',') => is_value = false,
            Kind::Word(".") => {}
            Kind::Word(word) if !is_value && !is_number(word) => return true,
            Kind::Text(_) if !is_value => return true,
            _ => {}
        }
    }
    false
}

/// Whether a concatenation holds a part of a byte.
pub fn has_part_of_byte(tokens: &[Token<'_>]) -> bool {
    let word = |index: usize| tokens.get(index).and_then(Token::word);
    (0..tokens.len()).any(|index| {
        let (Some(header), Some(field)) = (word(index), word(index + 1)) else { return false };
        if !PARTS_OF_BYTES.contains(&(header, field)) {
            return false;
        }
        let is_shifted = tokens.get(index + 2).is_some_and(|token| token.kind == Kind::Symbol(b'>'));
        let is_behind = index.checked_sub(1).and_then(word) == Some(".");
        is_behind || is_shifted || word(index + 2) == Some(".")
    })
}

/// Whether a field of an ICMP message stands without its type: nft 0.9.8 leaves out which one a rule had.
pub fn lacks_type(tokens: &[Token<'_>]) -> bool {
    const DEPENDENT: [&str; 8] =
        ["id", "sequence", "mtu", "gateway", "max-delay", "parameter-problem", "packet-too-big", "taddr"];
    ["icmp", "icmpv6"].iter().any(|header| {
        let has = |fields: &[&str]| {
            tokens.windows(2).any(|pair| match pair {
                [first, second] => {
                    first.word() == Some(header) && second.word().is_some_and(|field| fields.contains(&field))
                }
                _ => false,
            })
        };
        has(&DEPENDENT) && !has(&["type"])
    })
}
