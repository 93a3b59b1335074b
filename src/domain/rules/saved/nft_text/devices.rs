//! The devices that a rule, set, chain or flowtable names by index: nft looks them up, so they have to exist.
//! Makes none.

use super::names::is_number;
use super::token::{Kind, Token};

/// The first index of the devices that are made: the real ones of a node are small, and stay what the text says.
pub const FIRST_INDEX: u32 = 0x5eed_0000;
/// More devices than this are not made.
pub const MAX_DEVICES: usize = 1024;
/// `IFNAMSIZ` of `include/uapi/linux/if.h`, without the NUL.
const MAX_NAME_BYTES: usize = 15;

/// Whether values here are indexes of devices.
pub fn are_meant(tokens: &[Token<'_>]) -> bool {
    tokens
        .iter()
        .filter_map(Token::word)
        .any(|word| matches!(word, "iif" | "oif" | "sdif" | "iface_index" | "device" | "devices"))
}

/// Every name that may be one of a device: all strings, and words that stand where a device does. One too many does no
/// harm.
pub fn named<'a>(tokens: &[Token<'a>]) -> impl Iterator<Item = &'a str> {
    let (mut is_meant, mut is_list) = (false, false);
    tokens.iter().filter_map(move |token| {
        match token.kind {
            Kind::Word("iif" | "oif" | "sdif" | "device" | "devices") => (is_meant, is_list) = (true, false),
            Kind::Open => is_list = true,
            Kind::Close => is_meant = false,
            Kind::Text(text) => {
                is_meant &= is_list;
                return is_name(text).then_some(text);
            }
            Kind::Word(word) if is_meant => {
                is_meant = is_list;
                return is_name(word).then_some(word);
            }
            _ => {}
        }
        None
    })
}

/// Whether a device can have this name, and nft would not take it for a number or a wildcard.
///
/// *Source*: `dev_valid_name` in `net/core/dev.c`.
pub fn is_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'*' | b'%');
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !matches!(name, "." | ".." | "lo" | "all" | "default")
        && name.bytes().all(is_fine)
        && !is_number(name)
        && !name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a number here would be taken for a device that is made.
pub fn is_taken(word: &str) -> bool {
    let number = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    let first = u64::from(FIRST_INDEX);
    number.is_ok_and(|number| (first..first + MAX_DEVICES as u64).contains(&number))
}
