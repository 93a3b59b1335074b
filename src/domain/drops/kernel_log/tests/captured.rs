//! What a kernel really wrote: every line, and some of them field by field.

use super::*;

fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("../../../../../tests/data/drops/kernel.log").lines().filter(|line| !line.starts_with('#'))
}

/// The first line with this prefix that contains all of this.
#[track_caller]
fn line(prefix: &str, parts: &[&str]) -> &'static str {
    let is_meant = |line: &&str| line.starts_with(prefix) && parts.iter().all(|part| line.contains(part));
    lines().find(is_meant).unwrap_or_else(|| panic!("no line {prefix} with {parts:?}"))
}

#[track_caller]
fn read(prefix: &str, parts: &[&str]) -> Packet<'static> {
    packet(&every(), line(prefix, parts))
}

#[test]
fn every_line_is_read_to_its_end() {
    let mut count = 0;
    for line in lines() {
        let packet = packet(&every(), line);
        // the packet itself was too short; IPv6 without its options does not name ESP
        let outside = line.split(" [SRC=").next().unwrap();
        let is_cut = outside.contains("INCOMPLETE [")
            || outside.contains("INCOMPLETE ARP")
            || line.contains("TRUNCATED");
        let is_unnamed = outside.trim_end().rsplit(' ').next().unwrap().starts_with("FLOWLBL=");
        assert_eq!(packet.is_complete, !is_cut && !is_unnamed, "{line}\n{packet:#?}");
        let prefix = line.split("IN=").next().unwrap();
        assert!(packet.prefix.starts_with(prefix.trim().as_bytes()), "{line}");
        count += 1;
    }
    assert!(count > 200, "{count}");
}

#[test]
fn no_line_depends_on_its_end() {
    for line in lines() {
        let bare = packet(&every(), line.trim_end());
        assert_eq!(packet(&every(), line), bare);
        assert_eq!(packet(&every(), &format!("{line}\r\n")), bare);
    }
}

#[test]
fn quoted_packets_are_kept_apart() {
    let packet = read("ALL4:", &["TYPE=3 CODE=3 [SRC=", "SPT=40000 DPT=53"]);
    let Header { protocol, icmp_type, icmp_code, src_port, dst_port, .. } = packet.header;
    assert_eq!((protocol, icmp_type, icmp_code), (Some(Protocol::Icmp), Some(3), Some(3)));
    assert_eq!((src_port, dst_port), (None, None));
    let quoted = packet.embedded.unwrap();
    assert_eq!((quoted.protocol, quoted.dst_port, quoted.length), (Some(Protocol::Udp), Some(53), Some(28)));
    let packet = read("OUT6:", &["PROTO=ICMPv6 TYPE=2", "] MTU=1280"]);
    assert_eq!((packet.header.icmp_type, packet.is_complete), (Some(2), true));
    assert_eq!(packet.embedded.unwrap().dst_port, Some(53));
}

#[test]
fn ipv6_headers() {
    let packet = read("ALL6:", &["FLOWLBL=74565 OPT ( ) PROTO=TCP"]);
    assert_eq!(packet.header.src, "fd00:9::1".parse().ok());
    assert_eq!((packet.header.ttl, packet.header.tos), (Some(64), Some(0)));
    assert!(packet.header.flags.contains(Flags::SYN));
    let first = read("ALL6:", &["OPT ( FRAG:0 INCOMPLETE ID:00000009 )"]);
    assert!(first.header.flags.contains(Flags::MF) && first.is_complete);
    assert_eq!((first.header.fragment, first.header.id, first.header.dst_port), (None, Some(9), Some(53)));
    let second = read("OUT6:", &["FRAG:16 ID:00000009"]);
    assert_eq!((second.header.fragment, second.header.dst_port), (Some(16), None));
    let esp = read("ALL6:", &["OPT ( ESP SPI=0x100 )"]);
    assert_eq!(esp.header.protocol, Some(Protocol::ESP));
}

#[test]
fn ipv4_headers() {
    let all = read("ALL4:", &["CWR ECE URG ACK PSH RST SYN FIN URGP=7"]);
    assert_eq!(all.header.flags.names().count(), 8);
    assert_eq!(all.header.tos, Some(0xfe));
    let fragment = read("OUT4:", &["MF FRAG:16"]);
    assert_eq!((fragment.header.fragment, fragment.uid, fragment.gid), (Some(128), Some(0), Some(0)));
    for (name, protocol) in [
        ("132", Protocol::Sctp),
        ("33", Protocol::DCCP),
        ("UDPLITE", Protocol::UDPLITE),
        ("AH", Protocol::AH),
    ] {
        assert_eq!(read("OUT4:", &[&format!("PROTO={name} ")]).header.protocol, Some(protocol));
    }
    assert_eq!(read("OUT4:", &["MARK="]).mark, Some(0x1a2b));
}

#[test]
fn bridges_and_arp() {
    let bridged = read("BRNF:", &["PROTO=UDP"]);
    assert_eq!(
        (bridged.phys_in.as_deref(), bridged.phys_out.as_deref()),
        (Some(&b"va"[..]), Some(&b"vb"[..]))
    );
    let arp = read("NFBR", &["OPCODE=2"]);
    assert_eq!(arp.header.protocol, Some(Protocol::Arp));
    assert_eq!((arp.header.src, arp.header.dst), ("10.8.0.3".parse().ok(), "10.8.0.2".parse().ok()));
    let vlan = read("NFBR", &["VID=7"]);
    assert_eq!((vlan.link.vlan, vlan.link.ether_type), (Some(7), Some(0x0800)));
    let frame = read("NFBP", &[":88:cc"]);
    assert_eq!((frame.link.ether_type, frame.header), (Some(0x88cc), Header::default()));
    assert!(frame.is_complete);
}

#[test]
fn ebtables_has_its_own_form() {
    let udp = read("EBT", &["SPT=32920"]);
    assert_eq!((udp.header.protocol, udp.header.dst_port), (Some(Protocol::Udp), Some(53)));
    assert_eq!((udp.header.dst, udp.link.ether_type), ("10.8.0.3".parse().ok(), Some(0x0800)));
    let ipv6 = read("EBT", &["Next Header=58"]);
    assert_eq!((ipv6.header.protocol, ipv6.header.src), (Some(Protocol::Icmpv6), "::".parse().ok()));
    let arp = read("EBT", &["OPCODE=2"]);
    assert_eq!((arp.header.protocol, arp.header.src), (Some(Protocol::Arp), "10.8.0.3".parse().ok()));
}
