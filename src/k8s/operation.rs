//! Everything that is ever asked of the API server: the names of each call, and what RBAC must grant for it.
//! Calls nothing.

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Operation {
    GetNode,
    PatchNode,
    WatchNode,
    GetCiliumNode,
    PatchCiliumNode,
    WatchCiliumNode,
    CreateEvent,
    PatchEvent,
    CreateCoreEvent,
    ReviewAccess,
    ListPods,
    WatchPods,
    ListServices,
    ListNodes,
    CreatePodEvent,
    PatchPodEvent,
}

/// What RBAC must grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The verb.
    pub verb: &'static str,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource's plural.
    pub plural: &'static str,
    /// The namespace; none for what belongs to the cluster.
    pub namespace: Option<&'static str>,
}

/// Older API servers refuse a new-style Event about a Node elsewhere, and old-style ones take only the other.
pub(super) const NAMESPACE: &str = "kube-system";
pub(super) const CORE_NAMESPACE: &str = "default";

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 16] = [
        Self::GetNode,
        Self::PatchNode,
        Self::WatchNode,
        Self::GetCiliumNode,
        Self::PatchCiliumNode,
        Self::WatchCiliumNode,
        Self::CreateEvent,
        Self::PatchEvent,
        Self::CreateCoreEvent,
        Self::ReviewAccess,
        Self::ListPods,
        Self::WatchPods,
        Self::ListServices,
        Self::ListNodes,
        Self::CreatePodEvent,
        Self::PatchPodEvent,
    ];

    /// The name used in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GetNode => "get_node",
            Self::PatchNode => "patch_node",
            Self::WatchNode => "watch_node",
            Self::GetCiliumNode => "get_ciliumnode",
            Self::PatchCiliumNode => "patch_ciliumnode",
            Self::WatchCiliumNode => "watch_ciliumnode",
            Self::CreateEvent => "create_event",
            Self::PatchEvent => "patch_event",
            Self::CreateCoreEvent => "create_core_event",
            Self::ReviewAccess => "review_access",
            Self::ListPods => "list_pods",
            Self::WatchPods => "watch_pods",
            Self::ListServices => "list_services",
            Self::ListNodes => "list_nodes",
            Self::CreatePodEvent => "create_pod_event",
            Self::PatchPodEvent => "patch_pod_event",
        }
    }

    /// What RBAC must grant for it.
    pub const fn permission(self) -> Permission {
        let (group, plural, namespace) = match self {
            Self::GetNode | Self::PatchNode | Self::WatchNode => ("", "nodes", None),
            Self::GetCiliumNode | Self::PatchCiliumNode | Self::WatchCiliumNode => {
                ("cilium.io", "ciliumnodes", None)
            }
            Self::CreateEvent | Self::PatchEvent => ("events.k8s.io", "events", Some(NAMESPACE)),
            Self::CreateCoreEvent => ("", "events", Some(CORE_NAMESPACE)),
            Self::ReviewAccess => ("authorization.k8s.io", "selfsubjectaccessreviews", None),
            Self::ListPods | Self::WatchPods => ("", "pods", None),
            Self::ListServices => ("", "services", None),
            Self::ListNodes => ("", "nodes", None),
            Self::CreatePodEvent | Self::PatchPodEvent => ("", "events", None),
        };
        let verb = match self {
            Self::GetNode | Self::GetCiliumNode => "get",
            Self::WatchNode | Self::WatchCiliumNode | Self::WatchPods => "watch",
            Self::ListPods | Self::ListServices | Self::ListNodes => "list",
            Self::PatchNode | Self::PatchCiliumNode | Self::PatchEvent | Self::PatchPodEvent => "patch",
            Self::CreateEvent | Self::CreateCoreEvent | Self::CreatePodEvent | Self::ReviewAccess => "create",
        };
        Permission { verb, group, plural, namespace }
    }

    /// The verb as RBAC spells it.
    pub const fn verb(self) -> &'static str {
        self.permission().verb
    }

    /// The resource and its API group, as kubectl spells them.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::GetNode | Self::PatchNode | Self::WatchNode => "nodes",
            Self::GetCiliumNode | Self::PatchCiliumNode | Self::WatchCiliumNode => "ciliumnodes.cilium.io",
            Self::CreateEvent | Self::PatchEvent => "events.events.k8s.io",
            Self::CreateCoreEvent => "events",
            Self::ReviewAccess => "selfsubjectaccessreviews.authorization.k8s.io",
            Self::ListPods | Self::WatchPods => "pods",
            Self::ListServices => "services",
            Self::ListNodes => "nodes",
            Self::CreatePodEvent | Self::PatchPodEvent => "events",
        }
    }

    /// Whether it changes what the API server keeps.
    pub(super) const fn is_write(self) -> bool {
        matches!(
            self,
            Self::PatchNode
                | Self::PatchCiliumNode
                | Self::PatchEvent
                | Self::CreateEvent
                | Self::CreateCoreEvent
                | Self::CreatePodEvent
                | Self::PatchPodEvent
        )
    }

    pub(super) const fn names_an_object(self) -> bool {
        matches!(
            self,
            Self::GetNode
                | Self::PatchNode
                | Self::GetCiliumNode
                | Self::PatchCiliumNode
                | Self::PatchEvent
                | Self::PatchPodEvent
        )
    }

    /// Whether the metadata says all that is asked for.
    pub(super) const fn is_about_metadata(self) -> bool {
        !matches!(
            self,
            Self::GetNode
                | Self::ReviewAccess
                | Self::ListPods
                | Self::WatchPods
                | Self::ListServices
                | Self::ListNodes
        )
    }

    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::GetCiliumNode | Self::PatchCiliumNode | Self::WatchCiliumNode => {
                ": is Cilium installed? --label-target node labels the Node instead"
            }
            _ => "",
        }
    }

    pub(super) const fn method(self) -> http::Method {
        match self.verb().as_bytes() {
            b"patch" => http::Method::PATCH,
            b"create" => http::Method::POST,
            _ => http::Method::GET,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = Operation::ALL.map(Operation::as_str).into();
        assert_eq!(names.len(), Operation::ALL.len());
    }

    #[test]
    fn a_resource_is_its_plural_and_its_group() {
        for operation in Operation::ALL {
            let Permission { group, plural, .. } = operation.permission();
            let joined = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
            assert_eq!(operation.resource(), joined);
        }
    }
}
