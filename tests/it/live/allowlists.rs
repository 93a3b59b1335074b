//! Rules and allowlists that change at the same time.

use std::path::Path;

use super::*;

/// A directory like a mounted ConfigMap: each file leads through the link `..data`, which is replaced in one step.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(version: &[(&str, &str)]) -> Self {
        let mounted = Self(tempfile::tempdir().unwrap());
        mounted.swap(0, version);
        for (name, _) in version {
            let link = mounted.0.path().join(name);
            std::os::unix::fs::symlink(Path::new("..data").join(name), link).unwrap();
        }
        mounted
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn swap(&self, number: usize, version: &[(&str, &str)]) {
        let (data, new) = (format!("..{number}"), self.0.path().join("..data_tmp"));
        let old = std::fs::read_link(self.0.path().join("..data"));
        std::fs::create_dir(self.0.path().join(&data)).unwrap();
        for (name, text) in version {
            std::fs::write(self.0.path().join(&data).join(name), text).unwrap();
        }
        std::os::unix::fs::symlink(&data, &new).unwrap();
        std::fs::rename(&new, self.0.path().join("..data")).unwrap();
        if let Ok(old) = old {
            std::fs::remove_dir_all(self.0.path().join(old)).unwrap();
        }
    }
}

/// Each version allows both rules, but each in another file: half of one and half of the other allow only one of them.
#[test]
fn a_hundred_swaps_during_changes_are_never_mixed() {
    const FIRST: &str = "^-P \n^-A INPUT -s 10.1.0.0/16 \n^-A INPUT .* --comment ours ";
    const SECOND: &str = "^-A INPUT -s 10.2.0.0/16 \n^-P \n^-A INPUT .* --comment ours ";
    let versions = [[("global", FIRST), ("filter", SECOND)], [("global", SECOND), ("filter", FIRST)]];
    let netns = Netns::new();
    netns.sh("iptables-nft -A INPUT -s 10.1.0.0/16 -j DROP; iptables-nft -A INPUT -s 10.2.0.0/16 -j DROP");
    let mounted = Mounted::new(&versions[0]);
    let args = ["--input", mounted.path(), "--input6", mounted.path()];
    let agent = Agent::start(&netns, &args);
    agent.wait_for("compliant", LIMIT);
    for number in 1..=100 {
        mounted.swap(number, &versions[number % 2]);
        let before = (number % 10 == 0).then(|| agent.status().unwrap()["checked_at"].clone());
        netns.sh(&format!("iptables-nft -A INPUT -s 10.3.0.{number} -m comment --comment ours -j ACCEPT"));
        // so that some are looked at, and not only the last of many
        if let Some(before) = before {
            agent.wait("it was looked at", LIMIT, |status| status["checked_at"] != before);
        }
    }
    agent.wait_for_the_truth(&args, LIMIT);
    let log = agent.log();
    assert!(!log.contains("VIOLATIONS") && !log.contains("UNKNOWN"), "{log}");
    mounted.swap(101, &[("global", FIRST), ("filter", "")]);
    agent.wait_for("violations", LIMIT);
    let report = agent.status().unwrap();
    assert_eq!(report["violation_count"], 1, "{report:#}");
    assert_eq!(report["violations"][0]["line"], "-A INPUT -s 10.2.0.0/16 -j DROP");
    agent.wait_for_the_truth(&args, LIMIT);
}
