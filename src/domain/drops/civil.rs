//! Dates and times as log lines write them, some without a year and most without a zone.
//! Knows neither the order in which they are written nor what time it is.

use std::time::{Duration, SystemTime};

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::Offset};

/// What a time without year or zone is to be understood by.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The present time.
    pub now: SystemTime,
    /// How many seconds local time is ahead of UTC, for times that name no zone.
    pub utc_offset_seconds: i32,
}

/// How far a line may be ahead of our clock before its year is taken for the year before.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);
/// 29 February may be eight years away.
const YEARS: i16 = 9;

/// A date and a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Civil {
    pub year: Option<i16>,
    pub date: Date,
    pub hour: i8,
    pub minute: i8,
    /// A leap second, 60, is read as 59.
    pub second: i8,
    pub nanosecond: i32,
    /// Seconds ahead of UTC, if the line says so.
    pub offset: Option<i32>,
}

/// A day of a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Date {
    Month { month: i8, day: i8 },
    DayOfYear(i16),
}

impl Civil {
    /// The moment that is meant: without a year the latest that is at most a day ahead. `None` if there is no such day.
    pub fn resolve(&self, clock: Clock) -> Option<SystemTime> {
        let offset = Offset::from_seconds(self.offset.unwrap_or(clock.utc_offset_seconds)).ok()?;
        let now = Timestamp::try_from(clock.now).ok()?;
        let at = match self.year {
            Some(year) => self.in_year(year, offset)?,
            None => {
                let limit = now.checked_add(AHEAD).ok()?;
                let this_year = offset.to_datetime(limit).year();
                (this_year - YEARS..=this_year)
                    .rev()
                    .filter_map(|year| self.in_year(year, offset))
                    .find(|at| *at <= limit)?
            }
        };
        Some(at.into())
    }

    fn in_year(&self, year: i16, offset: Offset) -> Option<Timestamp> {
        let first = |month, day| {
            let second = self.second.min(59);
            DateTime::new(year, month, day, self.hour, self.minute, second, self.nanosecond).ok()
        };
        let local = match self.date {
            Date::Month { month, day } => first(month, day)?,
            Date::DayOfYear(day) => {
                let local =
                    first(1, 1)?.checked_add(SignedDuration::from_hours(24 * i64::from(day - 1))).ok()?;
                (local.year() == year).then_some(local)?
            }
        };
        offset.to_timestamp(local).ok()
    }
}

/// A moment in UTC.
///
/// *Source*: RFC 3339. `None` before the year -9999 and after 9999.
pub(super) fn rfc3339(at: SystemTime) -> Option<String> {
    Timestamp::try_from(at).ok().map(|at| at.to_string())
}

/// A moment of so many seconds since 1970.
pub(super) fn unix(seconds: u64, nanosecond: u32) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanosecond))
}

/// The month of this English name or its first three letters, in any case.
pub(super) fn month(name: &[u8]) -> Option<i8> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let is_meant = |month: &&str| is_name(month, name);
    MONTHS.iter().zip(1..).find(|(month, _)| is_meant(month)).map(|(_, number)| number)
}

/// Whether this is the English name of a day of the week or its first three letters, in any case.
pub(super) fn is_weekday(name: &[u8]) -> bool {
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
        .iter()
        .any(|day| is_name(day, name))
}

fn is_name(full: &str, name: &[u8]) -> bool {
    let full = full.as_bytes();
    full.eq_ignore_ascii_case(name) || full.get(..3).is_some_and(|short| short.eq_ignore_ascii_case(name))
}

#[cfg(test)]
/// A moment as local time in a format of strftime(3).
pub(super) fn written(at: SystemTime, format: &str, utc_offset_seconds: i32) -> String {
    let zone = Offset::from_seconds(utc_offset_seconds).unwrap();
    zone.to_datetime(at.try_into().unwrap()).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> SystemTime {
        text.parse::<Timestamp>().unwrap().into()
    }

    fn resolved(month: i8, day: i8, now: &str, utc_offset_seconds: i32) -> Option<String> {
        let civil = Civil {
            year: None,
            date: Date::Month { month, day },
            hour: 23,
            minute: 59,
            second: 58,
            nanosecond: 500_000_000,
            offset: None,
        };
        civil.resolve(Clock { now: time(now), utc_offset_seconds }).and_then(rfc3339)
    }

    #[track_caller]
    fn check(month: i8, day: i8, now: &str, offset: i32, expected: &str) {
        assert_eq!(resolved(month, day, now, offset).as_deref(), Some(expected));
    }

    #[test]
    fn the_year_is_the_latest_that_fits() {
        check(9, 3, "2026-11-21T00:00:00Z", 0, "2026-09-03T23:59:58.5Z");
        check(12, 31, "2027-01-01T00:00:01Z", 0, "2026-12-31T23:59:58.5Z");
        check(12, 31, "2026-12-31T23:59:59Z", 0, "2026-12-31T23:59:58.5Z");
        check(11, 22, "2026-11-22T12:00:00Z", 0, "2026-11-22T23:59:58.5Z");
        check(11, 24, "2026-11-22T12:00:00Z", 0, "2025-11-24T23:59:58.5Z");
        check(2, 29, "2027-03-01T00:00:00Z", 0, "2024-02-29T23:59:58.5Z");
        check(2, 29, "2103-03-01T00:00:00Z", 0, "2096-02-29T23:59:58.5Z");
    }

    #[test]
    fn a_clock_that_is_a_little_behind_does_not_send_the_new_year_back() {
        check(1, 1, "2026-12-31T23:59:59Z", 0, "2027-01-01T23:59:58.5Z");
    }

    #[test]
    fn local_time_decides_about_the_year() {
        check(1, 1, "2026-12-31T23:00:00Z", 3_600 * 9, "2027-01-01T14:59:58.5Z");
        check(12, 31, "2027-01-01T06:00:00Z", -3_600 * 5, "2027-01-01T04:59:58.5Z");
    }

    #[test]
    fn impossible_days_have_no_time() {
        assert_eq!(resolved(2, 30, "2026-11-21T00:00:00Z", 0), None);
        assert_eq!(resolved(13, 1, "2026-11-21T00:00:00Z", 0), None);
        assert_eq!(resolved(1, 1, "2026-11-21T00:00:00Z", i32::MAX), None);
    }

    #[test]
    fn months_and_days_are_known_by_three_letters() {
        assert_eq!(month(b"Sep"), Some(9));
        assert_eq!(month(b"DECEMBER"), Some(12));
        assert_eq!((month(b"Sept"), month(b""), month(b"Mo")), (None, None, None));
        assert!(is_weekday(b"Sat") && is_weekday(b"Saturday") && !is_weekday(b"Satu"));
    }
}
