//! Who made a change, as the kernel and /proc say.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use iptables_monitor::domain::changes::author::Author;

use super::{Watched, parts};
use crate::support::lossy;

/// The authors of the next change.
fn authors(watched: &Watched) -> Vec<Author> {
    parts(&watched.next()).into_iter().flat_map(|(_, authors)| authors).collect()
}

/// Such a process lives for two milliseconds, so that a busy machine may be too late now and then.
#[test]
fn a_short_lived_process_is_named_with_the_shell_that_started_it() {
    let watched = Watched::new();
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        watched.sh("true the-shell-of-the-test; iptables-nft -A INPUT -j ACCEPT; true");
        let authors = authors(&watched);
        assert_eq!(authors[0].name, "iptables-nft");
        assert_ne!(authors[0].pid, 0);
        let is_shell =
            |line: &Option<String>| line.as_ref().is_some_and(|line| line.contains("the-shell-of-the-test"));
        let parents = &authors[0].parents;
        if parents.first().is_some_and(|shell| shell.name == "bash" && is_shell(&shell.command_line)) {
            let test = parents.iter().find(|parent| parent.pid == std::process::id());
            assert!(test.is_some(), "{parents:?}");
            return assert_eq!(parents.last().map(|first| first.pid), Some(1), "{parents:?}");
        }
        assert!(Instant::now() < end, "never in time: {authors:?}");
    }
}

/// A program that stays alive between its transactions.
struct Writer(Child);

impl Writer {
    fn start(watched: &Watched, program: &str, args: &[&str]) -> Self {
        let mut command = watched.netns.command(program);
        Self(command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn write(&mut self, text: &str) {
        let stdin = self.0.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn check_long_lived(watched: &Watched, writer: &Writer, name: &str, program: &str, command_line: &str) {
    let authors = authors(watched);
    let [author] = &authors[..] else { panic!("{authors:?}") };
    assert_eq!((author.pid, author.name.as_str()), (writer.0.id(), name));
    assert!(author.executable.as_ref().is_some_and(|path| path.ends_with(program)), "{author:?}");
    assert_eq!(author.command_line.as_deref(), Some(command_line));
    assert_eq!(author.parents[0].pid, std::process::id());
}

#[test]
fn a_process_that_stays_is_described_in_full() {
    let watched = Watched::new();
    let mut writer = Writer::start(&watched, "nft", &["-i"]);
    writer.write("add table inet t\n");
    check_long_lived(&watched, &writer, "nft", "/nft", "nft -i");
    let mut writer = Writer::start(&watched, "iptables-nft-restore", &["--noflush"]);
    writer.write("*nat\n-A OUTPUT -j ACCEPT\nCOMMIT\n");
    let mut heard = parts(&watched.next());
    heard.truncate(1);
    let author = &heard[0].1[0];
    assert_eq!((author.pid, author.name.as_str()), (writer.0.id(), "iptables-nft-restore"));
    assert_eq!(author.command_line.as_deref(), Some("iptables-nft-restore --noflush"));
}

#[test]
fn each_part_has_its_own_authors_in_order() {
    let watched = Watched::new();
    watched.parts_of("nft add table ip t; nft add chain ip t a; nft add chain ip t b");
    let mut first = Writer::start(&watched, "nft", &["-i"]);
    first.write("add rule ip t a drop\n");
    let seen = |count| {
        crate::support::wait_until("it is heard", Duration::from_secs(20), || {
            watched.watch.counters().transactions == count
        });
    };
    seen(4);
    let mut second = Writer::start(&watched, "nft", &["-i", "-n"]);
    second.write("add rule ip t a accept\nadd rule ip t b accept\n");
    let heard = watched.next();
    let pids: Vec<Vec<u32>> =
        parts(&heard).iter().map(|(_, authors)| authors.iter().map(|author| author.pid).collect()).collect();
    assert_eq!(pids, [vec![first.0.id(), second.0.id()], vec![second.0.id()]], "{heard:?}");
}

#[test]
fn a_name_is_what_its_owner_likes() {
    let watched = Watched::new();
    let mut writer =
        Writer::start(&watched, "bash", &["-c", "exec -a $'kube-proxy\\e[31m \\n--config' nft -i"]);
    writer.write("add table inet t\n");
    let authors = authors(&watched);
    assert_eq!(authors[0].name, "nft");
    assert!(authors[0].executable.as_ref().is_some_and(|path| path.ends_with("/nft")));
    assert_eq!(authors[0].command_line.as_deref(), Some("kube-proxy\u{1b}[31m \n--config -i"));
}

/// The kernel's numbers mean nothing there, or other processes. The test runs itself in such a namespace.
#[test]
fn in_another_pid_namespace_only_the_name_is_known() {
    const INSIDE: &str = "MONITOR_TEST_IS_INSIDE";
    const TEST: &str = "watcher::authors::in_another_pid_namespace_only_the_name_is_known";
    if std::env::var_os(INSIDE).is_none() {
        let output = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        assert!(output.status.success() && lossy(&output).contains("1 passed"), "{}", lossy(&output));
        return;
    }
    let watched = Watched::new();
    let mut writer = Writer::start(&watched, "nft", &["-i"]);
    writer.write("add table inet t\n");
    let authors = authors(&watched);
    assert_eq!(authors, [Author::named(authors[0].pid, b"nft")]);
    assert_ne!(authors[0].pid, writer.0.id(), "the kernel names it by its number outside");
}
