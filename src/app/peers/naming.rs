//! Names the pods that processes ran in: the kernel's control groups say only their UIDs.
//! Asks no API server: what is not known yet stays a UID, and is wanted.

use std::sync::{Arc, PoisonError};

use super::Peers;
use crate::domain::changes::author::{Author, PodHint};
use crate::domain::changes::{ChangeSet, RuleChange};
use crate::domain::judging::report::{Report, Violation};

impl Peers {
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
            let name = self.directory.read().unwrap_or_else(PoisonError::into_inner).pod_name(&hint.uid);
            if name.is_none() {
                self.wanted.notify_one();
                continue;
            }
            let pod = PodHint { uid: hint.uid.clone(), name };
            *author = Arc::new(Author { pod: Some(pod), ..Author::clone(author) });
        }
    }
}

fn unnamed(author: &Author) -> Option<&PodHint> {
    author.pod.as_ref().filter(|pod| pod.name.is_none())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::domain::peers::pods::Pod;

    #[test]
    fn a_known_pod_gets_its_name_for_ever_and_another_is_asked_for() {
        let (peers, now) = (Peers::new("node-1", Duration::ZERO), SystemTime::UNIX_EPOCH);
        let pod = Pod {
            namespace: "kube-system".into(),
            name: "cni-x".into(),
            uid: "u1".into(),
            node: "node-1".into(),
            label: None,
            ips: Box::new(["192.0.2.1".parse().unwrap()]),
            is_host_network: true,
            start: None,
            end: None,
        };
        let mut directory = peers.directory.write().unwrap();
        directory.apply(pod, now);
        directory.pods.delete("u1", now);
        directory.pods.expire(now + Duration::from_secs(3600));
        drop(directory);
        let of = |uid: &str| {
            let pod = Some(PodHint { uid: uid.to_owned(), name: None });
            Arc::new(Author { pod, ..Author::named(1, b"iptables") })
        };
        let mut authors = [of("u1"), of("u2"), Arc::new(Author::named(2, b"nft"))];
        peers.name_authors(&mut authors);
        let shown: Vec<_> =
            authors.iter().map(|author| author.pod.clone().and_then(|pod| pod.name)).collect();
        assert_eq!(shown, [Some(("kube-system".to_owned(), "cni-x".to_owned())), None, None]);
        let mut wanted = std::pin::pin!(peers.wanted.notified());
        assert!(wanted.as_mut().enable(), "nobody was asked for u2");
    }
}
