//! The tables of the journal, and the steps from each version of them to the next.
//! A step that was ever released is never edited: a new version is a new step.

use rusqlite::{Connection, TransactionBehavior};

use super::error::StoreError;

/// Marks the file as ours.
///
/// *Source*: `PRAGMA application_id`, <https://www.sqlite.org/pragma.html#pragma_application_id>.
pub(super) const APPLICATION_ID: i32 = 0x6970_746d;

/// Step n leads from version n to version n + 1. Times are milliseconds since 1970, UTC.
pub(super) const STEPS: [&str; 3] = [
    "
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        watched_until INTEGER,
        verdict TEXT
    ) STRICT;
    INSERT INTO state (id) VALUES (1);
    CREATE TABLE rules (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL,
        first_seen INTEGER NOT NULL,
        since INTEGER NOT NULL,
        is_older INTEGER NOT NULL,
        gone_at INTEGER,
        copies INTEGER NOT NULL,
        is_allowed INTEGER NOT NULL,
        backend TEXT NOT NULL,
        family TEXT NOT NULL,
        table_name TEXT NOT NULL,
        chain TEXT,
        kind TEXT NOT NULL,
        line BLOB,
        is_cut INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX rules_by_key ON rules (key);
    CREATE TABLE moments (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        watch TEXT NOT NULL,
        not_watched_since INTEGER,
        verdict_before TEXT,
        verdict_after TEXT NOT NULL,
        untold INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE authors (
        id INTEGER PRIMARY KEY,
        json TEXT NOT NULL
    ) STRICT;
    CREATE TABLE changes (
        id INTEGER PRIMARY KEY,
        moment_id INTEGER NOT NULL,
        rule_id INTEGER NOT NULL,
        happening TEXT NOT NULL,
        position INTEGER,
        is_allowed INTEGER NOT NULL,
        authors_id INTEGER
    ) STRICT;
    CREATE INDEX changes_by_moment ON changes (moment_id);
    CREATE INDEX changes_by_rule ON changes (rule_id);
",
    // which text the lines of rules are (`domain::rules::text::VERSION`), and how many rules a moment found in another
    "
    ALTER TABLE state ADD COLUMN text_version INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE moments ADD COLUMN rewritten INTEGER NOT NULL DEFAULT 0;
",
    // a third word: `wire::judged` has the numbers, of which 0 and 1 stay what they were, so that no row is written
    "
    ALTER TABLE rules RENAME COLUMN is_allowed TO judged;
    ALTER TABLE changes RENAME COLUMN is_allowed TO judged;
",
];

/// The version this program writes.
pub(super) const VERSION: i32 = STEPS.len() as i32;

/// Whether the file is a journal, and of which version; an empty file is version 0.
///
/// # Errors
/// If it is damaged, belongs to another program, or is of a version that only a newer program knows.
pub(super) fn version(connection: &Connection) -> Result<i32, StoreError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let (id, found) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (id, found) {
        (0, 0) if tables == 0 => Ok(0),
        (APPLICATION_ID, 1..=VERSION) => Ok(found),
        (APPLICATION_ID, newer) if newer > VERSION => Err(StoreError::Newer { found: newer, known: VERSION }),
        _ => Err(StoreError::Foreign),
    }
}

/// What lets [`VERSION`]'s statements read the tables of version n + 1: views that stand before them in this connection.
const VIEWS: [&str; STEPS.len() - 1] = [
    "
    CREATE TEMP VIEW moments AS SELECT *, 0 AS rewritten FROM main.moments;
    CREATE TEMP VIEW rules AS SELECT *, is_allowed AS judged FROM main.rules;
    CREATE TEMP VIEW changes AS SELECT *, is_allowed AS judged FROM main.changes;
",
    "
    CREATE TEMP VIEW rules AS SELECT *, is_allowed AS judged FROM main.rules;
    CREATE TEMP VIEW changes AS SELECT *, is_allowed AS judged FROM main.changes;
",
];

/// Makes the tables of an older version look like those of this program's, for a connection that only reads.
///
/// # Errors
/// If the file is no journal, or of a newer version.
pub(super) fn look_like_this_version(connection: &Connection) -> Result<(), StoreError> {
    let found = version(connection)?;
    // an agent makes an empty file a journal
    let Some(older) = found.unsigned_abs().checked_sub(1) else { return Err(StoreError::Foreign) };
    if let Some(views) = VIEWS.get(older as usize) {
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.execute_batch(views)?;
    }
    Ok(())
}

/// Brings the tables to this program's version, all steps or none.
///
/// # Errors
/// As [`version`], and if the file cannot be written to.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    if found < VERSION {
        for step in STEPS.iter().skip(found.unsigned_abs() as usize) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}
