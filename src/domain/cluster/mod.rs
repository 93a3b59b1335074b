//! What a report calls for in the cluster: the label's value, and Events about the node.
//! Writes nothing and asks for no time; `app::cluster` does.

mod announcements;
mod blocked;
pub mod contest;
mod event;
pub mod freshness;
pub mod keeper;
pub mod label;
pub mod note;
#[cfg(test)]
mod tests;

pub use announcements::{Action, Announcements, REFRESH, Written};
pub use event::{EventReason, NodeEvent};
