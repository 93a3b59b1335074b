//! What holds for every line.

use std::fmt::Write as _;
use std::net::IpAddr;

use proptest::option;
use proptest::prelude::*;

use super::*;

/// Writes a header as the kernel does.
fn written(header: &Header) -> String {
    let mut out = String::new();
    let (src, dst) = (header.src.unwrap(), header.dst.unwrap());
    let long = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|segment| format!("{segment:04x}")).join(":"),
    };
    let (tos, ttl, length) = (header.tos.unwrap(), header.ttl.unwrap(), header.length.unwrap());
    let _ = write!(out, "SRC={} DST={} LEN={length} ", long(src), long(dst));
    match src {
        IpAddr::V4(_) => {
            let id = header.id.unwrap();
            let _ = write!(out, "TOS=0x{:02X} PREC=0x{:02X} TTL={ttl} ID={id} ", tos & 0x1e, tos & 0xe0);
            for flag in header.flags.names().filter(|name| matches!(*name, "CE" | "DF" | "MF")) {
                let _ = write!(out, "{flag} ");
            }
        }
        IpAddr::V6(_) => {
            let _ = write!(out, "TC={tos} HOPLIMIT={ttl} FLOWLBL=0 ");
        }
    }
    written_transport(header, &mut out);
    out
}

fn written_transport(header: &Header, out: &mut String) {
    let ports = || format!("SPT={} DPT={} ", header.src_port.unwrap(), header.dst_port.unwrap());
    let _ = match header.protocol.unwrap() {
        Protocol::Tcp => {
            let flags = header.flags.names().filter(|name| !matches!(*name, "CE" | "DF" | "MF"));
            let flags = flags.map(|flag| format!("{flag} ")).collect::<String>();
            write!(out, "PROTO=TCP {}WINDOW=1 RES=0x00 {flags}URGP=0 ", ports())
        }
        Protocol::Udp => write!(out, "PROTO=UDP {}LEN=8 ", ports()),
        Protocol::Icmp => {
            write!(out, "PROTO=ICMP TYPE={} CODE={} ", header.icmp_type.unwrap(), header.icmp_code.unwrap())
        }
        Protocol::Icmpv6 => {
            write!(out, "PROTO=ICMPv6 TYPE={} CODE={} ", header.icmp_type.unwrap(), header.icmp_code.unwrap())
        }
        Protocol::Sctp => write!(out, "PROTO=132 "),
        Protocol::Other(number) => write!(out, "PROTO={number} "),
        Protocol::Arp => unreachable!("not generated"),
    };
}

fn protocols() -> impl Strategy<Value = Protocol> {
    use Protocol::*;
    // numbers whose protocols the kernel writes by number
    prop_oneof![Just(Tcp), Just(Udp), Just(Icmp), Just(Icmpv6), Just(Sctp), (70..130u8).prop_map(Other)]
}

fn tcp_flags(bits: u8, flags: &mut Flags) {
    for (at, name) in ["CWR", "ECE", "URG", "ACK", "PSH", "RST", "SYN", "FIN"].into_iter().enumerate() {
        if bits >> at & 1 == 1 {
            flags.insert(Flags::named(name.as_bytes()).unwrap());
        }
    }
}

prop_compose! {
    fn headers()(
        addresses in prop_oneof![
            any::<([u8; 4], [u8; 4])>().prop_map(|(src, dst)| (IpAddr::from(src), IpAddr::from(dst))),
            any::<([u8; 15], [u8; 15])>().prop_map(|(src, dst)| {
                let address = |rest: [u8; 15]| {
                    let mut octets = [0xfd; 16];
                    octets[1..].copy_from_slice(&rest);
                    IpAddr::from(octets)
                };
                (address(src), address(dst))
            }),
        ],
        protocol in protocols(),
        length in any::<u16>(),
        (tos, ttl, id) in any::<(u8, u8, u16)>(),
        ports in any::<(u16, u16)>(),
        icmp in any::<(u8, u8)>(),
        (is_df, bits) in any::<(bool, u8)>(),
    ) -> Header {
        let (src, dst) = addresses;
        let mut header = Header {
            src: Some(src),
            dst: Some(dst),
            protocol: Some(protocol),
            length: Some(length.into()),
            tos: Some(if src.is_ipv4() { tos & 0xfe } else { tos }),
            ttl: Some(ttl),
            ..Header::default()
        };
        if src.is_ipv4() {
            header.id = Some(id.into());
            if is_df {
                header.flags.insert(Flags::DF);
            }
        }
        match protocol {
            Protocol::Tcp | Protocol::Udp => (header.src_port, header.dst_port) = (Some(ports.0), Some(ports.1)),
            Protocol::Icmp | Protocol::Icmpv6 => {
                (header.icmp_type, header.icmp_code) = (Some(icmp.0), Some(icmp.1));
            }
            _ => {}
        }
        if protocol == Protocol::Tcp {
            tcp_flags(bits, &mut header.flags);
        }
        header
    }
}

/// A prefix that a rule may have: printable, with keys and brackets in it.
fn prefixes() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("IN=".to_owned()),
        Just("OUT=".to_owned()),
        Just(" OUT=".to_owned()),
        Just("SRC=1.2.3.4 ".to_owned()),
        Just("[".to_owned()),
        Just("PROTO=UDP ".to_owned()),
        Just("DROP: ".to_owned()),
        "[!-~]{0,6} ?",
    ];
    proptest::collection::vec(part, 0..4).prop_map(|parts| parts.concat().chars().take(29).collect())
}

const ENVELOPES: [&str; 10] = [
    "",
    "[  123.456789] ",
    "<4>[  123.456789] ",
    "Sep  3 11:38:30 node-1 kernel: [  123.456789] ",
    "Sep  3 11:38:30 kernel: ",
    "<4>Sep  3 11:38:30 node-1 kernel: ",
    "2026-09-03T11:38:30.123456+00:00 node-1 kernel: ",
    "<4>1 2026-09-03T11:38:30.123456Z node-1 kernel - - - ",
    "2026-09-03T11:38:30+0000 node-1 kernel: [  123.456789] ",
    "kern  :warn  : [  123.456789] ",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_panic(
        before in option::of(prefixes()),
        bytes in any::<Vec<u8>>(),
        noise in "(IN=|OUT=| |\\[|\\]|SRC=|MAC source = |PROTO=|INCOMPLETE|FRAG:|OPT|\\(|\\)|Unknown|[0-9a-f.:x]{0,6}){0,20}",
    ) {
        for parser in [every(), words(&["DROP:", "IN="]), start(&["DROP: "], &["x"])] {
            for line in [&bytes[..], noise.as_bytes(), &[before.as_deref().unwrap_or("DROP: ").as_bytes(), &bytes].concat()] {
                let _ = parser.parse(line, None, clock());
                let _ = parser.parse(line, Some(SystemTime::UNIX_EPOCH), clock());
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        header in headers(),
        embedded in option::of(headers()),
        devices in ("[a-z][a-z0-9.=@-]{0,14}", "[a-z0-9]{0,15}"),
        mark in option::of(1..u32::MAX),
        envelope in proptest::sample::select(&ENVELOPES[..]),
    ) {
        let (in_dev, out_dev) = devices;
        let quoted = embedded.as_ref().map(|header| format!("[{}] ", written(header))).unwrap_or_default();
        let mark_text = mark.map(|mark| format!("MARK=0x{mark:x} ")).unwrap_or_default();
        let line = format!("{envelope}DROP: IN={in_dev} OUT={out_dev} {}{quoted}{mark_text}", written(&header));
        for parser in [every(), words(&["DROP:"]), start(&["DROP: "], &[])] {
            let packet = packet(&parser, &line);
            prop_assert_eq!(&*packet.prefix, b"DROP:");
            prop_assert_eq!(&packet.header, &header, "{}", line);
            prop_assert_eq!(&packet.embedded, &embedded);
            prop_assert_eq!(packet.in_dev.as_deref(), Some(in_dev.as_bytes()));
            prop_assert_eq!(packet.out_dev.as_deref().unwrap_or_default(), out_dev.as_bytes());
            prop_assert_eq!(packet.mark, mark);
            prop_assert!(packet.is_complete, "{}", line);
        }
    }

    #[test]
    fn a_quoted_packet_never_changes_what_is_outside(header in headers(), quoted in "\\PC{0,60}", inner in headers()) {
        let text = written(&header);
        let alone = format!("DROP: IN=a OUT=b {text}");
        let alone = packet(&every(), &alone);
        for quoted in [written(&inner), written(&inner)[..40].to_owned(), format!("SRC={}", quoted.replace([']', '='], ""))] {
            let line = format!("DROP: IN=a OUT=b {text}[{quoted} ] ");
            let packet = packet(&every(), &line);
            prop_assert_eq!(packet.header, alone.header, "{}", line);
            prop_assert!(packet.embedded.is_some());
        }
    }

    #[test]
    fn no_prefix_confuses(header in headers(), prefix in prefixes(), envelope in proptest::sample::select(&ENVELOPES[3..9])) {
        let line = format!("{envelope}{prefix}IN=eth0 OUT=eth1 {}", written(&header));
        let mut parsers = vec![every()];
        if !prefix.trim().is_empty() {
            parsers.extend([words(&[&prefix]), start(&[&prefix], &[])]);
        }
        for parser in parsers {
            let packet = packet(&parser, &line);
            prop_assert_eq!(packet.header, header, "{}", line);
            prop_assert_eq!(packet.in_dev.as_deref(), Some(&b"eth0"[..]), "{}", line);
            prop_assert!(packet.is_complete, "{}", line);
        }
    }
}
