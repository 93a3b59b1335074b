//! Evidence that this is the host's network namespace: the Node's address is one of ours.
//! Without it an empty namespace of a pod would be called compliant.

use std::net::IpAddr;

use crate::domain::rules::{Problem, Reason};

/// What is known of the network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetnsEvidence {
    /// Nobody asked for evidence.
    NotRequired,
    /// There is none, and why.
    Missing(String),
    /// An InternalIP of the Node is an address of this namespace.
    Proven,
}

/// What a report has to say about it: the verdict of rules that may be another namespace's is unknown.
pub fn netns_problem(evidence: &NetnsEvidence) -> Option<Problem> {
    match evidence {
        NetnsEvidence::NotRequired | NetnsEvidence::Proven => None,
        NetnsEvidence::Missing(why) => Some(Problem::new(
            Reason::NetnsUnproven,
            format!(
                "these may not be the host's rules: {why}; run with hostNetwork: true and grant `get` on `nodes`, \
                 or, if you know better, use --netns-check off"
            ),
        )),
    }
}

/// Judges the Node's addresses against those of this namespace.
pub fn judge(internal_ips: &[IpAddr], local: &[IpAddr]) -> NetnsEvidence {
    let telling: Vec<_> =
        internal_ips.iter().map(IpAddr::to_canonical).filter(|ip| is_of_one_host(*ip)).collect();
    if telling.iter().any(|ip| local.contains(ip)) {
        return NetnsEvidence::Proven;
    }
    NetnsEvidence::Missing(match telling.first() {
        Some(ip) => format!("the Node's InternalIP {ip} is not an address of this network namespace"),
        None => "the Node has no InternalIP".into(),
    })
}

/// Addresses that every namespace may have prove nothing.
fn is_of_one_host(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn is_proven(node: &[&str], local: &[&str]) -> bool {
        judge(&ips(node), &ips(local)) == NetnsEvidence::Proven
    }

    #[test]
    fn one_address_of_the_node_is_enough() {
        assert!(is_proven(&["192.0.2.10"], &["127.0.0.1", "192.0.2.10"]));
        assert!(is_proven(&["192.0.2.11", "2001:db8::10"], &["2001:db8::10"]));
        assert!(is_proven(&["::ffff:192.0.2.10"], &["192.0.2.10"]));
        assert!(!is_proven(&["192.0.2.10"], &["127.0.0.1", "10.244.1.7"]));
        assert!(!is_proven(&[], &["127.0.0.1"]));
    }

    #[test]
    fn an_address_that_every_namespace_has_proves_nothing() {
        for ip in
            ["127.0.0.1", "::1", "0.0.0.0", "::", "169.254.1.1", "fe80::1", "224.0.0.1", "255.255.255.255"]
        {
            assert!(!is_proven(&[ip], &[ip]), "{ip}");
        }
    }

    #[test]
    fn missing_evidence_is_a_decisive_problem() {
        assert_eq!(netns_problem(&NetnsEvidence::NotRequired), None);
        assert_eq!(netns_problem(&NetnsEvidence::Proven), None);
        let problem = netns_problem(&judge(&ips(&["192.0.2.10"]), &[])).unwrap();
        assert_eq!(problem.reason, Reason::NetnsUnproven);
        assert!(problem.reason.is_decisive());
        assert!(problem.detail.contains("192.0.2.10"), "{}", problem.detail);
    }
}
