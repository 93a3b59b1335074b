//! What is called at netfilter hooks, as far as the kernel of this machine lists it.
//! BPF programs at hooks are tried in a binary of their own: see `tests/bpf`.

use super::support::{AllowlistDir, Checked, MONITOR, Netns};

/// Says `listed` if the kernel lists what is called at the hook prerouting of IPv4, else the number of its error.
const ASK: &str = "
import socket, struct
kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
kernel.bind((0, 0))
body = struct.pack('BBH', 2, 0, 0) + struct.pack('=HH', 8, 1) + struct.pack('>I', 0)
kernel.send(struct.pack('=IHHII', 16 + len(body), 12 << 8, 0x301, 1, 0) + body)
answer = kernel.recv(65536)
kind, = struct.unpack_from('=H', answer, 4)
print('listed' if kind != 2 else -struct.unpack_from('=i', answer, 16)[0], end='')
";

fn are_listed(netns: &Netns) -> bool {
    let output = netns.command("python3").args(["-c", ASK]).output().unwrap();
    match String::from_utf8_lossy(&output.stdout).as_ref() {
        "listed" => true,
        // EINVAL: there is no such subsystem
        "22" => false,
        other => panic!("{other} {}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn busy() -> (Netns, AllowlistDir) {
    let netns = Netns::new();
    netns.sh(
        "iptables-nft -A INPUT -m conntrack --ctstate NEW -j ACCEPT; iptables-legacy -t nat -A OUTPUT -j RETURN
         ip link add d0 type veth peer name d1
         nft 'table netdev n { chain c { type filter hook ingress device \"d0\" priority 0; }; }'",
    );
    let list = AllowlistDir::new(&[("global", "^-[APN] \n"), ("nftables", "netdev n ")]);
    (netns, list)
}

/// Whatever the kernel does not tell is said once, and decides only where that is wished for.
#[test]
fn what_the_kernel_does_not_list_is_said_once() {
    let (netns, list) = busy();
    let check = |more: &[&str]| netns.check(&[&["--input", list.path(), "--ipv6", "false"], more].concat());
    let is_listed = are_listed(&netns);
    for more in [&[][..], &["--nftables=false"]] {
        let checked = check(more);
        checked.expect("compliant", 0);
        let said = checked.all_reasons().iter().filter(|reason| **reason == "HooksUnlisted").count();
        assert_eq!(said, usize::from(!is_listed), "{:#}", checked.json["problems"]);
        let required = check(&[more, &["--require-hooks"]].concat());
        match is_listed {
            true => required.expect("compliant", 0),
            false => required.expect("unknown", 3),
        };
        let unread = required.all_reasons().iter().filter(|reason| **reason == "HooksUnread").count();
        assert_eq!(unread, usize::from(!is_listed), "{:#}", required.json["problems"]);
        assert!(!required.all_reasons().contains(&"HooksUnlisted"));
    }
}

/// As the shipped manifest runs it.
#[test]
fn an_agent_without_cap_sys_admin_is_compliant() {
    let (netns, list) = busy();
    let output = netns
        .command("setpriv")
        .args(["--bounding-set=-all,+net_admin", "--inh-caps=-all", MONITOR, "check", "--format", "json"])
        .args(["--input", list.path(), "--ipv6", "false"])
        .output()
        .unwrap();
    let checked = Checked::of(&output);
    checked.expect("compliant", 0);
    let problems = checked.json["problems"].as_array().unwrap();
    let note = problems.iter().find(|problem| problem["reason"] == "HooksUnlisted");
    assert_eq!(note.is_some(), !are_listed(&netns), "{:#}", checked.json["problems"]);
    if let Some(note) = note {
        let detail = note["detail"].as_str().unwrap();
        assert!(detail.contains("with CAP_SYS_ADMIN BPF programs would be"), "{detail}");
    }
}
