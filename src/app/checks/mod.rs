//! Checks: the rules of this node read, judged, and kept an eye on; what changes is remembered.
//! Tells nobody: whoever wants to know listens.

pub mod allowlists;
pub mod blocked;
pub mod compare;
pub mod history;
pub mod log_rules;
pub mod reload;
pub mod run;
pub mod scan;
pub(super) mod wake;
pub mod watch;
