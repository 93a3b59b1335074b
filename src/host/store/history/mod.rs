//! The journal on disk: an SQLite database in the state directory, written by the agent and read by whoever asks.
//! Decides nothing about rules; what becomes of a rule and what is forgotten first is [`crate::domain::changes::history`]'s.
//!
//! *Source*: <https://www.sqlite.org/wal.html>: with a write-ahead log a reader never waits for the writer nor the writer
//! for a reader, a process may be killed at any point, and what was committed is there when the file is opened again.

mod error;
mod file;
mod forget;
mod read;
mod reconcile;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod time;
mod wire;
mod write;

pub use self::read::{HistoryReader, Remembered};
pub use self::reconcile::Reconciliation;
#[cfg(test)]
pub(crate) use self::tests::block_writers;
pub use error::StoreError;
pub use store::{MIN_LIMIT_BYTES, Store};
