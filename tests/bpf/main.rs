//! BPF programs at netfilter hooks, attached for real.
//!
//! A binary of its own, which runs when the others do not: the kernel does not say in which network namespace such a program
//! acts, so that meanwhile nothing on this machine is compliant to who may see it.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

#[path = "../it/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use support::live::Agent;
use support::{AllowlistDir, Checked, MONITOR, Netns};

const LIMIT: Duration = Duration::from_secs(60);

/// `NUMBER-OF-BPF FAMILY HOOK PRIORITY`: attaches a program named `evil` that drops everything, says so, and detaches it when its
/// standard input ends. Source: `union bpf_attr` in `include/uapi/linux/bpf.h`.
const ATTACH: &str = "
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number, family, hook, priority = map(int, sys.argv[1:])
def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 144)
    result = libc.syscall(number, command, buffer, 144)
    if result < 0:
        sys.exit(f'bpf({command}): error {ctypes.get_errno()}')
    return result
NETFILTER_PROGRAM, NETFILTER_ATTACHMENT, PROG_LOAD, LINK_CREATE = 32, 45, 5, 28
# r0 = NF_DROP; exit
code = ctypes.create_string_buffer(struct.pack('=BBhiBBhi', 0xb7, 0, 0, 0, 0x95, 0, 0, 0), 16)
licence = ctypes.create_string_buffer(b'GPL')
load = struct.pack('=IIQQIIQII16sII', NETFILTER_PROGRAM, 2, ctypes.addressof(code), ctypes.addressof(licence),
                   0, 0, 0, 0, 0, b'evil', 0, NETFILTER_ATTACHMENT)
program = bpf(PROG_LOAD, load)
link = bpf(LINK_CREATE, struct.pack('=IIIIIIiI', program, 0, NETFILTER_ATTACHMENT, 0, family, hook, priority, 0))
print('attached', flush=True)
sys.stdin.read()
";

/// A program at a hook for as long as this lives.
struct Attached(Child);

impl Attached {
    fn new(netns: &Netns, family: u8, hook: u8, priority: i32) -> Self {
        let mut child = netns
            .command("python3")
            .args(["-c", ATTACH, &libc::SYS_bpf.to_string(), &family.to_string(), &hook.to_string()])
            .arg(priority.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "attached\n", "a kernel with CONFIG_NETFILTER_BPF_LINK");
        Self(child)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn check(netns: &Netns, list: &AllowlistDir) -> Checked {
    netns.check(&["--input", list.path(), "--ipv6", "false"])
}

fn is_told(report: &serde_json::Value, hook: &str) -> bool {
    let violations = report["violations"].as_array().unwrap().iter().map(|violation| &violation["line"]);
    let problems = report["problems"].as_array().unwrap().iter().map(|problem| &problem["detail"]);
    let mut texts = violations.chain(problems).map(|text| text.as_str().unwrap());
    texts.any(|text| {
        let is_line = text.starts_with(&format!("hook ip {hook} -500 bpf evil "));
        let place = format!(" is at ip {hook} priority -500, here or in another network namespace");
        is_line || text.starts_with("the BPF program \"evil\" with tag ") && text.contains(&place)
    })
}

/// One test, because each would disturb the others.
#[test]
fn a_program_at_a_hook_is_never_compliant() {
    let netns = Netns::new();
    let list = AllowlistDir::new(&[("global", "^-[APN] \n")]);
    check(&netns, &list).expect("compliant", 0);
    let attached = Attached::new(&netns, 2, 1, -500);
    assert!(!netns.try_sh("ping -c 1 -W 1 127.0.0.1").status.success(), "it drops");
    let checked = check(&netns, &list);
    assert_ne!(checked.verdict(), "compliant");
    assert!(is_told(&checked.json, "input"), "{:#}", checked.json);
    let unprivileged = netns
        .command("setpriv")
        .args(["--bounding-set=-all,+net_admin", "--inh-caps=-all", MONITOR, "check", "--format", "json"])
        .args(["--input", list.path(), "--ipv6", "false", "--require-hooks"])
        .output()
        .unwrap();
    assert_ne!(Checked::of(&unprivileged).verdict(), "compliant");
    drop(attached);
    check(&netns, &list).expect("compliant", 0);

    let agent = Agent::start(&netns, &["--input", list.path(), "--ipv6", "false"]);
    agent.wait_for("compliant", LIMIT);
    // one that does not cut off the agent's own page
    let attached = Attached::new(&netns, 2, 2, -500);
    netns.sh("iptables-nft -N LOOK");
    agent.wait("the agent tells of it when it looks", LIMIT, |report| is_told(report, "forward"));
    drop(attached);
    netns.sh("iptables-nft -X LOOK");
    agent.wait_for("compliant", LIMIT);
}
