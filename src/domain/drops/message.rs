//! What the owners of pods are told about a packet, in the words that kube-iptables-tailer's users search for.
//! Names come from the cluster or the DNS: whoever shows a message escapes it.

use std::net::IpAddr;

use crate::domain::packets::packet::{Header, Protocol};
use crate::domain::words::escape;

/// To which side of a packet a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The pod that sent it.
    Sender,
    /// The pod that should have got it.
    Receiver,
}

/// The message to one side: who is on the other, and by which port and protocol.
///
/// *Source*: `Packet dropped when sending traffic to NAME (IP) on port PORT/PROTO` and `... receiving traffic from ...`
/// are kube-iptables-tailer's; it has none for packets without ports.
pub fn message(side: Side, other: &str, ip: IpAddr, header: &Header) -> String {
    let direction = match side {
        Side::Sender => "sending traffic to",
        Side::Receiver => "receiving traffic from",
    };
    let other = escape::line(other.as_bytes()).text;
    let address = ip.to_string();
    let address = if other == address { String::new() } else { format!(" ({address})") };
    format!("Packet dropped when {direction} {other}{address}{}", means(header))
}

/// ` on port 80/TCP`, ` by ICMP type 8`, or less where the packet says less.
fn means(header: &Header) -> String {
    let Some(protocol) = header.protocol else { return String::new() };
    let name = protocol.to_string().to_uppercase();
    match (header.dst_port, header.icmp_type) {
        (Some(port), _) => format!(" on port {port}/{name}"),
        (None, Some(kind)) if matches!(protocol, Protocol::Icmp | Protocol::Icmpv6) => {
            format!(" by {name} type {kind}")
        }
        _ if name.bytes().all(|byte| byte.is_ascii_digit()) => format!(" by protocol {name}"),
        _ => format!(" by {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(protocol: Option<Protocol>, dst_port: Option<u16>, icmp_type: Option<u8>) -> Header {
        Header { protocol, dst_port, icmp_type, ..Header::default() }
    }

    fn check(side: Side, other: &str, header: &Header, expected: &str) {
        assert_eq!(message(side, other, "10.0.0.5".parse().unwrap(), header), expected);
    }

    #[test]
    fn messages_are_those_of_the_older_system() {
        let tcp = header(Some(Protocol::Tcp), Some(80), None);
        check(
            Side::Sender,
            "shop",
            &tcp,
            "Packet dropped when sending traffic to shop (10.0.0.5) on port 80/TCP",
        );
        check(
            Side::Receiver,
            "shop",
            &tcp,
            "Packet dropped when receiving traffic from shop (10.0.0.5) on port 80/TCP",
        );
        check(
            Side::Sender,
            "10.0.0.5",
            &tcp,
            "Packet dropped when sending traffic to 10.0.0.5 on port 80/TCP",
        );
    }

    #[test]
    fn a_packet_without_ports_has_a_message_too() {
        for (header, end) in [
            (header(Some(Protocol::Icmp), None, Some(8)), " by ICMP type 8"),
            (header(Some(Protocol::ESP), None, None), " by ESP"),
            (header(Some(Protocol::Other(200)), None, None), " by protocol 200"),
            (header(Some(Protocol::Tcp), None, None), " by TCP"),
            (header(None, None, None), ""),
        ] {
            check(
                Side::Sender,
                "10.0.0.5",
                &header,
                &format!("Packet dropped when sending traffic to 10.0.0.5{end}"),
            );
        }
    }

    #[test]
    fn a_hostile_name_stays_one_line_of_text() {
        let text = message(Side::Sender, "a\nb\u{202e}c", "10.0.0.5".parse().unwrap(), &Header::default());
        assert!(!text.contains(['\n', '\u{202e}']), "{text}");
    }
}
