//! A moment in words.
//! Asks for no clock.

use std::time::SystemTime;

/// A moment in UTC: "2026-11-21T10:16:24Z". Cut to the years that RFC 3339 can hold from 1970 on.
pub fn utc(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time.max(SystemTime::UNIX_EPOCH)).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.0}")
}
