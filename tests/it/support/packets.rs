//! Packets inside a network namespace, many of them if need be, and what its rules counted.

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::Netns;

/// Held by whoever logs to the kernel's one log or counts on what is in it.
pub struct KernelLog(#[allow(dead_code, reason = "held, not read")] File);

/// Waits for the kernel's log, and has LOG rules of every network namespace write to it.
///
/// # Panics
/// Without root.
pub fn kernel_log() -> KernelLog {
    let path = std::env::temp_dir().join("monitor-tests-kernel-log.lock");
    let file = File::options().create(true).append(true).open(path).expect("a lock file");
    file.lock().expect("flock(2)");
    fs::write("/proc/sys/net/netfilter/nf_log_all_netns", "1").expect("run the tests as root");
    KernelLog(file)
}

/// Sends UDP packets of 16 bytes from inside to `to`, at no more than this many a second; returns how long that took.
pub fn flood(netns: &Netns, to: &str, count: u64, per_second: u64) -> Duration {
    flood_while(netns, to, per_second, |sent, _| sent < count)
}

/// As `flood`, for so long.
pub fn flood_for(netns: &Netns, to: &str, time: Duration, per_second: u64) {
    flood_while(netns, to, per_second, |_, spent| spent < time);
}

fn flood_while(
    netns: &Netns,
    to: &str,
    per_second: u64,
    goes_on: impl Fn(u64, Duration) -> bool + Send,
) -> Duration {
    netns.within(move || {
        let socket = connected(to);
        let (start, mut sent) = (Instant::now(), 0);
        while goes_on(sent, start.elapsed()) {
            let due = Duration::from_nanos(sent * 1_000_000_000 / per_second);
            if sent % 64 == 0 {
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
            // a full queue refuses a packet before any rule counts it
            let _ = socket.send(&[0; 16]);
            sent += 1;
        }
        start.elapsed()
    })
}

/// Sends one UDP packet from inside.
pub fn send(netns: &Netns, to: &str, payload: &[u8]) {
    netns.within(|| drop(connected(to).send(payload)));
}

fn connected(to: &str) -> UdpSocket {
    let to: SocketAddr = to.parse().expect("an address and a port");
    let from: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(from).expect("a socket");
    socket.connect(to).expect("a route");
    socket
}

/// How many packets the rules of this `iptables` whose text contains `part` counted.
pub fn counted(netns: &Netns, iptables: &str, part: &str) -> u64 {
    let dump = netns.sh(&format!("{iptables}-save -c"));
    let rules = dump.lines().filter(|line| line.contains(part));
    rules.filter_map(|line| line.strip_prefix('[')?.split(':').next()?.parse::<u64>().ok()).sum()
}
