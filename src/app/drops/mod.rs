//! Drops: the firewall's log followed, each packet named, told and counted.
//! Knows no format of any log; `domain::drops` does.

pub mod desk;
pub mod directory;
pub mod events;
pub mod ledger;
pub mod queue;
pub mod settings;
