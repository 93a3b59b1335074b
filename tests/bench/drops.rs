//! Log lines a second on one core: lines as a node's log has them, read into packets and thrown away.

mod pipeline;

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use iptables_monitor::domain::drops::Clock;
use iptables_monitor::domain::drops::kernel_log::{LogParser, Parsed};
use iptables_monitor::domain::drops::prefix::{Matcher, PrefixPlace};

const LINES: usize = 100_000;
const PREFIX: &str = "calico-drop:";
const PACKETS: [&str; 4] = [
    "IN=cali0a1b2c3d4e5 OUT=eth0 MAC=ee:ee:ee:ee:ee:ee:9a:9f:1e:aa:bb:cc:08:00 SRC=10.244.{a}.{b} DST=10.96.{b}.{a} LEN=60 \
     TOS=0x00 PREC=0x00 TTL=63 ID=4{a} DF PROTO=TCP SPT=4{a} DPT=443 WINDOW=64240 RES=0x00 SYN URGP=0 MARK=0x10000 ",
    "IN=eth0 OUT= MAC=02:42:ac:11:00:02:02:42:ac:11:00:01:08:00 SRC=192.0.{a}.{b} DST=10.0.{b}.{a} LEN=78 TOS=0x00 PREC=0x00 \
     TTL=117 ID=2{b} PROTO=UDP SPT=137 DPT=1{b} LEN=58 ",
    "IN=eth0 OUT= MAC=02:42:ac:11:00:02:02:42:ac:11:00:01:86:dd SRC=fd00:0010:0244:0000:0000:0000:0000:0{a} \
     DST=fd00:0010:0096:0000:0000:0000:0000:000a LEN=80 TC=0 HOPLIMIT=63 FLOWLBL=4{a} PROTO=TCP SPT=4{a} DPT=8443 \
     WINDOW=64800 RES=0x00 SYN URGP=0 ",
    "IN= OUT=eth0 SRC=10.0.{a}.{b} DST=10.244.{b}.{a} LEN=88 TOS=0x00 PREC=0xC0 TTL=64 ID=26{b} PROTO=ICMP TYPE=3 CODE=3 \
     [SRC=10.244.{b}.{a} DST=10.0.{a}.{b} LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=4660 DF PROTO=UDP SPT=40000 DPT=53 LEN=40 ] ",
];
const OTHERS: [&str; 5] = [
    "systemd[1]: Started session-1042.scope - Session 1042 of User root.",
    "kubelet[812]: I1121 13:00:07.123456     812 kubelet.go:2421] \"SyncLoop (PLEG): event for pod\" \
     pod=\"default/web-6d4b75cb6d-x2x7b\" event={\"ID\":\"8d2f\",\"Type\":\"ContainerStarted\"}",
    "kernel: [123456.789012] docker0: port 1(veth0a1b2c3) entered forwarding state",
    "kernel: [123456.789013] other-drop: IN=eth0 OUT= MAC=02:42:ac:11:00:02:02:42:ac:11:00:01:08:00 SRC=192.0.2.1 \
     DST=10.0.0.1 LEN=60 TOS=0x00 PREC=0x00 TTL=117 ID=2 PROTO=TCP SPT=1 DPT=2 WINDOW=1 RES=0x00 SYN URGP=0 ",
    "sshd[2211]: Accepted publickey for admin from 192.0.2.7 port 50122 ssh2: ED25519 SHA256:abcdefghijklmnop",
];

pub fn run() {
    println!("\n## Log lines\n");
    println!(
        "{LINES} lines, median of {} rounds; the limit is 1,000,000 lines in a second of one processor.\n",
        super::ROUNDS
    );
    println!("| lines | asked for | bytes a line | lines/s | limit kept |");
    println!("| --- | --- | --- | --- | --- |");
    let none: &[&str] = &[];
    let tailer = Matcher::new(&[PREFIX], none, PrefixPlace::WholeWordAnywhere);
    let tailer = LogParser::new(tailer, None);
    let droptailer =
        Matcher::new(&[PREFIX, "nftables-dropped: "], &["nftables-accepted: "], PrefixPlace::StartOfMessage);
    let droptailer = LogParser::new(droptailer, None);
    let every = LogParser::new(Matcher::new(none, none, PrefixPlace::WholeWordAnywhere), None);
    let stamp = |n: usize| match n % 2 {
        0 => format!("2026-11-21T13:{:02}:{:02}.{:06}+00:00 node-1 ", n / 60 % 60, n % 60, n),
        _ => format!("Nov 21 13:{:02}:{:02} node-1 ", n / 60 % 60, n % 60),
    };
    measure("file, a word", 10, &tailer, stamp, false);
    measure("file, a word", 100, &tailer, stamp, false);
    measure("file, no prefix", 100, &every, stamp, false);
    measure("journal, 3 prefixes", 10, &droptailer, |_| String::new(), true);
    measure("journal, 3 prefixes", 100, &droptailer, |_| String::new(), true);
    pipeline::run();
}

fn measure(name: &str, percent: usize, parser: &LogParser, stamp: impl Fn(usize) -> String, is_bare: bool) {
    let lines: Vec<String> = (0..LINES).map(|n| line(n, n % 100 < percent, &stamp(n), is_bare)).collect();
    let clock = Clock { now: SystemTime::now(), utc_offset_seconds: 0 };
    let at = is_bare.then_some(clock.now);
    let mut times = Vec::new();
    for _ in 0..super::ROUNDS {
        let started = processor_time();
        let read = lines.iter().filter(|line| {
            matches!(black_box(parser.parse(line.as_bytes(), at, clock)), Parsed::Packet(packet) if packet.is_complete)
        });
        let expected = if name.contains("no prefix") { LINES } else { LINES * percent / 100 };
        assert_eq!(read.count(), expected, "each line that is asked for is a whole packet");
        times.push(processor_time() - started);
    }
    let per_second = LINES as f64 / super::median(times).as_secs_f64();
    let bytes = lines.iter().map(String::len).sum::<usize>() / LINES;
    println!(
        "| {name} | {percent} % | {bytes} | {per_second:.0} | {} |",
        if per_second >= 1e6 { "yes" } else { "NO" }
    );
}

/// How long this thread has run: other work of the machine does not count.
///
/// *Source*: `Documentation/scheduler/sched-stats.rst`, `/proc/<pid>/schedstat`.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn line(n: usize, is_ours: bool, stamp: &str, is_bare: bool) -> String {
    let text = match is_ours {
        true => {
            let packet = PACKETS[n % PACKETS.len()];
            let packet =
                packet.replace("{a}", &(n % 250).to_string()).replace("{b}", &(n / 7 % 250).to_string());
            let head = if is_bare { "" } else { "kernel: [123456.789012] " };
            format!("{head}{PREFIX} {packet}")
        }
        false => OTHERS[n % OTHERS.len()].to_owned(),
    };
    format!("{stamp}{text}")
}
