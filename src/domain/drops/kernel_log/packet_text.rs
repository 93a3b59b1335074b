//! What the kernel writes about a packet behind its prefix.
//! What a key means is known here; where the packet begins is not.
//!
//! ```text
//! IN=br0 OUT=br0 PHYSIN=va PHYSOUT=vb MAC=<dst><src><type> SRC=10.0.0.1 DST=10.0.0.2 LEN=57 TOS=0x00 PREC=0xC0
//!   TTL=64 ID=7 DF PROTO=ICMP TYPE=3 CODE=3 [SRC=10.0.0.2 DST=10.0.0.1 ... PROTO=UDP SPT=9 DPT=53 LEN=9 ] MARK=0x1
//! ```
//!
//! *Source*: `net/netfilter/nf_log_syslog.c` of Linux 6.18 (older kernels: `nf_log_ipv4.c`, `nf_log_ipv6.c`,
//! `nf_log_arp.c`, `nf_log_common.c`), and what it wrote (`tests/data/drops/kernel.log`).

use super::ebtables;
use super::fields::{address, decimal, hex, hex_0x, mac, octets, text};
use super::words::{Words, is_no_ip, set};
use crate::domain::packets::packet::{Flags, Header, Link, Mac, Packet, Protocol, Text};

/// Fills in what the text says, and whether that is all of it. `false` if it says nothing that is known.
pub(super) fn read<'a>(body: &'a [u8], packet: &mut Packet<'a>) -> bool {
    let mut words = Words(body);
    let has_head = read_devices(&mut words, packet);
    if words.peek() == Some(b"MAC") {
        ebtables::read(words, packet);
        return true;
    }
    let mut reader =
        Reader { packet, words, outer: Layer::default(), inner: Inner::Absent, understood: 0, strange: 0 };
    reader.read_all();
    let Reader { packet, outer, inner, understood, strange, .. } = reader;
    let is_whole = outer.is_whole() || outer.is_empty() && is_no_ip(&packet.link);
    packet.header = outer.header;
    packet.is_complete = has_head && strange == 0 && is_whole && !matches!(inner, Inner::Open(_));
    packet.embedded = match inner {
        Inner::Absent => None,
        Inner::Open(layer) | Inner::Closed(layer) => Some(layer.header),
    };
    has_head || understood > 0
}

/// `IN=eth0 OUT=`, with which every packet begins, or one of them in a log that is not the kernel's own.
fn read_devices<'a>(words: &mut Words<'a>, packet: &mut Packet<'a>) -> bool {
    let mut ahead = *words;
    let (Some(first), Some(second)) = (ahead.next(), ahead.next()) else { return false };
    let (in_dev, out_dev) = (first.strip_prefix(b"IN="), first.strip_prefix(b"OUT="));
    match (in_dev, out_dev, second.strip_prefix(b"OUT=")) {
        (Some(in_dev), _, Some(out_dev)) => {
            (packet.in_dev, packet.out_dev) = (device(in_dev), device(out_dev));
            *words = ahead;
        }
        _ if is_device(first) && is_behind_device(second) => {
            (packet.in_dev, packet.out_dev) = (in_dev.and_then(device), out_dev.and_then(device));
            words.next();
        }
        _ => return false,
    }
    true
}

/// `IN=eth0` or `OUT=eth0`.
pub(super) fn is_device(word: &[u8]) -> bool {
    [&b"IN="[..], b"OUT="].iter().any(|key| word.len() > key.len() && word.starts_with(key))
}

/// Whether this may be the first word behind the devices.
pub(super) fn is_behind_device(word: &[u8]) -> bool {
    [&b"SRC="[..], b"MAC=", b"MACSRC=", b"PHYSIN=", b"PHYSOUT="].iter().any(|key| word.starts_with(key))
}

fn device(name: &[u8]) -> Option<Text<'_>> {
    (!name.is_empty()).then(|| text(name))
}

/// One IP header and what follows it.
#[derive(Default)]
struct Layer {
    header: Header,
    /// Whether the last field that its protocol must have is there.
    has_end: bool,
    is_cut: bool,
}

impl Layer {
    fn is_empty(&self) -> bool {
        self.header == Header::default() && !self.is_cut
    }

    fn is_whole(&self) -> bool {
        let Header { src, dst, length, protocol, fragment, .. } = self.header;
        let has_end = match protocol {
            None => false,
            _ if fragment.is_some() => true,
            Some(Protocol::Arp) => return src.is_some() && dst.is_some() && !self.is_cut,
            Some(Protocol::Tcp | Protocol::Udp | Protocol::Icmp | Protocol::Icmpv6) => self.has_end,
            Some(Protocol::UDPLITE | Protocol::ESP | Protocol::AH) => self.has_end,
            Some(Protocol::Sctp | Protocol::Other(_)) => true,
        };
        src.is_some() && dst.is_some() && length.is_some() && has_end && !self.is_cut
    }
}

/// The packet that an ICMP error quotes.
enum Inner {
    Absent,
    Open(Layer),
    Closed(Layer),
}

struct Reader<'p, 'a> {
    packet: &'p mut Packet<'a>,
    words: Words<'a>,
    outer: Layer,
    inner: Inner,
    understood: u32,
    strange: u32,
}

impl<'a> Reader<'_, 'a> {
    fn read_all(&mut self) {
        while let Some(word) = self.words.next() {
            if self.read(word) {
                self.understood += 1;
            } else {
                self.strange += 1;
            }
        }
    }

    fn read(&mut self, word: &'a [u8]) -> bool {
        if let Some(first) = word.strip_prefix(b"[") {
            return self.open(first);
        }
        if matches!(word, b"]" | b")]") {
            return self.close();
        }
        let Some(equals) = word.iter().take(12).position(|byte| *byte == b'=') else {
            return self.read_bare(word);
        };
        let (Some(key), Some(value)) = (word.get(..equals), word.get(equals + 1..)) else { return false };
        match &mut self.inner {
            Inner::Open(layer) => layer.set(key, value),
            _ => self.outer.set(key, value) || set_outside(self.packet, key, value),
        }
    }

    fn open(&mut self, first: &'a [u8]) -> bool {
        let is_packet = first.starts_with(b"SRC=") || first == b"TRUNCATED";
        let is_new = is_packet && matches!(self.inner, Inner::Absent);
        if is_new {
            self.inner = Inner::Open(Layer::default());
        }
        is_new && self.read(first)
    }

    fn close(&mut self) -> bool {
        match std::mem::replace(&mut self.inner, Inner::Absent) {
            Inner::Open(layer) => {
                self.inner = Inner::Closed(layer);
                true
            }
            other => {
                self.inner = other;
                false
            }
        }
    }

    fn read_bare(&mut self, word: &'a [u8]) -> bool {
        let layer = match &mut self.inner {
            Inner::Open(layer) => layer,
            _ => &mut self.outer,
        };
        match word {
            b"INCOMPLETE" => incomplete(&mut self.words, layer),
            b"Unknown" => unknown_extension(&mut self.words, layer),
            _ => layer.set_bare(word),
        }
    }
}

/// `INCOMPLETE [8 bytes]`: the packet is shorter than its header. Of an IPv6 fragment, before its protocol and without
/// a number, it means that more fragments follow.
fn incomplete(words: &mut Words<'_>, layer: &mut Layer) -> bool {
    let mut ahead = *words;
    let is_counted =
        ahead.next().is_some_and(|word| word.starts_with(b"[")) && ahead.next() == Some(b"bytes]");
    if is_counted {
        *words = ahead;
    }
    if !is_counted && layer.header.protocol.is_none() {
        layer.header.flags.insert(Flags::MF);
    } else {
        layer.is_cut = true;
    }
    true
}

/// `Unknown Ext Hdr 43`.
fn unknown_extension(words: &mut Words<'_>, layer: &mut Layer) -> bool {
    let mut ahead = *words;
    if (ahead.next(), ahead.next()) != (Some(b"Ext"), Some(b"Hdr")) {
        return false;
    }
    let number = ahead.next().and_then(decimal);
    *words = ahead;
    set(&mut layer.header.protocol, number.map(Protocol::of))
}

impl Layer {
    fn set(&mut self, key: &[u8], value: &[u8]) -> bool {
        let header = &mut self.header;
        let is_header = header.protocol.is_none();
        match key {
            b"SRC" | b"IPSRC" => set(&mut header.src, address(value)),
            b"DST" | b"IPDST" => set(&mut header.dst, address(value)),
            b"LEN" if is_header => set(&mut header.length, decimal(value)),
            b"TOS" | b"PREC" => {
                let bits = hex_0x(value).and_then(|bits| u8::try_from(bits).ok());
                header.tos = bits.map(|bits| bits | header.tos.unwrap_or(0)).or(header.tos);
                bits.is_some()
            }
            b"TC" => set(&mut header.tos, decimal(value)),
            b"TTL" | b"HOPLIMIT" => set(&mut header.ttl, decimal(value)),
            b"ID" if is_header => set(&mut header.id, decimal(value)),
            b"PROTO" => set(&mut header.protocol, protocol(value)),
            b"SPT" => set(&mut header.src_port, decimal(value)),
            b"DPT" => set(&mut header.dst_port, decimal(value)),
            b"TYPE" => set(&mut header.icmp_type, decimal(value)),
            b"CODE" => {
                self.has_end = true;
                set(&mut header.icmp_code, decimal(value))
            }
            _ => self.check(key, value),
        }
    }

    /// Fields that are understood and not kept.
    fn check(&mut self, key: &[u8], value: &[u8]) -> bool {
        let is_number = || decimal::<u32>(value).is_some();
        match key {
            b"LEN" | b"URGP" => {
                self.has_end = true;
                is_number()
            }
            b"SPI" => {
                self.has_end = true;
                hex_0x(value).is_some()
            }
            b"ID" | b"SEQ" | b"ACK" | b"WINDOW" | b"FLOWLBL" | b"MTU" | b"PARAMETER" | b"HTYPE"
            | b"OPCODE" => is_number(),
            b"RES" | b"PTYPE" => hex_0x(value).is_some(),
            b"POINTER" => hex(value).is_some(),
            b"GATEWAY" => address(value).is_some(),
            _ => false,
        }
    }

    fn set_bare(&mut self, word: &[u8]) -> bool {
        let header = &mut self.header;
        match word {
            b"OPT" | b"(" | b")" | b"AH" => true,
            b"ARP" => set(&mut header.protocol, Some(Protocol::Arp)),
            b"ESP" => set(&mut header.protocol, Some(Protocol::ESP)),
            b"TRUNCATED" => {
                self.is_cut = true;
                true
            }
            [b'F', b'R', b'A', b'G', b':', offset @ ..] => set_fragment(header, offset),
            [b'I', b'D', b':', id @ ..] => set(&mut header.id, hex(id)),
            [b'(', options @ .., b')'] => options.iter().all(u8::is_ascii_hexdigit),
            _ => match Flags::named(word) {
                Some(flag) => {
                    header.flags.insert(flag);
                    true
                }
                None => false,
            },
        }
    }
}

/// The offset of a fragment: in units of eight bytes in IPv4, in bytes in IPv6.
fn set_fragment(header: &mut Header, offset: &[u8]) -> bool {
    let unit = if header.src.is_some_and(|src| src.is_ipv4()) { 8 } else { 1 };
    match decimal::<u16>(offset).and_then(|offset| offset.checked_mul(unit)) {
        Some(0) => true,
        bytes => set(&mut header.fragment, bytes),
    }
}

fn protocol(name: &[u8]) -> Option<Protocol> {
    Some(match name {
        b"TCP" => Protocol::Tcp,
        b"UDP" => Protocol::Udp,
        b"UDPLITE" => Protocol::UDPLITE,
        b"SCTP" => Protocol::Sctp,
        b"DCCP" => Protocol::DCCP,
        b"ICMP" => Protocol::Icmp,
        b"ICMPv6" => Protocol::Icmpv6,
        b"ESP" => Protocol::ESP,
        b"AH" => Protocol::AH,
        number => Protocol::of(decimal(number)?),
    })
}

/// Fields that only the logged packet has, not one that it quotes.
fn set_outside<'a>(packet: &mut Packet<'a>, key: &[u8], value: &'a [u8]) -> bool {
    match key {
        b"PHYSIN" => set(&mut packet.phys_in, device(value)),
        b"PHYSOUT" => set(&mut packet.phys_out, device(value)),
        b"MAC" => set_link(&mut packet.link, value),
        b"MACSRC" => set_mac(&mut packet.link.source, value),
        b"MACDST" => set_mac(&mut packet.link.destination, value),
        b"MACPROTO" => set(&mut packet.link.ether_type, half(value)),
        b"VPROTO" => half(value).is_some(),
        b"VID" => set(&mut packet.link.vlan, decimal(value)),
        b"TUNNEL" => memchr::memmem::find(value, b"->").is_some(),
        b"MARK" => set(&mut packet.mark, hex_0x(value)),
        b"UID" => set(&mut packet.uid, decimal(value)),
        b"GID" => set(&mut packet.gid, decimal(value)),
        _ => false,
    }
}

fn half(value: &[u8]) -> Option<u16> {
    hex(value).and_then(|value| u16::try_from(value).ok())
}

/// ARP has both addresses twice: of the frame first, then its own.
fn set_mac(slot: &mut Option<Mac>, value: &[u8]) -> bool {
    let read = mac(value);
    set(slot, read) || read.is_some()
}

/// The link header as it is: of Ethernet, receiver, sender and type. Empty if there is none.
fn set_link(link: &mut Link, value: &[u8]) -> bool {
    let mut room = [0; 64];
    if value.is_empty() {
        return true;
    }
    let Some(length) = octets(value, &mut room) else { return false };
    if let ([d1, d2, d3, d4, d5, d6, s1, s2, s3, s4, s5, s6, high, low, ..], 14) = (room, length) {
        link.destination = Some(Mac([d1, d2, d3, d4, d5, d6]));
        link.source = Some(Mac([s1, s2, s3, s4, s5, s6]));
        link.ether_type = Some(u16::from_be_bytes([high, low]));
    }
    true
}
