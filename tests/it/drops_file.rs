//! A log file as real programs write and rotate it: rsyslogd and logrotate.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use iptables_monitor::domain::drops::batch::Batch;
use iptables_monitor::host::logs::tail::{Start, Tail, TailOptions, TailPosition};

use crate::support::{lossy, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const ROTATIONS: usize = 100;

/// An rsyslogd that writes what it gets over a socket into a file.
struct Rsyslog {
    directory: tempfile::TempDir,
    child: Child,
}

impl Rsyslog {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let config = format!(
            r#"global(workDirectory="{at}")
            module(load="imptcp")
            input(type="imptcp" path="{at}/socket")
            template(name="line" type="string" string="%TIMESTAMP:::date-rfc3339% %HOSTNAME% %syslogtag%%msg%\n")
            action(type="omfile" file="{at}/kern.log" template="line")"#
        );
        fs::write(directory.path().join("rsyslog.conf"), config).unwrap();
        let child = Command::new("/usr/sbin/rsyslogd")
            .args(["-n", "-f"])
            .arg(directory.path().join("rsyslog.conf"))
            .arg("-i")
            .arg(directory.path().join("pid"))
            .spawn()
            .expect("rsyslogd: make test-tools");
        let rsyslog = Self { directory, child };
        wait_until("rsyslogd listens", LIMIT, || UnixStream::connect(rsyslog.at("socket")).is_ok());
        rsyslog
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.at("kern.log")
    }

    /// Rotates once, now.
    fn rotate(&self, how: &str) {
        let at = self.directory.path().display();
        let config = format!("{at}/kern.log {{\n missingok\n rotate 4\n{how}\n}}\n");
        fs::write(self.at("logrotate.conf"), config).unwrap();
        let output = Command::new("/usr/sbin/logrotate")
            .args(["--force", "--state"])
            .args([self.at("state"), self.at("logrotate.conf")])
            .output()
            .expect("logrotate: make test-tools");
        assert!(output.status.success(), "{}", lossy(&output));
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbered lines of the kernel, until told to stop; says how many there were.
struct Writer(Arc<AtomicBool>, JoinHandle<u64>);

impl Writer {
    fn start(socket: &Path) -> Self {
        let (stop, mut socket) = (Arc::new(AtomicBool::new(false)), UnixStream::connect(socket).unwrap());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                let lines: String = (count..count + 50)
                    .map(|number| {
                        format!("<4>Nov  5 10:00:00 node kernel: drop {number} IN=eth0 OUT= PROTO=TCP\n")
                    })
                    .collect();
                socket.write_all(lines.as_bytes()).unwrap();
                count += 50;
                // faster than any node logs, and slow enough for a machine that does other things too
                std::thread::sleep(Duration::from_millis(2));
            }
            count
        });
        Self(stop, thread)
    }

    fn stop(self) -> u64 {
        self.0.store(true, Ordering::Relaxed);
        self.1.join().unwrap()
    }
}

/// What was read so far.
#[derive(Default)]
struct Seen {
    numbers: Vec<u64>,
    /// Lines that are not whole: rsyslogd writes in blocks, and a copy ends anywhere.
    torn: u64,
    gaps: u64,
}

impl Seen {
    fn read(&mut self, tail: &mut Tail) {
        let mut batch = Batch::default();
        if let Err(error) = tail.read(&mut batch, Instant::now() + Duration::from_millis(20)) {
            assert!(error.to_string().contains("does not exist"), "{error}");
        }
        assert_eq!((batch.cut, batch.lost), (0, 0));
        self.gaps += batch.gaps;
        for (line, _) in batch.lines() {
            match whole(std::str::from_utf8(line).unwrap()) {
                Some(number) => self.numbers.push(number),
                None => self.torn += 1,
            }
        }
    }
}

/// The number of a line that has its beginning and its end.
fn whole(line: &str) -> Option<u64> {
    let (head, rest) = line.split_once(" drop ")?;
    let number = rest.strip_suffix(" IN=eth0 OUT= PROTO=TCP")?;
    (head.starts_with("2") && head.len() > 30 && head.ends_with("kernel:")).then(|| number.parse().ok())?
}

fn open(rsyslog: &Rsyslog) -> Tail {
    Tail::open(&rsyslog.log(), TailOptions { start: Start::Beginning, ..TailOptions::default() }, None)
}

/// Rotates while the reader reads, `between` two rotations; returns what was read and how many lines were written.
fn rotate_and_read(how: &str, mut between: impl FnMut(usize, &Rsyslog, &mut Tail, &mut Seen)) -> (Seen, u64) {
    let rsyslog = Rsyslog::start();
    let (mut tail, mut seen) = (open(&rsyslog), Seen::default());
    let writer = Writer::start(&rsyslog.at("socket"));
    let how = how.replace("PID", &rsyslog.child.id().to_string());
    wait_until("something is read", LIMIT, || {
        seen.read(&mut tail);
        !seen.numbers.is_empty()
    });
    std::thread::scope(|scope| {
        let (ask, asked) = std::sync::mpsc::channel::<()>();
        let (done, finished) = std::sync::mpsc::channel();
        let (rsyslog, how) = (&rsyslog, &how);
        scope.spawn(move || {
            for () in asked {
                rsyslog.rotate(how);
                done.send(()).unwrap();
            }
        });
        for rotation in 0..ROTATIONS {
            let before = seen.numbers.len();
            ask.send(()).unwrap();
            wait_until("it is rotated", LIMIT, || {
                seen.read(&mut tail);
                finished.try_recv().is_ok()
            });
            wait_until("something is read of the next file", LIMIT, || {
                seen.read(&mut tail);
                seen.numbers.len() > before + 100
            });
            between(rotation, rsyslog, &mut tail, &mut seen);
        }
    });
    let written = writer.stop();
    wait_until("the last line is read", LIMIT, || {
        seen.read(&mut tail);
        seen.numbers.last() == Some(&(written - 1))
    });
    (seen, written)
}

const RENAME: &str = "create 0600\npostrotate\n kill -HUP PID\nendscript\n";

#[test]
fn every_line_is_read_once_across_100_rotations_by_rename() {
    let (seen, written) = rotate_and_read(&format!("{RENAME}nocompress"), |_, _, _, _| {});
    assert!(seen.numbers.iter().copied().eq(0..written), "{} of {written} lines", seen.numbers.len());
    assert_eq!((seen.gaps, seen.torn), (0, 0));
}

/// Rotations are further apart than a signal takes: one that is compressed before rsyslogd has heard of it is a gap.
fn settle(rsyslog: &Rsyslog, tail: &mut Tail, seen: &mut Seen) {
    wait_until("rsyslogd writes to the new file", LIMIT, || {
        seen.read(tail);
        let inode = fs::metadata(rsyslog.log()).unwrap().ino();
        matches!(tail.position(), TailPosition::At(place) if place.inode == inode)
    });
}

/// Without `delaycompress`, logrotate compresses and deletes a file to which rsyslogd still writes.
#[test]
fn every_line_is_read_once_though_files_are_compressed_at_once() {
    let (seen, written) =
        rotate_and_read(&format!("{RENAME}compress"), |_, rsyslog, tail, seen| settle(rsyslog, tail, seen));
    assert!(seen.numbers.iter().copied().eq(0..written), "{} of {written} lines", seen.numbers.len());
    assert_eq!((seen.gaps, seen.torn), (0, 0));
}

#[test]
fn every_line_is_read_across_100_rotations_by_rename_and_10_restarts() {
    let how = format!("{RENAME}compress\ndelaycompress");
    let (seen, written) = rotate_and_read(&how, |rotation, rsyslog, tail, seen| {
        settle(rsyslog, tail, seen);
        if rotation % 10 == 9 {
            let position = tail.position();
            // read, but not kept: it comes again
            seen.read(tail);
            rsyslog.rotate(&how.replace("PID", &rsyslog.child.id().to_string()));
            *tail = Tail::open(&rsyslog.log(), TailOptions::default(), Some(position));
            settle(rsyslog, tail, seen);
        }
    });
    let read: BTreeSet<_> = seen.numbers.iter().copied().collect();
    assert!(read.into_iter().eq(0..written));
    assert_eq!((seen.gaps, seen.torn), (0, 0));
    let again = seen.numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(again <= 10, "{again} leaps");
}

#[test]
fn every_line_lost_by_copytruncate_is_within_a_counted_gap() {
    for compress in ["nocompress", "compress", "compress\ndelaycompress"] {
        let (seen, written) = rotate_and_read(&format!("copytruncate\n{compress}"), |_, _, _, _| {});
        assert!(seen.numbers.is_sorted_by(|a, b| a < b), "{compress}: out of order or twice");
        let leaps = seen.numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count() as u64;
        let lost = written - seen.numbers.len() as u64;
        assert!(leaps <= seen.gaps, "{compress}: {lost} lines in {leaps} leaps, but {} gaps", seen.gaps);
        assert!(seen.torn <= 2 * seen.gaps, "{compress}: {} torn lines", seen.torn);
        assert!(seen.gaps <= 2 * ROTATIONS as u64, "{compress}: {} gaps", seen.gaps);
    }
}
