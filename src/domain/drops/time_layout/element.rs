//! The elements of a layout: how each is recognised in it, and how each reads its part of a line.
//! Joins nothing: what the elements found is put together by the layout.

use crate::domain::drops::civil;

/// What a layout's elements found.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub year: Option<i16>,
    pub month: Option<i8>,
    pub day: Option<i8>,
    pub day_of_year: Option<i16>,
    pub hour: i8,
    pub is_afternoon: Option<bool>,
    pub minute: i8,
    pub second: i8,
    pub nanosecond: i32,
    pub offset: Option<i32>,
}

/// One part of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// Text that must be there; a run of spaces stands for any number of them.
    Literal(Vec<u8>),
    LongYear,
    ShortYear,
    /// A name, long or short.
    MonthName {
        is_long: bool,
    },
    WeekdayName {
        is_long: bool,
    },
    Number {
        what: Unit,
        pad: Pad,
    },
    Seconds {
        pad: Pad,
        takes_fraction: bool,
    },
    /// So many digits behind a point or comma.
    Fraction(usize),
    /// Any number of digits behind a point or comma, or nothing.
    OptionalFraction,
    AfterNoon {
        is_upper: bool,
    },
    Offset {
        may_be_z: bool,
        form: OffsetForm,
    },
    ZoneName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Month,
    Day,
    DayOfYear,
    Hour,
    HourOf12,
    Minute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pad {
    None,
    Zero,
    Space,
}

/// The parts of an offset and whether colons are between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetForm {
    parts: usize,
    has_colon: bool,
}

/// What stands for what, the longer before what it begins with.
const NUMBERS: [(&[u8], Unit, Pad); 12] = [
    (b"002", Unit::DayOfYear, Pad::Zero),
    (b"__2", Unit::DayOfYear, Pad::Space),
    (b"01", Unit::Month, Pad::Zero),
    (b"02", Unit::Day, Pad::Zero),
    (b"03", Unit::HourOf12, Pad::Zero),
    (b"04", Unit::Minute, Pad::Zero),
    (b"15", Unit::Hour, Pad::None),
    (b"_2", Unit::Day, Pad::Space),
    (b"1", Unit::Month, Pad::None),
    (b"2", Unit::Day, Pad::None),
    (b"3", Unit::HourOf12, Pad::None),
    (b"4", Unit::Minute, Pad::None),
];
const OFFSETS: [(&[u8], usize, bool); 5] = [
    (b"070000", 3, false),
    (b"07:00:00", 3, true),
    (b"0700", 2, false),
    (b"07:00", 2, true),
    (b"07", 1, false),
];

pub(super) fn elements(mut layout: &[u8]) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut literal = Vec::new();
    while let Some((first, rest)) = layout.split_first() {
        match recognise(layout) {
            Some((element, length)) => {
                if !literal.is_empty() {
                    elements.push(Element::Literal(std::mem::take(&mut literal)));
                }
                elements.push(element);
                layout = layout.get(length..).unwrap_or_default();
            }
            None => {
                literal.push(*first);
                layout = rest;
            }
        }
    }
    if !literal.is_empty() {
        elements.push(Element::Literal(literal));
    }
    for at in 1..elements.len() {
        if let Some(
            [Element::Seconds { takes_fraction, .. }, Element::Fraction(_) | Element::OptionalFraction],
        ) = elements.get_mut(at - 1..=at)
        {
            *takes_fraction = false;
        }
    }
    elements
}

pub(super) fn has_day(elements: &[Element]) -> bool {
    let has = |unit| {
        elements.iter().any(|element| matches!(element, Element::Number { what, .. } if *what == unit))
    };
    let has_month =
        has(Unit::Month) || elements.iter().any(|element| matches!(element, Element::MonthName { .. }));
    has(Unit::DayOfYear) || has_month && has(Unit::Day)
}

fn recognise(layout: &[u8]) -> Option<(Element, usize)> {
    let begins = |text: &[u8]| layout.starts_with(text);
    let no_lower_case_at = |at: usize| !layout.get(at).is_some_and(u8::is_ascii_lowercase);
    let pair = match layout.first()? {
        b'J' if begins(b"January") => (Element::MonthName { is_long: true }, 7),
        b'J' if begins(b"Jan") && no_lower_case_at(3) => (Element::MonthName { is_long: false }, 3),
        b'M' if begins(b"Monday") => (Element::WeekdayName { is_long: true }, 6),
        b'M' if begins(b"Mon") && no_lower_case_at(3) => (Element::WeekdayName { is_long: false }, 3),
        b'M' if begins(b"MST") => (Element::ZoneName, 3),
        b'2' if begins(b"2006") => (Element::LongYear, 4),
        b'_' if begins(b"_2006") => return None,
        b'0' if begins(b"06") => (Element::ShortYear, 2),
        b'0' if begins(b"05") => (Element::Seconds { pad: Pad::Zero, takes_fraction: true }, 2),
        b'5' => (Element::Seconds { pad: Pad::None, takes_fraction: true }, 1),
        b'P' if begins(b"PM") => (Element::AfterNoon { is_upper: true }, 2),
        b'p' if begins(b"pm") => (Element::AfterNoon { is_upper: false }, 2),
        sign @ (b'-' | b'Z') => return offset(layout, *sign == b'Z'),
        b'.' | b',' => return fraction(layout),
        _ => {
            let (text, what, pad) = NUMBERS.iter().find(|(text, ..)| begins(text))?;
            (Element::Number { what: *what, pad: *pad }, text.len())
        }
    };
    Some(pair)
}

fn offset(layout: &[u8], may_be_z: bool) -> Option<(Element, usize)> {
    let rest = layout.get(1..)?;
    let (text, parts, has_colon) = OFFSETS.iter().find(|(text, ..)| rest.starts_with(text))?;
    let form = OffsetForm { parts: *parts, has_colon: *has_colon };
    Some((Element::Offset { may_be_z, form }, 1 + text.len()))
}

fn fraction(layout: &[u8]) -> Option<(Element, usize)> {
    let digits = layout.get(1..)?;
    let digit = *digits.first().filter(|digit| matches!(digit, b'0' | b'9'))?;
    let count = digits.iter().take_while(|byte| **byte == digit).count();
    let is_whole = !digits.get(count).is_some_and(u8::is_ascii_digit);
    let element = if digit == b'0' { Element::Fraction(count) } else { Element::OptionalFraction };
    is_whole.then_some((element, 1 + count))
}

impl Element {
    /// Reads its part at the beginning of `value`; what is left of it.
    pub(super) fn read<'a>(&self, value: &'a [u8], fields: &mut Fields) -> Option<&'a [u8]> {
        match self {
            Self::Literal(text) => literal(value, text),
            Self::LongYear => {
                let (year, rest) = digits(value, 4, 4)?;
                fields.year = Some(i16::try_from(year).ok()?);
                Some(rest)
            }
            Self::ShortYear => {
                let (year, rest) = digits(value, 2, 2)?;
                let century = if year >= 69 { 1900 } else { 2000 };
                fields.year = Some(i16::try_from(year + century).ok()?);
                Some(rest)
            }
            Self::MonthName { is_long } => {
                let (name, rest) = letters(value, *is_long)?;
                fields.month = Some(civil::month(name)?);
                Some(rest)
            }
            Self::WeekdayName { is_long } => {
                let (name, rest) = letters(value, *is_long)?;
                civil::is_weekday(name).then_some(rest)
            }
            Self::Number { what, pad } => number(value, *what, *pad, fields),
            Self::Seconds { pad, takes_fraction } => seconds(value, *pad, *takes_fraction, fields),
            Self::Fraction(count) => {
                let (nanosecond, rest) = fraction_digits(value)?;
                fields.nanosecond = nanosecond;
                (value.len() - rest.len() == 1 + count).then_some(rest)
            }
            Self::OptionalFraction => Some(optional_fraction(value, fields)),
            Self::AfterNoon { is_upper } => {
                let (name, rest) = value.split_at_checked(2)?;
                fields.is_afternoon = Some(match (name, is_upper) {
                    (b"AM", true) | (b"am", false) => false,
                    (b"PM", true) | (b"pm", false) => true,
                    _ => return None,
                });
                Some(rest)
            }
            Self::Offset { may_be_z, form } => offset_value(value, *may_be_z, *form, fields),
            Self::ZoneName => zone_name(value, fields),
        }
    }
}

fn literal<'a>(mut value: &'a [u8], text: &[u8]) -> Option<&'a [u8]> {
    let mut text = text;
    while let Some((first, rest)) = text.split_first() {
        if *first == b' ' {
            if value.first().is_some_and(|byte| *byte != b' ') {
                return None;
            }
            (text, value) = (text.trim_ascii_start(), value.trim_ascii_start());
        } else {
            value = value.strip_prefix(&[*first])?;
            text = rest;
        }
    }
    Some(value)
}

/// At least `least` and at most `most` digits.
fn digits(value: &[u8], least: usize, most: usize) -> Option<(u32, &[u8])> {
    let count = value.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = value.split_at_checked(count.max(least))?;
    let number = digits
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))?;
    Some((number, rest))
}

/// A name of letters; a short one has three.
fn letters(value: &[u8], is_long: bool) -> Option<(&[u8], &[u8])> {
    let count = value.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let count = if is_long { count } else { 3 };
    value
        .split_at_checked(count)
        .filter(|(name, _)| is_long == (name.len() > 3) || name.eq_ignore_ascii_case(b"may"))
}

fn number<'a>(value: &'a [u8], what: Unit, pad: Pad, fields: &mut Fields) -> Option<&'a [u8]> {
    let most = if what == Unit::DayOfYear { 3 } else { 2 };
    let value = if pad == Pad::Space { value.trim_ascii_start() } else { value };
    let least = if pad == Pad::Zero { most } else { 1 };
    let (number, rest) = digits(value, least, most)?;
    let small = i8::try_from(number).ok();
    match what {
        Unit::Month => fields.month = Some(small?),
        Unit::Day => fields.day = Some(small?),
        Unit::DayOfYear => fields.day_of_year = Some(i16::try_from(number).ok().filter(|day| *day >= 1)?),
        Unit::Hour => fields.hour = small?,
        Unit::HourOf12 => fields.hour = small.filter(|hour| *hour <= 12)?,
        Unit::Minute => fields.minute = small?,
    }
    Some(rest)
}

fn seconds<'a>(value: &'a [u8], pad: Pad, takes_fraction: bool, fields: &mut Fields) -> Option<&'a [u8]> {
    let (second, rest) = digits(value, if pad == Pad::Zero { 2 } else { 1 }, 2)?;
    fields.second = i8::try_from(second).ok().filter(|second| *second < 60)?;
    Some(if takes_fraction { optional_fraction(rest, fields) } else { rest })
}

fn optional_fraction<'a>(value: &'a [u8], fields: &mut Fields) -> &'a [u8] {
    match fraction_digits(value) {
        Some((nanosecond, rest)) => {
            fields.nanosecond = nanosecond;
            rest
        }
        None => value,
    }
}

/// A point or comma with digits behind it, as nanoseconds.
pub(in crate::domain::drops) fn fraction_digits(value: &[u8]) -> Option<(i32, &[u8])> {
    let digits = value.strip_prefix(b".").or_else(|| value.strip_prefix(b","))?;
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at_checked(count).filter(|(digits, _)| !digits.is_empty())?;
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    Some((padded.fold(0, |number, byte| number * 10 + i32::from(byte - b'0')), rest))
}

fn offset_value<'a>(
    value: &'a [u8],
    may_be_z: bool,
    form: OffsetForm,
    fields: &mut Fields,
) -> Option<&'a [u8]> {
    if let Some(rest) = value.strip_prefix(b"Z").filter(|_| may_be_z) {
        fields.offset = Some(0);
        return Some(rest);
    }
    let (sign, mut rest) = value.split_first().filter(|(sign, _)| matches!(sign, b'+' | b'-'))?;
    let mut seconds = 0;
    for (part, unit) in (0..form.parts).zip([3_600, 60, 1]) {
        if part > 0 && form.has_colon {
            rest = rest.strip_prefix(b":")?;
        }
        let (number, left) = digits(rest, 2, 2)?;
        if number > 24 && part == 0 || number >= 60 {
            return None;
        }
        seconds += i32::try_from(number).ok()? * unit;
        rest = left;
    }
    fields.offset = Some(if *sign == b'-' { -seconds } else { seconds });
    Some(rest)
}

/// An abbreviation of three to five letters, or an offset in its place. As in Go, one that says no offset means UTC.
/// Go ignores the offset where there is one; it is heeded here.
fn zone_name<'a>(value: &'a [u8], fields: &mut Fields) -> Option<&'a [u8]> {
    if matches!(value.first(), Some(b'+' | b'-')) {
        return hours(value, fields);
    }
    let length = match value {
        [b'C', b'h', b'S', b'T', ..] | [b'M', b'e', b'S', b'T', ..] => 4,
        _ => value.iter().take_while(|byte| byte.is_ascii_uppercase()).count(),
    };
    let (name, rest) = value.split_at_checked(length)?;
    let is_known = matches!(name, [_, _, _] | [_, _, _, b'T'] | [_, _, _, _, b'T'] | b"WITA");
    fields.offset = Some(0);
    match rest.first() {
        Some(b'+' | b'-') if name == b"GMT" => hours(rest, fields),
        _ => is_known.then_some(rest),
    }
}

fn hours<'a>(value: &'a [u8], fields: &mut Fields) -> Option<&'a [u8]> {
    let (sign, rest) = value.split_first()?;
    let (hours, rest) = digits(rest, 1, 2).filter(|(hours, _)| *hours <= 23)?;
    let seconds = i32::try_from(hours).ok()? * 3_600;
    fields.offset = Some(if *sign == b'-' { -seconds } else { seconds });
    Some(rest)
}
