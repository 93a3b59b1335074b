//! A moment in words.
//! Asks for no clock.

use std::time::SystemTime;

/// A moment in UTC: "2026-11-21T10:16:24Z". Cut to the years that RFC 3339 can hold from 1970 on.
pub fn utc(time: SystemTime) -> String {
    format!("{:.0}", cut(time))
}

/// As [`utc`], with thousandths of a second: "2026-11-21T10:16:24.123Z".
pub fn utc_millis(time: SystemTime) -> String {
    format!("{:.3}", cut(time))
}

/// The moment that a text of RFC 3339 names: "2026-11-21T10:16:24Z", "2026-11-21T11:16:24.5+01:00".
pub fn parse(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}

/// The moment so many seconds after 1970 began, in UTC: "2026-11-21 10:16:24". None if no date has it.
pub fn date_and_time(seconds: u64) -> Option<String> {
    let moment = jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(moment.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

fn cut(time: SystemTime) -> jiff::Timestamp {
    jiff::Timestamp::try_from(time.max(SystemTime::UNIX_EPOCH)).unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_that_rfc_3339_cannot_hold_are_cut() {
        assert_eq!(utc_millis(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert!(utc_millis(far).starts_with("9999-12-30T"), "{}", utc_millis(far));
    }
}
