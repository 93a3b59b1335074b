//! What the files of a process under `/proc` say.
//! Opens none of them.
//!
//! *Source*: proc_pid_stat(5), proc_pid_cmdline(5), cgroups(7).

use super::PodHint;
use super::secrets::hide;

/// A command line is cut to this many bytes.
pub const COMMAND_LINE_BYTES: usize = 512;
/// The length of a container's id: containerd, CRI-O, Docker and Podman all take 256 random bits.
const CONTAINER_ID_DIGITS: usize = 64;

/// One line of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process's name, at most 15 bytes.
    pub name: Vec<u8>,
    /// The process id of its parent; 0 for the first process and for one whose parent is not visible.
    pub parent: u32,
    /// When it started, in clock ticks since boot.
    pub started_ticks: u64,
}

/// Parses `/proc/PID/stat`: `42 (a name) S 1 …`. The name may itself have spaces and parentheses.
pub fn parse_stat(text: &[u8]) -> Option<Stat> {
    const PARENT: usize = 1;
    const STARTED: usize = 19;
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    // from the third field of the manual page on: the state
    let field = |index: usize| rest.split_ascii_whitespace().nth(index);
    Some(Stat {
        name: text.get(open + 1..close)?.to_vec(),
        parent: field(PARENT)?.parse().ok()?,
        started_ticks: field(STARTED)?.parse().ok()?,
    })
}

/// Parses `/proc/PID/cmdline`, or its beginning: arguments that end in NUL, here separated by spaces and cut,
/// without what looks like a secret.
/// None for a process without one: a kernel thread, or one that has just ended.
pub fn parse_command_line(bytes: &[u8]) -> Option<String> {
    let is_cut = bytes.len() > COMMAND_LINE_BYTES;
    let kept = bytes.get(..COMMAND_LINE_BYTES).unwrap_or(bytes);
    let kept = if is_cut { whole_characters(kept) } else { kept };
    let end = kept.iter().rposition(|&byte| byte != 0)? + 1;
    let arguments: Vec<_> = kept.get(..end)?.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
    Some(hide(arguments.iter().map(AsRef::as_ref)))
}

/// Leaves out the beginning of a character that a cut has split.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    let tail = bytes.iter().rev().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
    let Some(lead) = bytes.len().checked_sub(tail + 1) else { return bytes };
    let is_split = match bytes.get(lead).copied().unwrap_or_default() {
        0xc0..=0xdf => tail < 1,
        0xe0..=0xef => tail < 2,
        0xf0..=0xff => tail < 3,
        _ => false,
    };
    if is_split { bytes.get(..lead).unwrap_or_default() } else { bytes }
}

/// Where a process runs, as its control groups are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupPlace {
    /// The container's id.
    pub container: Option<String>,
    /// The pod.
    pub pod: Option<PodHint>,
}

/// Parses `/proc/PID/cgroup`: lines `HIERARCHY:CONTROLLERS:PATH`, one of them with version 2.
///
/// Understands the paths that the kubelet and containerd, CRI-O, Docker and Podman make with the drivers `cgroupfs`
/// and `systemd`; seen from inside another cgroup namespace they begin with `/..`.
///
/// *Source*: `pkg/kubelet/cm/cgroup_manager_linux.go` of Kubernetes 1.31 (`kubepods`, `pod<UID>`, escaping of `-`);
/// the runtimes' `cri-containerd-`, `crio-`, `docker-`, `libpod-` scopes.
pub fn parse_cgroup(text: &[u8]) -> CgroupPlace {
    let text = String::from_utf8_lossy(text);
    let places = text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(place_of);
    let mut best = CgroupPlace::default();
    for place in places {
        if place.container.is_some() && place.pod.is_some() {
            return place;
        }
        best.container = best.container.or(place.container);
        best.pod = best.pod.or(place.pod);
    }
    best
}

/// The innermost container and pod of a path: a node may itself be a container.
fn place_of(path: &str) -> CgroupPlace {
    let mut place = CgroupPlace::default();
    // containerd with the systemd driver but without a systemd of its own joins three names with colons
    for name in path.split(['/', ':']) {
        if let Some(uid) = pod_uid(name) {
            place = CgroupPlace { container: None, pod: Some(PodHint { uid, name: None }) };
        } else if let Some(id) = container_id(name) {
            place.container = Some(id.to_owned());
        }
    }
    place
}

/// `cri-containerd-<id>.scope`, `<id>`; not `crio-conmon-<id>.scope`, which is the container's keeper.
fn container_id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (prefix, id) = name.split_at_checked(name.len().checked_sub(CONTAINER_ID_DIGITS)?)?;
    let is_prefix = prefix.is_empty() || prefix.ends_with('-') && !prefix.ends_with("conmon-");
    (is_prefix && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// `pod<UID>`, `kubepods-burstable-pod<UID with underscores>.slice`. The UID of a static pod is 32 digits.
fn pod_uid(name: &str) -> Option<String> {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let start = name.rfind("pod")?;
    let (before, uid) = (name.get(..start)?, name.get(start + "pod".len()..)?);
    let uid = uid.replace('_', "-");
    let is_prefix = before.is_empty() || before.ends_with('-');
    (is_prefix && is_uid(&uid)).then_some(uid)
}

fn is_uid(text: &str) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_uuid = text.split('-').map(str::len).eq(GROUPS) && text.split('-').all(is_hex);
    is_uuid || text.len() == 32 && is_hex(text)
}

#[cfg(test)]
mod tests;
