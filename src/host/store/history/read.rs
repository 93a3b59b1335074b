//! Reading the journal while its agent writes it, or without one.
//! A few moments at a time, so that no reader keeps the writer's log from being emptied.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::error::{FILE, StoreError};
use super::file::{connect, require_file};
use super::time::{millis, time};
use super::write::find;
use super::{schema, wire};
use crate::domain::changes::history::rule::Life;
use crate::domain::changes::history::{Change, Happening, Key, Moment, Watch};
use crate::domain::changes::judged::Judged;

/// What follows `SELECT` where a moment is read with [`moment`].
const MOMENT: &str = "id, at, watch, not_watched_since, verdict_before, verdict_after, untold, rewritten";
/// What follows `SELECT` where a rule's text is read with [`text`].
const TEXT: &str = "backend, family, table_name, chain, kind, line, is_cut";

/// The journal, open for reading.
#[derive(Debug)]
pub struct HistoryReader {
    connection: Connection,
}

/// All that is known of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Its life.
    pub life: Life,
    /// When the node was last looked at.
    pub watched_until: Option<SystemTime>,
    /// Its last changes, the newest last.
    pub changes: Vec<(SystemTime, Watch, Change)>,
}

impl HistoryReader {
    /// Opens the journal in this directory.
    ///
    /// # Errors
    /// If there is none, or it is damaged, foreign or of a newer version than this program's.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        std::fs::metadata(&path)
            .and_then(|found| require_file(&found))
            .map_err(|source| StoreError::File { path: path.clone(), source })?;
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        schema::look_like_this_version(&connection)?;
        Ok(Self { connection })
    }

    /// Up to `count` moments of that time that come after the moment with this number, in order, with their numbers.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn moments(
        &self,
        time: &RangeInclusive<SystemTime>,
        after: i64,
        count: u32,
    ) -> Result<Vec<(i64, Moment)>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {MOMENT} FROM moments WHERE id > ?1 AND at >= ?2 AND at <= ?3 ORDER BY id LIMIT ?4"
        ))?;
        let rows =
            statement.query_map(params![after, millis(*time.start()), millis(*time.end()), count], moment)?;
        rows.map(|row| with_changes(&self.connection, row?)).collect()
    }

    /// What is known of the rule with this key, with up to `count` changes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn rule(&self, key: Key, count: u32) -> Result<Option<Remembered>, StoreError> {
        let Some((rule, life)) = find(&self.connection, key)? else { return Ok(None) };
        let watched: Option<Option<i64>> =
            self.connection.query_row("SELECT watched_until FROM state", [], |row| row.get(0)).optional()?;
        let mut statement = self.connection.prepare(&format!(
            "SELECT at, watch, not_watched_since, happening, position, changes.judged, json, {TEXT}
             FROM changes JOIN moments ON moments.id = moment_id JOIN rules ON rules.id = rule_id
             LEFT JOIN authors ON authors.id = authors_id
             WHERE rule_id = ?1 ORDER BY changes.id DESC LIMIT ?2"
        ))?;
        let rows = statement.query_map(params![rule, count], |row| {
            Ok((time(row.get(0)?), watch(row, 1)?, recorded(row, 3)?))
        })?;
        let mut changes = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        changes.reverse();
        Ok(Some(Remembered { life, watched_until: watched.flatten().map(time), changes }))
    }
}

/// A change of the rule with this number, made of its text.
pub(super) fn change(
    connection: &Connection,
    rule: i64,
    happening: Happening,
    judged: Judged,
) -> Result<Change, StoreError> {
    let sql = format!("SELECT {TEXT} FROM rules WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row([rule], |row| text(row, 0, happening, judged))?)
}

fn with_changes(
    connection: &Connection,
    (id, mut moment): (i64, Moment),
) -> Result<(i64, Moment), StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT happening, position, changes.judged, json, {TEXT}
         FROM changes JOIN rules ON rules.id = rule_id LEFT JOIN authors ON authors.id = authors_id
         WHERE moment_id = ?1 ORDER BY changes.id"
    ))?;
    let rows = statement.query_map([id], |row| recorded(row, 0))?;
    moment.changes = rows.collect::<rusqlite::Result<_>>()?;
    Ok((id, moment))
}

fn moment(row: &Row<'_>) -> rusqlite::Result<(i64, Moment)> {
    let before: Option<String> = row.get(4)?;
    let moment = Moment {
        at: time(row.get(1)?),
        watch: watch(row, 2)?,
        before: before.as_deref().map(wire::verdict).transpose()?,
        after: wire::verdict(&row.get::<_, String>(5)?)?,
        untold: row.get::<_, i64>(6)?.unsigned_abs(),
        rewritten: row.get::<_, i64>(7)?.unsigned_abs(),
        changes: Vec::new(),
    };
    Ok((row.get(0)?, moment))
}

fn watch(row: &Row<'_>, column: usize) -> rusqlite::Result<Watch> {
    let since: Option<i64> = row.get(column + 1)?;
    wire::watch(&row.get::<_, String>(column)?, since.map(time))
}

/// Columns: happening, position, judged, json, and a rule's text.
fn recorded(row: &Row<'_>, column: usize) -> rusqlite::Result<Change> {
    let happening = wire::happening(&row.get::<_, String>(column)?)?;
    let authors: Option<String> = row.get(column + 3)?;
    Ok(Change {
        position: row.get(column + 1)?,
        authors: authors.as_deref().map_or(Ok(Vec::new()), wire::authors_from_json)?,
        ..text(row, column + 4, happening, wire::judged(row.get(column + 2)?)?)?
    })
}

fn text(row: &Row<'_>, column: usize, happening: Happening, judged: Judged) -> rusqlite::Result<Change> {
    Ok(Change {
        happening,
        backend: wire::backend(&row.get::<_, String>(column)?)?,
        family: wire::family(&row.get::<_, String>(column + 1)?)?,
        table: row.get(column + 2)?,
        chain: row.get(column + 3)?,
        kind: wire::kind(&row.get::<_, String>(column + 4)?)?,
        position: None,
        line: row.get(column + 5)?,
        is_cut: row.get(column + 6)?,
        judged,
        authors: Vec::new(),
    })
}
