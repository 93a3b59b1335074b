//! The whole way of a drop: lines a second through `monitor drops`, the time from a line or packet to its record, and
//! the memory that pods' names take.

#[path = "../../it/drops/program.rs"]
#[allow(dead_code, reason = "the tests use more")]
mod program;
#[path = "../../it/drops/world.rs"]
#[allow(dead_code, reason = "the tests use more")]
mod world;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use iptables_monitor::domain::peers::pods::{Pod, PodIndex};

use program::LIMIT;
use world::World;

use super::{PREFIX, line};
use crate::support::packets::send;
use crate::support::{MONITOR, Netns, wait_until};

const LINES: usize = 1_000_000;
const PODS: u32 = 10_000;
const TRIES: usize = 300;

pub fn run() {
    println!("\n`monitor drops --format json > /dev/null` on a file of {LINES} lines:\n");
    println!("| asked for | time | lines/s | processor time |");
    println!("| --- | --- | --- | --- |");
    for percent in [10, 100] {
        throughput(percent);
    }
    println!(
        "\nFrom a line or packet to its record on standard output, and to the request that makes an Event of it,"
    );
    println!("{TRIES} times, one every 10 ms:\n");
    println!("| source | p50 | p99 | longest |");
    println!("| --- | --- | --- | --- |");
    latency_of_file();
    latency_of_nflog();
    latency_of_events();
    println!("\nNames of {PODS} pods, each with two addresses: {:.1} MB (limit 10 MB).", memory());
}

fn stamp(n: usize) -> String {
    format!("2026-11-21T13:{:02}:{:02}.{:06}+00:00 node-1 ", n / 60 % 60, n % 60, n)
}

fn throughput(percent: usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kern.log");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    (0..LINES).for_each(|n| writeln!(file, "{}", line(n, n % 100 < percent, &stamp(n), false)).unwrap());
    file.flush().unwrap();
    let (started, processor) = (Instant::now(), processor_time_of_children());
    let mut command = Command::new(MONITOR);
    let command = command.arg("drops").stdout(Stdio::null());
    let mut child = start(command, &format!("file:{}", path.display()));
    assert!(child.wait().unwrap().success());
    let took = started.elapsed();
    let processor = processor_time_of_children() - processor;
    println!(
        "| {percent} % | {:.2} s | {:.0} | {:.2} s |",
        took.as_secs_f64(),
        LINES as f64 / took.as_secs_f64(),
        processor.as_secs_f64()
    );
}

/// Of all children that have ended, in steps of 10 ms.
///
/// *Source*: proc_pid_stat(5), cutime and cstime.
fn processor_time_of_children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    Duration::from_millis(10 * (fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap()))
}

fn latency_of_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kern.log");
    let mut file = File::create(&path).unwrap();
    let mut command = Command::new(MONITOR);
    let command = command.arg("drops").arg("--follow").stdout(Stdio::piped());
    let mut child = start(command, &format!("file:{}", path.display()));
    let mut number = 0;
    latency("file", &mut child, || {
        number += 1;
        let text = format!("{}\n", line(number, true, &stamp(number), false));
        file.write_all(text.as_bytes()).unwrap();
    });
}

fn latency_of_nflog() {
    let netns = Netns::new();
    netns.sh(&format!(
        "iptables -t raw -A PREROUTING -p udp --dport 9 -j NFLOG --nflog-group 5 --nflog-prefix '{PREFIX}'"
    ));
    let mut command = netns.command(MONITOR);
    let command = command.arg("drops").arg("--follow").stdout(Stdio::piped());
    let mut child = start(command, "nflog:5");
    latency("nflog", &mut child, || send(&netns, "127.0.0.1:9", b"x"));
}

/// With the agent, from the line to when the API server has the request.
fn latency_of_events() {
    let world = World::new(&[]);
    let _agent = world.start(100);
    std::thread::sleep(Duration::from_secs(2));
    let kinds = 0..u16::try_from(TRIES).unwrap();
    let times = kinds.map(|kind| {
        std::thread::sleep(Duration::from_millis(10));
        let started = Instant::now();
        world.log(kind..kind + 1);
        wait_until("its Event is asked for", LIMIT, || world.events("POST").len() > kind.into());
        world.events("POST")[usize::from(kind)].at - started
    });
    row("file, to the Event request", times.collect());
}

fn start(command: &mut Command, source: &str) -> Child {
    command.args(["--format", "json", "--source", source, "--prefix", PREFIX]);
    command.stdin(Stdio::null()).spawn().unwrap()
}

fn latency(name: &str, child: &mut Child, mut make: impl FnMut()) {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    std::thread::sleep(Duration::from_secs(2));
    let times = (0..TRIES)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let started = Instant::now();
            make();
            read_line(&mut out);
            started.elapsed()
        })
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    row(name, times);
}

fn row(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let micros = |time: Duration| time.as_micros();
    let (half, most) = (times[TRIES / 2], times[TRIES * 99 / 100]);
    println!("| {name} | {} µs | {} µs | {} µs |", micros(half), micros(most), micros(times[TRIES - 1]));
}

fn read_line(out: &mut BufReader<ChildStdout>) {
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    assert!(text.starts_with('{'), "{text}");
}

/// What the index of all pods takes, in MB.
fn memory() -> f64 {
    let now = SystemTime::now();
    let mut index = PodIndex::new(Duration::from_secs(600));
    let cost = allocation_counter::measure(|| {
        for number in 0..PODS {
            let [_, _, high, low] = number.to_be_bytes();
            let v4 = Ipv4Addr::new(10, 244, high, low);
            index.apply(
                Pod {
                    namespace: format!("team-{}", number % 200).into(),
                    name: format!("checkout-service-6d4b75cb6d-{number:05}").into(),
                    uid: format!("8d2f6a1e-7c3b-4e5f-9a0b-{number:012}").into(),
                    node: format!("node-{}", number % 100).into(),
                    label: Some("checkout-service".into()),
                    ips: [
                        IpAddr::from(v4),
                        IpAddr::from(std::net::Ipv6Addr::from(0xfd00_0010 << 96 | u128::from(number))),
                    ]
                    .into(),
                    is_host_network: false,
                    start: Some(now),
                    end: None,
                },
                now,
            );
        }
    });
    assert_eq!(index.len(), PODS as usize);
    cost.bytes_current as f64 / 1e6
}
