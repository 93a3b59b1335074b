//! Every envelope that is known, around one message.

use proptest::prelude::*;

use super::*;
use crate::domain::drops::civil::rfc3339;

const MESSAGE: &str = "DROP: IN=eth0 OUT= SRC=10.0.0.1 DST=10.0.0.2";
const ZONE: i32 = 3_600;

fn clock() -> Clock {
    // 2026-11-21T12:00:00Z
    Clock { now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_262_400), utc_offset_seconds: ZONE }
}

fn read_line(line: &str) -> Envelope<'_> {
    read(line.as_bytes(), None, line.find(MESSAGE), clock())
}

#[track_caller]
fn check(before: &str, time: Option<&str>, host: Option<&str>, uptime_micros: Option<u64>) {
    let line = format!("{before}{MESSAGE}");
    let envelope = read_line(&line);
    assert_eq!(String::from_utf8_lossy(envelope.message), MESSAGE, "{before:?}");
    assert_eq!(envelope.at.and_then(rfc3339).as_deref(), time, "{before:?}");
    assert_eq!(envelope.host.map(String::from_utf8_lossy).as_deref(), host, "{before:?}");
    assert_eq!(envelope.uptime, uptime_micros.map(Duration::from_micros), "{before:?}");
    assert_eq!((envelope.repeated, envelope.is_recognised), (1, !before.is_empty()), "{before:?}");
}

const UTC: Option<&str> = Some("2026-11-21T11:00:07.25Z");
const LOCAL: Option<&str> = Some("2026-11-21T10:00:07.25Z");
const WHOLE: Option<&str> = Some("2026-11-21T10:00:07Z");
const NODE: Option<&str> = Some("node-1");

#[test]
fn nothing_around_a_message() {
    check("", None, None, None);
}

#[test]
fn rfc_3164() {
    check("Nov 21 11:00:07 node-1 kernel: ", WHOLE, NODE, None);
    check("Nov 21 11:00:07 node-1 kernel: [  123.456789] ", WHOLE, NODE, Some(123_456_789));
    check("<4>Nov 21 11:00:07 node-1 kernel: [123.456789] ", WHOLE, NODE, Some(123_456_789));
    check("Nov 21 11:00:07 kernel: ", WHOLE, None, None);
    check("Nov 21 11:00:07 node-1 ulogd[812]: ", WHOLE, NODE, None);
    check("Nov 21 11:00:07 node-1 ", WHOLE, NODE, None);
    check("Nov 21 11:00:07 ", WHOLE, None, None);
    check("Sep  3 11:38:30 10.0.0.7 kernel: ", Some("2026-09-03T10:38:30Z"), Some("10.0.0.7"), None);
    check("Dec 31 11:00:07 node-1 kernel: ", Some("2025-12-31T10:00:07Z"), NODE, None);
    check("Nov 21 2026 11:00:07 node-1 kernel: ", WHOLE, NODE, None);
}

#[test]
fn rfc_5424_with_and_without_priority() {
    for before in ["<4>1 ", "1 ", "<134>1 "] {
        let line = format!("{before}2026-11-21T11:00:07.250000+00:00 node-1 kernel - - - ");
        check(&line, UTC, NODE, None);
    }
    check("<4>1 2026-11-21T11:00:07.25Z node-1 kernel 1 ID47 [a@1 b=\"c d\"] ", UTC, NODE, None);
    check("<4>1 2026-11-21T11:00:07.25Z node-1 kernel - - - \u{feff}", UTC, NODE, None);
    check("<4>1 2026-11-21T11:00:07.25Z node-1 kernel - - - [    1.000001] ", UTC, NODE, Some(1_000_001));
}

#[test]
fn rfc_3339() {
    check("2026-11-21T11:00:07.25+00:00 node-1 kernel: ", UTC, NODE, None);
    check("2026-11-21T12:00:07,250+0100 node-1 kernel: ", UTC, NODE, None);
    check("2026-11-21T11:00:07.25 node-1 kernel: ", LOCAL, NODE, None);
    check("2026-11-21 11:00:07.25 node-1 kernel: ", LOCAL, NODE, None);
    check("2026-11-21 11:00:07.25 UTC node-1 kernel: ", UTC, NODE, None);
    check("2026-11-21 12:00:07.25 +01:00 node-1 kernel: ", UTC, NODE, None);
    check("2026-11-21T11:00:07.25Z node-1 ", UTC, NODE, None);
    check("2026-11-21T11:00:07.25Z ", UTC, None, None);
}

#[test]
fn journalctl() {
    check("Nov 21 11:00:07.250000 node-1 kernel: ", LOCAL, NODE, None);
    check("2026-11-21T12:00:07+0100 node-1 kernel: ", Some("2026-11-21T11:00:07Z"), NODE, None);
    check("2026-11-21T12:00:07.250000+01:00 node-1 kernel: ", UTC, NODE, None);
    check("Sat 2026-11-21 11:00:07 UTC node-1 kernel: ", Some("2026-11-21T11:00:07Z"), NODE, None);
    check("1795258807.250000 node-1 kernel: ", UTC, NODE, None);
    check("[  123.456789] node-1 kernel: ", None, NODE, Some(123_456_789));
}

#[test]
fn dmesg() {
    check("[  123.456789] ", None, None, Some(123_456_789));
    check("<4>[  123.456789] ", None, None, Some(123_456_789));
    check("[  123.456789][    C1] ", None, None, Some(123_456_789));
    check("[  123.456789][ T4711] ", None, None, Some(123_456_789));
    check("[Sat Nov 21 11:00:07 2026] ", WHOLE, None, None);
    check("2026-11-21T11:00:07,250000+00:00 ", UTC, None, None);
    check("kern  :warn  : [  123.456789] ", None, None, Some(123_456_789));
    check("kern  :info  : 2026-11-21T11:00:07,250000+00:00 ", UTC, None, None);
    check("kernel: ", None, None, None);
}

#[test]
fn a_folded_repeat_is_counted() {
    for inner in [MESSAGE, "[    1.500000] DROP: IN=eth0 OUT= SRC=10.0.0.1 DST=10.0.0.2"] {
        let line = format!("Nov 21 11:00:07 node-1 kernel: message repeated 3 times: [ {inner}]");
        let envelope = read_line(&line);
        assert_eq!((envelope.message, envelope.repeated), (MESSAGE.as_bytes(), 3));
    }
    let endless = format!("kernel: message repeated 99999999999 times: [ {MESSAGE}]");
    assert_eq!(read_line(&endless).repeated, 1);
}

#[test]
fn a_layout_goes_before_shapes() {
    let layout = TimeLayout::parse("02/01 15:04").unwrap();
    let line = format!("20/11 10:30 node-1 kernel: {MESSAGE}");
    let envelope = read(line.as_bytes(), Some(&layout), line.find(MESSAGE), clock());
    assert_eq!(envelope.at.and_then(rfc3339).as_deref(), Some("2026-11-20T09:30:00Z"));
    assert_eq!((envelope.message, envelope.host), (MESSAGE.as_bytes(), Some(&b"node-1"[..])));
    let other = format!("Nov 21 11:00:07 node-1 kernel: {MESSAGE}");
    let envelope = read(other.as_bytes(), Some(&layout), other.find(MESSAGE), clock());
    assert_eq!(envelope.at.and_then(rfc3339).as_deref(), WHOLE);
}

#[test]
fn a_prefix_is_neither_host_nor_program() {
    for message in
        ["rule[12]: IN=eth0 OUT=", "a rule[12]: IN=eth0 OUT=", "kernel: IN=eth0 OUT=", "a - - - IN=eth0"]
    {
        let line = format!("Nov 21 11:00:07 node-1 {message}");
        let envelope = read(line.as_bytes(), None, line.find(message), clock());
        assert_eq!((envelope.message, envelope.host), (message.as_bytes(), Some(&b"node-1"[..])));
        let line = format!("Nov 21 11:00:07 {message}");
        let envelope = read(line.as_bytes(), None, line.find(message), clock());
        assert_eq!((envelope.message, envelope.host), (message.as_bytes(), None));
    }
}

#[test]
fn what_only_looks_like_a_time_is_left_in_the_message() {
    for line in [
        "Nov 31 11:00:07 node-1 x",
        "2026-02-30T11:00:07Z node-1 x",
        "[12] x",
        "[  1.5",
        "<4",
        "<>x",
        "May be dropped",
    ] {
        assert_eq!(read_line(line).at, None, "{line}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_taken_apart_without_panic(
        before in "(<4>)?(1 )?(kern :warn : )?(\\[? *[0-9.,:TZ+-]{0,30}\\]?|Sep  ?3 [0-9:.]{0,12})",
        bytes in any::<Vec<u8>>(),
        limit in any::<Option<usize>>(),
    ) {
        let line = [before.as_bytes(), &bytes].concat();
        let envelope = read(&line, None, limit, clock());
        prop_assert!(memchr::memmem::find(&line, envelope.message).is_some());
    }
}
