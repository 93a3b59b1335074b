//! A systemd-journald of our own, that reads the kernel's log.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use crate::support::{lossy, wait_until};

/// It lives in a mount namespace of its own, whose /run is empty, and writes into a directory of ours.
pub struct Journald {
    directory: tempfile::TempDir,
    child: Child,
}

impl Journald {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        fs::create_dir(directory.path().join("journal")).unwrap();
        let config =
            "[Journal]\nStorage=volatile\nRateLimitBurst=0\nAudit=no\nReadKMsg=yes\nForwardToWall=no\n";
        fs::write(directory.path().join("journald.conf"), config).unwrap();
        let script = format!(
            "set -e; mount --make-rprivate /; mount --bind {at} /mnt; mount -t tmpfs tmpfs /run
            mkdir -p /run/systemd/journal /run/log/journal; mount --bind /mnt/journal /run/log/journal
            mount --bind /mnt/journald.conf /etc/systemd/journald.conf
            exec /lib/systemd/systemd-journald"
        );
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "bash", "-c", &script])
            .spawn()
            .expect("setpriv(1) and unshare(1) of util-linux");
        let journald = Self { directory, child };
        wait_until("journald listens (systemd-journald: make test-tools)", Duration::from_secs(60), || {
            journald.try_sh("test -S /run/systemd/journal/dev-log && test -S /run/systemd/journal/socket")
        });
        journald
    }

    /// Where it writes.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.child.id().to_string(), "-m", "bash", "-ec", script]);
        command
    }

    fn try_sh(&self, script: &str) -> bool {
        self.command(script).output().expect("nsenter(1)").status.success()
    }

    /// Runs a script where its sockets are.
    pub fn sh(&self, script: &str) -> String {
        let output = self.command(script).output().expect("nsenter(1)");
        assert!(output.status.success(), "{script}: {}", lossy(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// How many entries have this in their message.
    pub fn count(&self, text: &str) -> usize {
        let entries = self.sh("journalctl --directory=/run/log/journal --output=cat --no-pager");
        entries.lines().filter(|line| line.contains(text)).count()
    }

    pub fn signal(&self, name: &str) {
        self.sh(&format!("kill -{name} {}", self.child.id()));
    }

    /// As vacuuming does, but at once.
    pub fn remove_archived(&self) {
        self.sh("rm /run/log/journal/*/*@*.journal");
    }

    /// The processes that read it for us.
    pub fn readers(&self) -> Vec<u32> {
        let directory = self.directory();
        let is_reader = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains("journalctl\0") && line.contains(&format!("--directory={}", directory.display()))
        };
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(is_reader).collect()
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
