//! Who has which address and which pod has which UID: one directory, fed once by the API server, for all who ask.
//! Knows neither checks nor drops.

mod feed;
mod naming;

use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use crate::domain::peers::Directory;
use crate::domain::peers::pods::PodIndex;
use crate::k8s::client::ApiServer;
use crate::k8s::failure::Failure;
use crate::k8s::pods::{self, PodScope};

/// The directory; a clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct Peers {
    /// Who has which address.
    pub directory: Arc<RwLock<Directory>>,
    /// A pod was asked for that is not known.
    wanted: Arc<Notify>,
}

/// What of the cluster is to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Everybody who has an address, as that changes: for packets.
    Addresses {
        /// Which pods.
        pods: PodScope,
        /// The label by which they are named too.
        label: Option<String>,
    },
    /// The names of this node's pods, whenever one is met that has none: for processes.
    Names {
        /// The node's name.
        node: String,
    },
}

/// The pods of one node, or of all.
pub fn scope(is_local: bool, node: &str) -> PodScope {
    if is_local { PodScope::Node(node.to_owned()) } else { PodScope::Cluster }
}

impl Peers {
    /// Nobody is known yet. Pods that end are remembered by their addresses for so long, those of this node by their UIDs
    /// for ever.
    pub fn new(node: &str, keep_ended: Duration) -> Self {
        let directory = Directory::new(PodIndex::new(keep_ended)).naming_pods_of(node);
        Self { directory: Arc::new(RwLock::new(directory)), wanted: Arc::default() }
    }

    /// Lists the pods once, so that the first packets have names.
    ///
    /// # Errors
    /// What the API server answers.
    pub async fn fill(&self, api: &ApiServer, scope: &PodScope) -> Result<(), Failure> {
        let apply = |pod| feed::write(&self.directory).apply(pod, SystemTime::now());
        pods::list(api, scope, None, &mut true, apply).await
    }

    /// Keeps it, for ever.
    pub async fn keep(self, api: ApiServer, interest: Interest) {
        match interest {
            Interest::Addresses { pods, label } => {
                tokio::join!(
                    feed::keep_pods(&api, &pods, label.as_deref(), &self.directory),
                    feed::keep_others(&api, &self.directory)
                );
            }
            Interest::Names { node } => {
                feed::keep_names(&api, &PodScope::Node(node), &self.directory, &self.wanted).await;
            }
        }
    }
}
