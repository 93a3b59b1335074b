//! Logs followed, and what of each was lost: files, the journal, the kernel's ring.
//! Understands no line.

pub mod journald;
pub mod kmsg;
pub mod tail;
