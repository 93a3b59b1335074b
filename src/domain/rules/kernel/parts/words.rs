//! Words that several extensions write: truth values, ranges, marks, addresses, lists of names, rates, times.
//! Knows no extension.
//!
//! A function that returns an option gives none if the word would not say everything that the value says.
//!
//! *Source*: what iptables-save 1.8.9 prints and iptables-restore 1.8.9 makes of it again; iptables-extensions(8).

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::domain::rules::kernel::layout::Name;
use crate::domain::rules::text::line::Line;

/// An address field that IPv4 and IPv6 share (`union nf_inet_addr`), in network byte order.
pub(in crate::domain::rules) type Address = [u8; 16];

/// Where an IPv4 address ends in an [`Address`].
const IP_BYTES: usize = 4;

/// A number that the kernel takes for a truth value and that iptables writes as 0 or 1.
pub(super) fn boolean(number: impl Into<u32>) -> Option<bool> {
    match number.into() {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// ` LOW`, or ` LOW:HIGH` if they differ. None if they are not in order.
pub(super) fn range<T: Display + PartialOrd>(line: &mut Line, low: T, high: T) -> Option<()> {
    if low == high {
        line.word(low);
    } else if low < high {
        line.word(format_args!("{low}:{high}"));
    } else {
        return None;
    }
    Some(())
}

/// ` 0xMARK`, or ` 0xMARK/0xMASK` if a bit is left out.
pub(super) fn mark(line: &mut Line, mark: u32, mask: u32) {
    const EVERY_BIT: u32 = u32::MAX;
    if mask == EVERY_BIT {
        line.word(format_args!("{mark:#x}"));
    } else {
        line.word(format_args!("{mark:#x}/{mask:#x}"));
    }
}

/// ` A,B,C`: the names of the bits that are set, in the table's order. None if a bit has no name or none is set.
pub(super) fn names(line: &mut Line, bits: u32, table: &[(u32, &str)]) -> Option<()> {
    let mut left = bits;
    for (bit, name) in table.iter().filter(|(bit, _)| bits & bit != 0) {
        line.push(if left == bits { b" " } else { b"," });
        line.push(name.as_bytes());
        left &= !bit;
    }
    (bits != 0 && left == 0).then_some(())
}

/// The bytes of an IPv4 address, or none if something stands behind it.
fn ip(address: &Address) -> Option<Ipv4Addr> {
    let (address, rest) = address.split_first_chunk::<IP_BYTES>()?;
    rest.iter().all(|byte| *byte == 0).then_some(Ipv4Addr::from(*address))
}

/// An IPv6 address as `inet_ntop` of glibc writes it: with a dotted end also below `::/96`, other than `::` and `::1`.
pub(in crate::domain::rules) fn ip6(address: Address) -> impl Display {
    let address = Ipv6Addr::from(address);
    std::fmt::from_fn(move |text| match address.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
            let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
            write!(text, "::{a}.{b}.{c}.{d}")
        }
        _ => address.fmt(text),
    })
}

/// The address, without a blank before it. None if more bytes than its family has are set.
pub(super) fn address(line: &mut Line, is_ip: bool, address: &Address) -> Option<()> {
    if is_ip {
        push(line, ip(address)?);
    } else {
        push(line, ip6(*address));
    }
    Some(())
}

/// Without a blank before it.
pub(in crate::domain::rules) fn push(line: &mut Line, word: impl Display) {
    use std::fmt::Write;
    // writing to memory does not fail
    let _ = write!(line, "{word}");
}

/// The length of the prefix that a mask leaves; none if it is no prefix.
pub(in crate::domain::rules) fn prefix_length(mask: &[u8]) -> Option<u32> {
    let mut bytes = mask.iter().skip_while(|byte| **byte == u8::MAX);
    let whole = 8 * u32::try_from(mask.len() - bytes.clone().count()).ok()?;
    let Some(edge) = bytes.next() else {
        return Some(whole);
    };
    let is_prefix = edge.leading_ones() + edge.trailing_zeros() >= 8 && bytes.all(|byte| *byte == 0);
    is_prefix.then_some(whole + edge.leading_ones())
}

/// The bits of an address.
pub(super) const IP_BITS: u32 = 32;
pub(super) const IP6_BITS: u32 = 128;

/// An IPv4 mask of `union nf_inet_addr`. None if something else than bytes that IPv4 has not stands behind it.
///
/// iptables leaves these as they were, all ones or all zeros: ones where no mask is given, zeros where a length is, and
/// those of iptables 1.8.13 ones where a mask is given that is no prefix. The kernel does not read them.
fn ip_mask(mask: &Address) -> Option<[u8; IP_BYTES]> {
    let (mask, rest) = mask.split_first_chunk()?;
    let is_unread = rest.iter().all(|byte| *byte == 0) || rest.iter().all(|byte| *byte == u8::MAX);
    is_unread.then_some(*mask)
}

/// The length of the prefix that a mask leaves. None if it leaves no prefix, or is none of its family.
pub(super) fn mask_length(is_ip: bool, mask: &Address) -> Option<u32> {
    if is_ip { prefix_length(&ip_mask(mask)?) } else { prefix_length(mask) }
}

/// ` ADDRESS`, ` ADDRESS/LENGTH` or ` ADDRESS/MASK`, as options of matches take it (`XTTYPE_HOSTMASK`): they keep bits
/// of the address that the mask leaves out. None if more bytes than the family has are set.
///
/// iptables-save 1.8.9 writes every mask, though its own options make a whole mask of one that is no prefix; those of
/// iptables 1.8.13 keep it.
pub(super) fn host_network(line: &mut Line, is_ip: bool, value: &Address, mask: &Address) -> Option<()> {
    line.push(b" ");
    address(line, is_ip, value)?;
    match mask_length(is_ip, mask) {
        Some(length) if length == if is_ip { IP_BITS } else { IP6_BITS } => (),
        Some(length) => push(line, format_args!("/{length}")),
        None if is_ip => push(line, format_args!("/{}", Ipv4Addr::from(ip_mask(mask)?))),
        None => push(line, format_args!("/{}", ip6(*mask))),
    }
    Some(())
}

/// ` NAME` of an interface, whose mask says where it ends; a name that ends in `+` is a prefix.
pub(super) fn interface(line: &mut Line, name: &Name<16>, mask: &[u8; 16]) -> Option<()> {
    let compared = match name.as_bytes() {
        [prefix @ .., b'+'] => prefix.len(),
        whole => whole.len() + 1,
    };
    let (ones, zeros) = mask.split_at_checked(compared)?;
    if ones.iter().any(|byte| *byte != u8::MAX) || zeros.iter().any(|byte| *byte != 0) {
        return None;
    }
    name.is_terminated().then(|| line.name(name.as_bytes()))?
}

/// Units of a rate, in seconds, as iptables-save names them, the longest first.
const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "min"), (1, "sec")];

/// How often something may be, if this interval lies between, of which a second has `scale`: the number, and the
/// seconds of the unit, that iptables chooses. None if it is more rarely than once a day, or never.
pub(in crate::domain::rules::kernel) fn chosen_rate(interval: u64, scale: u64) -> Option<(u64, u64)> {
    let mut chosen = None;
    for (unit, _) in UNITS {
        let scaled = unit * scale;
        let number = scaled.checked_div(interval)?;
        // a shorter unit is taken as long as it does not round too much
        if chosen.is_some() && (interval > scaled || number < scaled % interval) {
            break;
        }
        chosen = Some((number, unit));
    }
    chosen
}

/// ` NUMBER/UNIT`: how often something may be, if this interval lies between, of which a second has `scale`. Returns
/// the seconds of the unit; none if the rate, which is rounded, would mean another interval.
pub(super) fn rate(line: &mut Line, interval: u64, scale: u64) -> Option<u64> {
    let (number, unit) = chosen_rate(interval, scale)?;
    let (_, name) = UNITS.into_iter().find(|(seconds, _)| *seconds == unit)?;
    if (unit * scale).checked_div(number)? != interval {
        return None;
    }
    line.word(format_args!("{number}/{name}"));
    Some(unit)
}

/// ` HH:MM:SS` of a time within a day, in seconds. None if it is a day or more.
pub(super) fn clock(line: &mut Line, seconds: u32) -> Option<()> {
    if seconds >= DAY {
        return None;
    }
    line.word(format_args!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60));
    Some(())
}

/// Seconds of a day.
const DAY: u32 = 86_400;

/// ` YYYY-MM-DDTHH:MM:SS` of the seconds since 1970, in UTC.
pub(super) fn date_time(line: &mut Line, seconds: u32) {
    // the year begins in March, so that the day that not every year has is its last
    const DAYS_BEFORE_1970: u32 = 719_468;
    const DAYS_OF_400_YEARS: u32 = 146_097;
    let days = seconds / DAY + DAYS_BEFORE_1970;
    let (age, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / (DAYS_OF_400_YEARS - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = 400 * age + year + next;
    let time = seconds % DAY;
    line.word(format_args!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        time / 3_600,
        time / 60 % 60,
        time % 60
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::kernel::layout::Field;

    /// What a writer that always writes adds to a line.
    fn written(write: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::default();
        write(&mut line);
        String::from_utf8(line.as_bytes().to_vec()).unwrap()
    }

    /// What a writer adds to a line, if it does.
    fn maybe(write: impl FnOnce(&mut Line) -> Option<()>) -> Option<String> {
        let mut line = Line::default();
        write(&mut line)?;
        Some(String::from_utf8(line.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn truth_values_and_ranges() {
        assert_eq!([boolean(0u8), boolean(1u32), boolean(2u8)], [Some(false), Some(true), None]);
        let of = |low, high| maybe(|line| range::<u16>(line, low, high));
        assert_eq!(of(5, 5).unwrap(), " 5");
        assert_eq!(of(0, 65_535).unwrap(), " 0:65535");
        assert_eq!(of(5, 4), None);
    }

    #[test]
    fn marks_and_names() {
        assert_eq!(written(|line| mark(line, 0, u32::MAX)), " 0x0");
        assert_eq!(written(|line| mark(line, 0x4000, 0x4000)), " 0x4000/0x4000");
        let of = |bits| maybe(|line| names(line, bits, &[(4, "C"), (1, "A"), (8, "D")]));
        assert_eq!(of(13).unwrap(), " C,A,D");
        assert_eq!(of(1).unwrap(), " A");
        assert_eq!((of(0), of(2), of(3)), (None, None, None));
    }

    #[test]
    fn networks_of_both_families() {
        let ip = |address: [u8; 4]| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address);
            bytes
        };
        let of = |address, mask: Address| maybe(|line| host_network(line, true, &ip(address), &mask));
        assert_eq!(of([10, 1, 0, 0], ip([255, 255, 0, 0])).unwrap(), " 10.1.0.0/16");
        assert_eq!(of([0; 4], ip([0; 4])).unwrap(), " 0.0.0.0/0");
        assert_eq!(of([1, 2, 3, 4], ip([255, 255, 255, 0])).unwrap(), " 1.2.3.4/24");
        assert_eq!(of([1, 2, 3, 4], [255; 16]).unwrap(), " 1.2.3.4");
        assert_eq!(of([1, 2, 3, 4], ip([255; 4])).unwrap(), " 1.2.3.4");
        assert_eq!(of([1, 2, 3, 4], ip([255, 0, 255, 0])).unwrap(), " 1.2.3.4/255.0.255.0");
        let mut odd = ip([255, 255, 255, 0]);
        odd[15] = 1;
        assert_eq!(of([1, 2, 3, 0], odd), None);
        assert_eq!(maybe(|line| host_network(line, true, &odd, &[255; 16])), None);
        let mut unread = [255; 16];
        unread[1..3].fill(0);
        assert_eq!(of([1, 2, 3, 4], unread).unwrap(), " 1.2.3.4/255.0.0.255");

        let of = |address: &str, mask: &str| {
            let bytes = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
            maybe(|line| host_network(line, false, &bytes(address), &bytes(mask)))
        };
        let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(of("fd00::1", all).unwrap(), " fd00::1");
        assert_eq!(of("fe80::", "ffc0::").unwrap(), " fe80::/10");
        assert_eq!(of("::", "::").unwrap(), " ::/0");
        assert_eq!(of("fe80::1", "ffc0::").unwrap(), " fe80::1/10");
        assert_eq!(of("2001:0:1::", "ffff:0:ffff::").unwrap(), " 2001:0:1::/ffff:0:ffff::");
    }

    #[test]
    fn addresses_are_written_as_glibc_does() {
        for (address, expected) in [
            ("::", "::"),
            ("::1", "::1"),
            ("::ffff", "::ffff"),
            ("::1:0", "::0.1.0.0"),
            ("::102:304", "::1.2.3.4"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
            ("::ffff:0:0", "::ffff:0.0.0.0"),
            ("::fffe:1.2.3.4", "::fffe:102:304"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
            ("1:0:0:2:3:0:0:4", "1::2:3:0:0:4"),
        ] {
            let octets = address.parse::<Ipv6Addr>().unwrap().octets();
            assert_eq!(ip6(octets).to_string(), expected, "{address}");
        }
    }

    #[test]
    fn prefixes() {
        let of = |mask: &[u8]| prefix_length(mask);
        assert_eq!(
            [of(&[255, 255]), of(&[255, 128]), of(&[0, 0]), of(&[254, 0])].map(Option::unwrap),
            [16, 9, 0, 7]
        );
        assert_eq!([of(&[255, 1]), of(&[0, 255]), of(&[253, 0]), of(&[128, 128])], [None; 4]);
    }

    #[test]
    fn interfaces_end_where_their_mask_says() {
        let of = |name: &str, ones: usize| {
            let mut bytes = [0; 16];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            let mut mask = [0; 16];
            mask[..ones].fill(255);
            maybe(|line| interface(line, &Name::read(&bytes), &mask))
        };
        assert_eq!(of("lo", 3).unwrap(), " lo");
        assert_eq!(of("eth+", 3).unwrap(), " eth+");
        assert_eq!(of("+", 0).unwrap(), " +");
        assert_eq!(of("abcdefghijklmno", 16).unwrap(), " abcdefghijklmno");
        for (name, ones) in [("lo", 2), ("lo", 4), ("eth+", 5), ("", 1), ("a b", 4), ("abcdefghijklmnop", 16)]
        {
            assert_eq!(of(name, ones), None, "{name}");
        }
    }

    #[test]
    fn rates_are_written_only_if_they_mean_the_interval() {
        let of = |interval| maybe(|line| rate(line, interval, 10_000).map(|_| ()));
        for (number, unit, seconds) in
            [(3, "hour", 3_600), (5, "min", 60), (7, "sec", 1), (1, "day", 86_400), (10_000, "sec", 1)]
        {
            assert_eq!(of(seconds * 10_000 / number).unwrap(), format!(" {number}/{unit}"));
        }
        assert_eq!([of(0), of(864_000_001), of(u64::MAX), of(600_000_001)], [None, None, None, None]);
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(maybe(|line| clock(line, 3_723)).unwrap(), " 01:02:03");
        assert_eq!(maybe(|line| clock(line, 86_399)).unwrap(), " 23:59:59");
        assert_eq!(maybe(|line| clock(line, 86_400)), None);
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_582_230_020, "2020-02-20T20:20:20"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (2_147_483_647, "2038-01-19T03:14:07"),
            (u32::MAX, "2106-02-07T06:28:15"),
        ] {
            assert_eq!(written(|line| date_time(line, seconds)), format!(" {expected}"));
        }
    }
}
