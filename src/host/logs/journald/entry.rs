//! What one line of `journalctl -o json` says of a log line: its text, its time and its cursor.
//! Does not choose entries: journalctl does, by what it was told to match.
//!
//! ```json
//! {"__CURSOR":"s=35b9...;i=5;b=0123...;m=989680;t=60a2...;x=8415...", "__REALTIME_TIMESTAMP":"1700000005000000",
//!  "__MONOTONIC_TIMESTAMP":"10000000", "_SOURCE_MONOTONIC_TIMESTAMP":"9900000", "_TRANSPORT":"kernel",
//!  "MESSAGE":"DROP: IN=eth0 ..."}
//! ```
//! A value is text, an array of bytes if it is not UTF-8, an array of values if the entry has the field several times,
//! and null if it was too long to show.
//!
//! *Source*: <https://systemd.io/JOURNAL_EXPORT_FORMATS/>; systemd.journal-fields(7).

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

/// The id of the message by which journald says that it did not keep up with the kernel.
///
/// *Source*: `SD_MESSAGE_JOURNAL_MISSED` in `systemd/sd-messages.h`.
pub(super) const MISSED: &str = "e9bf28e6e834481bb6f48f548ad13606";

/// An entry of the journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub cursor: Cow<'a, str>,
    /// When journald got it, in microseconds since 1970.
    pub received_us: u64,
    /// When it was logged, as near as is known.
    pub at: Option<SystemTime>,
    pub what: What<'a>,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// A log line.
    Line(Cow<'a, [u8]>),
    /// So many lines of the kernel were lost; none if it does not say how many.
    Missed(Option<u64>),
    /// An entry whose message cannot be had.
    Nothing,
    /// What a process wrote to /dev/kmsg, which comes back like a line of the kernel but for its facility.
    Forged(Cow<'a, [u8]>),
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "__CURSOR", borrow)]
    cursor: Cow<'a, str>,
    #[serde(rename = "__REALTIME_TIMESTAMP", borrow)]
    received: Cow<'a, str>,
    #[serde(rename = "__MONOTONIC_TIMESTAMP", borrow)]
    received_since_boot: Option<Cow<'a, str>>,
    #[serde(rename = "_SOURCE_REALTIME_TIMESTAMP", borrow)]
    logged: Option<Field<'a>>,
    #[serde(rename = "_SOURCE_MONOTONIC_TIMESTAMP", borrow)]
    logged_since_boot: Option<Field<'a>>,
    #[serde(rename = "_TRANSPORT", borrow)]
    transport: Option<Field<'a>>,
    #[serde(rename = "SYSLOG_FACILITY", borrow)]
    facility: Option<Field<'a>>,
    #[serde(rename = "MESSAGE_ID", borrow)]
    message_id: Option<Field<'a>>,
    #[serde(rename = "MESSAGE", borrow)]
    message: Option<Field<'a>>,
}

/// Reads a line; none if it is no entry.
pub(super) fn parse(json: &[u8]) -> Option<Entry<'_>> {
    let wire: Wire<'_> = serde_json::from_slice(json).ok()?;
    let received_us = wire.received.parse().ok()?;
    let at = wire.at(received_us);
    let is = |field: &Option<Field<'_>>, text: &[u8]| field.as_ref().is_some_and(|field| &*field.0 == text);
    // a process may send this id too, but not by this transport
    let is_missed = is(&wire.transport, b"driver") && is(&wire.message_id, MISSED.as_bytes());
    // *Source*: Documentation/ABI/testing/dev-kmsg: no process can write with the facility of the kernel
    let is_forged =
        is(&wire.transport, b"kernel") && wire.facility.as_ref().is_some_and(|field| &*field.0 != b"0");
    let what = match wire.message {
        message if is_missed => What::Missed(message.and_then(|message| missed(&message.0))),
        Some(message) if is_forged => What::Forged(message.0),
        Some(message) => What::Line(message.0),
        None => What::Nothing,
    };
    Some(Entry { cursor: wire.cursor, received_us, at, what })
}

impl Wire<'_> {
    /// The kernel's own time where it is known: journald may have been late.
    fn at(&self, received_us: u64) -> Option<SystemTime> {
        let number = |field: &Option<Field<'_>>| field.as_ref()?.number();
        let since_boot = self.received_since_boot.as_ref().and_then(|text| text.parse::<u64>().ok());
        let delay = || since_boot?.checked_sub(number(&self.logged_since_boot)?);
        let logged = number(&self.logged).or_else(|| received_us.checked_sub(delay()?));
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(logged.unwrap_or(received_us)))
    }
}

/// `Missed 17 kernel messages`. The kernel keeps fewer than fit 32 bits; a larger number, of a forged journal, says nothing.
fn missed(message: &[u8]) -> Option<u64> {
    let mut words = std::str::from_utf8(message).ok()?.split_ascii_whitespace();
    words.find_map(|word| word.parse::<u32>().ok()).map(u64::from)
}

/// A field's value, the first if there are several.
#[derive(Debug)]
struct Field<'a>(Cow<'a, [u8]>);

impl Field<'_> {
    fn number(&self) -> Option<u64> {
        std::str::from_utf8(&self.0).ok()?.parse().ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text, an array of bytes, or an array of those")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field(text.as_bytes().into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field(text.as_bytes().to_vec().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value {
            Byte(u8),
            Text(String),
            Bytes(Vec<u8>),
            Null(()),
        }
        let mut bytes = Vec::new();
        let mut first = None;
        while let Some(value) = values.next_element()? {
            match value {
                Value::Byte(byte) => bytes.push(byte),
                Value::Text(text) if first.is_none() => first = Some(text.into_bytes()),
                Value::Bytes(bytes) if first.is_none() => first = Some(bytes),
                Value::Text(_) | Value::Bytes(_) | Value::Null(()) => {}
            }
        }
        Ok(Field(first.unwrap_or(bytes).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REST: &str = r#""__CURSOR":"c","__REALTIME_TIMESTAMP":"1700000005000000""#;

    fn parse_with(fields: &str) -> Option<(What<'static>, u64)> {
        let json = format!("{{{REST}{fields}}}");
        let entry = parse(json.as_bytes())?;
        assert_eq!((&*entry.cursor, entry.received_us), ("c", 1_700_000_005_000_000));
        let what = match entry.what {
            What::Line(line) => What::Line(line.into_owned().into()),
            What::Forged(line) => What::Forged(line.into_owned().into()),
            What::Missed(count) => What::Missed(count),
            What::Nothing => What::Nothing,
        };
        let at = entry.at?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some((what, u64::try_from(at.as_micros()).ok()?))
    }

    #[track_caller]
    fn check_line(fields: &str, expect: &[u8]) {
        let what = parse_with(fields).map(|(what, _)| what);
        assert_eq!(what, Some(What::Line(expect.to_vec().into())), "{fields}");
    }

    #[test]
    fn a_message_comes_in_several_forms() {
        check_line(r#","MESSAGE":"DROP IN=eth0","MORE":[1,{"a":null}]"#, b"DROP IN=eth0");
        check_line(r#","MESSAGE":"a \"b\" \u00e9\n""#, "a \"b\" é\n".as_bytes());
        check_line(r#","MESSAGE":[255,68,82]"#, b"\xffDR");
        check_line(r#","MESSAGE":["first","second"]"#, b"first");
        check_line(r#","MESSAGE":[[255,1],"second"]"#, b"\xff\x01");
        check_line(r#","MESSAGE":[]"#, b"");
        for nothing in ["", r#","MESSAGE":null"#] {
            assert_eq!(parse_with(nothing).map(|(what, _)| what), Some(What::Nothing));
        }
    }

    #[test]
    fn what_journald_missed_is_believed_from_journald_only() {
        let message = |transport: &str, text: &str| {
            let id = format!(r#","MESSAGE_ID":"{MISSED}","_TRANSPORT":"{transport}","MESSAGE":"{text}""#);
            parse_with(&id).map(|(what, _)| what)
        };
        assert_eq!(message("driver", "Missed 17 kernel messages"), Some(What::Missed(Some(17))));
        assert_eq!(message("driver", "Missed some"), Some(What::Missed(None)));
        let forged = format!("Missed {} kernel messages", u64::MAX);
        assert_eq!(message("driver", &forged), Some(What::Missed(None)));
        let line = b"Missed 17 kernel messages".to_vec().into();
        assert_eq!(message("journal", "Missed 17 kernel messages"), Some(What::Line(line)));
    }

    #[test]
    fn what_a_process_wrote_to_the_kernels_log_is_not_the_kernels() {
        let message = |transport: &str, facility: &str| {
            parse_with(&format!(r#","_TRANSPORT":"{transport}"{facility},"MESSAGE":"DROP""#))
                .map(|(what, _)| what)
        };
        let text = || b"DROP".to_vec().into();
        assert_eq!(message("kernel", r#","SYSLOG_FACILITY":"0""#), Some(What::Line(text())));
        assert_eq!(message("kernel", ""), Some(What::Line(text())));
        assert_eq!(message("kernel", r#","SYSLOG_FACILITY":"1""#), Some(What::Forged(text())));
        assert_eq!(message("syslog", r#","SYSLOG_FACILITY":"1""#), Some(What::Line(text())));
    }

    #[test]
    fn the_time_is_the_kernels_if_it_is_known() {
        let at = |fields: &str| parse_with(fields).map(|(_, at)| at);
        assert_eq!(at(""), Some(1_700_000_005_000_000));
        let both = r#","__MONOTONIC_TIMESTAMP":"10000000","_SOURCE_MONOTONIC_TIMESTAMP""#;
        assert_eq!(at(&format!(r#"{both}:"9900000""#)), Some(1_700_000_004_900_000));
        // the kernel's clock may be a little ahead of the one that journald reads
        assert_eq!(at(&format!(r#"{both}:"10000001""#)), Some(1_700_000_005_000_000));
        assert_eq!(at(&format!(r#"{both}:"x""#)), Some(1_700_000_005_000_000));
        assert_eq!(at(r#","_SOURCE_REALTIME_TIMESTAMP":"1700000001000000""#), Some(1_700_000_001_000_000));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for json in ["", "{}", "[]", "-- No entries --", r#"{"__CURSOR":"c","__REALTIME_TIMESTAMP":"x"}"#] {
            assert_eq!(parse(json.as_bytes()), None, "{json}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_value_of_a_field_is_safe(value in "[\\[\\]\",0-9a-z{}:]{0,30}") {
            let _ = parse_with(&format!(r#","MESSAGE":{value}"#));
        }
    }
}
