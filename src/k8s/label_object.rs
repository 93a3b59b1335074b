//! Which objects are labelled.
//! Calls nobody.

use super::operation::Resource;

/// Which object is labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelObject {
    /// `cilium.io/v2` CiliumNode, cluster scoped, named like the Node.
    CiliumNode,
    /// `v1` Node.
    Node,
}

impl LabelObject {
    /// The kind, for people.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::CiliumNode => "CiliumNode",
            Self::Node => "Node",
        }
    }

    /// The name used in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CiliumNode => "ciliumnode",
            Self::Node => "node",
        }
    }

    /// What it is to the API server.
    pub const fn resource(self) -> Resource {
        match self {
            Self::CiliumNode => Resource::CiliumNode,
            Self::Node => Resource::Node,
        }
    }

    /// The path of all of its kind.
    pub(super) const fn collection(self) -> &'static str {
        match self {
            Self::CiliumNode => "/apis/cilium.io/v2/ciliumnodes",
            Self::Node => "/api/v1/nodes",
        }
    }
}
