//! Layouts of Go's package time: an example of how the moment 2006-01-02T15:04:05.999999999-07:00 would be written.
//! Reads times only; a zone is an offset or a name, and no name but UTC and GMT is known.
//!
//! *Source*: <https://pkg.go.dev/time#pkg-constants>, `Parse` of Go 1.25.

mod element;

use std::time::SystemTime;

use thiserror::Error;

use super::civil::{Civil, Clock, Date};
pub(super) use element::fraction_digits;
use element::{Element, Fields};

/// Why a layout is of no use.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// It is empty.
    #[error("the layout is empty")]
    Empty,
    /// A time of day without a day cannot be placed.
    #[error("the layout {0:?} has no day: write the moment 2006-01-02 15:04:05 as the log would")]
    NoDay(String),
}

/// A layout that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeLayout {
    elements: Vec<Element>,
    words: usize,
}

impl TimeLayout {
    /// Reads a layout, or the name of one of Go's constants, such as `RFC3339Nano`.
    ///
    /// # Errors
    /// If it does not say which day it is.
    pub fn parse(layout: &str) -> Result<Self, LayoutError> {
        let text = constant(layout).unwrap_or(layout).trim_matches(' ');
        if text.is_empty() {
            return Err(LayoutError::Empty);
        }
        let elements = element::elements(text.as_bytes());
        if !element::has_day(&elements) {
            return Err(LayoutError::NoDay(layout.to_owned()));
        }
        Ok(Self { elements, words: text.split_ascii_whitespace().count() })
    }

    /// The time in the first words of a line, as many as the layout has, and the rest of the line.
    pub fn read<'a>(&self, line: &'a [u8], clock: Clock) -> Option<(SystemTime, &'a [u8])> {
        let line = line.trim_ascii_start();
        let (words, rest) = line.split_at_checked(end_of_words(line, self.words)?)?;
        let mut fields = Fields::default();
        let mut value = words;
        for element in &self.elements {
            value = element.read(value, &mut fields)?;
        }
        let civil = value.is_empty().then(|| civil(&fields))??;
        Some((civil.resolve(clock)?, rest))
    }
}

fn end_of_words(line: &[u8], words: usize) -> Option<usize> {
    let mut end = 0;
    for _ in 0..words {
        let rest = line.get(end..)?;
        let start = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let word = rest.get(start..)?;
        end += start + word.iter().position(u8::is_ascii_whitespace).unwrap_or(word.len());
    }
    Some(end)
}

fn civil(fields: &Fields) -> Option<Civil> {
    let date = match (fields.month, fields.day, fields.day_of_year) {
        (_, _, Some(day)) => Date::DayOfYear(day),
        (month, day, None) => Date::Month { month: month.unwrap_or(1), day: day.unwrap_or(1) },
    };
    let hour = match fields.is_afternoon {
        Some(true) if fields.hour < 12 => fields.hour + 12,
        Some(false) if fields.hour == 12 => 0,
        _ => fields.hour,
    };
    Some(Civil {
        year: fields.year,
        date,
        hour,
        minute: fields.minute,
        second: fields.second,
        nanosecond: fields.nanosecond,
        offset: fields.offset,
    })
}

fn constant(name: &str) -> Option<&'static str> {
    Some(match name {
        "ANSIC" => "Mon Jan _2 15:04:05 2006",
        "UnixDate" => "Mon Jan _2 15:04:05 MST 2006",
        "RubyDate" => "Mon Jan 02 15:04:05 -0700 2006",
        "RFC822" => "02 Jan 06 15:04 MST",
        "RFC822Z" => "02 Jan 06 15:04 -0700",
        "RFC850" => "Monday, 02-Jan-06 15:04:05 MST",
        "RFC1123" => "Mon, 02 Jan 2006 15:04:05 MST",
        "RFC1123Z" => "Mon, 02 Jan 2006 15:04:05 -0700",
        "RFC3339" => "2006-01-02T15:04:05Z07:00",
        "RFC3339Nano" => "2006-01-02T15:04:05.999999999Z07:00",
        "Stamp" => "Jan _2 15:04:05",
        "StampMilli" => "Jan _2 15:04:05.000",
        "StampMicro" => "Jan _2 15:04:05.000000",
        "StampNano" => "Jan _2 15:04:05.000000000",
        "DateTime" => "2006-01-02 15:04:05",
        "DateOnly" => "2006-01-02",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
