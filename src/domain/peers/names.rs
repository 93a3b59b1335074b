//! The names of one node's pods by their UIDs, also of pods that have ended: a rule outlives the pod that brought it.
//! Asks nobody.

use std::collections::HashMap;
use std::sync::Arc;

use super::pods::Pod;

/// More pods than a node has in years of restarts of this one process.
const MOST: usize = 10_000;

/// The names of a node's pods.
#[derive(Debug, Default)]
pub struct PodNames {
    node: Box<str>,
    names: HashMap<Box<str>, (Arc<str>, Box<str>)>,
}

impl PodNames {
    /// Will remember pods of the node with this name, and no others.
    pub fn of(node: &str) -> Self {
        Self { node: node.into(), names: HashMap::new() }
    }

    /// Remembers the pod's name.
    pub fn remember(&mut self, pod: &Pod) {
        if *pod.node != *self.node || self.names.contains_key(&pod.uid) {
            return;
        }
        if self.names.len() >= MOST {
            self.names.clear();
        }
        self.names.insert(pod.uid.clone(), (Arc::clone(&pod.namespace), pod.name.clone()));
    }

    /// Namespace and name of the pod with this UID.
    pub fn find(&self, uid: &str) -> Option<(&str, &str)> {
        self.names.get(uid).map(|(namespace, name)| (&**namespace, &**name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(node: &str, name: &str) -> Pod {
        Pod {
            namespace: "kube-system".into(),
            name: name.into(),
            uid: format!("uid-{name}").into(),
            node: node.into(),
            label: None,
            ips: Box::new([]),
            is_host_network: false,
            start: None,
            end: None,
        }
    }

    #[test]
    fn pods_of_the_node_are_remembered_and_no_others() {
        let mut names = PodNames::of("node-1");
        names.remember(&pod("node-1", "cni"));
        names.remember(&pod("node-2", "web"));
        assert_eq!(names.find("uid-cni"), Some(("kube-system", "cni")));
        assert_eq!(names.find("uid-web"), None);
    }

    #[test]
    fn names_are_bounded() {
        let mut names = PodNames::of("n");
        (0..=MOST).for_each(|number| names.remember(&pod("n", &number.to_string())));
        assert_eq!(names.names.len(), 1);
    }
}
