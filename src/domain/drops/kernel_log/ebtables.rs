//! What the log watcher of ebtables writes about a frame: another form than everything else of netfilter's.
//!
//! ```text
//! IN=va OUT=vb MAC source = 02:00:00:00:00:01 MAC dest = 02:00:00:00:00:02 proto = 0x0800
//!   IP SRC=10.0.0.1 IP DST=10.0.0.2, IP tos=0x00, IP proto=17 SPT=32920 DPT=53
//! ```
//!
//! *Source*: `net/bridge/netfilter/ebt_log.c` of Linux 6.18.

use super::fields::{address, decimal, hex_0x, mac};
use super::words::{Words, is_no_ip, set};
use crate::domain::packets::packet::{Header, Packet, Protocol};

/// Fills in what the words behind the devices say, and whether that is all.
pub(super) fn read(mut words: Words<'_>, packet: &mut Packet<'_>) {
    let mut is_understood = true;
    while let Some(word) = words.next() {
        let word = word.strip_suffix(b",").unwrap_or(word);
        is_understood &= match word {
            b"source" => assigned(&mut words, mac, &mut packet.link.source),
            b"dest" => assigned(&mut words, mac, &mut packet.link.destination),
            b"proto" => {
                assigned(&mut words, |word| hex_0x(word)?.try_into().ok(), &mut packet.link.ether_type)
            }
            b"MAC" | b"IP" | b"IPv6" | b"Next" => true,
            b"ARP" => {
                packet.header.protocol = Some(Protocol::Arp);
                true
            }
            // what follows says only what is missing
            b"INCOMPLETE" => {
                packet.is_complete = false;
                return;
            }
            _ => key_value(word, &mut packet.header),
        };
    }
    packet.is_complete = is_understood && (is_no_ip(&packet.link) || is_whole(&packet.header));
}

/// `= value`.
fn assigned<T>(words: &mut Words<'_>, read: impl Fn(&[u8]) -> Option<T>, slot: &mut Option<T>) -> bool {
    words.next() == Some(b"=") && set(slot, words.next().and_then(read))
}

fn key_value(word: &[u8], header: &mut Header) -> bool {
    let Some(equals) = word.iter().position(|byte| *byte == b'=') else { return false };
    let (Some(key), Some(value)) = (word.get(..equals), word.get(equals + 1..)) else { return false };
    // the addresses of the link layer have the keys of those of the network layer
    let is_mac = || mac(value).is_some();
    match key {
        b"SRC" => set(&mut header.src, address(value)) || is_mac(),
        b"DST" => set(&mut header.dst, address(value)) || is_mac(),
        b"tos" => set(&mut header.tos, hex_0x(value).and_then(|tos| tos.try_into().ok())),
        b"proto" | b"Header" => set(&mut header.protocol, decimal(value).map(Protocol::of)),
        b"SPT" => set(&mut header.src_port, decimal(value)),
        b"DPT" => set(&mut header.dst_port, decimal(value)),
        b"HTYPE" | b"OPCODE" => decimal::<u16>(value).is_some(),
        b"PTYPE" | b"priority" => hex_0x(value).is_some(),
        _ => false,
    }
}

fn is_whole(header: &Header) -> bool {
    let has_ports = header.src_port.is_some() && header.dst_port.is_some();
    let needs_ports = matches!(header.protocol, Some(Protocol::Tcp | Protocol::Udp));
    header.src.is_some() && header.dst.is_some() && header.protocol.is_some() && (has_ports || !needs_ports)
}
