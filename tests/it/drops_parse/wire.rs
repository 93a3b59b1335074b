//! A packet on the wire, what NFLOG's reader makes of it, and what the kernel writes about it: all three agree.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::process::Command;
use std::time::{Duration, SystemTime};

use iptables_monitor::domain::packets::ip_header::{Decoded, decode};
use iptables_monitor::domain::packets::packet::{Flags, Header, Packet, Protocol};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

use super::kernel_log::{Logging, Records};
use super::packets::{FIRST_TTL, Sent, all};
use super::{packet, parser};
use crate::support::{Netns, wait_until};

/// Four rules log each packet; MARK is the prefixes of this run.
const RULES: &str = "
    ip addr add 10.9.0.1/24 dev lo
    ip -6 addr add fd00:9::1/64 dev lo nodad
    for ip in iptables ip6tables; do
        $ip-nft -t raw -A PREROUTING -j LOG --log-prefix 'MARK-all:' --log-tcp-sequence --log-tcp-options \
            --log-ip-options --log-uid
        $ip-nft -A OUTPUT -j LOG --log-prefix 'MARK-out: ' --log-uid
    done
    nft -f - <<'END'
        table inet t {
            chain early {
                type filter hook prerouting priority -400;
                ip ttl 70 meta mark set 0x1a2b
            }
            chain late {
                type filter hook prerouting priority -310;
                log prefix \"MARK-nft IN= x \" flags all
                log prefix \"MARK-plain \"
            }
        }
END";

fn send(packets: &[Sent]) {
    let raw =
        |family| socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW)).unwrap();
    let (ipv4, ipv6) = (raw(AddressFamily::INET), raw(AddressFamily::INET6));
    for packet in packets {
        let sent = if packet.is_ipv6 {
            let address = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1);
            sendto(&ipv6, &packet.bytes, SendFlags::empty(), &SocketAddrV6::new(address, 0, 0, 0))
        } else {
            let address = Ipv4Addr::new(10, 9, 0, 1);
            sendto(&ipv4, &packet.bytes, SendFlags::empty(), &SocketAddrV4::new(address, 0))
        };
        sent.unwrap_or_else(|error| panic!("{error}: {:02x?}", packet.bytes));
    }
}

/// What the kernel logged about these packets: for each TTL, the lines by their prefix.
fn logged(mark: &str, packets: &[Sent]) -> BTreeMap<u8, BTreeMap<String, String>> {
    let _logging = Logging::on();
    let netns = Netns::new();
    netns.sh(&RULES.replace("MARK", mark));
    let mut records = Records::from_now_on();
    netns.within(|| send(packets));
    let (mut lines, mut found) = (Vec::new(), BTreeMap::<u8, BTreeMap<_, _>>::new());
    let range = FIRST_TTL..FIRST_TTL + u8::try_from(packets.len()).unwrap();
    wait_until("every packet is logged by each rule", Duration::from_secs(60), || {
        records.read(mark, &mut lines);
        for line in lines.drain(..) {
            let ttl =
                line.split(" TTL=").nth(1).or_else(|| line.split(" HOPLIMIT=").nth(1)).unwrap_or_default();
            let ttl = ttl.split(' ').next().and_then(|ttl| ttl.parse().ok()).unwrap_or(0);
            let prefix = line.split([' ', ':']).next().unwrap().rsplit('-').next().unwrap().to_owned();
            if range.contains(&ttl) {
                found.entry(ttl).or_default().insert(prefix, line);
            }
        }
        found.len() == packets.len() && found.values().all(|lines| lines.len() == 4)
    });
    found
}

#[test]
fn what_is_sent_is_what_is_read() {
    let mark = format!("w{}", std::process::id());
    let packets = all();
    let logged = logged(&mark, &packets);
    let prefixes = ["all:", "out:", "nft", "plain"].map(|name| format!("{mark}-{name}"));
    let parser = parser(&prefixes.each_ref().map(String::as_str));
    for (sent, lines) in packets.iter().zip(logged.values()) {
        let decoded = decode(&sent.bytes).expect("a whole IP header");
        for (prefix, line) in lines {
            let packet = packet(&parser, line, Some(SystemTime::now()));
            compare(prefix, line, &packet, &decoded, sent.is_ipv6);
        }
    }
    let marked = packet(&parser, &logged[&FIRST_TTL]["all"], None);
    assert_eq!(marked.mark, Some(0x1a2b), "{:?}", logged[&FIRST_TTL]);
    let local = packet(&parser, &logged[&FIRST_TTL]["out"], None);
    assert_eq!((local.mark, local.uid, local.gid), (None, Some(0), Some(0)));
}

fn compare(prefix: &str, line: &str, packet: &Packet<'_>, decoded: &Decoded, is_ipv6: bool) {
    let name = format!("-{prefix}{}", if matches!(prefix, "all" | "out") { ":" } else { "" });
    let seen = String::from_utf8_lossy(&packet.prefix);
    assert!(seen.ends_with(&name) || prefix == "nft" && seen.ends_with("-nft IN= x"), "{seen}: {line}");
    let devices = [&packet.in_dev, &packet.out_dev].map(|device| device.as_deref() == Some(b"lo"));
    assert_eq!(devices, if prefix == "out" { [false, true] } else { [true, false] }, "{line}");
    // only with --log-ip-options is ESP named in IPv6
    let is_unnamed =
        is_ipv6 && decoded.header.protocol == Some(Protocol::ESP) && matches!(prefix, "out" | "plain");
    assert_eq!(packet.is_complete, decoded.is_complete && !is_unnamed, "{line}\n{decoded:?}");
    let mut expected = as_logged(&decoded.header, decoded.is_complete);
    if is_unnamed {
        expected.protocol = None;
    }
    assert_eq!(packet.header, expected, "{line}");
    compare_quoted(line, packet, decoded);
}

/// A header as far as the kernel tells: not the lowest bit of the type of service, nor ports of SCTP and DCCP, and
/// nothing of a transport header that is not whole.
fn as_logged(header: &Header, is_whole: bool) -> Header {
    let mut header = *header;
    if header.src.is_some_and(|src| src.is_ipv4()) {
        header.tos = header.tos.map(|tos| tos & 0xfe);
    }
    if !is_whole || matches!(header.protocol, Some(Protocol::Sctp | Protocol::DCCP)) {
        (header.src_port, header.dst_port) = (None, None);
        (header.icmp_type, header.icmp_code) = (None, None);
        header.flags = of_ip(header.flags);
    }
    header
}

fn of_ip(flags: Flags) -> Flags {
    let mut kept = Flags::default();
    [Flags::CE, Flags::DF, Flags::MF]
        .into_iter()
        .filter(|flag| flags.contains(*flag))
        .for_each(|flag| kept.insert(flag));
    kept
}

fn compare_quoted(line: &str, packet: &Packet<'_>, decoded: &Decoded) {
    // of a parameter problem of IPv4, the kernel says nothing more
    let is_told = decoded.header.protocol != Some(Protocol::Icmp) || decoded.header.icmp_type != Some(12);
    let (Some(quoted), Some(sent)) = (packet.embedded, decoded.embedded) else {
        assert_eq!(packet.embedded.is_some(), decoded.embedded.is_some() && is_told, "{line}");
        return;
    };
    let sent = as_logged(&sent, quoted.src_port.is_some() || quoted.icmp_type.is_some());
    assert_eq!(quoted, sent, "{line}");
}

#[test]
fn dmesg_shows_the_same_packet_in_all_its_forms() {
    let mark = format!("d{}", std::process::id());
    let packets = all().into_iter().take(1).collect::<Vec<_>>();
    let logged = logged(&mark, &packets);
    let bare = &logged[&FIRST_TTL]["out"];
    let prefix = format!("{mark}-out:");
    let parser = parser(&[&prefix]);
    let expected = packet(&parser, bare, None);
    for (options, has_time, has_uptime) in [
        (&[][..], false, true),
        (&["-r"], false, true),
        (&["-x"], false, true),
        (&["-T"], true, false),
        (&["--time-format", "iso"], true, false),
        (&["--time-format", "iso", "-x"], true, false),
        (&["-t"], false, false),
    ] {
        let output =
            Command::new("dmesg").args(options).env("TZ", "UTC").env("LC_ALL", "C").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains(&prefix)).unwrap_or_else(|| panic!("{options:?}"));
        let read = packet(&parser, line, None);
        assert_eq!((read.at.is_some(), read.uptime.is_some()), (has_time, has_uptime), "{line}");
        if let Some(at) = read.at {
            let age = SystemTime::now().duration_since(at).unwrap_or_default();
            assert!(age < Duration::from_secs(3_600), "{line}");
        }
        assert_eq!(Packet { at: None, uptime: None, ..read }, expected, "{line}");
    }
}
