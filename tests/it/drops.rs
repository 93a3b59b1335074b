//! Drops: from a logged packet to what the owner of a pod reads.

mod pods;
