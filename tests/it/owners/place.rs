//! A root of another Debian suite as a machine of its own: namespaces of network, mounts, processes and cgroups, with an overlay
//! over the root, so that programs may write anywhere and nothing of it stays.
//! Knows no owner.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Netns, lossy};

/// Before everything else: mounts are private, `$1` is the root, `$2` the name of our cgroup. Prints its process number as seen
/// from outside, and stays until its standard input ends.
const SETUP: &str = r#"
set -e
read -r pid _ < /proc/self/stat
mount -t tmpfs none /mnt
mkdir /mnt/{upper,work,root,cgroup}
mount -t cgroup2 none /mnt/cgroup
mkdir "/mnt/cgroup/$2"
echo 0 > "/mnt/cgroup/$2/cgroup.procs"
mount -t overlay overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root
cd /mnt/root
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs none run
mount -t tmpfs none tmp
mkdir -m 1777 run/lock
mkdir run/dbus
exec unshare --cgroup bash -c '
set -e
# writable as on a machine where no udev runs: networkd would wait for it
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 none sys/fs/cgroup
hostname owner
exec chroot . bash -c "echo $0; read -r gone"' "$pid"
"#;

/// What every script begins with.
const PRELUDE: &str = r#"
set -e
# entering the namespace is not joining the cgroup
echo 0 > /sys/fs/cgroup/cgroup.procs
# waits for a condition; says what the daemons said when it does not come
until_ok() {
  for _ in $(seq 600); do "$@" > /tmp/until 2>&1 && return; sleep 0.1; done
  echo "still waiting for: $*"; cat /tmp/until; tail -n 20 /tmp/*.log; exit 1
}
# a daemon that outlives the script, with a file of what it prints
daemon() { local name=$1; shift; "$@" < /dev/null > "/tmp/$name.log" 2>&1 & echo $! > "/tmp/$name.pid"; disown; }
# ends it, and waits until it has ended
end() { local pid; pid=$(cat "/tmp/$1.pid"); kill "$pid"; until_ok gone "$pid"; }
has() { nft list ruleset 2> /dev/null | grep -qF "$1"; }
gone() { ! kill -0 "$1" 2> /dev/null || grep -q '^State:.*zombie' "/proc/$1/status"; }
"#;

/// How many were made: each has a cgroup of its own.
static PLACES: AtomicUsize = AtomicUsize::new(0);

/// The roots in `OWNER_ROOTS`.
///
/// # Panics
/// Without them.
pub fn roots() -> Vec<String> {
    let roots = std::env::var("OWNER_ROOTS").unwrap_or_default();
    let roots: Vec<_> = roots.split(':').filter(|root| !root.is_empty()).map(str::to_owned).collect();
    assert!(!roots.is_empty(), "make test-owners names the roots in OWNER_ROOTS");
    roots
}

/// A root that runs.
pub struct Place {
    pub netns: Netns,
    /// The Debian suite, as the directory is called.
    pub suite: String,
    holder: Child,
    /// The first process inside, seen from outside.
    pid: String,
    cgroup: String,
}

impl Place {
    /// The root with nothing started.
    ///
    /// # Panics
    /// Without root: these tests are never skipped.
    pub fn new(root: &str) -> Self {
        let netns = Netns::new();
        let mut command = netns.command("unshare");
        command.args(["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]);
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("iptables-monitor-test-{}-{number}", std::process::id());
        command.args(["--propagation", "private", "bash", "-c", SETUP, "setup", root, &cgroup]);
        let mut holder =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare(1) of util-linux");
        let mut pid = String::new();
        let stdout = holder.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut pid).expect("its output");
        let pid = pid.trim().to_owned();
        let suite = root.rsplit('-').next().unwrap_or(root).to_owned();
        let place = Self { netns, suite, holder, pid, cgroup };
        assert!(!place.pid.is_empty(), "{root} did not become a place: see above");
        place
    }

    /// Runs a script inside.
    ///
    /// # Panics
    /// If it fails; the message has everything it printed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        assert!(output.status.success(), "{}: {script}\n{}: {}", self.suite, output.status, lossy(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn try_sh(&self, script: &str) -> Output {
        Command::new("nsenter")
            .args(["--target", &self.pid, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"])
            .args(["bash", "-c", &format!("{PRELUDE}{script}")])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .stdin(Stdio::null())
            .output()
            .expect("nsenter(1) of util-linux")
    }

    /// The root's nft of all rules with their handles, which are new when they are written again.
    pub fn handles(&self) -> String {
        self.sh("nft --stateless -a list ruleset 2> /dev/null")
    }

    /// Whether the suite is this one.
    pub fn is(&self, suite: &str) -> bool {
        self.suite == suite
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        // the kernel ends what runs in it with its first process, a moment later; a killed test left its own
        let remove = r#"mount -t cgroup2 none /mnt
            for left in /mnt/iptables-monitor-test-*; do
              test=${left#/mnt/iptables-monitor-test-}
              [ -d "/proc/${test%-*}" ] || find "$left" -depth -type d -exec rmdir {} + 2> /dev/null
            done
            for _ in $(seq 100); do
              find "/mnt/$0" -depth -type d -exec rmdir {} + 2> /dev/null
              [ -d "/mnt/$0" ] || exit 0
              sleep 0.1
            done"#;
        let mut command = Command::new("unshare");
        let _ = command
            .args(["--mount", "--propagation", "private", "bash", "-c", remove, &self.cgroup])
            .status();
    }
}
