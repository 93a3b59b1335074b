//! Feeds the directory: pods watched or listed when one is wanted, nodes and Services listed now and then.
//! What is not granted is left out and said once.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::app::api_health::{Health, failed, retry_at};
use crate::domain::peers::Directory;
use crate::k8s::client::ApiServer;
use crate::k8s::failure::{Class, Failure};
use crate::k8s::list_watch::News;
use crate::k8s::pods::{self, PodChange, PodScope};

/// Nodes and Services change rarely, and packets are named by pods first.
const REFRESH: Duration = Duration::from_secs(300);
/// Pods that are listed when one is wanted are listed at most this often.
const PACE: Duration = Duration::from_secs(10);

pub(super) fn write(directory: &RwLock<Directory>) -> RwLockWriteGuard<'_, Directory> {
    directory.write().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the pods, for ever.
pub(super) async fn keep_pods(
    api: &ApiServer,
    scope: &PodScope,
    label: Option<&str>,
    directory: &RwLock<Directory>,
) {
    let mut health = Health::new("watching pods");
    // those that the list under way has shown
    let mut listed = None::<HashSet<_>>;
    let tell = |news| {
        let (mut directory, now) = (write(directory), SystemTime::now());
        // in a quiet cluster no change does
        directory.pods.expire(now);
        match news {
            News::Listing => listed = Some(HashSet::new()),
            News::Change(PodChange::Applied(pod)) => {
                if let Some(listed) = &mut listed {
                    listed.insert(pod.uid.clone());
                }
                directory.apply(pod, now);
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
    pods::keep(api, scope, label, tell).await;
}

/// Learns the names of pods, now and whenever one is wanted, for ever.
pub(super) async fn keep_names(
    api: &ApiServer,
    scope: &PodScope,
    directory: &RwLock<Directory>,
    wanted: &Notify,
) {
    let mut calls = Calls::new();
    let mut is_granted = false;
    loop {
        let mut listed = HashSet::new();
        let list = pods::list(api, scope, None, &mut is_granted, |pod| {
            listed.insert(pod.uid.clone());
            write(directory).apply(pod, SystemTime::now());
        });
        let next = match list.await {
            Ok(()) => {
                calls.health.worked();
                write(directory).pods.retain(&listed, SystemTime::now());
                Instant::now() + PACE
            }
            Err(failure) => calls.failed(&failure),
        };
        sleep_until(next).await;
        wanted.notified().await;
    }
}

/// Keeps nodes and Services, for ever.
pub(super) async fn keep_others(api: &ApiServer, directory: &RwLock<Directory>) {
    let (mut nodes, mut services) = (Health::new("listing nodes"), Health::new("listing Services"));
    let (mut may_list_nodes, mut may_list_services) = (false, false);
    loop {
        match pods::nodes(api, &mut may_list_nodes).await {
            Ok(found) => {
                nodes.worked();
                write(directory).set_nodes(found.into_iter());
            }
            Err(failure) => drop(nodes.failed(&failure)),
        }
        match pods::services(api, &mut may_list_services).await {
            Ok(found) => {
                services.worked();
                write(directory).set_services(found.into_iter());
            }
            Err(failure) => drop(services.failed(&failure)),
        }
        sleep(REFRESH).await;
    }
}

/// How listing pods for their names is doing.
struct Calls {
    health: Health,
    /// How often it was refused.
    refused: u32,
}

impl Calls {
    fn new() -> Self {
        Self { health: Health::new("naming the pods of processes"), refused: 0 }
    }

    /// Names are an extra that nobody has to grant: to be without them is no failure.
    fn failed(&mut self, failure: &Failure) -> Instant {
        if failure.class != Class::Forbidden {
            return failed(&mut self.health, failure);
        }
        if self.refused == 0 {
            log::info!(
                "processes in pods show the pod's UID and not its name: for names, grant the verb `list` on the resource `pods`"
            );
        }
        self.refused = self.refused.saturating_add(1);
        retry_at(failure, self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::client::{Operation, Resource, Verb};

    #[test]
    fn names_that_nobody_granted_are_no_failure() {
        let failure = |class| Failure::new(Operation::new(Verb::List, Resource::Pods), class, "");
        let mut calls = Calls::new();
        calls.failed(&failure(Class::Forbidden));
        calls.failed(&failure(Class::Forbidden));
        assert_eq!((calls.refused, calls.health.failures()), (2, 0));
        assert!(!calls.health.worked(), "a failure was logged");
        calls.failed(&failure(Class::Timeout));
        assert!(calls.health.worked());
    }
}
