//! The program under test as a process, the pages it serves, and log lines for it.
//! Asserts nothing about drops.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Netns, wait_until};

pub const LIMIT: Duration = Duration::from_secs(60);

/// A process whose output goes into a file; it is killed with this value.
pub struct Program {
    pub child: Child,
    log: PathBuf,
}

impl Program {
    pub fn start(command: &mut Command, directory: &Path) -> Self {
        let log = directory.join("output");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .expect("the program under test");
        Self { child, log }
    }

    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Asks it to end, and returns its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut status = None;
        wait_until("it ends", LIMIT, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// A line of its /proc/PID/status in KiB.
    pub fn kib(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).expect(key);
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of the loopback device that was free just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The body of a page, or nothing while nobody answers.
pub fn page(port: u16, path: &str) -> String {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())
}

/// A number of the metrics page; 0 if it is not there.
pub fn value(metrics: &str, series: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |number| number.parse().unwrap())
}

/// What became of the lines of a source, by fate.
#[derive(Debug, Default)]
pub struct Lines(BTreeMap<String, u64>);

impl Lines {
    pub fn of(metrics: &str, source: &str) -> Self {
        let series = metrics.lines().filter_map(|line| {
            let labels = line.strip_prefix("iptables_monitor_drops_lines_total{fate=\"")?;
            let (fate, rest) = labels.split_once("\",source=\"")?;
            let (name, count) = rest.split_once("\"} ")?;
            (name == source).then(|| (fate.to_owned(), count.parse().unwrap()))
        });
        Self(series.collect())
    }

    /// The lines that are read on port 9191 of a namespace's loopback device.
    pub fn within(netns: &Netns, source: &str) -> Self {
        Self::of(&netns.within(|| page(9191, "/metrics")), source)
    }

    pub fn of_fate(&self, fate: &str) -> u64 {
        self.0.get(fate).copied().unwrap_or(0)
    }

    /// Panics unless `arrived = read + lost` and `read = reported + folded + ignored + unparsed + shed`.
    #[track_caller]
    pub fn add_up(&self) {
        let [arrived, read, lost] = ["arrived", "read", "lost"].map(|name| self.of_fate(name));
        assert_eq!(arrived, read + lost, "{self:?}");
        let fates = ["reported", "folded", "ignored", "unparsed", "shed"].map(|name| self.of_fate(name));
        assert_eq!(read, fates.iter().sum::<u64>(), "{self:?}");
    }
}

/// A log file that is appended to.
pub struct LogFile(pub PathBuf);

impl LogFile {
    pub fn append(&self, text: &str) {
        let mut file = File::options().create(true).append(true).open(&self.0).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

/// The kernel's words for a packet.
pub fn tcp(src: &str, dst: &str, port: u16) -> String {
    format!(
        "IN=cali1 OUT=eth0 MAC=ee:ee:ee:ee:ee:ee:9a:9f:1e:aa:bb:cc:08:00 SRC={src} DST={dst} LEN=60 TOS=0x00 \
         PREC=0x00 TTL=63 ID=4711 DF PROTO=TCP SPT=40000 DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 "
    )
}

pub fn icmp(src: &str, dst: &str) -> String {
    format!(
        "IN=cali1 OUT=eth0 SRC={src} DST={dst} LEN=84 TOS=0x00 PREC=0x00 TTL=63 ID=4712 DF PROTO=ICMP TYPE=8 CODE=0 \
         ID=7 SEQ=1 "
    )
}
