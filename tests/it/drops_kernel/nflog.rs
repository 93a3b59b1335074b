//! Packets that NFLOG rules hand out, to the packet.

use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use iptables_monitor::domain::rules::Family;
use iptables_monitor::host::netlink::nflog::{Nflog, NflogError, NflogOptions, NflogPacket, Received};

use crate::support::packets::{counted, flood, send};
use crate::support::{Netns, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

/// What is kept of a packet.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    group: u16,
    family: Option<Family>,
    prefix: String,
    hook: u8,
    in_dev: Option<String>,
    out_dev: Option<String>,
    mark: Option<u32>,
    uid: Option<u32>,
    payload: Vec<u8>,
    at: SystemTime,
}

impl From<NflogPacket<'_>> for Kept {
    fn from(packet: NflogPacket<'_>) -> Self {
        Self {
            group: packet.group,
            family: packet.family,
            prefix: String::from_utf8_lossy(packet.prefix).into_owned(),
            hook: packet.hook,
            in_dev: packet.in_dev.map(str::to_owned),
            out_dev: packet.out_dev.map(str::to_owned),
            mark: packet.mark,
            uid: packet.uid,
            payload: packet.payload.to_vec(),
            at: packet.at,
        }
    }
}

fn open(netns: &Netns, groups: &[u16], options: NflogOptions) -> Nflog {
    netns.within(|| Nflog::open(groups, options)).expect("groups that nobody else reads")
}

/// Reads until there were this many packets.
fn read(nflog: &mut Nflog, count: usize) -> (Vec<Kept>, Received) {
    let (end, mut packets, mut total) = (Instant::now() + LIMIT, Vec::new(), Received::default());
    while packets.len() < count {
        assert!(Instant::now() < end, "{total:?} {packets:?}");
        let part = nflog
            .read(Instant::now() + Duration::from_millis(100), &mut |packet| packets.push(packet.into()))
            .expect("readable");
        add(&mut total, part);
    }
    (packets, total)
}

fn add(total: &mut Received, part: Received) {
    total.packets += part.packets;
    total.lost += part.lost;
    total.overruns += part.overruns;
    total.malformed += part.malformed;
}

#[test]
fn both_backends_families_and_nft_hand_packets_over() {
    let netns = Netns::new();
    netns.sh("iptables-nft -A OUTPUT -p udp --dport 9 -j NFLOG --nflog-group 5 --nflog-prefix 'out v4: '
         iptables-legacy -A INPUT -p udp --dport 9 -j NFLOG --nflog-group 5 --nflog-prefix legacy
         ip6tables-nft -A INPUT -p udp --dport 9 -j NFLOG --nflog-group 6 --nflog-prefix 'in v6: '
         nft add table inet t
         nft add chain inet t in '{ type filter hook input priority 10; }'
         nft add rule inet t in udp dport 10 meta mark set 7 log prefix '\"native x\"' group 65535 drop");
    let mut nflog = open(&netns, &[6, 65535, 5, 6], NflogOptions::default());
    let before = SystemTime::now();
    send(&netns, "127.0.0.1:9", b"x");
    send(&netns, "[::1]:9", &[7; 1000]);
    send(&netns, "127.0.0.1:10", b"y");
    let (packets, received) = read(&mut nflog, 4);
    assert_eq!(received, Received { packets: 4, ..Received::default() });
    let find = |prefix: &str| {
        packets.iter().find(|packet| packet.prefix == prefix).unwrap_or_else(|| panic!("{packets:?}"))
    };
    let out = find("out v4: ");
    assert_eq!((out.group, out.family, out.hook, out.uid), (5, Some(Family::Ip), 3, Some(0)));
    assert_eq!((out.in_dev.as_deref(), out.out_dev.as_deref(), out.mark), (None, Some("lo"), None));
    assert_eq!((out.payload.len(), out.payload[0]), (29, 0x45));
    let legacy = find("legacy");
    assert_eq!((legacy.hook, legacy.in_dev.as_deref(), legacy.out_dev.as_deref()), (1, Some("lo"), None));
    let v6 = find("in v6: ");
    assert_eq!((v6.group, v6.family, v6.payload.len(), v6.payload[0] >> 4), (6, Some(Family::Ip6), 128, 6));
    let native = find("native x");
    assert_eq!((native.group, native.mark, native.payload.len()), (65535, Some(7), 29));
    let second = Duration::from_secs(1);
    assert!(
        packets.iter().all(|packet| packet.at > before - second && packet.at < before + LIMIT),
        "{packets:?}"
    );
}

#[test]
fn a_group_that_another_program_reads_is_named() {
    let netns = Netns::new();
    let _first = open(&netns, &[5], NflogOptions::default());
    let error = netns
        .within(|| Nflog::open(&[4, 5], NflogOptions::default()))
        .expect_err("one reader for each group");
    assert!(matches!(error, NflogError::Taken { group: 5, port } if port > 0), "{error:?}");
    // it took none, so that 4 is free again, and 5 is in another namespace
    open(&netns, &[4], NflogOptions::default());
    open(&Netns::new(), &[5], NflogOptions::default());
}

#[test]
fn a_process_without_the_capability_is_told_so() {
    let netns = Netns::new();
    let error = netns.within(|| {
        rustix::thread::set_capabilities(
            None,
            rustix::thread::CapabilitySets {
                effective: rustix::thread::CapabilitySet::empty(),
                permitted: rustix::thread::CapabilitySet::empty(),
                inheritable: rustix::thread::CapabilitySet::empty(),
            },
        )
        .expect("capset(2)");
        Nflog::open(&[5], NflogOptions::default())
    });
    assert!(matches!(error, Err(NflogError::PermissionDenied { group: 5 })), "{error:?}");
}

#[test]
fn reading_ends_at_the_deadline() {
    let netns = Netns::new();
    let mut nflog = open(&netns, &[5], NflogOptions::default());
    let received = nflog.read(Instant::now() + Duration::from_millis(50), &mut |_| {}).expect("readable");
    assert_eq!(received, Received::default());
}

#[test]
fn devices_are_called_by_their_names_of_now() {
    let netns = Netns::new();
    netns.sh("ip link add name veth-a type veth peer name veth-b
         ip address add 192.0.2.1/24 dev veth-a; ip link set veth-a up; ip link set veth-b up
         ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:01 dev veth-a
         iptables -A OUTPUT -d 192.0.2.2 -j NFLOG --nflog-group 5");
    let mut nflog = open(&netns, &[5], NflogOptions::default());
    send(&netns, "192.0.2.2:9", b"x");
    let (packets, _) = read(&mut nflog, 1);
    assert_eq!(packets[0].out_dev.as_deref(), Some("veth-a"));
}

/// A namespace that hands UDP packets to port 9 to group 5.
fn flooding() -> Netns {
    let netns = Netns::new();
    netns.sh(
        "iptables -t raw -A PREROUTING -p udp --dport 9 -j NFLOG --nflog-group 5 --nflog-prefix 'flood: '
         iptables -t raw -A PREROUTING -p udp --dport 9 -j DROP",
    );
    netns
}

/// Floods while another thread reads and pauses after each read; returns what was read, and the rule's own count.
fn account(options: NflogOptions, count: u64, per_second: u64, pause: Duration) -> (Received, u64) {
    let netns = flooding();
    let mut nflog = open(&netns, &[5], options);
    let (saw_last, last) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let (end, mut total, mut is_last) = (Instant::now() + LIMIT, Received::default(), false);
        while Instant::now() < end {
            let deadline = Instant::now() + Duration::from_millis(500);
            let part = nflog.read(deadline, &mut |packet| is_last |= packet.payload.ends_with(b"last"));
            let part = part.expect("readable");
            add(&mut total, part);
            if is_last {
                let _ = saw_last.send(());
                if part == Received::default() {
                    break;
                }
            }
            std::thread::sleep(pause);
        }
        total
    });
    let took = flood(&netns, "127.0.0.1:9", count, per_second);
    // the last packet tells the losses before it; it is sent until it is not lost itself
    wait_until("the last packet is read", LIMIT, || {
        send(&netns, "127.0.0.1:9", b"last");
        last.try_recv().is_ok()
    });
    let total = reader.join().expect("the reader does not panic");
    let sent = counted(&netns, "iptables", "flood: ");
    println!("NFLOG: {sent} packets in {took:?}: {total:?}");
    (total, sent)
}

#[test]
fn a_flood_is_read_by_one_thread() {
    let (total, sent) = account(NflogOptions::default(), 400_000, 130_000, Duration::ZERO);
    assert!(sent > 400_000);
    assert_eq!((total.packets + total.lost, total.malformed), (sent, 0), "{total:?}");
}

#[test]
fn what_a_slow_reader_loses_is_counted_to_the_packet() {
    let options = NflogOptions { receive_bytes: 64 << 10, ..NflogOptions::default() };
    let (total, sent) = account(options, 100_000, 100_000, Duration::from_millis(20));
    assert!(total.lost > 0 && total.overruns > 0, "{total:?}");
    assert_eq!(total.packets + total.lost, sent, "{total:?}");
}
