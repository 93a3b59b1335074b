//! Who descends from whom, as `/proc` shows it.
//! Sends no signal.

use rustix::process::Pid;

use super::author::{read_start, read_stat};
use crate::domain::changes::author::procfs::Stat;

/// The beginning of a command line in which the first argument is looked for.
const COMMAND_LINE_BYTES: usize = 512;

/// The children of a process.
pub fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().get().unsigned_abs();
    let is_child = |pid: &u32| read_stat(*pid).is_some_and(|stat| stat.parent == parent);
    pids().filter(is_child).filter_map(|pid| Pid::from_raw(pid.cast_signed())).collect()
}

/// Whether this parent has another child that began before this process and does the same, as its first argument says.
pub fn has_elder_twin(parent: u32) -> bool {
    let own = std::process::id();
    let (Some(stat), Some(does)) = (read_stat(own), first_argument(own)) else { return false };
    let is_elder = |pid: u32, other: &Stat| (other.started_ticks, pid) < (stat.started_ticks, own);
    pids().any(|pid| {
        read_stat(pid).is_some_and(|other| other.parent == parent && is_elder(pid, &other))
            && first_argument(pid).as_ref() == Some(&does)
    })
}

fn first_argument(pid: u32) -> Option<Vec<u8>> {
    let line = read_start(&format!("/proc/{pid}/cmdline"), COMMAND_LINE_BYTES)?;
    line.split(|byte| *byte == 0).nth(1).map(<[u8]>::to_vec)
}

/// The processes that can be seen.
fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
