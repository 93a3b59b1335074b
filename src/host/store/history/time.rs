//! Times as the database has them: milliseconds since 1970.
//! Asks for no time.

use std::time::{Duration, SystemTime};

/// Milliseconds since 1970; earlier times are 0.
pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The time of so many milliseconds since 1970, at most the year 9999.
pub(super) fn time(millis: i64) -> SystemTime {
    const YEAR_9999: u64 = 253_370_764_800_000;
    let millis = u64::try_from(millis).unwrap_or_default().min(YEAR_9999);
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}
