//! Values of a type as nft(8) writes them: alone, as ranges, as prefixes.
//! Knows no expression. None wherever the bytes are no value of the type: then the bytes themselves are written.
//!
//! Times are UTC, and what depends on the machine is a number, but for devices and cgroups, whose numbers depend on it more
//! than their names do.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::symbols;
use super::types::{Order, Type};
use crate::domain::rules::text::word::{quote, range_end, word};
use crate::domain::words::moment;

/// The names that only the machine knows.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// Network devices by index.
    pub devices: &'a BTreeMap<u32, Vec<u8>>,
    /// Paths of cgroups below the root of version 2, without a `/` in front, by number.
    pub cgroups: &'a BTreeMap<u64, Vec<u8>>,
}

/// A value's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// What stands as it is: a number, a quoted name.
    Plain(String),
    /// A word or an address, which is quoted where it could be read as something else.
    Word(String),
    /// nft's word for a number, and the number, which nft writes in ranges.
    Symbol(&'static str, u64),
}

impl Text {
    /// As it stands alone.
    pub fn alone(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Word(text) => word(text),
            Self::Symbol(text, _) => word(text),
        }
    }

    /// As the end of a range.
    pub fn as_end(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Word(text) => range_end(text),
            Self::Symbol(_, number) => number.to_string(),
        }
    }

    fn quoted(text: impl AsRef<[u8]>) -> Self {
        Self::Plain(quote(text))
    }
}

/// The number in up to 16 bytes.
pub fn number(bytes: &[u8], order: Order) -> Option<u128> {
    const WIDE: usize = 16;
    let mut wide = [0; WIDE];
    let at = WIDE.checked_sub(bytes.len())?;
    wide.get_mut(at..)?.copy_from_slice(bytes);
    if order == Order::Host && cfg!(target_endian = "little") {
        wide.get_mut(at..)?.reverse();
    }
    Some(u128::from_be_bytes(wide))
}

/// A number as nft writes it: decimal, or hexadecimal if it needs more than 64 bits.
pub fn integer(bytes: &[u8], order: Order) -> Option<Text> {
    let number = number(bytes, order)?;
    Some(match u64::try_from(number) {
        Ok(number) => Text::Plain(number.to_string()),
        Err(_) => Text::Word(format!("{number:#x}")),
    })
}

/// A value; flags are joined with ` | `.
pub fn value(of: Type, order: Order, bytes: &[u8], names: Names<'_>) -> Option<Text> {
    if of.is_flags() {
        return Some(Text::Plain(flags(of, order, bytes)?.join(" | ")));
    }
    let small = || u64::try_from(number(bytes, order)?).ok();
    match of {
        Type::Verdict => None,
        Type::Ipv4 => Some(Text::Word(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string())),
        Type::Ipv6 => Some(Text::Word(ipv6(<[u8; 16]>::try_from(bytes).ok()?))),
        Type::Ether => Some(Text::Word(ether(<&[u8; 6]>::try_from(bytes).ok()?))),
        Type::LinkAddress => Some(Text::Word(ether(bytes))),
        Type::DeviceName => Some(Text::quoted(device_name(bytes)?)),
        Type::Text => Some(Text::quoted(terminated(bytes)?)),
        Type::Device => match names.devices.get(&u32::try_from(small()?).ok()?) {
            Some(name) => Some(Text::quoted(name)),
            None => integer(bytes, order),
        },
        Type::Cgroup => match names.cgroups.get(&small()?) {
            Some(path) => Some(Text::quoted(path)),
            None => integer(bytes, order),
        },
        Type::Realm => Some(Text::quoted(small()?.to_string())),
        Type::Class => class(u32::try_from(small()?).ok()?),
        Type::Duration => Some(Text::Plain(duration(small()?))),
        Type::Date => date(small()?).map(Text::quoted).or_else(|| integer(bytes, order)),
        Type::Hour => hour(small()?).map(Text::quoted).or_else(|| integer(bytes, order)),
        Type::Day => match symbols::word(of, small()?) {
            Some(day) => Some(Text::quoted(day)),
            None => integer(bytes, order),
        },
        Type::Boolean => match symbols::word(of, small()?) {
            Some(presence) => Some(Text::Plain(presence.to_owned())),
            None => integer(bytes, order),
        },
        _ => match small().and_then(|number| Some((symbols::word(of, number)?, number))) {
            Some((word, number)) => Some(Text::Symbol(word, number)),
            None => integer(bytes, order),
        },
    }
}

/// The words of the bits that are set, numbers for those that have none; none for a value without bits whose text would be
/// that of a bit.
pub fn flags(of: Type, order: Order, bytes: &[u8]) -> Option<Vec<String>> {
    let value = number(bytes, order)?;
    let bits = (0..128).filter(|bit| value >> bit & 1 != 0);
    if of == Type::CtLabel {
        return (value != 0).then(|| bits.map(|bit| bit.to_string()).collect());
    }
    let word = |bit: u32| {
        let named = 1u64.checked_shl(bit).and_then(|value| symbols::flags(of, value)?.pop());
        named.map_or_else(|| (1u128 << bit).to_string(), str::to_owned)
    };
    let words: Vec<_> = bits.map(word).collect();
    Some(if words.is_empty() { vec!["0".to_owned()] } else { words })
}

/// All values from one to another, both included: one value, a prefix or a range.
pub fn interval(of: Type, order: Order, from: &[u8], to: &[u8], names: Names<'_>) -> Option<String> {
    if from == to {
        return Some(value(of, order, from, names)?.alone());
    }
    if of == Type::DeviceName {
        return wildcard(from, to).map(quote);
    }
    let first = value(of, order, from, names)?;
    if of.has_prefixes()
        && let Some(length) = prefix_length(from, to)
    {
        return Some(format!("{}/{length}", first.alone()));
    }
    Some(format!("{}-{}", first.as_end(), value(of, order, to, names)?.as_end()))
}

/// How many leading bits two addresses share, if the rest is 0 in the one and 1 in the other.
fn prefix_length(from: &[u8], to: &[u8]) -> Option<u32> {
    let length = u32::try_from(8 * from.len()).ok()?;
    let (from, to) = (number(from, Order::Network)?, number(to, Order::Network)?);
    let host = from ^ to;
    let is_prefix = host & host.wrapping_add(1) == 0 && from & host == 0;
    is_prefix.then(|| length - host.count_ones())
}

/// `NAME*`: the names that begin so, from the one that ends there to the one that ends in 0xff bytes.
fn wildcard(from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let name = terminated(from)?;
    let rest = to.strip_prefix(name)?;
    if from.len() != to.len() || rest.is_empty() || rest.iter().any(|byte| *byte != 0xff) {
        return None;
    }
    prefix_name(name)
}

/// `NAME*`; none if the name's end would be read as a literal star.
pub fn prefix_name(name: &[u8]) -> Option<Vec<u8>> {
    (name.last() != Some(&b'\\')).then(|| [name, b"*"].concat())
}

/// A device's name: a star at its end is told from a wildcard by a backslash.
fn device_name(bytes: &[u8]) -> Option<Vec<u8>> {
    let name = terminated(bytes)?;
    Some(match name.split_last() {
        Some((b'*', before)) => [before, b"\\*"].concat(),
        _ => name.to_vec(),
    })
}

/// The text before the first NUL, if nothing but NULs follows.
fn terminated(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at_checked(end)?;
    rest.iter().all(|byte| *byte == 0).then_some(text)
}

fn ether(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// As inet_ntop(3) of glibc writes it, with the last four bytes as an IPv4 address also where `::` stands before it.
fn ipv6(bytes: [u8; 16]) -> String {
    let address = Ipv6Addr::from(bytes);
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
            let [.., a, b, c, d] = bytes;
            format!("::{}", Ipv4Addr::new(a, b, c, d))
        }
        _ => address.to_string(),
    }
}

/// `none`, `root`, `MAJOR:MINOR` in hexadecimal digits (`TC_H_UNSPEC`, `TC_H_ROOT` in `linux/pkt_sched.h`).
fn class(handle: u32) -> Option<Text> {
    Some(Text::Word(match handle {
        0 => "none".to_owned(),
        u32::MAX => "root".to_owned(),
        _ => format!("{:x}:{:x}", handle >> 16, handle & 0xffff),
    }))
}

/// Milliseconds: `30s`, `1500ms`.
pub fn duration(milliseconds: u64) -> String {
    match milliseconds % 1000 {
        0 => format!("{}s", milliseconds / 1000),
        _ => format!("{milliseconds}ms"),
    }
}

/// Nanoseconds since 1970 as a date; none if they are no whole seconds or no year of four digits.
fn date(nanoseconds: u64) -> Option<String> {
    const SECOND: u64 = 1_000_000_000;
    if nanoseconds.is_multiple_of(SECOND) { moment::date_and_time(nanoseconds / SECOND) } else { None }
}

/// Seconds of a day: `22:00`, `10:00:30`.
fn hour(seconds: u64) -> Option<String> {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, rest) {
        (24.., _) => None,
        (_, 0) => Some(format!("{hours:02}:{minutes:02}")),
        _ => Some(format!("{hours:02}:{minutes:02}:{rest:02}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(check: impl Fn(Names<'_>)) {
        let devices = BTreeMap::from([(1, b"lo".to_vec())]);
        let cgroups = BTreeMap::from([(7, b"user.slice".to_vec())]);
        check(Names { devices: &devices, cgroups: &cgroups });
    }

    #[test]
    fn values_look_as_their_type_demands() {
        let host = |number: u32| number.to_ne_bytes().to_vec();
        for (of, order, bytes, expected) in [
            (Type::Service, Order::Network, vec![0, 22], "22"),
            (Type::Ipv4, Order::Network, vec![1, 2, 3, 4], "1.2.3.4"),
            (Type::Ether, Order::Network, vec![0, 0x11, 0x22, 0x33, 0x44, 0x55], "00:11:22:33:44:55"),
            (Type::Protocol, Order::Network, vec![6], "tcp"),
            (Type::Protocol, Order::Network, vec![200], "200"),
            (Type::EtherType, Order::Network, vec![0x81, 0], "8021q"),
            (Type::Device, Order::Host, host(1), "\"lo\""),
            (Type::Device, Order::Host, host(9), "9"),
            (Type::Realm, Order::Host, host(5), "\"5\""),
            (Type::Class, Order::Host, host(0x1_0002), "1:2"),
            (Type::Class, Order::Host, host(0), "none"),
            (Type::TcpFlags, Order::Network, vec![0x12], "syn | ack"),
            (Type::TcpFlags, Order::Network, vec![0], "0"),
            (Type::CtStatus, Order::Host, host(0x180), "128 | 256"),
            (Type::Hour, Order::Host, host(79_200), "\"22:00\""),
            (Type::Hour, Order::Host, host(36_030), "\"10:00:30\""),
            (Type::Hour, Order::Host, host(86_400), "86400"),
            (Type::Day, Order::Host, vec![1], "\"Monday\""),
            (Type::Day, Order::Host, vec![9], "9"),
            (Type::Duration, Order::Host, host(1500), "1500ms"),
            (Type::Boolean, Order::Host, vec![1], "exists"),
            (Type::DeviceName, Order::Host, b"eth*\0\0".to_vec(), "\"eth\\\\*\""),
        ] {
            named(|names| {
                let text = value(of, order, &bytes, names).map(|text| text.alone());
                assert_eq!(text.as_deref(), Some(expected), "{of:?} {bytes:?}");
            });
        }
        named(|names| {
            let seconds = 1_656_673_200 * 1_000_000_000u64;
            let date = value(Type::Date, Order::Host, &seconds.to_ne_bytes(), names).expect("a date");
            assert_eq!(date.alone(), "\"2022-07-01 11:00:00\"");
            let odd = value(Type::Date, Order::Host, &(seconds + 1).to_ne_bytes(), names).expect("a number");
            assert_eq!(odd.alone(), (seconds + 1).to_string());
            for (of, bytes) in [
                (Type::Ipv4, &[1, 2][..]),
                (Type::DeviceName, b"a\0b"),
                (Type::DeviceName, b"unterminated"),
                (Type::Ether, &[1]),
                (Type::Integer, &[0; 17]),
            ] {
                assert_eq!(value(of, of.order(), bytes, names), None, "{of:?}");
            }
        });
    }

    #[test]
    fn addresses_are_those_of_glibc() {
        for (text, expected) in [
            ("::1.2.3.4", "::1.2.3.4"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
            ("::1", "::1"),
            ("::", "::"),
            ("fe80::1:0:0:1", "fe80::1:0:0:1"),
        ] {
            assert_eq!(ipv6(text.parse::<Ipv6Addr>().expect("an address").octets()), expected);
        }
    }

    #[test]
    fn intervals_are_values_prefixes_and_ranges() {
        for (of, from, to, expected) in [
            (Type::Ipv4, &[10, 0, 0, 0][..], &[10, 255, 255, 255][..], Some("10.0.0.0/8")),
            (Type::Ipv4, &[10, 0, 0, 1], &[10, 0, 0, 9], Some("10.0.0.1-10.0.0.9")),
            (Type::Ipv4, &[0; 4], &[255; 4], Some("0.0.0.0/0")),
            (Type::Ipv4, &[10, 0, 0, 1], &[10, 0, 0, 1], Some("10.0.0.1")),
            (Type::Service, &[0, 80], &[0, 95], Some("80-95")),
            (Type::IcmpType, &[0], &[8], Some("0-8")),
            (Type::DeviceName, b"et\0\0", b"et\xff\xff", Some("\"et*\"")),
            (Type::DeviceName, b"e\\\0\0", b"e\\\xff\xff", None),
            (Type::DeviceName, b"et\0\0", b"eu\xff\xff", None),
        ] {
            named(|names| {
                let text = interval(of, Order::Network, from, to, names);
                assert_eq!(text.as_deref(), expected, "{of:?} {from:?}");
            });
        }
    }
}
