//! What the owners of pods are to be told and were not told yet: bounded, equal messages merged.
//! Writes nothing.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;

use crate::domain::peers::pods::Pod;

/// What a pod's owner is to be told.
#[derive(Clone, Debug)]
pub struct Message {
    /// The pod it is about.
    pub pod: Arc<Pod>,
    /// What it says.
    pub message: Arc<str>,
    /// How many packets it stands for.
    pub count: u64,
    /// When the last of them was logged.
    pub last: SystemTime,
    /// Whether the pod's owner was told the same before, so that only the count is news.
    pub is_repeat: bool,
    /// Whether the other side is outside the cluster: anybody can make up such addresses.
    pub is_of_stranger: bool,
    /// The log lines are delivered when nobody holds this any more.
    pub hold: Option<Arc<()>>,
}

impl Message {
    fn is_same(&self, other: &Self) -> bool {
        self.pod.uid == other.pod.uid && self.message == other.message
    }
}

/// The queue; cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    limit: usize,
    shared: Arc<(Mutex<VecDeque<Message>>, Notify)>,
}

impl Queue {
    /// An empty queue for so many messages.
    pub fn new(limit: NonZeroUsize) -> Self {
        Self { limit: limit.get(), shared: Arc::default() }
    }

    /// Adds a message. Where there is no room, a repeat gives way first, as it is only a number, and then a message about a
    /// stranger to one about a pod of the cluster. Returns how many messages were shed.
    pub fn push(&self, message: Message) -> u64 {
        let mut queue = self.lock();
        if let Some(known) = queue.iter_mut().find(|known| known.is_same(&message)) {
            known.count = known.count.saturating_add(message.count);
            known.last = known.last.max(message.last);
            return 0;
        }
        let mut shed = 0;
        if queue.len() >= self.limit {
            shed = 1;
            let rank = |message: &Message| (message.is_repeat, message.is_of_stranger);
            // the first of those that matter least
            let least = queue.iter().enumerate().rev().max_by_key(|(_, waiting)| rank(waiting));
            match least.map(|(place, waiting)| (place, rank(waiting))) {
                Some((place, least)) if least > rank(&message) => drop(queue.remove(place)),
                _ => return shed,
            }
        }
        queue.push_back(message);
        drop(queue);
        self.shared.1.notify_one();
        shed
    }

    /// The first message whose namespace is none that `rests`; waits for one.
    pub async fn next(&self, rests: impl Fn(&str) -> bool) -> Message {
        loop {
            if let Some(message) = self.take(&rests) {
                return message;
            }
            self.shared.1.notified().await;
        }
    }

    /// The same without waiting.
    pub fn take(&self, rests: impl Fn(&str) -> bool) -> Option<Message> {
        let mut queue = self.lock();
        let place = queue.iter().position(|message| !rests(&message.pod.namespace))?;
        queue.remove(place)
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Message>> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(pod: &str, message: &str, is_repeat: bool) -> Message {
        let pod = Pod {
            namespace: "shop".into(),
            name: pod.into(),
            uid: pod.into(),
            node: "n".into(),
            label: None,
            ips: Box::new([]),
            is_host_network: false,
            start: None,
            end: None,
        };
        let message = message.into();
        Message {
            pod: Arc::new(pod),
            message,
            count: 1,
            last: SystemTime::UNIX_EPOCH,
            is_repeat,
            is_of_stranger: false,
            hold: None,
        }
    }

    #[tokio::test]
    async fn strangers_give_way_to_the_cluster_and_repeats_to_both() {
        let queue = Queue::new(NonZeroUsize::new(3).unwrap());
        let stranger = |pod, is_repeat| Message { is_of_stranger: true, ..message(pod, "x", is_repeat) };
        for message in [stranger("a", false), stranger("b", false), message("c", "x", true)] {
            assert_eq!(queue.push(message), 0);
        }
        for message in [
            message("d", "x", false),
            message("e", "x", false),
            stranger("f", false),
            message("g", "x", true),
        ] {
            assert_eq!(queue.push(message), 1);
        }
        let mut left = Vec::new();
        while !queue.is_empty() {
            left.push(queue.next(|_| false).await.pod.name.to_string());
        }
        assert_eq!(left, ["b", "d", "e"]);
    }

    #[tokio::test]
    async fn a_namespace_that_rests_is_passed_over() {
        let queue = Queue::new(NonZeroUsize::new(3).unwrap());
        let of = |namespace: &str, pod| {
            let message = message(pod, "x", false);
            Message {
                pod: Arc::new(Pod { namespace: namespace.into(), ..Pod::clone(&message.pod) }),
                ..message
            }
        };
        for message in [of("tenant", "a"), of("shop", "b"), of("tenant", "c")] {
            assert_eq!(queue.push(message), 0);
        }
        assert_eq!(&*queue.next(|namespace| namespace == "tenant").await.pod.name, "b");
        assert!(queue.take(|namespace| namespace == "tenant").is_none());
        assert_eq!(&*queue.next(|_| false).await.pod.name, "a", "the order stays");
    }

    #[tokio::test]
    async fn equal_messages_are_merged_and_repeats_give_way() {
        let queue = Queue::new(NonZeroUsize::new(2).unwrap());
        let shed: Vec<_> = [
            message("a", "x", false),
            message("a", "x", false),
            message("b", "x", true),
            message("c", "x", true),
            message("d", "x", false),
            message("e", "x", false),
        ]
        .into_iter()
        .map(|message| queue.push(message))
        .collect();
        assert_eq!(shed, [0, 0, 0, 1, 1, 1]);
        let first = queue.next(|_| false).await;
        assert_eq!((&*first.pod.name, first.count), ("a", 2));
        assert_eq!(&*queue.next(|_| false).await.pod.name, "d");
        assert!(queue.is_empty());
    }
}
