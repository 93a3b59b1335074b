//! One packet as NFLOG describes it.
//! Leaves the packet itself, which begins with its IP header, to others.
//!
//! *Source*: `enum nfulnl_attr_type` in `linux/netfilter/nfnetlink_log.h`; `__build_packet_message` in
//! `net/netfilter/nfnetlink_log.c`.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use super::devices::Devices;
use crate::domain::rules::Family;
use crate::domain::rules::kernel::attributes::Fields;
use crate::host::netlink::nfnetlink::message::NFGEN_HEADER;

/// `NFULNL_MSG_PACKET` of `NFNL_SUBSYS_ULOG`.
pub(super) const MESSAGE: u16 = 4 << 8;

const PACKET_HDR: u16 = 1;
const MARK: u16 = 2;
const TIMESTAMP: u16 = 3;
const INDEV: u16 = 4;
const OUTDEV: u16 = 5;
const PHYSINDEV: u16 = 6;
const PHYSOUTDEV: u16 = 7;
const HWADDR: u16 = 8;
const PAYLOAD: u16 = 9;
const PREFIX: u16 = 10;
const UID: u16 = 11;
const SEQ: u16 = 12;
const GID: u16 = 14;

/// A packet that an NFLOG rule matched, borrowed from its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NflogPacket<'a> {
    /// The group.
    pub group: u16,
    /// The number of the packet in its group.
    pub sequence: u32,
    /// The family of the rule's hook; none if not known.
    pub family: Option<Family>,
    /// The rule's prefix, at most 127 bytes.
    pub prefix: &'a [u8],
    /// The hook: `NF_INET_*` of `linux/netfilter.h` for IPv4 and IPv6.
    pub hook: u8,
    /// The protocol of the payload, an EtherType.
    pub hw_protocol: u16,
    /// When the packet came in; when it was read, if the kernel does not say.
    pub at: SystemTime,
    /// Where it came in.
    pub in_dev: Option<&'a str>,
    /// Where it is to go out.
    pub out_dev: Option<&'a str>,
    /// The bridge's port that it came in by.
    pub physical_in_dev: Option<&'a str>,
    /// The bridge's port that it is to go out by.
    pub physical_out_dev: Option<&'a str>,
    /// Its sender on the link, at most eight bytes.
    pub hw_address: &'a [u8],
    /// Its mark, if it is not 0.
    pub mark: Option<u32>,
    /// The user of the socket it belongs to.
    pub uid: Option<u32>,
    /// The group of the socket it belongs to.
    pub gid: Option<u32>,
    /// The packet from its network header on, cut to [`NflogOptions::copy_bytes`](super::options::NflogOptions::copy_bytes).
    pub payload: &'a [u8],
}

/// Decodes a message behind its netlink header; none if it does not follow the format.
pub(super) fn decode<'a>(
    message: &'a [u8],
    now: SystemTime,
    devices: &'a mut Devices,
    socket: &impl AsFd,
) -> Option<NflogPacket<'a>> {
    let (header, attributes) = message.split_first_chunk::<NFGEN_HEADER>()?;
    let [family, _, g0, g1] = *header;
    let fields = Fields::<15>::known(attributes).ok()?;
    let [p0, p1, hook, ..] = *fields.get(PACKET_HDR)?.first_chunk::<4>()?;
    let indices = [INDEV, OUTDEV, PHYSINDEV, PHYSOUTDEV].map(|kind| fields.be32(kind));
    indices.into_iter().flatten().for_each(|index| devices.look_up(index, now, socket));
    let devices: &Devices = devices;
    let [in_dev, out_dev, physical_in_dev, physical_out_dev] =
        indices.map(|index| index.and_then(|index| devices.name(index)));
    Some(NflogPacket {
        group: u16::from_be_bytes([g0, g1]),
        sequence: fields.be32(SEQ)?,
        family: Family::from_nfproto(family),
        prefix: fields.get(PREFIX).map(until_nul).unwrap_or_default(),
        hook,
        hw_protocol: u16::from_be_bytes([p0, p1]),
        at: fields.get(TIMESTAMP).and_then(timestamp).unwrap_or(now),
        in_dev,
        out_dev,
        physical_in_dev,
        physical_out_dev,
        hw_address: fields.get(HWADDR).and_then(hw_address).unwrap_or_default(),
        mark: fields.be32(MARK),
        uid: fields.be32(UID),
        gid: fields.be32(GID),
        payload: fields.get(PAYLOAD).unwrap_or_default(),
    })
}

fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Seconds and microseconds since 1970.
fn timestamp(value: &[u8]) -> Option<SystemTime> {
    let (seconds, micros) = value.split_first_chunk::<8>()?;
    let micros = micros.first_chunk::<8>()?;
    let since = Duration::from_secs(u64::from_be_bytes(*seconds))
        .checked_add(Duration::from_micros(u64::from_be_bytes(*micros)))?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// A length, two bytes of padding, and the address.
fn hw_address(value: &[u8]) -> Option<&[u8]> {
    let (length, rest) = value.split_first_chunk::<2>()?;
    rest.get(2..)?.get(..usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).expect("short");
        let mut bytes = [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn decoded<'a>(message: &'a [u8], devices: &'a mut Devices) -> Option<NflogPacket<'a>> {
        let socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_NETFILTER).expect("a socket");
        decode(message, SystemTime::UNIX_EPOCH, devices, &socket)
    }

    #[test]
    fn decodes_what_the_kernel_says() {
        let micros = [1_700_000_000u64.to_be_bytes(), 250_000u64.to_be_bytes()].concat();
        let message = [
            vec![2, 0, 1, 2],
            attribute(PACKET_HDR, &[8, 0, 3, 0]),
            attribute(PREFIX, b"drop: \0"),
            attribute(MARK, &[0, 0, 0, 7]),
            attribute(OUTDEV, &[0, 0, 0, 1]),
            attribute(INDEV, &[0x7f, 0xff, 0xff, 0xff]),
            attribute(HWADDR, &[0, 6, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0]),
            attribute(TIMESTAMP, &micros),
            attribute(UID, &[0, 0, 3, 0xe8]),
            attribute(PAYLOAD, b"\x45packet"),
            attribute(SEQ, &[0, 0, 0, 9]),
            attribute(99, b"from a newer kernel"),
        ]
        .concat();
        let mut devices = Devices::default();
        let packet = decoded(&message, &mut devices).expect("a packet");
        assert_eq!((packet.group, packet.sequence, packet.hook), (0x102, 9, 3));
        assert_eq!((packet.family, packet.hw_protocol), (Some(Family::Ip), 0x800));
        assert_eq!((packet.prefix, packet.payload), (&b"drop: "[..], &b"\x45packet"[..]));
        assert_eq!((packet.mark, packet.uid, packet.gid), (Some(7), Some(1000), None));
        assert_eq!((packet.in_dev, packet.out_dev), (Some("if2147483647"), Some("lo")));
        assert_eq!(packet.hw_address, [1, 2, 3, 4, 5, 6]);
        assert_eq!(packet.at, SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_250_000));
    }

    #[test]
    fn refuses_what_lacks_header_or_number() {
        for message in [
            vec![],
            vec![2, 0, 0, 5],
            [vec![2, 0, 0, 5], attribute(PACKET_HDR, &[8, 0, 3, 0])].concat(),
            [vec![2, 0, 0, 5], attribute(SEQ, &[0; 4])].concat(),
            [vec![2, 0, 0, 5], attribute(SEQ, &[0; 4]), attribute(PACKET_HDR, &[8])].concat(),
        ] {
            assert_eq!(decoded(&message, &mut Devices::default()), None, "{message:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_value_is_too_odd(kind in 1u16..15, value in proptest::collection::vec(any::<u8>(), 0..24)) {
            let message =
                [vec![10, 0, 0, 5], attribute(PACKET_HDR, &[8, 0, 3, 0]), attribute(SEQ, &[0; 4]), attribute(kind, &value)];
            let _ = decoded(&message.concat(), &mut Devices::default());
        }
    }
}
