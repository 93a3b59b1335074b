//! Which pod had an address when: fed by the pods' own states, asked with the time of a packet.
//! Asks no API server, and keeps of a pod only what names it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// More pods than a cluster may have are not kept.
///
/// *Source*: Kubernetes, "Considerations for large clusters": 150,000 pods.
pub const MOST_PODS: usize = 200_000;
/// Pods that ended and are remembered for late packets.
const MOST_ENDED: usize = 20_000;
/// Names of namespaces and nodes; more than these are looked through for those that nobody has any more.
const MOST_NAMES: usize = 20_000;
/// The clocks of the API server and of the node may differ by this.
const SLACK: Duration = Duration::from_secs(2);

/// What is kept of a pod. Names are those of the API server: checked there, but shown escaped all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its UID.
    pub uid: Box<str>,
    /// The node it runs on.
    pub node: Arc<str>,
    /// The value of the label that names it, where one was asked for.
    pub label: Option<Box<str>>,
    /// Its addresses, mapped ones as IPv4.
    pub ips: Box<[IpAddr]>,
    /// It has the node's addresses, and so cannot be told from the node.
    pub is_host_network: bool,
    /// Since when it has its addresses, as far as is known.
    pub start: Option<SystemTime>,
    /// When it ended.
    pub end: Option<SystemTime>,
}

impl Pod {
    fn had_addresses_at(&self, at: SystemTime) -> bool {
        let is_begun = self.start.is_none_or(|start| start <= at + SLACK);
        is_begun && self.end.is_none_or(|end| at <= end + SLACK)
    }
}

/// Pods by address, those that ended lately too.
#[derive(Debug)]
pub struct PodIndex {
    pods: HashMap<Box<str>, Arc<Pod>>,
    by_ip: HashMap<IpAddr, Vec<Arc<Pod>>>,
    ended: VecDeque<(SystemTime, Arc<Pod>)>,
    names: HashSet<Arc<str>>,
    keep_ended: Duration,
    refused: u64,
}

impl PodIndex {
    /// An empty index that remembers pods this long after their end.
    pub fn new(keep_ended: Duration) -> Self {
        Self {
            pods: HashMap::new(),
            by_ip: HashMap::new(),
            ended: VecDeque::new(),
            names: HashSet::new(),
            keep_ended,
            refused: 0,
        }
    }

    /// The one copy of a name that many pods share.
    fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        if self.names.len() >= MOST_NAMES {
            self.names.retain(|name| Arc::strong_count(name) > 1);
        }
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name));
        name
    }

    /// Takes the pod's newest state; one with an end is remembered for a while.
    pub fn apply(&mut self, pod: Pod, now: SystemTime) {
        let pod = Pod { namespace: self.intern(&pod.namespace), node: self.intern(&pod.node), ..pod };
        let known = self.pods.remove(&pod.uid);
        if let Some(known) = &known {
            if **known == pod {
                self.pods.insert(pod.uid.clone(), Arc::clone(known));
                return;
            }
            self.forget(known);
        }
        // a pod that ends may show no address any more, but had them until now
        let pod = match (&known, pod.end, pod.ips.is_empty()) {
            (Some(known), Some(_), true) => Pod { ips: known.ips.clone(), ..pod },
            _ => pod,
        };
        let pod = Arc::new(pod);
        match pod.end {
            Some(end) => {
                if known.is_some() || !self.is_remembered(&pod) {
                    self.remember(end, pod);
                }
            }
            None if self.pods.len() >= MOST_PODS => self.refused += 1,
            None => {
                self.index(&pod);
                self.pods.insert(pod.uid.clone(), pod);
            }
        }
        self.expire(now);
    }

    /// Notes that a pod is gone.
    pub fn delete(&mut self, uid: &str, now: SystemTime) {
        if let Some(pod) = self.pods.remove(uid) {
            self.forget(&pod);
            self.remember(now, Arc::new(Pod { end: Some(now), ..Pod::clone(&pod) }));
        }
        self.expire(now);
    }

    /// Ends every pod that is not among these: what a new list does not show.
    pub fn retain(&mut self, uids: &HashSet<Box<str>>, now: SystemTime) {
        let gone: Vec<_> = self.pods.keys().filter(|uid| !uids.contains(*uid)).cloned().collect();
        gone.iter().for_each(|uid| self.delete(uid, now));
    }

    /// The pod that had the address at that time: of several the one that got it last.
    pub fn lookup(&self, ip: IpAddr, at: SystemTime) -> Option<&Arc<Pod>> {
        let held = self.by_ip.get(&ip.to_canonical())?;
        let had = held.iter().filter(|pod| pod.had_addresses_at(at));
        // within the slack two may claim it: whoever really had it goes first
        had.max_by_key(|pod| {
            let is_within = pod.start.is_none_or(|start| start <= at) && pod.end.is_none_or(|end| at <= end);
            (is_within, pod.start)
        })
    }

    /// The pod with this UID, while it runs.
    pub fn get(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.pods.get(uid)
    }

    /// Pods that run.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether no pod runs.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// Pods that were not kept because there were too many.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Forgets the pods that ended too long ago.
    pub fn expire(&mut self, now: SystemTime) {
        while let Some((end, _)) = self.ended.front() {
            let is_old = now.duration_since(*end).is_ok_and(|age| age > self.keep_ended);
            if !is_old && self.ended.len() <= MOST_ENDED {
                return;
            }
            if let Some((_, pod)) = self.ended.pop_front() {
                self.forget(&pod);
            }
        }
    }

    fn is_remembered(&self, pod: &Pod) -> bool {
        let held = pod.ips.iter().filter_map(|ip| self.by_ip.get(ip));
        held.flatten().any(|known| known.uid == pod.uid)
    }

    fn remember(&mut self, end: SystemTime, pod: Arc<Pod>) {
        self.index(&pod);
        // ends come nearly in order: a list at the start does not
        let place = self.ended.partition_point(|(earlier, _)| *earlier <= end);
        self.ended.insert(place, (end, pod));
    }

    fn index(&mut self, pod: &Arc<Pod>) {
        for ip in &pod.ips {
            self.by_ip.entry(*ip).or_insert_with(|| Vec::with_capacity(1)).push(Arc::clone(pod));
        }
    }

    fn forget(&mut self, pod: &Arc<Pod>) {
        for ip in &pod.ips {
            if let Some(held) = self.by_ip.get_mut(ip) {
                held.retain(|other| !Arc::ptr_eq(other, pod));
                if held.is_empty() {
                    self.by_ip.remove(ip);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn pod(name: &str, ips: &[&str], start: u64) -> Pod {
        Pod {
            namespace: "shop".into(),
            name: name.into(),
            uid: format!("uid-{name}").into(),
            node: "node-1".into(),
            label: None,
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            is_host_network: false,
            start: Some(at(start)),
            end: None,
        }
    }

    fn index_of(pods: &[(&str, &[&str], u64)]) -> PodIndex {
        let mut index = PodIndex::new(KEEP);
        for (name, ips, start) in pods {
            let pod = pod(name, ips, *start);
            index.apply(pod, at(*start));
        }
        index
    }

    fn name(index: &PodIndex, ip: &str, seconds: u64) -> Option<String> {
        index.lookup(ip.parse().unwrap(), at(seconds)).map(|pod| pod.name.to_string())
    }

    #[test]
    fn every_address_of_a_pod_names_it() {
        let index = index_of(&[("web", &["10.0.0.5", "2001:db8::5"], 10)]);
        assert_eq!(name(&index, "10.0.0.5", 20).as_deref(), Some("web"));
        assert_eq!(name(&index, "2001:0db8:0000::0005", 20).as_deref(), Some("web"));
        assert_eq!(name(&index, "::ffff:10.0.0.5", 20).as_deref(), Some("web"));
        assert_eq!(name(&index, "10.0.0.6", 20), None);
    }

    #[test]
    fn a_reused_address_is_answered_by_the_packets_time() {
        let mut index = index_of(&[("old", &["10.0.0.5"], 10)]);
        index.delete("uid-old", at(100));
        let new = pod("new", &["10.0.0.5"], 110);
        index.apply(new, at(111));
        for (seconds, expected) in [(50, Some("old")), (99, Some("old")), (112, Some("new")), (3, None)] {
            assert_eq!(name(&index, "10.0.0.5", seconds).as_deref(), expected, "{seconds}");
        }
        // between the two the nearer in time
        assert_eq!(name(&index, "10.0.0.5", 105), None);
    }

    #[test]
    fn an_ended_pod_is_remembered_for_a_while() {
        let mut index = index_of(&[("job", &["10.0.0.7"], 10)]);
        let done = Pod { end: Some(at(60)), ips: Box::new([]), ..pod("job", &[], 10) };
        index.apply(done.clone(), at(61));
        index.apply(done, at(62));
        assert_eq!((index.len(), name(&index, "10.0.0.7", 30).as_deref()), (0, Some("job")));
        assert_eq!(name(&index, "10.0.0.7", 100), None);
        index.expire(at(60 + 601));
        assert_eq!(name(&index, "10.0.0.7", 30), None);
        assert!(index.by_ip.is_empty() && index.ended.is_empty());
    }

    #[test]
    fn a_new_list_ends_what_it_does_not_show() {
        let mut index = index_of(&[("a", &["10.0.0.1"], 1), ("b", &["10.0.0.2"], 1)]);
        index.retain(&HashSet::from(["uid-b".into()]), at(50));
        assert_eq!(index.len(), 1);
        assert_eq!(name(&index, "10.0.0.1", 40).as_deref(), Some("a"));
        assert_eq!(name(&index, "10.0.0.1", 60), None);
    }

    #[test]
    fn a_changed_pod_leaves_nothing_behind() {
        let mut index = index_of(&[("a", &["10.0.0.1"], 1)]);
        let moved = pod("a", &["10.0.0.9"], 1);
        index.apply(moved, at(5));
        assert_eq!(name(&index, "10.0.0.1", 6), None);
        assert_eq!(name(&index, "10.0.0.9", 6).as_deref(), Some("a"));
        assert_eq!(index.by_ip.len(), 1);
    }

    #[test]
    fn ended_pods_are_bounded() {
        let mut index = PodIndex::new(KEEP);
        for number in 0..MOST_ENDED + 100 {
            let uid = format!("p{number}");
            let ip = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
            let pod = pod(&uid, &[&ip], 1);
            index.apply(Pod { end: Some(at(2)), ..pod }, at(3));
        }
        assert!(index.ended.len() <= MOST_ENDED);
        assert_eq!(index.by_ip.values().map(Vec::len).sum::<usize>(), index.ended.len());
    }
}
