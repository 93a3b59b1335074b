//! A packet as machines read it: one JSON object, `docs/schema/drops.v1.json`.
//! Knows neither pods nor rules: whoever does fills them in.

use std::net::IpAddr;

use serde::Serialize;

use super::civil::rfc3339;
use crate::domain::packets::packet::{Action, Packet, Protocol};

/// One line of JSON. What the log did not say is left out.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Record {
    /// When the packet was logged: RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The log prefix of the rule; what is not UTF-8 is replaced. Untrusted, as are the devices.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// `drop` or `accept`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// The interface the packet arrived on.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub in_dev: Option<String>,
    /// The interface it would have left by.
    #[serde(rename = "out", skip_serializing_if = "Option::is_none")]
    pub out_dev: Option<String>,
    /// The sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// The receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<IpAddr>,
    /// The sender's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    /// The receiver's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<u16>,
    /// What the packet carries: a name in lower case, else a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The length of the whole IP packet in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// The time to live or hop limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// The type of an ICMP message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// Its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// How many equal packets this stands for, if the log daemon folded repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeated: Option<u32>,
    /// Whether the log line was there and understood to its end.
    pub complete: bool,
    /// Who the sender is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_peer: Option<String>,
    /// Who the receiver is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst_peer: Option<String>,
    /// The rule that logged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl From<&Packet<'_>> for Record {
    fn from(packet: &Packet<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let header = &packet.header;
        Self {
            time: packet.at.and_then(rfc3339),
            prefix: text(&packet.prefix),
            action: match packet.action {
                Action::Drop => Some("drop"),
                Action::Accept => Some("accept"),
                Action::Unknown => None,
            },
            in_dev: packet.in_dev.as_deref().map(text),
            out_dev: packet.out_dev.as_deref().map(text),
            src: header.src,
            dst: header.dst,
            src_port: header.src_port,
            dst_port: header.dst_port,
            protocol: header.protocol.as_ref().map(Protocol::to_string),
            length: header.length,
            ttl: header.ttl,
            icmp_type: header.icmp_type,
            icmp_code: header.icmp_code,
            repeated: Some(packet.repeated).filter(|repeated| *repeated != 1),
            complete: packet.is_complete,
            src_peer: None,
            dst_peer: None,
            rule: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_the_line_does_not_say_is_left_out() {
        let packet = Packet::new(Cow::Borrowed(b""), Action::Unknown);
        assert_eq!(serde_json::to_string(&Record::from(&packet)).unwrap(), r#"{"complete":false}"#);
    }

    #[test]
    fn what_it_says_is_written_under_its_name() {
        let mut packet = Packet::new(Cow::Borrowed(b"drop \xff:"), Action::Drop);
        packet.at = Some(SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000));
        packet.in_dev = Some(Cow::Borrowed(b"eth0"));
        packet.header.src = "fd00::1".parse().ok();
        packet.header.dst_port = Some(443);
        packet.header.protocol = Some(Protocol::Other(200));
        packet.repeated = 3;
        assert_eq!(
            serde_json::to_value(Record::from(&packet)).unwrap(),
            serde_json::json!({
                "time": "1970-01-01T00:00:01.5Z", "prefix": "drop \u{fffd}:", "action": "drop", "in": "eth0",
                "src": "fd00::1", "dst_port": 443, "protocol": "200", "repeated": 3, "complete": false,
            })
        );
    }
}
