//! Processes as `/proc` shows them: who made a transaction, and who started that process.
//! Names come from the processes themselves and prove nothing. What has gone by is left out.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::domain::changes::author::procfs::{
    COMMAND_LINE_BYTES, Stat, parse_cgroup, parse_command_line, parse_stat,
};
use crate::domain::changes::author::{self, Ancestor, Author, NAME_BYTES};

/// Parents are followed this far.
const PARENTS_MAX: usize = 16;
const STAT_BYTES: usize = 1024;
const CGROUP_BYTES: usize = 16 * 1024;
/// `PROC_PID_INIT_INO`: the inode number of the initial PID namespace.
///
/// *Source*: `include/linux/proc_ns.h`.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Whether this process sees others by the numbers that the kernel names them by: on the node itself or, in a pod, with
/// `hostPID`.
pub fn is_in_initial_pid_namespace() -> bool {
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == INITIAL_PID_NAMESPACE)
}

/// The time since boot, as processes' starts are counted.
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// What can be said about a process that the kernel has named, which may end at any moment or have ended.
///
/// A process of that number counts only if it has the same name, and began before `heard`, a time since boot: else the
/// number was given to another one meanwhile.
pub fn read_author(pid: u32, name: &[u8], heard: Duration) -> Author {
    let mut author = Author::named(pid, name);
    // these are gone first, when a process ends
    let executable = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let command_line = read_command_line(pid);
    let Some(stat) = read_stat(pid).filter(|stat| stat.name == name && start_of(stat) <= heard) else {
        return author;
    };
    author.executable = executable.map(|path| path.to_string_lossy().into_owned());
    author.command_line = command_line;
    author.name = author::name(name, author.executable.as_deref(), author.command_line.as_deref());
    if let Some(text) = read_start(&format!("/proc/{pid}/cgroup"), CGROUP_BYTES) {
        let place = parse_cgroup(&text);
        (author.container, author.pod) = (place.container, place.pod);
    }
    author.parents = read_parents(stat.parent);
    author
}

fn read_parents(nearest: u32) -> Vec<Ancestor> {
    let mut parents = Vec::new();
    let mut pid = nearest;
    while pid != 0 && parents.len() < PARENTS_MAX {
        let Some(stat) = read_stat(pid) else { break };
        let command_line = read_command_line(pid);
        let name =
            author::name(&stat.name, read_executable(pid, &stat.name).as_deref(), command_line.as_deref());
        parents.push(Ancestor { pid, name, command_line });
        pid = stat.parent;
    }
    parents
}

/// The executable of a process whose name may be cut.
fn read_executable(pid: u32, name: &[u8]) -> Option<String> {
    if name.len() < NAME_BYTES {
        return None;
    }
    Some(std::fs::read_link(format!("/proc/{pid}/exe")).ok()?.to_string_lossy().into_owned())
}

pub(super) fn read_stat(pid: u32) -> Option<Stat> {
    parse_stat(&read_start(&format!("/proc/{pid}/stat"), STAT_BYTES)?)
}

/// When a process started, since boot, rounded down to a tick.
fn start_of(stat: &Stat) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let fraction = stat.started_ticks % per_second * 1_000_000_000 / per_second;
    Duration::new(stat.started_ticks / per_second, u32::try_from(fraction).unwrap_or_default())
}

fn read_command_line(pid: u32) -> Option<String> {
    // one byte more tells that it was cut
    parse_command_line(&read_start(&format!("/proc/{pid}/cmdline"), COMMAND_LINE_BYTES + 1)?)
}

/// The beginning of a file.
pub(super) fn read_start(path: &str, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limit as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of this process's main thread.
    fn own_name() -> Vec<u8> {
        let name = std::fs::read("/proc/self/comm").unwrap();
        name.strip_suffix(b"\n").unwrap().to_vec()
    }

    #[test]
    fn a_living_process_is_described_up_to_the_first() {
        let author = read_author(std::process::id(), &own_name(), since_boot());
        assert_eq!(author.executable.as_deref(), std::env::current_exe().unwrap().to_str());
        assert!(author.command_line.is_some());
        assert_eq!(author.parents.last().map(|parent| parent.pid), Some(1), "{:?}", author.parents);
    }

    #[test]
    fn a_number_that_was_given_to_another_process_says_nothing() {
        let (pid, now) = (std::process::id(), since_boot());
        assert_eq!(read_author(pid, b"another", now), Author::named(pid, b"another"));
        let name = own_name();
        assert_eq!(read_author(pid, &name, Duration::from_secs(1)), Author::named(pid, &name));
        assert_eq!(read_author(0, b"kernel", now), Author::named(0, b"kernel"));
        assert_eq!(read_author(u32::MAX, b"gone", now), Author::named(u32::MAX, b"gone"));
    }

    #[test]
    fn a_long_name_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("sleeper-of-a-long-name");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("60").spawn().unwrap();
        let stat = loop {
            // until the child is no longer a copy of this process
            let stat = read_stat(child.id()).unwrap();
            if stat.name.starts_with(b"sleeper") {
                break stat;
            }
        };
        let author = read_author(child.id(), &stat.name, since_boot());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((stat.name.len(), author.name.as_str()), (NAME_BYTES, "sleeper-of-a-long-name"));
    }
}
