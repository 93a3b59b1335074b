//! Known answers of Go's `time.Parse`, and laws.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::domain::drops::civil::{rfc3339, written};

const CLOCK: Clock = Clock { now: SystemTime::UNIX_EPOCH, utc_offset_seconds: 3_600 };

fn clock(seconds: u64) -> Clock {
    Clock { now: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), ..CLOCK }
}

#[track_caller]
fn check(layout: &str, line: &str, expected: &str) {
    // 2026-11-21T12:00:00Z
    let read = TimeLayout::parse(layout).unwrap().read(line.as_bytes(), clock(1_795_262_400));
    let (at, rest) = read.unwrap_or_else(|| panic!("{line:?} is not read as {layout:?}"));
    assert_eq!((rfc3339(at).as_deref(), rest), (Some(expected), &b" host kernel: x"[..]), "{layout}");
}

#[track_caller]
fn refuses(layout: &str, line: &str) {
    assert_eq!(
        TimeLayout::parse(layout).unwrap().read(line.as_bytes(), CLOCK),
        None,
        "{line:?} as {layout:?}"
    );
}

const TAILER: &str = "2006-01-02T15:04:05.000000-07:00";

#[test]
fn the_default_of_the_tailer() {
    check(TAILER, "2019-02-04T10:10:12.345678-07:00 host kernel: x", "2019-02-04T17:10:12.345678Z");
    refuses(TAILER, "2019-02-04T10:10:12.34567-07:00");
    refuses(TAILER, "2019-02-04T10:10:12.345678Z");
    refuses(TAILER, "2019-02-04T10:10:12.345678-07:00x");
    refuses(TAILER, "2019-02-30T10:10:12.345678-07:00");
    refuses(TAILER, "2019-02-04T10:10:60.345678-07:00");
    refuses(TAILER, "");
}

#[test]
fn constants_of_go_by_name_and_text() {
    check("RFC3339", "2026-11-20T01:02:03Z host kernel: x", "2026-11-20T01:02:03Z");
    check("RFC3339", "2026-11-20T01:02:03.25+01:30 host kernel: x", "2026-11-19T23:32:03.25Z");
    check("RFC3339Nano", "2026-11-20T01:02:03.123456789Z host kernel: x", "2026-11-20T01:02:03.123456789Z");
    check("ANSIC", "Fri Nov 20 01:02:03 2026 host kernel: x", "2026-11-20T00:02:03Z");
    check("UnixDate", "Fri Nov 20 01:02:03 UTC 2026 host kernel: x", "2026-11-20T01:02:03Z");
    check("UnixDate", "Fri Nov 20 01:02:03 CEST 2026 host kernel: x", "2026-11-20T01:02:03Z");
    check("RubyDate", "Fri Nov 20 01:02:03 -0500 2026 host kernel: x", "2026-11-20T06:02:03Z");
    check("RFC822", "20 Nov 26 01:02 GMT+2 host kernel: x", "2026-11-19T23:02:00Z");
    check("RFC850", "Friday, 20-Nov-70 01:02:03 GMT host kernel: x", "1970-11-20T01:02:03Z");
    check("RFC1123", "Fri, 20 Nov 2026 01:02:03 UTC host kernel: x", "2026-11-20T01:02:03Z");
    check("RFC1123Z", "Fri, 20 Nov 2026 01:02:03 +0100 host kernel: x", "2026-11-20T00:02:03Z");
    check("Stamp", "Sep  3 11:38:30 host kernel: x", "2026-09-03T10:38:30Z");
    check("Jan _2 15:04:05", "Sep 3 11:38:30 host kernel: x", "2026-09-03T10:38:30Z");
    check("StampMilli", "Dec 31 11:38:30.250 host kernel: x", "2025-12-31T10:38:30.25Z");
    check("DateTime", "2026-11-20 01:02:03 host kernel: x", "2026-11-20T00:02:03Z");
    check("UnixDate", "Fri Nov 20 01:02:03 ChST 2026 host kernel: x", "2026-11-20T01:02:03Z");
    check("DateOnly", "2026-11-20 host kernel: x", "2026-11-19T23:00:00Z");
}

#[test]
fn elements_in_all_forms() {
    check("1/2/06 3:4:5 PM", "9/3/26 1:2:3 PM host kernel: x", "2026-09-03T12:02:03Z");
    check("1/2/06 3:4:5pm", "9/3/26 12:2:3am host kernel: x", "2026-09-02T23:02:03Z");
    check("2006 002 15:04", "2026 060 01:02 host kernel: x", "2026-03-01T00:02:00Z");
    check("2006 __2 15:04", "2026 9 01:02 host kernel: x", "2026-01-09T00:02:00Z");
    check("January 2 2006 15h04", "May 7 2026 13h05 host kernel: x", "2026-05-07T12:05:00Z");
    check("2006-01-02T15:04:05,999 -07", "2026-11-20T01:02:03 +02 host kernel: x", "2026-11-19T23:02:03Z");
    check(
        "2006-01-02T15:04:05,000Z07:00:00",
        "2026-11-20T01:02:03.500-00:00:30 host kernel: x",
        "2026-11-20T01:02:33.5Z",
    );
    check("[2006-01-02 15:04:05]", "[2026-11-20 01:02:03] host kernel: x", "2026-11-20T00:02:03Z");
    check("20060102150405 MST", "20261120010203 +03 host kernel: x", "2026-11-19T22:02:03Z");
    check("  2006-01-02   15:04  ", "2026-11-20 01:02 host kernel: x", "2026-11-20T00:02:00Z");
}

#[test]
fn what_go_does_not_take_for_an_element() {
    check("Januar 02 Jan 2006", "Januar 20 Nov 2026 host kernel: x", "2026-11-19T23:00:00Z");
    check("x_2006-01-02", "x_2026-11-20 host kernel: x", "2026-11-19T23:00:00Z");
}

#[test]
fn numbers_out_of_range_are_no_time() {
    refuses("2006-01-02 15:04", "2026-13-01 01:01");
    refuses("2006-01-02 15:04", "2026-12-01 24:01");
    refuses("2006-01-02 3:04 PM", "2026-12-01 13:01 PM");
    refuses("2006-01-02 15:04 -07:00", "2026-12-01 01:01 +25:00");
    refuses("2006 002", "2025 366");
    refuses("2006 002", "2025 000");
    refuses("2006-01-02 MST", "2026-12-01 Europe/Berlin");
}

#[test]
fn a_layout_must_say_which_day() {
    assert_eq!(TimeLayout::parse(" "), Err(LayoutError::Empty));
    for layout in ["15:04:05", "2006 Jan", "_2 15:04", "Kitchen", "%b %d"] {
        assert_eq!(TimeLayout::parse(layout), Err(LayoutError::NoDay(layout.into())), "{layout}");
    }
}

#[test]
fn go_agrees() {
    let cases = include_str!("../../../../tests/data/drops/go_time.tsv");
    let utc = Clock { utc_offset_seconds: 0, ..CLOCK };
    let mut wrong = Vec::new();
    // of GMT+3, Go knows the offset and leaves it out of account
    for case in cases
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("GMT+") && !line.contains("GMT-"))
    {
        let [layout, text, expected] = case.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let read = TimeLayout::parse(layout).unwrap().read(text.as_bytes(), utc);
        let read = read.filter(|(_, rest)| rest.is_empty()).and_then(|(at, _)| rfc3339(at));
        if read.as_deref().unwrap_or("-") != expected {
            wrong.push(format!("{case}: {read:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), cases.lines().count(), wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_layout_and_any_line_are_read_without_panic(layout in ".*", line in any::<Vec<u8>>(), now in any::<u32>()) {
        if let Ok(layout) = TimeLayout::parse(&layout) {
            let _ = layout.read(&line, clock(now.into()));
        }
        for known in [TAILER, "RFC1123", "StampNano", "2006 __2 3:4:5.999 pm MST", "RubyDate"] {
            let _ = TimeLayout::parse(known).unwrap().read(&line, clock(now.into()));
        }
    }

    #[test]
    fn what_is_written_is_read_back(micros in 0..4_102_444_800_000_000u64, offset in -12..=14i32) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
        let line = format!("{}{offset:+03}:00", written(at, "%Y-%m-%dT%H:%M:%S.%6f", offset * 3_600));
        let read = TimeLayout::parse(TAILER).unwrap().read(line.as_bytes(), CLOCK);
        prop_assert_eq!(read, Some((at, &b""[..])));
    }

    #[test]
    fn a_stamp_of_the_last_year_is_read_back(now in 1_000_000_000..4_000_000_000u64, ago in 0..364 * 86_400u64) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(now - ago);
        let line = written(at, "%b %e %H:%M:%S", 3_600);
        let read = TimeLayout::parse("Stamp").unwrap().read(line.as_bytes(), clock(now));
        prop_assert_eq!(read, Some((at, &b""[..])));
    }
}
