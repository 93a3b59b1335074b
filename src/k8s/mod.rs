//! The API server: one call at a time, each with a deadline and a closed set of ways to fail.
//! Decides neither what is said nor when a failed call is made again.

pub mod access;
pub mod client;
mod credentials;
pub mod events;
pub mod failure;
pub mod label;
mod label_object;
pub mod list_watch;
pub mod node;
mod operation;
pub mod pod_events;
pub mod pods;
mod watch_stream;
