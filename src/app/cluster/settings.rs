//! What the agent tells the cluster, and whether there is one to tell.
//! Calls no API server.

use std::collections::BTreeSet;
use std::ffi::OsString;

use crate::domain::cluster::note::Detail;
use crate::k8s::client::{Operation, Resource, Verb};
use crate::k8s::label::LabelObject;

/// Where the outcome goes besides the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sink {
    /// The API server in a pod or with KUBECONFIG, else nowhere.
    #[default]
    Auto,
    /// The API server.
    Kube,
    /// Nowhere.
    None,
}

/// Which object carries the label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LabelTarget {
    /// The CiliumNode, as the older system does.
    #[default]
    #[value(name = "ciliumnode")]
    CiliumNode,
    /// The Node; needs RBAC of its own.
    Node,
    /// Both.
    Both,
}

/// Whether evidence is required that this is the host's network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum NetnsCheck {
    /// In a pod.
    #[default]
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// How much an Event says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EventsDetail {
    /// The first rules.
    #[default]
    Full,
    /// Numbers only: no rule text where Events are widely readable.
    Count,
}

impl From<EventsDetail> for Detail {
    fn from(detail: EventsDetail) -> Self {
        match detail {
            EventsDetail::Full => Self::Full,
            EventsDetail::Count => Self::Count,
        }
    }
}

/// What the agent tells the cluster.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Where the outcome goes.
    pub sink: Sink,
    /// The API server's address in place of the configured one.
    pub api_server: Option<String>,
    /// The name of the Node and of the CiliumNode.
    pub node: String,
    /// The labels' keys; valid ones (see [`crate::domain::cluster::label::is_valid_key`]).
    pub labels: Vec<String>,
    /// Which objects carry them.
    pub label_target: LabelTarget,
    /// No label at all.
    pub report_only: bool,
    /// Whether the label says `unknown` once nobody keeps it any more.
    pub unknown_on_exit: bool,
    /// Whether Events are written.
    pub events: bool,
    /// How much they say.
    pub events_detail: EventsDetail,
    /// Whether evidence of the network namespace is required.
    pub netns_check: NetnsCheck,
}

/// Where the process runs, as its environment shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// In a pod.
    pub is_pod: bool,
    /// With a kubeconfig that someone names.
    pub has_kubeconfig: bool,
}

impl Surroundings {
    /// Looks at environment variables.
    ///
    /// *Source*: Kubernetes documentation, "Accessing the API from within a Pod"; kubectl's KUBECONFIG.
    pub fn of(env: impl Fn(&str) -> Option<OsString>) -> Self {
        let is_set = |name| env(name).is_some_and(|value| !value.is_empty());
        Self { is_pod: is_set("KUBERNETES_SERVICE_HOST"), has_kubeconfig: is_set("KUBECONFIG") }
    }
}

impl ClusterSettings {
    /// Whether the outcome goes to the API server.
    pub const fn is_sink(&self, surroundings: Surroundings) -> bool {
        match self.sink {
            Sink::Auto => surroundings.is_pod || surroundings.has_kubeconfig,
            Sink::Kube => true,
            Sink::None => false,
        }
    }

    /// The objects that are labelled.
    pub fn objects(&self) -> Vec<LabelObject> {
        match self.label_target {
            _ if self.report_only || self.labels.is_empty() => Vec::new(),
            LabelTarget::CiliumNode => vec![LabelObject::CiliumNode],
            LabelTarget::Node => vec![LabelObject::Node],
            LabelTarget::Both => vec![LabelObject::CiliumNode, LabelObject::Node],
        }
    }

    /// Everything that is asked of the API server, each once.
    pub fn operations(&self, surroundings: Surroundings) -> BTreeSet<Operation> {
        let label = |object: LabelObject| {
            [Verb::Get, Verb::Patch, Verb::Watch].map(|verb| Operation::new(verb, object.resource()))
        };
        let mut operations: BTreeSet<_> = self.objects().into_iter().flat_map(label).collect();
        let read_node = Operation::new(Verb::Get, Resource::Node);
        if self.events {
            operations.extend([
                read_node,
                Operation::new(Verb::Create, Resource::Event),
                Operation::new(Verb::Patch, Resource::Event),
                Operation::new(Verb::Create, Resource::CoreEvent),
            ]);
        }
        if self.needs_netns_evidence(surroundings) {
            operations.insert(read_node);
        }
        operations
    }

    /// Whether a check counts only with evidence that this is the host's network namespace.
    pub const fn needs_netns_evidence(&self, surroundings: Surroundings) -> bool {
        match self.netns_check {
            NetnsCheck::Auto => surroundings.is_pod,
            NetnsCheck::On => true,
            NetnsCheck::Off => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(sink: Sink, netns_check: NetnsCheck) -> ClusterSettings {
        ClusterSettings {
            sink,
            api_server: None,
            node: "n".into(),
            labels: Vec::new(),
            label_target: LabelTarget::Both,
            report_only: false,
            unknown_on_exit: false,
            events: false,
            events_detail: EventsDetail::Full,
            netns_check,
        }
    }

    fn within(names: &[&str]) -> Surroundings {
        Surroundings::of(|name| names.contains(&name).then(|| "x".into()))
    }

    #[test]
    fn auto_reports_where_there_is_a_cluster() {
        for (sink, names, expected) in [
            (Sink::Auto, &["KUBERNETES_SERVICE_HOST"][..], true),
            (Sink::Auto, &["KUBECONFIG"], true),
            (Sink::Auto, &["HOME"], false),
            (Sink::Kube, &[], true),
            (Sink::None, &["KUBERNETES_SERVICE_HOST", "KUBECONFIG"], false),
        ] {
            assert_eq!(
                settings(sink, NetnsCheck::Auto).is_sink(within(names)),
                expected,
                "{sink:?} {names:?}"
            );
        }
        assert!(!Surroundings::of(|_| Some(OsString::new())).is_pod);
    }

    #[test]
    fn only_what_will_be_asked_is_needed() {
        let all = |settings: &ClusterSettings, names: &[&str]| -> Vec<_> {
            settings.operations(within(names)).into_iter().map(Operation::as_str).collect()
        };
        let mut given = settings(Sink::Kube, NetnsCheck::Auto);
        assert_eq!(all(&given, &["KUBERNETES_SERVICE_HOST"]), ["get_node"], "there is no label");
        given.labels = vec!["k".into()];
        let node = ["get_node", "patch_node", "watch_node"];
        let cilium = ["get_ciliumnode", "patch_ciliumnode", "watch_ciliumnode"];
        assert_eq!(all(&given, &[]), [node, cilium].concat());
        given.label_target = LabelTarget::CiliumNode;
        assert_eq!(all(&given, &[]), cilium);
        given.events = true;
        let events = ["create_event", "patch_event", "create_core_event"];
        assert_eq!(all(&given, &[]), [&["get_node"][..], &cilium, &events].concat());
        given.report_only = true;
        assert_eq!(all(&given, &[]), [&["get_node"][..], &events].concat());
    }

    #[test]
    fn auto_asks_for_evidence_in_a_pod_only() {
        for (check, names, expected) in [
            (NetnsCheck::Auto, &["KUBERNETES_SERVICE_HOST"][..], true),
            (NetnsCheck::Auto, &["KUBECONFIG"], false),
            (NetnsCheck::On, &[], true),
            (NetnsCheck::Off, &["KUBERNETES_SERVICE_HOST"], false),
        ] {
            assert_eq!(
                settings(Sink::None, check).needs_netns_evidence(within(names)),
                expected,
                "{check:?}"
            );
        }
    }
}
