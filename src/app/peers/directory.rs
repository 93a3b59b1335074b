//! Keeps the directory of who has which address: pods watched, nodes and Services listed now and then.
//! What is not granted is left out and said once.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};

use crate::app::api_health::{Health, failed};
use crate::domain::peers::Directory;
use crate::k8s::client::ApiServer;
use crate::k8s::failure::{Class, Failure};
use crate::k8s::pods::{self, PodChange, PodScope, PodWatch};

/// The API server ends a watch after this time; one that it does not end is given up soon after.
const WATCH: Duration = Duration::from_secs(290);
/// A list or a watch begins at most this often, also where an API server ends each at once.
const PAUSE: Duration = Duration::from_secs(1);
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
    list(api, scope, None, directory).await.map(drop).map_err(|(failure, _)| failure)
}

/// Keeps the pods, for ever.
pub async fn keep_pods(api: ApiServer, scope: PodScope, label: Option<String>, directory: Shared) {
    let mut health = Health::new("watching pods");
    let mut version = None;
    loop {
        let begun = Instant::now();
        // in a quiet cluster no change does
        write(&directory).pods.expire(SystemTime::now());
        let result = match version.take() {
            None => list(&api, &scope, label.as_deref(), &directory).await,
            Some(from) => watch(&api, &scope, label.as_deref(), &directory, from).await,
        };
        match result {
            Ok(next) => {
                health.worked();
                version = Some(next);
                sleep_until(begun + PAUSE).await;
            }
            Err((failure, go_on)) => {
                // an old version is no fault: the list says what is
                version = go_on.filter(|_| failure.class != Class::Gone);
                let retry_at = failed(&mut health, &failure);
                sleep_until(retry_at).await;
            }
        }
    }
}

/// A failure, and the version from which a watch may still go on.
type Stopped = (Failure, Option<String>);

async fn list(
    api: &ApiServer,
    scope: &PodScope,
    label: Option<&str>,
    directory: &Shared,
) -> Result<String, Stopped> {
    let mut seen = HashSet::new();
    let version = pods::list(api, scope, label, |pod| {
        seen.insert(pod.uid.clone());
        write(directory).pods.apply(pod, SystemTime::now());
    })
    .await
    .map_err(|failure| (failure, None))?;
    write(directory).pods.retain(&seen, SystemTime::now());
    log::debug!(pods = seen.len(); "pods listed");
    Ok(version)
}

async fn watch(
    api: &ApiServer,
    scope: &PodScope,
    label: Option<&str>,
    directory: &Shared,
    from: String,
) -> Result<String, Stopped> {
    let open = PodWatch::open(api, scope, label, &from, WATCH).await;
    let mut watch = open.map_err(|failure| (failure, Some(from)))?;
    loop {
        match watch.next(api).await {
            Ok(Some(PodChange::Applied(pod))) => write(directory).pods.apply(pod, SystemTime::now()),
            Ok(Some(PodChange::Deleted(uid))) => write(directory).pods.delete(&uid, SystemTime::now()),
            Ok(None) => return Ok(watch.version().to_owned()),
            Err(failure) => return Err((failure, Some(watch.version().to_owned()))),
        }
    }
}

/// Keeps nodes and Services, for ever.
pub async fn keep_others(api: ApiServer, directory: Shared) {
    let (mut nodes, mut services) = (Health::new("listing nodes"), Health::new("listing Services"));
    loop {
        match pods::nodes(&api).await {
            Ok(found) => {
                nodes.worked();
                write(&directory).set_nodes(found.into_iter());
            }
            Err(failure) => drop(nodes.failed(&failure)),
        }
        match pods::services(&api).await {
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
