//! The times that log daemons and the kernel write at the beginning of a line, recognised by their shape.
//! Knows no layout: whoever has one reads with it first.

use std::time::{Duration, SystemTime};

use super::word::first_word;
use crate::domain::drops::civil::{self, Civil, Clock, Date};
use crate::domain::drops::time_layout::fraction_digits;

/// When a line was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// A time that a host and a program may follow.
    At(SystemTime),
    /// A time of dmesg, which only the message follows.
    BareAt(SystemTime),
    /// The time since the node booted.
    Uptime(Duration),
}

/// The time at the beginning of a text, and what follows it.
pub(super) fn read(text: &[u8], clock: Clock) -> Option<(Stamp, &[u8])> {
    match text.first()? {
        b'[' => bracketed(text, clock),
        b'0'..=b'9' => iso(text, clock).or_else(|| unix(text)),
        _ => {
            let (word, rest) = first_word(text);
            if civil::is_weekday(word) {
                let rest = rest.trim_ascii_start();
                return iso(rest, clock).or_else(|| month_first(rest, clock));
            }
            month_first(text, clock)
        }
    }
}

/// Whether a text begins with a time of RFC 3339.
pub(super) fn is_iso(text: &[u8]) -> bool {
    date(first_word(text).0).is_some()
}

/// `[  123.456789]`.
pub(super) fn uptime(text: &[u8]) -> Option<(Duration, &[u8])> {
    let (inside, rest) = inside_brackets(text)?;
    let (seconds, fraction) = number(inside.trim_ascii_start())?;
    let (nanosecond, end) = fraction_digits(fraction)?;
    let nanosecond = u32::try_from(nanosecond).ok()?;
    end.is_empty().then_some((Duration::new(seconds, nanosecond), rest))
}

/// What follows `[    T1]` or `[    C1]`, the task or processor that printed, if that is there.
///
/// *Source*: `print_caller` in `kernel/printk/printk.c`.
pub(super) fn after_caller(text: &[u8]) -> &[u8] {
    let caller = || {
        let (inside, rest) = inside_brackets(text)?;
        let (kind, id) = inside.trim_ascii_start().split_first()?;
        (matches!(kind, b'T' | b'C') && id.iter().all(u8::is_ascii_digit)).then_some(rest)
    };
    caller().unwrap_or(text)
}

fn inside_brackets(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"[")?;
    let end = text.iter().take(64).position(|byte| *byte == b']')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

fn bracketed(text: &[u8], clock: Clock) -> Option<(Stamp, &[u8])> {
    if let Some((uptime, rest)) = uptime(text) {
        return Some((Stamp::Uptime(uptime), after_caller(rest)));
    }
    let (inside, rest) = inside_brackets(text)?;
    match read_inside(inside.trim_ascii(), clock)? {
        (Stamp::At(at), b"") => Some((Stamp::BareAt(at), rest)),
        _ => None,
    }
}

fn read_inside(inside: &[u8], clock: Clock) -> Option<(Stamp, &[u8])> {
    let (word, rest) = first_word(inside);
    month_first(if civil::is_weekday(word) { rest.trim_ascii_start() } else { inside }, clock)
}

/// `Sep  3 11:38:30`, with a fraction or not, with a year before or behind the time of day or not.
fn month_first(text: &[u8], clock: Clock) -> Option<(Stamp, &[u8])> {
    let (name, rest) = first_word(text);
    let month = civil::month(name)?;
    let (day, rest) = first_word(rest.trim_ascii_start());
    let day = small(day)?;
    let (mut word, mut rest) = first_word(rest.trim_ascii_start());
    let mut year = year(word);
    if year.is_some() {
        (word, rest) = first_word(rest.trim_ascii_start());
    }
    let time = time_of_day(word)?;
    if year.is_none() {
        let (word, behind) = first_word(rest.trim_ascii_start());
        year = self::year(word);
        if year.is_some() {
            rest = behind;
        }
    }
    let civil = Civil { year, date: Date::Month { month, day }, ..time };
    Some((Stamp::At(civil.resolve(clock)?), rest))
}

/// `2026-11-21T13:00:07.123456+00:00`, also with a space or a comma, and with a zone as another word.
///
/// dmesg alone writes a comma.
fn iso(text: &[u8], clock: Clock) -> Option<(Stamp, &[u8])> {
    let (word, mut rest) = first_word(text);
    let (year, month, day, behind) = date(word)?;
    let time = match behind.split_first() {
        Some((b'T' | b't', time)) => time,
        None => {
            let (time, behind) = first_word(rest.trim_ascii_start());
            rest = behind;
            time
        }
        Some(_) => return None,
    };
    let mut time = time_of_day(time)?;
    if time.offset.is_none() {
        let (word, behind) = first_word(rest.trim_ascii_start());
        time.offset = if word == b"UTC" { Some(0) } else { offset(word) };
        if time.offset.is_some() {
            rest = behind;
        }
    }
    let civil = Civil { year: Some(year), date: Date::Month { month, day }, ..time };
    let at = civil.resolve(clock)?;
    let stamp = if word.contains(&b',') { Stamp::BareAt(at) } else { Stamp::At(at) };
    Some((stamp, rest))
}

/// `1700000000.123456` of `journalctl -o short-unix`.
fn unix(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let (word, rest) = first_word(text);
    let (seconds, fraction) = number(word).filter(|_| word.len() >= 10)?;
    let (nanosecond, end) = fraction_digits(fraction)?;
    let at = civil::unix(seconds, u32::try_from(nanosecond).ok()?)?;
    end.is_empty().then_some((Stamp::At(at), rest))
}

fn date(word: &[u8]) -> Option<(i16, i8, i8, &[u8])> {
    let (date, rest) = word.split_at_checked(10)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *date else { return None };
    let year = year(&[y1, y2, y3, y4])?;
    Some((year, small(&[m1, m2])?, small(&[d1, d2])?, rest))
}

/// `13:00:07`, and a fraction and an offset if they are there.
fn time_of_day(word: &[u8]) -> Option<Civil> {
    let (time, rest) = word.split_at_checked(8)?;
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *time else { return None };
    let (nanosecond, rest) = fraction_digits(rest).unwrap_or((0, rest));
    let offset = offset(rest);
    let civil = Civil {
        year: None,
        date: Date::DayOfYear(1),
        hour: small(&[h1, h2])?,
        minute: small(&[m1, m2])?,
        second: small(&[s1, s2])?,
        nanosecond,
        offset,
    };
    (rest.is_empty() || offset.is_some()).then_some(civil)
}

/// `Z`, `+01:00` or `+0100`, as seconds ahead of UTC.
fn offset(word: &[u8]) -> Option<i32> {
    let (sign, h1, h2, m1, m2) = match *word {
        [b'Z' | b'z'] => return Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            (sign, h1, h2, m1, m2)
        }
        _ => return None,
    };
    let minutes = i32::from(small(&[m1, m2]).filter(|minutes| *minutes < 60)?);
    let seconds = i32::from(small(&[h1, h2])?) * 3_600 + minutes * 60;
    Some(if sign == b'-' { -seconds } else { seconds })
}

fn year(word: &[u8]) -> Option<i16> {
    let digits = (word.len() == 4 && word.iter().all(u8::is_ascii_digit)).then_some(word)?;
    Some(digits.iter().fold(0, |year, digit| year * 10 + i16::from(digit - b'0')))
}

/// One or two digits.
fn small(digits: &[u8]) -> Option<i8> {
    let digit = |digit: u8| digit.is_ascii_digit().then(|| (digit - b'0').cast_signed());
    match *digits {
        [one] => digit(one),
        [ten, one] => Some(digit(ten)? * 10 + digit(one)?),
        _ => None,
    }
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let count = text.iter().take(12).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(count).filter(|(digits, _)| !digits.is_empty())?;
    Some((digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')), rest))
}
