//! Rules in the shape that owners publish which Debian has no package of, loaded with the installed nft.

use super::adopt::adopt;
use crate::support::{Netns, lossy};

fn load(netns: &Netns, rules: &str) {
    // nft looks for a cgroup's path there
    let load = "mount -t cgroup2 none /sys/fs/cgroup; nft -f -";
    let output = netns.feed("unshare", &["--mount", "bash", "-ec", load], rules.as_bytes());
    assert!(output.status.success(), "{}", lossy(&output));
}

fn check(owner: &str, rules: &str) {
    let netns = Netns::new();
    load(&netns, rules);
    let adopted = adopt(&netns, owner, &|script| drop(netns.sh(script)));
    // as each of them does: another transaction, with new handles
    load(&netns, &format!("flush ruleset\n{rules}"));
    adopted.expect_the_same(&netns, "all was written again");
}

#[test]
fn kube_proxy_in_nftables_mode() {
    check("kube-proxy", include_str!("../../data/owners/kube-proxy-1.36.nft"));
}

#[test]
fn calico_in_nftables_mode() {
    check("Calico", include_str!("../../data/owners/calico.nft"));
}

/// Its rule of kubelet's cgroup is a number in the kernel: here that of the cgroup that every machine has.
#[test]
fn ovn_kubernetes() {
    check("ovn-kubernetes", include_str!("../../data/owners/ovn-kubernetes.nft"));
}
