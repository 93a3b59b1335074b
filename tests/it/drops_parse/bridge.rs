//! What the kernel logs of frames: bridge, ARP, netdev and ebtables.

use std::time::Duration;

use iptables_monitor::domain::packets::packet::Protocol;

use super::kernel_log::{Logging, Records};
use super::{packet, parser};
use crate::support::{Netns, wait_until};

/// Two namespaces at a bridge; it prints the processes that hold them.
const SCENE: &str = "
    ip link add br0 type bridge
    ip link set br0 up
    unshare -n sleep 60 > /dev/null 2>&1 & one=$!
    unshare -n sleep 60 > /dev/null 2>&1 & two=$!
    until [ \"$(readlink /proc/$one/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]; do :; done
    until [ \"$(readlink /proc/$two/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]; do :; done
    ip link add va type veth peer name eth0 netns $one
    ip link add vb type veth peer name eth0 netns $two
    ip link set va master br0 up
    ip link set vb master br0 up
    nsenter -t $one -n sh -c 'ip addr add 10.8.0.2/24 dev eth0; ip link set eth0 up'
    nsenter -t $two -n sh -c 'ip addr add 10.8.0.3/24 dev eth0; ip link set eth0 up'
    ebtables-nft -A FORWARD --log --log-prefix MARK-ebt --log-ip --log-arp --log-ip6 -j CONTINUE
    nft -f - <<'END'
        table bridge b {
            chain f {
                type filter hook forward priority 0;
                log prefix \"MARK-flags \" flags all
                log prefix \"MARK-plain:\"
            }
        }
        table netdev n {
            chain i {
                type filter hook ingress device va priority 0;
                log prefix \"MARK-netdev \" flags all
            }
        }
END
    nsenter -t $two -n nft -f - <<'END'
        table arp a {
            chain i {
                type filter hook input priority 0;
                log prefix \"MARK-arp \"
            }
        }
END
    echo $one $two";

#[test]
fn frames_are_read_in_every_family() {
    let mark = format!("b{}", std::process::id());
    let _logging = Logging::on();
    let netns = Netns::new();
    let mut records = Records::from_now_on();
    let holders = netns.sh(&SCENE.replace("MARK", &mark));
    let (one, _) = holders.split_once(' ').unwrap();
    // before the first packet, the sender has to ask for the receiver's address
    let send = format!("nsenter -t {one} -n bash -c 'echo hello > /dev/udp/10.8.0.3/53'");
    let mut lines = Vec::new();
    let names = ["ebt", "flags", "plain", "netdev", "arp"];
    let protocols = |name: &str| match name {
        "arp" => vec![Protocol::Arp],
        _ => vec![Protocol::Arp, Protocol::Udp],
    };
    let expected =
        names.iter().flat_map(|name| protocols(name).into_iter().map(move |protocol| (*name, protocol)));
    let expected: Vec<_> = expected.collect();
    let prefixes = names.map(|name| format!("{mark}-{name}{}", if name == "plain" { ":" } else { "" }));
    let parser = parser(&prefixes.each_ref().map(String::as_str));
    wait_until("each rule has logged ARP and UDP", Duration::from_secs(30), || {
        netns.try_sh(&send);
        records.read(&mark, &mut lines);
        expected.iter().all(|(name, protocol)| {
            let key = if *protocol == Protocol::Arp { "ARP HTYPE" } else { "DPT=53" };
            lines.iter().any(|line| line.starts_with(&format!("{mark}-{name}")) && line.contains(key))
        })
    });
    netns.sh(&format!("kill {holders}"));
    for line in &lines {
        let packet = packet(&parser, line, None);
        assert!(packet.is_complete, "{line}\n{packet:#?}");
        assert!(packet.in_dev.is_some(), "{line}");
        if packet.header.protocol == Some(Protocol::Udp) {
            assert_eq!(packet.header.dst_port, Some(53), "{line}");
            assert_eq!(packet.header.src, "10.8.0.2".parse().ok(), "{line}");
        }
        if packet.header.protocol == Some(Protocol::Arp) {
            let addresses =
                [packet.header.src, packet.header.dst].map(|address| address.unwrap().to_string());
            assert!(addresses.iter().all(|address| address.starts_with("10.8.0.")), "{line}");
        }
        if !line.contains("-arp") && !line.contains("-plain:IN=va OUT=vb ARP") {
            assert!(line.contains("ARP HTYPE") || packet.link.source.is_some(), "{line}");
        }
    }
}
