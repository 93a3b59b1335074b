//! The values of a log line: numbers and addresses, each read whole or not at all.
//! Knows no key.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::domain::packets::packet::{Mac, Text};

/// A decimal number.
pub(super) fn decimal<T: TryFrom<u32>>(digits: &[u8]) -> Option<T> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u32, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    T::try_from(number?).ok()
}

/// A hexadecimal number of at most eight digits.
pub(super) fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits.iter().try_fold(0, |number, byte| Some(number << 4 | u32::from(digit(*byte)?)))
}

/// A hexadecimal number behind `0x`.
pub(super) fn hex_0x(text: &[u8]) -> Option<u32> {
    hex(text.strip_prefix(b"0x")?)
}

/// An address; one of IPv4 in IPv6 is IPv4.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if text.contains(':') {
        text.parse::<Ipv6Addr>().ok().map(|address| address.to_canonical())
    } else {
        text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    }
}

/// `02:00:00:00:00:01`.
pub(super) fn mac(text: &[u8]) -> Option<Mac> {
    let mut bytes = [0; 6];
    (octets(text, &mut bytes)? == 6).then_some(Mac(bytes))
}

/// Octets with colons between them; how many there are, at most as many as there is room for.
pub(super) fn octets(text: &[u8], room: &mut [u8]) -> Option<usize> {
    let mut count = 0;
    for part in text.chunks(3) {
        let (high, low) = match *part {
            [high, low, b':'] if (count + 1) * 3 < text.len() => (high, low),
            [high, low] => (high, low),
            _ => return None,
        };
        *room.get_mut(count)? = digit(high)? << 4 | digit(low)?;
        count += 1;
    }
    Some(count)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// A name as it was before `/dev/kmsg` escaped it.
///
/// *Source*: `Documentation/ABI/testing/dev-kmsg`.
pub(super) fn text(escaped: &[u8]) -> Text<'_> {
    if !escaped.contains(&b'\\') {
        return Cow::Borrowed(escaped);
    }
    let mut out = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((first, behind)) = rest.split_first() {
        let byte = rest.strip_prefix(b"\\x").and_then(|digits| hex(digits.get(..2)?));
        match byte.and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = rest.get(4..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_whole_or_not() {
        assert_eq!(decimal::<u16>(b"65535"), Some(65_535));
        for bad in [&b""[..], b"65536", b"-1", b"1 ", b"+1", b"99999999999"] {
            assert_eq!(decimal::<u16>(bad), None, "{bad:?}");
        }
        assert_eq!((hex_0x(b"0x1aF"), hex(b"ffffffff"), hex_0x(b"0x")), (Some(0x1af), Some(u32::MAX), None));
        assert_eq!((hex(b"fffffffff"), hex(b"g"), hex_0x(b"12")), (None, None, None));
    }

    #[test]
    fn addresses_are_read_whole_or_not() {
        let read = |text: &str| address(text.as_bytes()).map(|address| address.to_string());
        assert_eq!(read("10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(read("fd00:0009:0000:0000:0000:0000:0000:0001").as_deref(), Some("fd00:9::1"));
        assert_eq!(read("0000:0000:0000:0000:0000:ffff:0a00:0001").as_deref(), Some("10.0.0.1"));
        assert_eq!((read("10.0.0"), read(""), read("10.0.0.256"), read("::1]")), (None, None, None, None));
        assert_eq!(mac(b"02:00:00:00:00:ff").unwrap().to_string(), "02:00:00:00:00:ff");
        assert_eq!((mac(b"02:00:00:00:00"), mac(b"02:00:00:00:00:001"), mac(b"")), (None, None, None));
        assert_eq!(
            (mac(b"02:00:00:00:00:00:"), mac(b"02:00:00:00:000:0"), mac(b"02-00-00-00-00-00")),
            (None, None, None)
        );
    }
}
