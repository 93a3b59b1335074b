//! Packets of every kind that the kernel logs in its own way, byte by byte, without a link layer.

/// One packet and whether it is IPv6. Its TTL is its place in the list, from [`FIRST_TTL`] on: so it is found again.
pub struct Sent {
    pub bytes: Vec<u8>,
    pub is_ipv6: bool,
}

/// None that the kernel gives packets of its own.
pub const FIRST_TTL: u8 = 70;

const ADDRESS: [u8; 4] = [10, 9, 0, 1];
const ADDRESS6: [u8; 16] = [0xfd, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const UDP: [u8; 8] = [0x9c, 0x40, 0, 53, 0, 8, 0, 0];
const SCTP: [u8; 12] = [0x9c, 0x40, 0x13, 0x88, 0, 0, 0, 1, 0, 0, 0, 0];
const ESP: [u8; 8] = [0, 0, 1, 0, 0, 0, 0, 1];

fn tcp(flags: u8) -> Vec<u8> {
    let mut header = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x60, flags, 4, 0, 0, 0, 0, 7];
    header.extend([2, 4, 5, 0xb4]);
    header
}

fn dccp() -> Vec<u8> {
    [&[0x9c, 0x40, 0x13, 0x89, 4, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8]].concat()
}

fn ah(next: u8, payload: &[u8]) -> Vec<u8> {
    [&[next, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1][..], &[0; 12], payload].concat()
}

fn icmp(kind: u8, code: u8, rest: [u8; 4], quoted: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0][..], &rest, quoted].concat()
}

/// IPv4 with these flags and offset and these options.
fn ipv4(protocol: u8, tos: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let [l1, l2] = u16::try_from(header + payload.len()).unwrap().to_be_bytes();
    let [f1, f2] = fragment.to_be_bytes();
    let first = 0x40 | u8::try_from(header / 4).unwrap();
    let fixed = [first, tos, l1, l2, 0x12, 0x34, f1, f2, 64, protocol, 0, 0];
    [&fixed[..], &ADDRESS, &ADDRESS, options, payload].concat()
}

fn plain(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4(protocol, 0, 0, &[], payload)
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [l1, l2] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x61, 0x20, 0x12, 0x34, l1, l2, next, 64][..], &ADDRESS6, &ADDRESS6, payload].concat()
}

fn extension(next: u8, payload: &[u8]) -> Vec<u8> {
    [&[next, 0, 1, 4, 0, 0, 0, 0][..], payload].concat()
}

fn fragment(next: u8, offset_and_more: u8, payload: &[u8]) -> Vec<u8> {
    [&[next, 0, 0, offset_and_more, 0, 0, 0, 9][..], payload].concat()
}

fn all_ipv4() -> Vec<Vec<u8>> {
    let mut packets: Vec<_> =
        [0x02, 0x12, 0x10, 0x18, 0x04, 0x11, 0xff].map(|flags| plain(6, &tcp(flags))).into();
    packets.extend([
        plain(17, &UDP),
        plain(136, &UDP),
        plain(132, &SCTP),
        plain(33, &dccp()),
        plain(47, &[0; 4]),
    ]);
    packets.extend([
        plain(50, &ESP),
        plain(51, &ah(6, &tcp(2))),
        plain(200, &[]),
        ipv4(6, 0xb8, 0, &[], &tcp(2)),
    ]);
    packets.extend([ipv4(17, 0xe1, 0x4000, &[], &UDP), ipv4(17, 0, 0, &[0x94, 4, 0, 0], &UDP)]);
    packets.extend([
        ipv4(6, 0, 0x2000, &[], &tcp(2)),
        ipv4(17, 0, 0x2010, &[], &UDP),
        ipv4(17, 0, 0x8000, &[], &UDP),
    ]);
    // too short for their headers
    packets.extend([plain(6, &tcp(2)[..2]), plain(6, &tcp(2)[..19]), plain(17, &UDP[..7]), plain(1, &[8])]);
    packets.extend([plain(50, &[0]), plain(51, &[])]);
    for (kind, code, rest) in [(8, 0, [0, 1, 0, 2]), (0, 0, [0, 1, 0, 2])] {
        packets.push(plain(1, &icmp(kind, code, rest, &[])));
    }
    for (kind, code, rest) in
        [(3, 1, [0; 4]), (3, 4, [0, 0, 5, 0x78]), (4, 0, [0; 4]), (11, 0, [0; 4]), (5, 1, [10, 9, 0, 2])]
    {
        for quoted in [plain(6, &tcp(2)), plain(6, &tcp(2)[..8]), plain(17, &UDP), plain(50, &ESP)] {
            packets.push(plain(1, &icmp(kind, code, rest, &quoted)));
        }
    }
    packets.push(plain(1, &icmp(12, 0, [20, 0, 0, 0], &plain(17, &UDP))));
    packets.push(plain(1, &icmp(13, 0, [0; 4], &[0; 12])));
    let twice = plain(1, &icmp(3, 1, [0; 4], &plain(17, &UDP)));
    packets.push(plain(1, &icmp(3, 3, [0; 4], &twice)));
    packets
}

fn all_ipv6() -> Vec<Vec<u8>> {
    let mut packets: Vec<_> = [0x02, 0x12, 0xff].map(|flags| ipv6(6, &tcp(flags))).into();
    packets.extend([ipv6(17, &UDP), ipv6(136, &UDP), ipv6(132, &SCTP), ipv6(33, &dccp()), ipv6(200, &[])]);
    packets.extend([ipv6(50, &ESP), ipv6(51, &ah(6, &tcp(2))), ipv6(59, &[])]);
    packets.extend([ipv6(60, &extension(6, &tcp(2))), ipv6(60, &extension(60, &extension(17, &UDP)))]);
    packets.extend([
        ipv6(44, &fragment(17, 1, &UDP)),
        ipv6(44, &fragment(17, 16, &UDP)),
        ipv6(44, &fragment(17, 17, &UDP)),
    ]);
    packets.extend([ipv6(17, &UDP[..3]), ipv6(6, &[]), ipv6(58, &[1])]);
    for (kind, code, rest) in
        [(128, 0, [0, 1, 0, 2]), (129, 0, [0, 1, 0, 2]), (143, 0, [0; 4]), (200, 7, [0; 4])]
    {
        packets.push(ipv6(58, &icmp(kind, code, rest, &[])));
    }
    for (kind, code, rest) in [(1, 4, [0; 4]), (2, 0, [0, 0, 5, 0]), (3, 0, [0; 4]), (4, 1, [0, 0, 0, 6])] {
        for quoted in [ipv6(6, &tcp(2)), ipv6(17, &UDP), ipv6(60, &extension(17, &UDP))] {
            packets.push(ipv6(58, &icmp(kind, code, rest, &quoted)));
        }
    }
    packets
}

pub fn all() -> Vec<Sent> {
    let ipv4 = all_ipv4().into_iter().map(|bytes| Sent { bytes, is_ipv6: false });
    let mut packets: Vec<_> =
        ipv4.chain(all_ipv6().into_iter().map(|bytes| Sent { bytes, is_ipv6: true })).collect();
    for (packet, ttl) in packets.iter_mut().zip(FIRST_TTL..255) {
        packet.bytes[if packet.is_ipv6 { 7 } else { 8 }] = ttl;
    }
    assert!(packets.len() < usize::from(255 - FIRST_TTL), "each has a TTL of its own");
    packets
}
