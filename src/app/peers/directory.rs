//! Keeps the directory of who has which address: pods watched, nodes and Services listed now and then.
//! What is not granted is left out and said once.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::app::api_health::Health;
use crate::domain::peers::Directory;
use crate::k8s::client::ApiServer;
use crate::k8s::failure::Failure;
use crate::k8s::list_watch::News;
use crate::k8s::pods::{self, PodChange, PodScope};

/// Nodes and Services change rarely, and packets are named by pods first.
const REFRESH: Duration = Duration::from_secs(300);

/// A directory that this module's loops write and others read.
pub type Shared = Arc<RwLock<Directory>>;

/// The pods of one node, or of all.
pub fn scope(is_local: bool, node: &str) -> PodScope {
    if is_local { PodScope::Node(node.to_owned()) } else { PodScope::Cluster }
}

/// Lists the pods once, so that the first packets have names.
///
/// # Errors
/// What the API server answers.
pub async fn fill(api: &ApiServer, scope: &PodScope, directory: &Shared) -> Result<(), Failure> {
    let apply = |pod| write(directory).pods.apply(pod, SystemTime::now());
    // whoever waits for the answer wants it as it is
    pods::list(api, scope, None, &mut true, apply).await
}

/// Keeps the pods, for ever.
pub async fn keep_pods(api: ApiServer, scope: PodScope, label: Option<String>, directory: Shared) {
    let mut health = Health::new("watching pods");
    // those that the list under way has shown
    let mut listed = None::<HashSet<_>>;
    let tell = |news| {
        let (mut directory, now) = (write(&directory), SystemTime::now());
        // in a quiet cluster no change does
        directory.pods.expire(now);
        match news {
            News::Listing => listed = Some(HashSet::new()),
            News::Change(PodChange::Applied(pod)) => {
                if let Some(listed) = &mut listed {
                    listed.insert(pod.uid.clone());
                }
                directory.pods.apply(pod, now);
            }
            News::Change(PodChange::Deleted(uid)) => directory.pods.delete(&uid, now),
            News::Listed => {
                let listed = listed.take().unwrap_or_default();
                directory.pods.retain(&listed, now);
                log::debug!(pods = listed.len(); "pods listed");
            }
            News::Works => drop(health.worked()),
            News::Failed(failure) => drop(health.failed(&failure)),
        }
    };
    pods::keep(&api, &scope, label.as_deref(), tell).await;
}

/// Keeps nodes and Services, for ever.
pub async fn keep_others(api: ApiServer, directory: Shared) {
    let (mut nodes, mut services) = (Health::new("listing nodes"), Health::new("listing Services"));
    let (mut may_list_nodes, mut may_list_services) = (false, false);
    loop {
        match pods::nodes(&api, &mut may_list_nodes).await {
            Ok(found) => {
                nodes.worked();
                write(&directory).set_nodes(found.into_iter());
            }
            Err(failure) => drop(nodes.failed(&failure)),
        }
        match pods::services(&api, &mut may_list_services).await {
            Ok(found) => {
                services.worked();
                write(&directory).set_services(found.into_iter());
            }
            Err(failure) => drop(services.failed(&failure)),
        }
        sleep(REFRESH).await;
    }
}

fn write(directory: &Shared) -> RwLockWriteGuard<'_, Directory> {
    directory.write().unwrap_or_else(PoisonError::into_inner)
}
