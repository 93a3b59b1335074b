//! Everything that is ever asked of the API server: the names of each call, and what RBAC must grant for it.
//! Calls nothing.

/// The name of a call: metric labels are made when the program is.
macro_rules! name {
    ($verb:expr, $noun:literal) => {
        match $verb {
            Verb::Get => concat!("get_", $noun),
            Verb::List => concat!("list_", $noun),
            Verb::Create => concat!("create_", $noun),
            Verb::Patch => concat!("patch_", $noun),
            Verb::Watch => concat!("watch_", $noun),
            Verb::Review => concat!("review_", $noun),
        }
    };
}

/// One kind of call: what is done to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// What it is done to.
    pub resource: Resource,
    /// What is done.
    pub verb: Verb,
}

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read all.
    List,
    /// Make a new object.
    Create,
    /// Change an object that exists.
    Patch,
    /// Be told of changes.
    Watch,
    /// Ask a question, which is sent like a new object: nothing is kept of it.
    Review,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The Node this runs on.
    Node,
    /// Its CiliumNode.
    CiliumNode,
    /// Events of `events.k8s.io` about the Node.
    Event,
    /// Events of the core group about the Node.
    CoreEvent,
    /// Events of the core group about pods, in their namespaces.
    PodEvent,
    /// What this account may do.
    Access,
    /// The pods of a node, or all.
    Pods,
    /// All Services.
    Services,
    /// All Nodes.
    Nodes,
}

/// Older API servers refuse a new-style Event about a Node elsewhere, and old-style ones take only the other.
pub(super) const NAMESPACE: &str = "kube-system";
pub(super) const CORE_NAMESPACE: &str = "default";

impl Operation {
    /// Everything that is ever asked.
    pub const ALL: [Self; 16] = [
        Self::new(Verb::Get, Resource::Node),
        Self::new(Verb::Patch, Resource::Node),
        Self::new(Verb::Watch, Resource::Node),
        Self::new(Verb::Get, Resource::CiliumNode),
        Self::new(Verb::Patch, Resource::CiliumNode),
        Self::new(Verb::Watch, Resource::CiliumNode),
        Self::new(Verb::Create, Resource::Event),
        Self::new(Verb::Patch, Resource::Event),
        Self::new(Verb::Create, Resource::CoreEvent),
        Self::new(Verb::Create, Resource::PodEvent),
        Self::new(Verb::Patch, Resource::PodEvent),
        Self::new(Verb::Review, Resource::Access),
        Self::new(Verb::List, Resource::Pods),
        Self::new(Verb::Watch, Resource::Pods),
        Self::new(Verb::List, Resource::Services),
        Self::new(Verb::List, Resource::Nodes),
    ];

    /// This, done to that.
    pub const fn new(verb: Verb, resource: Resource) -> Self {
        Self { resource, verb }
    }

    /// The name used in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self.resource {
            Resource::Node => name!(self.verb, "node"),
            Resource::CiliumNode => name!(self.verb, "ciliumnode"),
            Resource::Event => name!(self.verb, "event"),
            Resource::CoreEvent => name!(self.verb, "core_event"),
            Resource::PodEvent => name!(self.verb, "pod_event"),
            Resource::Access => name!(self.verb, "access"),
            Resource::Pods => name!(self.verb, "pods"),
            Resource::Services => name!(self.verb, "services"),
            Resource::Nodes => name!(self.verb, "nodes"),
        }
    }

    /// Whether the metadata says all that is asked for.
    pub(super) const fn is_about_metadata(self) -> bool {
        match self.resource {
            // its addresses are in its status
            Resource::Node => !matches!(self.verb, Verb::Get),
            Resource::CiliumNode | Resource::Event | Resource::CoreEvent | Resource::PodEvent => true,
            Resource::Access | Resource::Pods | Resource::Services | Resource::Nodes => false,
        }
    }
}

impl Verb {
    /// As RBAC spells it.
    pub const fn rbac(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create | Self::Review => "create",
            Self::Patch => "patch",
            Self::Watch => "watch",
        }
    }

    /// Whether it changes what the API server keeps.
    pub(super) const fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Patch)
    }

    /// Whether the path ends with the name of an object.
    pub(super) const fn names_an_object(self) -> bool {
        matches!(self, Self::Get | Self::Patch)
    }

    pub(super) const fn method(self) -> http::Method {
        match self {
            Self::Get | Self::List | Self::Watch => http::Method::GET,
            Self::Create | Self::Review => http::Method::POST,
            Self::Patch => http::Method::PATCH,
        }
    }
}

impl Resource {
    /// The plural and the API group, as kubectl spells them.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node | Self::Nodes => "nodes",
            Self::CiliumNode => "ciliumnodes.cilium.io",
            Self::Event => "events.events.k8s.io",
            Self::CoreEvent | Self::PodEvent => "events",
            Self::Access => "selfsubjectaccessreviews.authorization.k8s.io",
            Self::Pods => "pods",
            Self::Services => "services",
        }
    }

    /// The plural, and the API group, which is empty for the core.
    pub(super) fn plural_and_group(self) -> (&'static str, &'static str) {
        self.as_str().split_once('.').unwrap_or((self.as_str(), ""))
    }

    /// The one namespace where it is asked for; none for what belongs to the cluster or is asked for everywhere.
    pub const fn namespace(self) -> Option<&'static str> {
        match self {
            Self::Event => Some(NAMESPACE),
            Self::CoreEvent => Some(CORE_NAMESPACE),
            _ => None,
        }
    }

    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::CiliumNode => ": is Cilium installed? --label-target node labels the Node instead",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Resource::*;
    use super::Verb::*;
    use super::*;

    /// Dashboards and alerts name them.
    #[test]
    fn the_names_in_metrics_stay() {
        let names = [
            ("get_node", "get nodes"),
            ("patch_node", "patch nodes"),
            ("watch_node", "watch nodes"),
            ("get_ciliumnode", "get ciliumnodes.cilium.io"),
            ("patch_ciliumnode", "patch ciliumnodes.cilium.io"),
            ("watch_ciliumnode", "watch ciliumnodes.cilium.io"),
            ("create_event", "create events.events.k8s.io"),
            ("patch_event", "patch events.events.k8s.io"),
            ("create_core_event", "create events"),
            ("create_pod_event", "create events"),
            ("patch_pod_event", "patch events"),
            ("review_access", "create selfsubjectaccessreviews.authorization.k8s.io"),
            ("list_pods", "list pods"),
            ("watch_pods", "watch pods"),
            ("list_services", "list services"),
            ("list_nodes", "list nodes"),
        ];
        for (operation, (name, rbac)) in Operation::ALL.iter().zip(names) {
            let Operation { verb, resource } = operation;
            assert_eq!(operation.as_str(), name);
            assert_eq!(format!("{} {}", verb.rbac(), resource.as_str()), rbac);
        }
    }

    #[test]
    fn the_core_has_an_empty_group() {
        assert_eq!(Pods.plural_and_group(), ("pods", ""));
        assert_eq!(Event.plural_and_group(), ("events", "events.k8s.io"));
    }

    #[test]
    fn a_question_is_no_write() {
        assert!(Create.is_write() && Patch.is_write() && !Review.is_write());
        assert_eq!(Review.method(), http::Method::POST);
    }
}
