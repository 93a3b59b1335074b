//! Comparing all that is present with all that is remembered, piece by piece in small transactions.
//! What it leaves undone when it is killed, the next comparison does.

use std::collections::HashMap;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::error::StoreError;
use super::store::Store;
use super::time::time;
use super::write::{LIFE, Writer, find, insert, life, update, watched};
use super::{read, wire};
use crate::domain::changes::What;
use crate::domain::changes::history::budget::Budget;
use crate::domain::changes::history::retention::Usage;
use crate::domain::changes::history::rule::Life;
use crate::domain::changes::history::{Change, Happening, Key, MAX_NOT_ALLOWED, Moment, Watch};
use crate::domain::changes::judged::Judged;
use crate::domain::rules::text;
use crate::domain::verdict::Verdict;

/// Rules that one transaction compares.
const PAGE_ROWS: u32 = 1000;

/// So many transactions fill the journal, roughly.
const PIECES: u64 = 24;
/// What a rule takes beside its text, roughly.
const ROW_BYTES: u64 = 100;

/// A comparison under way.
#[derive(Debug)]
pub struct Reconciliation {
    moment: Moment,
    moment_id: Option<i64>,
    is_baseline: bool,
    /// Lines that came and went with another version of the text, if that is what differs.
    rewritten: Option<[u64; 2]>,
    /// How often each rule, by its number, was met.
    met: HashMap<i64, u32>,
    /// What was written and not yet committed, in bytes.
    pending_bytes: u64,
    unexpected_told: usize,
    not_judged_told: usize,
    budget: Budget,
}

impl Reconciliation {
    /// Whether this change is told; otherwise it is counted.
    fn tells(&mut self, happening: Happening, judged: Judged) -> bool {
        if let (Some([came, went]), Happening::Changed(what)) = (&mut self.rewritten, happening) {
            *if what == What::Removed { went } else { came } += 1;
            return false;
        }
        let told = match judged {
            Judged::Unexpected => Some(&mut self.unexpected_told),
            Judged::NotJudged => Some(&mut self.not_judged_told),
            Judged::Allowed => None,
        };
        let is_told = match (told, self.is_baseline, self.moment.watch) {
            (Some(told), ..) => {
                *told += 1;
                *told <= MAX_NOT_ALLOWED
            }
            // nothing came: this is how it all begins, or what was counted when it came
            (None, true, _) | (None, _, Watch::CaughtUp) => return false,
            (None, ..) => self.budget.take(self.moment.at),
        };
        self.moment.untold += u64::from(!is_told);
        is_told
    }

    /// Counts as rewritten as many lines as came and went; more of either are changes, and nobody knows which.
    fn count_rewritten(&mut self) {
        if let Some([came, went]) = self.rewritten {
            self.moment.rewritten = came.min(went);
            self.moment.untold += came.abs_diff(went);
        }
    }
}

impl Store {
    /// Begins a comparison. `is_first` says that this process has not compared yet: then what differs happened while
    /// nobody watched. Of the changes of allowed rules as many are told as the budget has room for.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn begin_reconciliation(
        &mut self,
        at: SystemTime,
        verdict: Verdict,
        is_first: bool,
        budget: Budget,
    ) -> Result<Reconciliation, StoreError> {
        self.abandon_reconciliation()?;
        // what a power failure takes away is compared again
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        let (since, before, version) = self
            .connection
            .query_row("SELECT watched_until, verdict, text_version FROM state", [], |row| {
                let before: Option<String> = row.get(1)?;
                let before = before.as_deref().map(wire::verdict).transpose()?;
                Ok((row.get::<_, Option<i64>>(0)?.map(time), before, row.get::<_, u32>(2)?))
            })
            .optional()?
            .unwrap_or((None, None, text::VERSION));
        let watch = if is_first { Watch::Resumed { since } } else { Watch::CaughtUp };
        let moment =
            Moment { at, watch, before, after: verdict, untold: 0, rewritten: 0, changes: Vec::new() };
        Ok(Reconciliation {
            moment,
            moment_id: None,
            is_baseline: since.is_none(),
            rewritten: (since.is_some() && version != text::VERSION).then_some([0; 2]),
            met: HashMap::new(),
            pending_bytes: 0,
            unexpected_told: 0,
            not_judged_told: 0,
            budget,
        })
    }

    /// Takes some of what is present. Each change stands for an added rule and says what it is, should it be new.
    ///
    /// Many calls make one transaction: new rules are scattered over the index of their keys, and each transaction writes
    /// all of it that it touched.
    ///
    /// # Errors
    /// If the journal cannot be written; then the comparison has failed, and the next one starts from the beginning.
    pub fn reconcile(
        &mut self,
        reconciliation: &mut Reconciliation,
        present: &[(Key, Change)],
    ) -> Result<(), StoreError> {
        if self.connection.is_autocommit() {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        let limit_bytes = self.limit_bytes;
        let is_roomy = Usage { bytes: self.usage_bytes, limit_bytes, ..Usage::default() }.is_roomy();
        for (key, change) in present {
            take_over(&self.connection, reconciliation, *key, change, is_roomy)?;
        }
        if reconciliation.pending_bytes >= limit_bytes / PIECES {
            self.connection.execute_batch("COMMIT")?;
            reconciliation.pending_bytes = 0;
        }
        self.measure()
    }

    /// Whether no comparison is in the middle of a transaction.
    pub fn is_idle(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// Takes back what of a comparison was not committed, if there is one.
    ///
    /// # Errors
    /// If the journal cannot be used.
    pub fn abandon_reconciliation(&mut self) -> Result<(), StoreError> {
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(())
    }

    /// Ends a comparison: what was not met is gone. Returns the moment, if anything happened.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub fn end_reconciliation(
        &mut self,
        mut reconciliation: Reconciliation,
    ) -> Result<Option<Moment>, StoreError> {
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("COMMIT")?;
        }
        let mut last = 0;
        while let Some(rule) = self.end_some(&mut reconciliation, last)? {
            last = rule;
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        watched(&transaction, reconciliation.moment.at, reconciliation.moment.after)?;
        transaction.execute("UPDATE state SET text_version = ?1", [text::VERSION])?;
        reconciliation.count_rewritten();
        let Reconciliation { moment, moment_id, .. } = reconciliation;
        let is_news = matches!(moment.watch, Watch::Resumed { .. })
            || moment_id.is_some()
            || moment.untold > 0
            || moment.rewritten > 0
            || moment.before != Some(moment.after);
        match moment_id {
            Some(id) => {
                let [untold, rewritten] =
                    [moment.untold, moment.rewritten].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
                transaction.execute(
                    "UPDATE moments SET untold = ?2, rewritten = ?3 WHERE id = ?1",
                    params![id, untold, rewritten],
                )?;
            }
            None if is_news => drop(Writer::begin(&transaction, &moment)?),
            None => {}
        }
        transaction.commit()?;
        self.abandon_reconciliation()?;
        self.measure()?;
        Ok(is_news.then_some(moment))
    }

    /// Compares the rules that come after this one, as many as fit into one transaction, and returns the last of them.
    fn end_some(
        &mut self,
        reconciliation: &mut Reconciliation,
        after: i64,
    ) -> Result<Option<i64>, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut last = None;
        for (rule, mut life) in lives(&transaction, after)? {
            last = Some(rule);
            let copies = reconciliation.met.get(&rule).copied().unwrap_or_default();
            let Some(what) = life.find(copies, reconciliation.moment.at) else { continue };
            update(&transaction, rule, &life)?;
            let happening = Happening::Changed(what);
            if reconciliation.tells(happening, life.judged) {
                let change = read::change(&transaction, rule, happening, life.judged)?;
                tell(&transaction, reconciliation, rule, &change)?;
            }
        }
        transaction.commit()?;
        Ok(last)
    }
}

/// Compares one line with what is remembered of it.
fn take_over(
    connection: &Connection,
    reconciliation: &mut Reconciliation,
    key: Key,
    change: &Change,
    is_roomy: bool,
) -> Result<(), StoreError> {
    let Some((rule, mut life)) = find(connection, key)? else {
        let life = Life::begin(reconciliation.moment.at, true, change.judged);
        let line = change.line.as_deref().filter(|_| is_roomy || !change.judged.is_allowed());
        let rule = insert(connection, key, &life, change, line)?;
        reconciliation.met.insert(rule, 1);
        reconciliation.pending_bytes += ROW_BYTES + line.map_or(0, <[u8]>::len) as u64;
        if reconciliation.tells(change.happening, change.judged) {
            tell(connection, reconciliation, rule, change)?;
        }
        return Ok(());
    };
    *reconciliation.met.entry(rule).or_default() += 1;
    if life.judged != change.judged {
        life.judged = change.judged;
        update(connection, rule, &life)?;
        if life.copies > 0 && reconciliation.tells(Happening::Rejudged, change.judged) {
            let change = Change { happening: Happening::Rejudged, ..change.clone() };
            tell(connection, reconciliation, rule, &change)?;
        }
    }
    Ok(())
}

fn tell(
    connection: &Connection,
    reconciliation: &mut Reconciliation,
    rule: i64,
    change: &Change,
) -> Result<(), StoreError> {
    let mut writer = match reconciliation.moment_id {
        Some(id) => Writer::resume(connection, id),
        None => Writer::begin(connection, &reconciliation.moment)?,
    };
    reconciliation.moment_id = Some(writer.moment());
    writer.change(rule, change)?;
    reconciliation.moment.changes.push(change.clone());
    Ok(())
}

/// Rules in the order of their numbers, from behind this one on.
fn lives(connection: &Connection, after: i64) -> Result<Vec<(i64, Life)>, StoreError> {
    let sql = format!("SELECT {LIFE}, id FROM rules WHERE id > ?1 ORDER BY id LIMIT {PAGE_ROWS}");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([after], |row| Ok((row.get(6)?, life(row)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
