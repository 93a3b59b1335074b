//! Writing moments and what they do to rules, and reading what a new process has to know.
//! A moment is never split over transactions: after a kill, all of it is there or nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::error::StoreError;
use super::store::Store;
use super::time::{millis, time};
use super::wire::{self, ALLOWED};
use crate::domain::changes::author::Author;
use crate::domain::changes::history::rule::Life;
use crate::domain::changes::history::{Change, Digested, Happening, Key, Moment, Watch};
use crate::domain::changes::{Provenance, What};
use crate::domain::verdict::Verdict;

/// The most rules that are not allowed of which a new process is told since when they stand.
const MAX_KNOWN: i64 = 10_000;
/// What follows `SELECT` where a life is read with [`life`].
pub(super) const LIFE: &str = "first_seen, since, is_older, gone_at, copies, judged";

impl Store {
    /// Since when the rules stand that are not allowed, and who brought them; the unexpected ones first.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn known(&self) -> Result<HashMap<Key, Provenance>, StoreError> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT {LIFE}, key, (SELECT authors.json FROM changes JOIN authors ON authors.id = authors_id
                WHERE rule_id = rules.id AND happening = ?1 ORDER BY changes.id DESC LIMIT 1)
             FROM rules WHERE judged <> {ALLOWED} AND copies > 0 ORDER BY judged LIMIT ?2"
        ))?;
        let added = Happening::Changed(What::Added).as_str();
        let rows = statement.query_map(params![added, MAX_KNOWN], |row| {
            let Life { since, is_older, .. } = life(row)?;
            let json: Option<String> = row.get(7)?;
            let authors = json.as_deref().map_or(Ok(Vec::new()), wire::authors_from_json)?;
            Ok((Key(row.get(6)?), Provenance { first_seen: since, is_older, authors }))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Writes moments, in order, and what they do to their rules, in one transaction.
    ///
    /// # Errors
    /// If they cannot be written; then nothing of them is.
    pub fn append<'a>(&mut self, moments: impl Iterator<Item = &'a Digested>) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for digested in moments {
            append(&transaction, digested)?;
        }
        transaction.commit()?;
        self.measure()
    }

    /// Notes that the node was looked at and nothing changed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn alive(&mut self, at: SystemTime, verdict: Verdict) -> Result<(), StoreError> {
        still_watched(&self.connection, at, verdict)
    }
}

fn append(connection: &Connection, Digested { moment, keys }: &Digested) -> Result<(), StoreError> {
    still_watched(connection, moment.at, moment.after)?;
    let mut writer = Writer::begin(connection, moment)?;
    for (change, key) in moment.changes.iter().zip(keys) {
        let Happening::Changed(what) = change.happening else { continue };
        let found = find(connection, *key)?;
        let life = Life::after(found.map(|(_, life)| life), what, moment.at, change.judged);
        let rule = match found {
            Some((rule, _)) => update(connection, rule, &life).map(|()| rule)?,
            None => insert(connection, *key, &life, change, change.line.as_deref())?,
        };
        writer.change(rule, change)?;
    }
    Ok(())
}

pub(super) fn watched(connection: &Connection, at: SystemTime, verdict: Verdict) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE state SET watched_until = ?1, verdict = ?2")?
        .execute(params![millis(at), verdict.as_str()])?;
    Ok(())
}

/// The same, unless nothing was compared yet: then it is not known what stood before.
fn still_watched(connection: &Connection, at: SystemTime, verdict: Verdict) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE state SET watched_until = ?1, verdict = ?2 WHERE watched_until IS NOT NULL")?
        .execute(params![millis(at), verdict.as_str()])?;
    Ok(())
}

/// Writes the changes of one moment; changes of the same authors share them.
pub(super) struct Writer<'c> {
    connection: &'c Connection,
    moment: i64,
    authors: Vec<(Vec<Arc<Author>>, i64)>,
}

impl<'c> Writer<'c> {
    pub(super) fn begin(connection: &'c Connection, moment: &Moment) -> Result<Self, StoreError> {
        let since = if let Watch::Resumed { since } = moment.watch { since } else { None };
        connection
            .prepare_cached(
                "INSERT INTO moments (at, watch, not_watched_since, verdict_before, verdict_after, untold, rewritten)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                millis(moment.at),
                wire::watch_name(moment.watch),
                since.map(millis),
                moment.before.map(Verdict::as_str),
                moment.after.as_str(),
                i64::try_from(moment.untold).unwrap_or(i64::MAX),
                i64::try_from(moment.rewritten).unwrap_or(i64::MAX),
            ])?;
        Ok(Self::resume(connection, connection.last_insert_rowid()))
    }

    /// Goes on with a moment that an earlier transaction began.
    pub(super) const fn resume(connection: &'c Connection, moment: i64) -> Self {
        Self { connection, moment, authors: Vec::new() }
    }

    pub(super) const fn moment(&self) -> i64 {
        self.moment
    }

    pub(super) fn change(&mut self, rule: i64, change: &Change) -> Result<(), StoreError> {
        let authors = self.authors(&change.authors)?;
        self.connection
            .prepare_cached(
                "INSERT INTO changes (moment_id, rule_id, happening, position, judged, authors_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                self.moment,
                rule,
                change.happening.as_str(),
                change.position,
                wire::judged_number(change.judged),
                authors,
            ])?;
        Ok(())
    }

    fn authors(&mut self, authors: &[Arc<Author>]) -> Result<Option<i64>, StoreError> {
        if let Some((_, id)) = self.authors.iter().rev().find(|(known, _)| known == authors) {
            return Ok(Some(*id));
        }
        let Some(json) = wire::authors_to_json(authors)? else { return Ok(None) };
        self.connection.prepare_cached("INSERT INTO authors (json) VALUES (?1)")?.execute([json])?;
        let id = self.connection.last_insert_rowid();
        self.authors.push((authors.to_vec(), id));
        Ok(Some(id))
    }
}

/// The rule with this key.
pub(super) fn find(connection: &Connection, key: Key) -> Result<Option<(i64, Life)>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {LIFE}, id FROM rules WHERE key = ?1"))?;
    Ok(statement.query_row([key.0], |row| Ok((row.get(6)?, life(row)?))).optional()?)
}

/// The life in the first columns of a row.
pub(super) fn life(row: &Row<'_>) -> rusqlite::Result<Life> {
    Ok(Life {
        first_seen: time(row.get(0)?),
        since: time(row.get(1)?),
        is_older: row.get(2)?,
        gone_at: row.get::<_, Option<i64>>(3)?.map(time),
        copies: row.get(4)?,
        judged: wire::judged(row.get(5)?)?,
    })
}

pub(super) fn update(connection: &Connection, rule: i64, life: &Life) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE rules SET since = ?2, is_older = ?3, gone_at = ?4, copies = ?5, judged = ?6 WHERE id = ?1",
        )?
        .execute(params![
            rule,
            millis(life.since),
            life.is_older,
            life.gone_at.map(millis),
            life.copies,
            wire::judged_number(life.judged),
        ])?;
    Ok(())
}

/// Adds a rule, with its text or without.
pub(super) fn insert(
    connection: &Connection,
    key: Key,
    life: &Life,
    of: &Change,
    line: Option<&[u8]>,
) -> Result<i64, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO rules (key, first_seen, since, is_older, gone_at, copies, judged,
                backend, family, table_name, chain, kind, line, is_cut)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            key.0,
            millis(life.first_seen),
            millis(life.since),
            life.is_older,
            life.gone_at.map(millis),
            life.copies,
            wire::judged_number(life.judged),
            of.backend.as_str(),
            of.family.as_str(),
            of.table,
            of.chain,
            of.kind.as_str(),
            line,
            of.is_cut,
        ])?;
    Ok(connection.last_insert_rowid())
}
