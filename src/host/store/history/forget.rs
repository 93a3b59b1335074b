//! Making room: deletes what [`crate::domain::changes::history::retention`] says goes first, in small transactions.
//! Decides nothing but which statement that is.

use rusqlite::{Connection, params};

use super::error::StoreError;
use super::store::Store;
use super::wire::{ALLOWED, NOT_JUDGED, UNEXPECTED};
use crate::domain::changes::history::retention::{Forget, Usage};

/// Rules of which nothing tells a story.
const UNTOLD: &str = "NOT EXISTS (SELECT 1 FROM changes WHERE rule_id = rules.id)";
/// Moments that say no more than the verdict, but for the last.
const EMPTY: &str = "id < (SELECT max(id) FROM moments)
    AND NOT EXISTS (SELECT 1 FROM changes WHERE moment_id = moments.id)";

impl Store {
    /// Makes room if the journal is nearly full, and says how many entries were forgotten.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub fn make_room(&mut self) -> Result<u64, StoreError> {
        let is_full =
            Usage { bytes: self.usage_bytes, limit_bytes: self.limit_bytes, ..Usage::default() }.is_full();
        if is_full { self.forget() } else { Ok(0) }
    }

    /// Makes room, whether or not it looks necessary.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub fn forget(&mut self) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        loop {
            let usage = self.usage()?;
            let Some(what) = usage.forget() else { break };
            let count = forget(&mut self.connection, what)?;
            forgotten += count;
            self.measure()?;
            let is_relieved = Usage { bytes: self.usage_bytes, ..usage }.is_relieved();
            if is_relieved || count == 0 {
                break;
            }
        }
        if self.number("page_count")? * super::store::PAGE_BYTES > self.limit_bytes {
            self.connection.execute_batch("PRAGMA incremental_vacuum")?;
        }
        Ok(forgotten)
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        let count = |sql: &str| -> Result<u64, StoreError> {
            let count: i64 =
                self.connection.query_row(&format!("SELECT count(*) FROM {sql}"), [], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        };
        Ok(Usage {
            bytes: self.usage_bytes,
            limit_bytes: self.limit_bytes,
            minor: count(&format!("changes WHERE judged = {ALLOWED}"))?
                + count(&format!("moments WHERE {EMPTY}"))?
                + count(&format!("rules WHERE judged = {ALLOWED} AND copies = 0 AND {UNTOLD}"))?,
            texts: count(&format!("rules WHERE judged = {ALLOWED} AND line IS NOT NULL AND {UNTOLD}"))?,
            allowed: count(&format!("rules WHERE judged = {ALLOWED} AND {UNTOLD}"))?,
            not_judged: count(&format!("changes WHERE judged = {NOT_JUDGED}"))?
                + count(&format!("rules WHERE judged = {NOT_JUDGED} AND copies = 0 AND {UNTOLD}"))?,
            unexpected: count(&format!("changes WHERE judged = {UNEXPECTED}"))?,
            gone: count(&format!("rules WHERE judged = {UNEXPECTED} AND copies = 0 AND {UNTOLD}"))?,
        })
    }
}

/// Returns how many rows went or lost their text.
fn forget(connection: &mut Connection, what: Forget) -> Result<u64, StoreError> {
    let transaction = connection.transaction()?;
    let run =
        |sql: &str, count: u64| transaction.execute(sql, params![i64::try_from(count).unwrap_or(i64::MAX)]);
    let oldest = |table: &str, which: &str, count: u64| {
        run(
            &format!(
                "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {which} ORDER BY id LIMIT ?1)"
            ),
            count,
        )
    };
    let rows = match what {
        Forget::Minor(count) => {
            oldest("changes", &format!("judged = {ALLOWED}"), count)?
                + oldest("moments", EMPTY, count)?
                + oldest("rules", &format!("judged = {ALLOWED} AND copies = 0 AND {UNTOLD}"), count)?
        }
        Forget::Texts(count) => run(
            &format!(
                "UPDATE rules SET line = NULL WHERE id IN
                    (SELECT id FROM rules WHERE judged = {ALLOWED} AND line IS NOT NULL AND {UNTOLD} ORDER BY id LIMIT ?1)"
            ),
            count,
        )?,
        Forget::Allowed(count) => oldest("rules", &format!("judged = {ALLOWED} AND {UNTOLD}"), count)?,
        Forget::NotJudged(count) => {
            oldest("changes", &format!("judged = {NOT_JUDGED}"), count)?
                + oldest("rules", &format!("judged = {NOT_JUDGED} AND copies = 0 AND {UNTOLD}"), count)?
        }
        Forget::Unexpected(count) => oldest("changes", &format!("judged = {UNEXPECTED}"), count)?,
        Forget::Gone(count) => oldest("rules", &format!("judged = {UNEXPECTED} AND copies = 0 AND {UNTOLD}"), count)?,
    };
    transaction.execute(
        "DELETE FROM authors WHERE id NOT IN (SELECT authors_id FROM changes WHERE authors_id IS NOT NULL)",
        [],
    )?;
    transaction.commit()?;
    Ok(rows as u64)
}
