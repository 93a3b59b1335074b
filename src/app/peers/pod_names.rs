//! The names of pods that processes ran in: the kernel's control groups say only their UIDs.
//! Asks the API server for this node's pods in the background; what it does not know yet stays a UID.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::app::api_health::{Health, failed, retry_at};
use crate::domain::changes::author::{Author, PodHint};
use crate::domain::changes::{ChangeSet, RuleChange};
use crate::domain::judging::report::{Report, Violation};
use crate::k8s::client::ApiServer;
use crate::k8s::failure::{Class, Failure};
use crate::k8s::pods::{self, PodScope};

/// The pods of the node are listed at most this often.
const PACE: Duration = Duration::from_secs(10);
/// More pods than a node has in years of restarts of this one process.
const NAMES: usize = 10_000;

type Names = HashMap<String, (String, String)>;

/// What is known of the pods' names; a clone is another handle to the same.
#[derive(Clone, Debug, Default)]
pub struct PodNames(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    names: Mutex<Names>,
    wanted: Notify,
}

impl PodNames {
    /// Learns the names of this node's pods, now and whenever one is met that is not known; for ever.
    pub async fn learn(self, api: ApiServer, node: String) {
        let scope = PodScope::Node(node);
        let mut calls = Calls::new();
        let mut is_granted = false;
        loop {
            let mut found = Names::new();
            let listed = pods::list(&api, &scope, None, &mut is_granted, |pod| {
                found.insert(pod.uid.to_string(), (pod.namespace.to_string(), pod.name.to_string()));
            });
            let retry_at = match listed.await {
                Ok(_) => {
                    calls.health.worked();
                    self.remember(found);
                    Instant::now() + PACE
                }
                Err(failure) => calls.failed(&failure),
            };
            sleep_until(retry_at).await;
            self.0.wanted.notified().await;
        }
    }

    /// Names the pods of all authors in a report, and in what changed, as far as they are known.
    pub fn name(&self, report: &mut Report, changes: &mut Option<Arc<ChangeSet>>) {
        report.violations.iter_mut().for_each(|violation| self.name_violation(violation));
        *changes = changes.take().map(|set| self.name_changes(set));
    }

    fn name_violation(&self, violation: &mut Violation) {
        if let Some(provenance) = &mut violation.provenance {
            self.name_authors(&mut provenance.authors);
        }
    }

    fn name_changes(&self, set: Arc<ChangeSet>) -> Arc<ChangeSet> {
        let is_unnamed = |change: &RuleChange| change.authors.iter().any(|author| unnamed(author).is_some());
        if !set.changes.iter().any(is_unnamed) {
            return set;
        }
        let mut set = Arc::unwrap_or_clone(set);
        set.changes.iter_mut().for_each(|change| self.name_authors(&mut change.authors));
        Arc::new(set)
    }

    fn name_authors(&self, authors: &mut [Arc<Author>]) {
        for author in authors {
            let Some(hint) = unnamed(author) else { continue };
            match self.names().get(&hint.uid).cloned() {
                Some(name) => {
                    let pod = PodHint { uid: hint.uid.clone(), name: Some(name) };
                    *author = Arc::new(Author { pod: Some(pod), ..Author::clone(author) });
                }
                None => self.0.wanted.notify_one(),
            }
        }
    }

    fn remember(&self, found: Names) {
        let mut names = self.names();
        if names.len() + found.len() > NAMES {
            names.clear();
        }
        names.extend(found);
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How listing pods is doing.
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

fn unnamed(author: &Author) -> Option<&PodHint> {
    author.pod.as_ref().filter(|pod| pod.name.is_none())
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

    #[test]
    fn a_known_pod_gets_its_name_and_another_is_asked_for() {
        let names = PodNames::default();
        names.remember(Names::from([("u1".to_owned(), ("kube-system".to_owned(), "cni-x".to_owned()))]));
        let of = |uid: &str| {
            let pod = Some(PodHint { uid: uid.to_owned(), name: None });
            Arc::new(Author { pod, ..Author::named(1, b"iptables") })
        };
        let mut authors = [of("u1"), of("u2"), Arc::new(Author::named(2, b"nft"))];
        names.name_authors(&mut authors);
        let shown: Vec<_> =
            authors.iter().map(|author| author.pod.clone().and_then(|pod| pod.name)).collect();
        assert_eq!(shown, [Some(("kube-system".to_owned(), "cni-x".to_owned())), None, None]);
        let mut wanted = std::pin::pin!(names.0.wanted.notified());
        assert!(wanted.as_mut().enable(), "nobody was asked for u2");
    }
}
