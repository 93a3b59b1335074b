//! How drops are told.
//! Reads no environment: whoever starts the program does.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::domain::peers::Identifier;

/// How drops are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSettings {
    /// The Event's reason.
    pub reason: String,
    /// The Event's component.
    pub component: String,
    /// Events that wait to be written.
    pub queue: NonZeroUsize,
    /// A drop older than this is not told any more.
    pub expiration: Duration,
    /// Repeats within this time are folded.
    pub repeat_interval: Duration,
    /// What names a pod.
    pub identifier: Identifier,
    /// The label that does.
    pub identifier_label: Option<String>,
}

/// What kube-iptables-tailer does unless it is told otherwise.
impl Default for EventSettings {
    fn default() -> Self {
        Self {
            reason: "PacketDrop".to_owned(),
            component: "kube-iptables-tailer".to_owned(),
            queue: NonZeroUsize::MIN.saturating_add(99),
            expiration: Duration::from_secs(10 * 60),
            repeat_interval: Duration::from_secs(2 * 60),
            identifier: Identifier::Namespace,
            identifier_label: None,
        }
    }
}
