//! Who is behind an address: a pod, a node, a Service, a name of the DNS, or nobody known.
//! Asks nobody: whoever does keeps the [`Directory`] up to date.

pub mod names;
pub mod pairs;
pub mod pods;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use names::PodNames;
use pairs::Name;
use pods::{Pod, PodIndex};

/// Who is behind an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A pod with an address of its own.
    Pod(Arc<Pod>),
    /// A node, or a pod in a node's own network.
    Node(Arc<str>),
    /// A Service, by its namespace and name.
    Service(Arc<str>, Arc<str>),
    /// A host, by the name that the DNS gives it. Whoever owns the address chooses that name.
    Host(Arc<str>),
    /// Nobody that is known.
    Unknown,
}

/// By what a pod is named.
///
/// *Source*: the values that kube-iptables-tailer takes in `POD_IDENTIFIER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identifier {
    /// Its namespace.
    #[default]
    Namespace,
    /// Its name.
    Name,
    /// The value of a label; a pod without it is named by its name.
    Label,
    /// Both: `namespace/name`.
    NameWithNamespace,
}

impl Identifier {
    /// The values of `POD_IDENTIFIER`.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("namespace", Self::Namespace),
        ("name", Self::Name),
        ("label", Self::Label),
        ("name_with_namespace", Self::NameWithNamespace),
    ];

    /// The identifier with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, identifier)| *identifier)
    }

    fn of(self, pod: &Pod) -> String {
        match (self, &pod.label) {
            (Self::Namespace, _) => pod.namespace.to_string(),
            (Self::Label, Some(label)) => label.to_string(),
            (Self::Name | Self::Label, _) => pod.name.to_string(),
            (Self::NameWithNamespace, _) => format!("{}/{}", pod.namespace, pod.name),
        }
    }
}

impl Peer {
    /// The pod that Events may be about.
    pub const fn pod(&self) -> Option<&Arc<Pod>> {
        match self {
            Self::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    /// What the older system calls this side of a connection; the address where nothing is known of it.
    pub fn name(&self, ip: IpAddr, identifier: Identifier) -> String {
        match self {
            Self::Pod(pod) => identifier.of(pod),
            Self::Node(name) | Self::Service(_, name) | Self::Host(name) => name.to_string(),
            Self::Unknown => ip.to_string(),
        }
    }

    /// The name for metrics, with the class of the address where the cluster does not bound how many there are.
    pub fn label(&self, ip: IpAddr, identifier: Identifier) -> Name {
        let stranger = matches!(self, Self::Host(_) | Self::Unknown).then(|| class(ip));
        Name { name: self.name(ip, identifier), stranger }
    }

    /// For records: `namespace/name` of a pod, else what kind of peer it is and its name; nothing if it is unknown.
    pub fn record(&self) -> Option<String> {
        match self {
            Self::Pod(pod) => Some(format!("{}/{}", pod.namespace, pod.name)),
            Self::Node(name) => Some(format!("node {name}")),
            Self::Service(namespace, name) => Some(format!("service {namespace}/{name}")),
            Self::Host(name) => Some(format!("host {name}")),
            Self::Unknown => None,
        }
    }
}

/// What kind of address it is.
///
/// *Source*: RFC 6890, RFC 1918, RFC 6598, RFC 4193.
pub fn class(ip: IpAddr) -> &'static str {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            match () {
                () if ip.is_loopback() => "loopback",
                () if ip.is_link_local() => "link-local",
                () if ip.is_multicast() || ip.is_broadcast() => "multicast",
                () if ip.is_private() || (a == 100 && b & 0xc0 == 64) => "private",
                () => "public",
            }
        }
        IpAddr::V6(ip) => match () {
            () if ip.is_loopback() => "loopback",
            () if ip.is_unicast_link_local() => "link-local",
            () if ip.is_multicast() => "multicast",
            () if ip.is_unique_local() => "private",
            () => "public",
        },
    }
}

/// Everybody in the cluster that has an address.
#[derive(Debug)]
pub struct Directory {
    /// Pods, by address and time.
    pub pods: PodIndex,
    names: PodNames,
    nodes: HashMap<IpAddr, Arc<str>>,
    services: HashMap<IpAddr, (Arc<str>, Arc<str>)>,
}

impl Directory {
    /// Nobody but these pods.
    pub fn new(pods: PodIndex) -> Self {
        Self { pods, names: PodNames::default(), nodes: HashMap::new(), services: HashMap::new() }
    }

    /// The same, remembering for ever the names of the pods of one node.
    pub fn naming_pods_of(self, node: &str) -> Self {
        Self { names: PodNames::of(node), ..self }
    }

    /// Takes the pod's newest state.
    pub fn apply(&mut self, pod: Pod, now: SystemTime) {
        self.names.remember(&pod);
        self.pods.apply(pod, now);
    }

    /// Namespace and name of the pod with this UID.
    pub fn pod_name(&self, uid: &str) -> Option<(String, String)> {
        let running = self.pods.get(uid).map(|pod| (&*pod.namespace, &*pod.name));
        let (namespace, name) = running.or_else(|| self.names.find(uid))?;
        Some((namespace.to_owned(), name.to_owned()))
    }

    /// Replaces the nodes.
    pub fn set_nodes(&mut self, nodes: impl Iterator<Item = (IpAddr, Arc<str>)>) {
        self.nodes = nodes.map(|(ip, name)| (ip.to_canonical(), name)).collect();
    }

    /// Replaces the Services: address, namespace and name.
    pub fn set_services(&mut self, services: impl Iterator<Item = (IpAddr, Arc<str>, Arc<str>)>) {
        self.services =
            services.map(|(ip, namespace, name)| (ip.to_canonical(), (namespace, name))).collect();
    }

    /// Who was behind the address at that time.
    pub fn find(&self, ip: IpAddr, at: SystemTime) -> Peer {
        let ip = ip.to_canonical();
        if let Some(pod) = self.pods.lookup(ip, at) {
            return match pod.is_host_network {
                true => Peer::Node(Arc::clone(&pod.node)),
                false => Peer::Pod(Arc::clone(pod)),
            };
        }
        if let Some(node) = self.nodes.get(&ip) {
            return Peer::Node(Arc::clone(node));
        }
        match self.services.get(&ip) {
            Some((namespace, name)) => Peer::Service(Arc::clone(namespace), Arc::clone(name)),
            None => Peer::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pod(name: &str, ip: &str, label: Option<&str>, is_host_network: bool) -> Pod {
        Pod {
            namespace: "shop".into(),
            name: name.into(),
            uid: name.into(),
            node: "node-1".into(),
            label: label.map(Into::into),
            ips: Box::new([ip.parse().unwrap()]),
            is_host_network,
            start: None,
            end: None,
        }
    }

    fn directory() -> Directory {
        let now = SystemTime::UNIX_EPOCH;
        let mut pods = PodIndex::new(Duration::from_secs(600));
        pods.apply(pod("web-1", "10.0.0.5", Some("web"), false), now);
        pods.apply(pod("proxy", "192.0.2.1", None, true), now);
        let mut directory = Directory::new(pods);
        directory.set_nodes([("192.0.2.2".parse().unwrap(), "node-2".into())].into_iter());
        directory.set_services([("10.96.0.1".parse().unwrap(), "default".into(), "api".into())].into_iter());
        directory
    }

    fn check(
        ip: &str,
        identifier: Identifier,
        name: &str,
        stranger: Option<&'static str>,
        record: Option<&str>,
    ) {
        let address = ip.parse().unwrap();
        let peer = directory().find(address, SystemTime::UNIX_EPOCH);
        assert_eq!(peer.name(address, identifier), name, "{ip}");
        let label = Name { name: name.to_owned(), stranger };
        assert_eq!(peer.label(address, identifier), label, "{ip}");
        assert_eq!(peer.record().as_deref(), record, "{ip}");
    }

    #[test]
    fn whoever_is_known_has_a_name() {
        for (identifier, name) in [
            (Identifier::Namespace, "shop"),
            (Identifier::Name, "web-1"),
            (Identifier::Label, "web"),
            (Identifier::NameWithNamespace, "shop/web-1"),
        ] {
            check("10.0.0.5", identifier, name, None, Some("shop/web-1"));
        }
        let identifier = Identifier::Label;
        check("192.0.2.1", identifier, "node-1", None, Some("node node-1"));
        check("192.0.2.2", identifier, "node-2", None, Some("node node-2"));
        check("10.96.0.1", identifier, "api", None, Some("service default/api"));
    }

    #[test]
    fn a_stranger_is_an_address_of_a_class() {
        for (ip, class) in [
            ("8.8.8.8", "public"),
            ("10.9.9.9", "private"),
            ("100.64.1.1", "private"),
            ("169.254.169.254", "link-local"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "multicast"),
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            ("fe80::1", "link-local"),
            ("fd00::1", "private"),
            ("ff02::1", "multicast"),
            ("2001:db8::1", "public"),
        ] {
            check(ip, Identifier::Name, ip, Some(class), None);
        }
        let host = Peer::Host("mail.example.org".into());
        let ip = "8.8.8.8".parse().unwrap();
        assert_eq!(host.name(ip, Identifier::Name), "mail.example.org");
        assert_eq!(host.label(ip, Identifier::Name).stranger, Some("public"));
    }

    #[test]
    fn identifiers_have_the_names_of_the_older_system() {
        assert_eq!(Identifier::from_name("name_with_namespace"), Some(Identifier::NameWithNamespace));
        assert_eq!(Identifier::from_name("Name"), None);
    }
}
