//! The log lines of real kernels: real packets through real rules, read back and compared with what was sent.
//! What single lines mean is tested beside the code, in `domain::drops::kernel_log`.

mod bridge;
mod kernel_log;
mod packets;
mod record;
mod wire;

use std::time::SystemTime;

use iptables_monitor::domain::drops::Clock;
use iptables_monitor::domain::drops::kernel_log::{LogParser, Parsed};
use iptables_monitor::domain::drops::prefix::{Matcher, PrefixPlace};
use iptables_monitor::domain::packets::packet::Packet;

const NONE: &[&str] = &[];
const CAPTURED: &str = include_str!("../data/drops/kernel.log");

fn clock() -> Clock {
    Clock { now: SystemTime::now(), utc_offset_seconds: 0 }
}

fn parser(prefixes: &[&str]) -> LogParser {
    LogParser::new(Matcher::new(prefixes, NONE, PrefixPlace::WholeWordAnywhere), None)
}

#[track_caller]
fn packet<'a>(parser: &LogParser, line: &'a str, at: Option<SystemTime>) -> Packet<'a> {
    match parser.parse(line.as_bytes(), at, clock()) {
        Parsed::Packet(packet) => packet,
        other => panic!("{other:?}: {line}"),
    }
}

#[test]
fn a_line_costs_no_allocation() {
    let (ours, others) = (parser(&["ALL4:"]), parser(&["DROP:"]));
    let clock = clock();
    let mut found = 0;
    let cost = allocation_counter::measure(|| {
        for line in CAPTURED.lines() {
            assert_eq!(others.parse(line.as_bytes(), None, clock), Parsed::NotOurs);
            found += u32::from(matches!(ours.parse(line.as_bytes(), None, clock), Parsed::Packet(_)));
        }
    });
    assert!(found > 10, "{found}");
    assert_eq!(cost.count_total, 0);
}
