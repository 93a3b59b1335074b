//! Drops: the firewall's log followed, each packet named, told and counted.
//! Knows no format of any log; `domain::drops` does.

pub mod events;
pub mod folding;
pub mod follow;
pub mod followers;
pub mod positions;
pub mod queue;
pub mod service;
pub mod settings;
pub mod source;
