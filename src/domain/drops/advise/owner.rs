//! Programs that rewrite their chains, by the names of these chains.
//! A guess by custom: a person may use such a name too.

use crate::domain::rules::Backend;

/// The beginnings of chain names, and who rewrites such chains.
const CHAINS: [(&str, &str); 19] = [
    ("KUBE-ROUTER-", "kube-router"),
    ("KUBE-NWPLCY-", "kube-router"),
    ("KUBE-POD-FW-", "kube-router"),
    ("KUBE-", "kube-proxy or the kubelet"),
    ("cali-", "Calico"),
    ("CILIUM_", "Cilium"),
    ("OLD_CILIUM_", "Cilium"),
    ("WEAVE-", "Weave Net"),
    ("ANTREA-", "Antrea"),
    ("FLANNEL-", "flannel"),
    ("CNI-", "a CNI plugin"),
    ("AZURE-NPM", "Azure NPM"),
    ("IP-MASQ", "ip-masq-agent"),
    ("DOCKER", "Docker"),
    ("NETAVARK_", "netavark"),
    ("LIBVIRT_", "libvirt"),
    ("ufw-", "ufw"),
    ("ufw6-", "ufw"),
    ("f2b-", "fail2ban"),
];
/// Native tables, and who rewrites them.
const TABLES: [(&str, &str); 6] = [
    ("firewalld", "firewalld"),
    ("kube-proxy", "kube-proxy or the kubelet"),
    ("calico", "Calico"),
    ("netavark", "netavark"),
    ("docker-bridges", "Docker"),
    ("libvirt_network", "libvirt"),
];

/// Who rewrites a chain of this name. `DOCKER-USER` is for people.
pub(super) fn owner(chain: &str) -> Option<&'static str> {
    if chain == "DOCKER-USER" {
        return None;
    }
    CHAINS.iter().find(|(front, _)| chain.starts_with(front)).map(|&(_, owner)| owner)
}

/// Who rewrites a native table of this name.
pub(super) fn of_table(backend: Backend, table: &str) -> Option<&'static str> {
    let is_native = backend == Backend::Nftables;
    TABLES.iter().find(|(name, _)| is_native && *name == table).map(|&(_, owner)| owner)
}

/// What else to do about packets that this program drops where no rule can stand before a jump.
pub(super) fn instead(owner: &str) -> &'static str {
    match owner {
        "Calico" => "put a rule with `action: Log` before the one that denies, in its policy",
        "Cilium" => "ask Cilium itself, with `cilium-dbg monitor --type drop` or Hubble",
        "firewalld" => "`firewall-cmd --set-log-denied=all` logs them",
        "ufw" => "`ufw logging medium` logs them",
        _ => "no rule of yours could stay before it; use that program's own logging",
    }
}
