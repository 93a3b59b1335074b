//! What lines mean, one by one.

mod captured;
mod laws;

use std::time::{Duration, SystemTime};

use super::*;
use crate::domain::drops::prefix::PrefixPlace;
use crate::domain::drops::record::Record;
use crate::domain::packets::packet::{Flags, Header, Protocol, Text};

const NONE: &[&str] = &[];

fn clock() -> Clock {
    // 2026-11-21T12:00:00Z
    Clock { now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_262_400), utc_offset_seconds: 0 }
}

fn every() -> LogParser {
    LogParser::new(Matcher::new(NONE, NONE, PrefixPlace::WholeWordAnywhere), None)
}

fn words(drops: &[&str]) -> LogParser {
    LogParser::new(Matcher::new(drops, NONE, PrefixPlace::WholeWordAnywhere), None)
}

fn start(drops: &[&str], accepts: &[&str]) -> LogParser {
    LogParser::new(Matcher::new(drops, accepts, PrefixPlace::StartOfMessage), None)
}

#[track_caller]
fn packet<'a>(parser: &LogParser, line: &'a str) -> Packet<'a> {
    match parser.parse(line.as_bytes(), None, clock()) {
        Parsed::Packet(packet) => packet,
        other => panic!("{other:?}: {line}"),
    }
}

fn json(packet: &Packet<'_>) -> serde_json::Value {
    serde_json::to_value(Record::from(packet)).unwrap()
}

/// A whole TCP packet behind its devices.
const TCP: &str = "MAC= SRC=10.0.0.1 DST=10.0.0.2 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=7 DF PROTO=TCP SPT=40000 DPT=80 \
    WINDOW=1024 RES=0x00 SYN URGP=0 ";

#[test]
fn a_line_of_the_tailer() {
    let line = "2019-02-04T10:10:12.345678-07:00 node-1 kernel: [1234.500000] calico-drop: IN=cali0 OUT=eth0 \
        MAC=02:00:00:00:00:02:02:00:00:00:00:01:08:00 SRC=10.0.0.1 DST=10.0.0.2 LEN=60 TOS=0x00 PREC=0x00 TTL=63 \
        ID=7 DF PROTO=TCP SPT=40000 DPT=80 WINDOW=1024 RES=0x00 SYN URGP=0 MARK=0x10000";
    let packet = packet(&words(&["calico-drop:"]), line);
    assert_eq!(
        json(&packet),
        serde_json::json!({
            "time": "2019-02-04T17:10:12.345678Z", "prefix": "calico-drop:", "action": "drop",
            "in": "cali0", "out": "eth0", "src": "10.0.0.1", "dst": "10.0.0.2", "src_port": 40_000, "dst_port": 80,
            "protocol": "tcp", "length": 60, "ttl": 63, "complete": true,
        })
    );
    assert_eq!(packet.host.as_deref(), Some(&b"node-1"[..]));
    assert_eq!((packet.uptime, packet.mark), (Some(Duration::from_millis(1_234_500)), Some(0x10000)));
    assert_eq!(packet.link.source.unwrap().to_string(), "02:00:00:00:00:01");
    assert_eq!(packet.link.destination.unwrap().to_string(), "02:00:00:00:00:02");
    assert_eq!(packet.link.ether_type, Some(0x0800));
    assert_eq!(packet.header.flags.names().collect::<Vec<_>>(), ["DF", "SYN"]);
}

#[test]
fn a_message_of_droptailer() {
    let parser = start(&["nftables-metal-dropped: "], &["nftables-metal-accepted: "]);
    let at = Some(SystemTime::UNIX_EPOCH);
    for (prefix, action) in [("dropped", Action::Drop), ("accepted", Action::Accept)] {
        let line = format!("nftables-metal-{prefix}: IN=eth0 OUT= {TCP}");
        let Parsed::Packet(packet) = parser.parse(line.as_bytes(), at, clock()) else { panic!("{line}") };
        assert_eq!((packet.action, packet.at, packet.is_complete), (action, at, true));
        assert_eq!(&*packet.prefix, format!("nftables-metal-{prefix}:").as_bytes());
    }
    for other in ["x nftables-metal-dropped: IN=eth0 OUT= ", "nftables-metal-dropped:IN=eth0 OUT= "] {
        let line = format!("{other}{TCP}");
        assert_eq!(parser.parse(line.as_bytes(), at, clock()), Parsed::NotOurs);
    }
}

#[test]
fn a_prefix_that_looks_like_keys_does_not_confuse() {
    for prefix in [
        "INPUT-DROP:",
        "IN=",
        "IN= ",
        "IN=x OUT=y ",
        "OUT=",
        "SRC=1.2.3.4 ",
        "[SRC=1.2.3.4 ",
        "IN:OUT=:",
        "MAC source",
        "PROTO=UDP DPT=1 ",
        "kernel: ",
        "[1.5] ",
    ] {
        let line = format!("{prefix}IN=eth0 OUT=eth1 {TCP}");
        let Parsed::Packet(bare) = every().parse(line.as_bytes(), Some(SystemTime::UNIX_EPOCH), clock())
        else {
            panic!("{line}")
        };
        assert_eq!(&*bare.prefix, prefix.trim().as_bytes());
        assert_eq!(
            (bare.in_dev.as_deref(), bare.out_dev.as_deref()),
            (Some(&b"eth0"[..]), Some(&b"eth1"[..]))
        );
        assert_eq!((bare.header.src, bare.header.dst_port), ("10.0.0.1".parse().ok(), Some(80)));
        assert!(bare.is_complete, "{line}");

        let line = format!("Sep  3 11:38:30 node-1 kernel: {line}");
        let matched = packet(&words(&[prefix]), &line);
        assert_eq!(matched.host.as_deref(), Some(&b"node-1"[..]), "{line}");
        assert_eq!((&*matched.prefix, &matched.header), (prefix.trim().as_bytes(), &bare.header));
        assert!(matched.is_complete, "{line}");
    }
}

#[test]
fn devices_may_have_odd_names() {
    for name in ["IN=x", "OUT=y", "SRC=1.2.3.4", "[x]", "]", "eth0.7@x"] {
        let line = format!("DROP: IN={name} OUT={name} {TCP}");
        let packet = packet(&words(&["DROP:"]), &line);
        assert_eq!(packet.in_dev.as_deref(), Some(name.as_bytes()));
        assert_eq!((packet.out_dev.as_deref(), packet.is_complete), (Some(name.as_bytes()), true));
    }
}

#[test]
fn the_rest_of_a_prefix_belongs_to_it() {
    let line = format!("Sep  3 11:38:30 node-1 kernel: web drop: rule 7 IN=eth0 OUT= {TCP}");
    assert_eq!(&*packet(&words(&["drop:"]), &line).prefix, b"web drop: rule 7");
    assert_eq!(&*packet(&every(), &line).prefix, b"web drop: rule 7");
    for rest in ["IN= x", "IN=x OUT= y", "IN=x OUT=y"] {
        let line = format!("drop: {rest} IN=eth0 OUT= {TCP}");
        assert_eq!(packet(&words(&["drop:"]), &line).in_dev.as_deref(), Some(&b"eth0"[..]), "{line}");
    }
    let unknown = format!("?? node-1 drop: rule 7 IN=eth0 OUT= {TCP}");
    assert_eq!(&*packet(&words(&["drop:"]), &unknown).prefix, b"drop: rule 7");
}

#[test]
fn escapes_of_kmsg_are_undone() {
    let line = format!(r"dr\xc3\xb6p\x5c: IN=\x65th0 OUT= {TCP}");
    let packet = packet(&words(&["dröp\\:"]), &line);
    assert_eq!((&*packet.prefix, packet.in_dev.as_deref()), ("dröp\\:".as_bytes(), Some(&b"eth0"[..])));
    assert_eq!(&*text(br"\x5\x\xzz\x41\"), br"\x5\x\xzzA\");
}

#[test]
fn a_line_with_one_device_says_which() {
    // as Proxmox VE's firewall writes them; its TCP lacks RES and URGP, which the kernel always prints
    let udp = "0 3 PVEFW-HOST-IN 20/Jun/2022:13:09:14 +0200 policy DROP: IN=vmbr0.94 \
        MAC=24:8a:07:9a:2a:f2:24:8a:07:50:2c:9e:08:00 SRC=10.3.94.11 DST=10.3.94.12 LEN=52 TOS=0x00 PREC=0xC0 TTL=255 \
        ID=64317 DF PROTO=UDP SPT=49152 DPT=3784 LEN=32";
    let tcp = "0 1 PVEFW-HOST-OUT 20/Jun/2022:13:16:23 +0200 REJECT: OUT=vmbr0.94 SRC=10.3.94.12 DST=10.3.94.10 LEN=60 \
        TOS=0x10 PREC=0x00 TTL=64 ID=59156 DF PROTO=TCP SPT=49566 DPT=22 SEQ=708451139 ACK=0 WINDOW=64240 SYN ";
    let told = |parser: &LogParser, line: &str| {
        let packet = packet(parser, line);
        let text = |name: &Text<'_>| String::from_utf8_lossy(name).into_owned();
        (
            text(&packet.prefix),
            packet.in_dev.as_ref().map(text),
            packet.out_dev.as_ref().map(text),
            packet.is_complete,
        )
    };
    let device = Some("vmbr0.94".to_owned());
    for parser in [every(), words(&["DROP:", "REJECT:"])] {
        let (prefix, in_dev, out_dev, is_complete) = told(&parser, udp);
        assert!(prefix.ends_with("DROP:"), "{prefix}");
        assert_eq!((in_dev, out_dev, is_complete), (device.clone(), None, true));
        let (prefix, in_dev, out_dev, is_complete) = told(&parser, tcp);
        assert!(prefix.ends_with("REJECT:"), "{prefix}");
        assert_eq!((in_dev, out_dev, is_complete), (None, device.clone(), false));
    }
    let shifted = "x IN=a SRC=b DROP: OUT=c SRC=10.0.0.1 DST=10.0.0.2 LEN=8 PROTO=99";
    assert_eq!(told(&words(&["DROP:"]), shifted).2.as_deref(), Some("c"));
    for other in ["app: IN=a SRC=b", "app: OUT=a SRC=10.0.0.1", "IN=a", "app: IN= MAC= "] {
        assert_eq!(every().parse(other.as_bytes(), None, clock()), Parsed::NotOurs, "{other}");
    }
}

#[test]
fn a_line_without_its_head_is_read_as_far_as_it_goes() {
    let line = "<4>Mar 17 17:47:26 gateway kernel: L=126 ID=28671 DF PROTO=TCP SPT=56789 DPT=443 WINDOW=0 RES=0x00 \
        RST URGP=0 MARK=0x1a0000";
    let headless = packet(&every(), line);
    assert_eq!((headless.header.dst_port, headless.header.id), (Some(443), Some(28_671)));
    assert_eq!((headless.header.ttl, headless.mark, headless.is_complete), (None, Some(0x1a_0000), false));
    assert_eq!(words(&["DROP:"]).parse(line.as_bytes(), None, clock()), Parsed::NotOurs);
}

#[test]
fn a_line_without_its_end_is_not_complete() {
    let line = format!("DROP: IN=eth0 OUT= {TCP}");
    let whole = packet(&every(), &line);
    for end in 0..line.trim_end().len() {
        let cut = &line[..end];
        match words(&["DROP:"]).parse(cut.as_bytes(), None, clock()) {
            Parsed::Packet(packet) => {
                assert!(!packet.is_complete, "{cut}");
                assert!(
                    packet.header.src_port.is_none_or(|_| packet.header.src == whole.header.src),
                    "{cut}"
                );
            }
            Parsed::Unparsed => assert!(end <= "DROP: IN=eth0 OUT".len(), "{cut}"),
            Parsed::NotOurs => assert!(end < "DROP:".len(), "{cut}"),
        }
    }
}

#[test]
fn a_line_torn_by_nuls_is_not_complete() {
    let line = format!("DROP: IN=eth0 OUT= {TCP}");
    assert!(packet(&words(&["DROP:"]), &line).is_complete);
    for torn in [format!("\0{line}"), format!("{line}\0"), format!("\0{line}\0")] {
        let packet = packet(&words(&["DROP:"]), &torn);
        assert_eq!((packet.header.dst_port, packet.is_complete), (Some(80), false), "{torn:?}");
    }
    assert_eq!(words(&["DROP:"]).parse(b"\0", None, clock()), Parsed::NotOurs);
}

#[test]
fn what_is_not_understood_is_said() {
    for (text, is_complete) in [
        ("", true),
        ("MARK=0x1 ", true),
        ("UID=0 GID=0 MARK=0x1 ", true),
        ("OPT (020405B4) ", true),
        ("NEW=1 ", false),
        ("SHINY ", false),
        ("SRC=10.9.9.9 ", false),
        ("] ", false),
        ("[SRC=10.9.9.9 DST=10.9.9.8 ", false),
        ("[SRC=10.9.9.9 DST=10.9.9.8 ] ", true),
        ("[SRC=10.9.9.9 ] [SRC=10.9.9.8 ] ", false),
        ("MARK=16 ", false),
        ("UID= ", false),
        ("TRUNCATED ", false),
        ("INCOMPLETE [3 bytes] ", false),
        ("INCOMPLETE ", false),
        ("[TRUNCATED] ", false),
        ("[TRUNCATED ] ", true),
        ("[SRC=10.9.9.9 DST=10.9.9.8 ] [TRUNCATED ] ", false),
    ] {
        let line = format!("IN=eth0 OUT= {TCP}{text}");
        let packet = packet(&every(), &line);
        assert_eq!((packet.is_complete, packet.header.src), (is_complete, "10.0.0.1".parse().ok()), "{text}");
    }
}

#[test]
fn a_matched_line_without_a_packet_is_counted() {
    for line in ["drop:", "sshd: drop: nobody", "drop: IN="] {
        assert_eq!(words(&["drop:"]).parse(line.as_bytes(), None, clock()), Parsed::Unparsed, "{line}");
    }
    for line in ["", "drop", "calico-drop: IN=eth0 OUT= SRC=1.2.3.4"] {
        assert_eq!(words(&["drop:"]).parse(line.as_bytes(), None, clock()), Parsed::NotOurs, "{line}");
    }
}

#[test]
fn other_programs_lines_are_not_netfilters() {
    for line in [
        "Sep  3 11:38:30 node-1 kernel: usb 1-1: new device",
        "app: TIMEOUT=5 RETRIES=2",
        "app: IN=1",
        "app: PROTO=TCP",
        "app: PROTO=ftp SRC=1.2.3.4",
        "OUT=x IN=y",
    ] {
        assert_eq!(every().parse(line.as_bytes(), None, clock()), Parsed::NotOurs, "{line}");
    }
}

#[test]
fn a_folded_repeat_stands_for_many() {
    let line =
        format!("Sep  3 11:38:30 node-1 kernel: message repeated 4 times: [ DROP: IN=eth0 OUT= {TCP}]");
    for parser in [every(), words(&["DROP:"]), start(&["DROP: "], &[])] {
        let packet = packet(&parser, &line);
        assert_eq!((packet.repeated, packet.is_complete), (4, true));
        assert_eq!(json(&packet)["repeated"], 4);
    }
}

#[test]
fn a_layout_reads_the_first_words() {
    let layout = TimeLayout::parse("Jan _2 15:04:05 2006").unwrap();
    let parser = LogParser::new(Matcher::new(&["DROP:"], NONE, PrefixPlace::WholeWordAnywhere), Some(layout));
    let line = format!("Sep  3 11:38:30 2020 node-1 kernel: DROP: IN=eth0 OUT= {TCP}");
    assert_eq!(json(&packet(&parser, &line))["time"], "2020-09-03T11:38:30Z");
}

#[test]
fn a_host_of_the_prefixs_name_is_still_found() {
    let line = format!("Sep  3 11:38:30 drop kernel: drop IN=eth0 OUT= {TCP}");
    let packet = packet(&words(&["drop"]), &line);
    assert_eq!((packet.host.as_deref(), &*packet.prefix), (Some(&b"drop"[..]), &b"drop"[..]));
    let other = format!("Sep  3 11:38:30 drop kernel: other: IN=eth0 OUT= {TCP}");
    assert!(matches!(words(&["drop"]).parse(other.as_bytes(), None, clock()), Parsed::Packet(_)));
}
