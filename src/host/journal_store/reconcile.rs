//! Comparing all that is present with all that is remembered, piece by piece in small transactions.
//! What it leaves undone when it is killed, the next comparison does.

use std::collections::HashMap;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::write::{LIFE, Writer, find, insert, life, update, watched};
use super::{Store, StoreError, read, time, wire};
use crate::domain::history::budget::Budget;
use crate::domain::history::retention::Usage;
use crate::domain::history::rule::Life;
use crate::domain::history::{Change, Happening, Key, MAX_UNEXPECTED, Moment, Watch};
use crate::domain::report::Verdict;

/// Rules that one transaction compares.
const PAGE_ROWS: u32 = 1000;

/// A comparison under way.
#[derive(Debug)]
pub struct Reconciliation {
    moment: Moment,
    moment_id: Option<i64>,
    is_baseline: bool,
    /// How often each rule, by its number, was met.
    met: HashMap<i64, u32>,
    unexpected_told: usize,
    budget: Budget,
}

impl Reconciliation {
    /// Whether this change is told; otherwise it is counted.
    fn tells(&mut self, is_allowed: bool) -> bool {
        let is_told = match (is_allowed, self.is_baseline, self.moment.watch) {
            (false, ..) => {
                self.unexpected_told += 1;
                self.unexpected_told <= MAX_UNEXPECTED
            }
            // nothing came: this is how it all begins, or what was counted when it came
            (true, true, _) | (true, _, Watch::CaughtUp) => return false,
            (true, ..) => self.budget.take(self.moment.at),
        };
        self.moment.untold += u64::from(!is_told);
        is_told
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
        let (since, before) = self
            .connection
            .query_row("SELECT watched_until, verdict FROM state", [], |row| {
                let before: Option<String> = row.get(1)?;
                let before = before.as_deref().map(wire::verdict).transpose()?;
                Ok((row.get::<_, Option<i64>>(0)?.map(time), before))
            })
            .optional()?
            .unwrap_or_default();
        let watch = if is_first { Watch::Resumed { since } } else { Watch::CaughtUp };
        let moment = Moment { at, watch, before, after: verdict, untold: 0, changes: Vec::new() };
        Ok(Reconciliation {
            moment,
            moment_id: None,
            is_baseline: since.is_none(),
            met: HashMap::new(),
            unexpected_told: 0,
            budget,
        })
    }

    /// Takes some of what is present. Each change stands for an added rule and says what it is, should it be new.
    ///
    /// # Errors
    /// If the journal cannot be written; then nothing of these is.
    pub fn reconcile(
        &mut self,
        reconciliation: &mut Reconciliation,
        present: &[(Key, Change)],
    ) -> Result<(), StoreError> {
        // what a power failure takes away is compared again
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        let result = self.take_over(reconciliation, present);
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        result?;
        self.measure()
    }

    fn take_over(
        &mut self,
        reconciliation: &mut Reconciliation,
        present: &[(Key, Change)],
    ) -> Result<(), StoreError> {
        let limit_bytes = self.limit_bytes;
        let is_roomy = Usage { bytes: self.usage_bytes, limit_bytes, ..Usage::default() }.is_roomy();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (key, change) in present {
            let at = reconciliation.moment.at;
            let Some((rule, mut life)) = find(&transaction, *key)? else {
                let life = Life::begin(at, true, change.is_allowed);
                let line = change.line.as_deref().filter(|_| is_roomy || !change.is_allowed);
                let rule = insert(&transaction, *key, &life, change, line)?;
                reconciliation.met.insert(rule, 1);
                if reconciliation.tells(change.is_allowed) {
                    tell(&transaction, reconciliation, rule, change)?;
                }
                continue;
            };
            *reconciliation.met.entry(rule).or_default() += 1;
            if life.is_allowed == change.is_allowed {
                continue;
            }
            life.is_allowed = change.is_allowed;
            update(&transaction, rule, &life)?;
            if life.copies > 0 && reconciliation.tells(change.is_allowed) {
                let change = Change { happening: Happening::Rejudged, ..change.clone() };
                tell(&transaction, reconciliation, rule, &change)?;
            }
        }
        transaction.commit()?;
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
        let mut last = 0;
        while let Some(rule) = self.end_some(&mut reconciliation, last)? {
            last = rule;
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        watched(&transaction, reconciliation.moment.at, reconciliation.moment.after)?;
        let Reconciliation { moment, moment_id, .. } = reconciliation;
        let is_news = matches!(moment.watch, Watch::Resumed { .. })
            || moment_id.is_some()
            || moment.untold > 0
            || moment.before != Some(moment.after);
        match moment_id {
            Some(id) => {
                let untold = i64::try_from(moment.untold).unwrap_or(i64::MAX);
                transaction.execute("UPDATE moments SET untold = ?2 WHERE id = ?1", params![id, untold])?;
            }
            None if is_news => drop(Writer::begin(&transaction, &moment)?),
            None => {}
        }
        transaction.commit()?;
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
            if reconciliation.tells(life.is_allowed) {
                let change = read::change(&transaction, rule, Happening::Changed(what), life.is_allowed)?;
                tell(&transaction, reconciliation, rule, &change)?;
            }
        }
        transaction.commit()?;
        Ok(last)
    }
}

fn tell(
    transaction: &Transaction<'_>,
    reconciliation: &mut Reconciliation,
    rule: i64,
    change: &Change,
) -> Result<(), StoreError> {
    let mut writer = match reconciliation.moment_id {
        Some(id) => Writer::resume(transaction, id),
        None => Writer::begin(transaction, &reconciliation.moment)?,
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
