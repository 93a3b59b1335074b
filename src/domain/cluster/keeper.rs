//! What is to be done about the label of one object: nothing, look, write, or wait.
//! Does none of it, and knows no clock; who calls says what was seen and what was written.

use std::collections::BTreeMap;
use std::time::Instant;

use super::contest::Contest;
use super::freshness::{Check, Freshness};
use super::label;
use crate::domain::judging::report::Report;
use crate::domain::verdict::Verdict;

/// What an object holds of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Grows with each change of the object; none if that cannot be said.
    pub version: Option<u64>,
    /// Our labels.
    pub labels: BTreeMap<String, String>,
    /// The check that the annotations tell of.
    pub check: Option<Check>,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The keys of the labels that get the value; may be empty.
    pub labels: Vec<String>,
    /// Their value.
    pub value: &'static str,
    /// The check that the annotations are to tell of.
    pub check: Option<Check>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until then or until there is news.
    Rest(Option<Instant>),
    /// Look at the object, and say [`Keeper::found`] or [`Keeper::unseen`].
    Look,
    /// Write, and say [`Keeper::wrote`].
    Write(Patch),
    /// Say that the fight over the label has ended.
    Calm,
}

/// What a write was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wrote {
    /// The label was right before, and somebody else changed it.
    pub is_restore: bool,
    /// With that, a fight begins.
    pub is_fight: bool,
}

/// Keeps the label of one object equal to the latest verdict.
#[derive(Debug)]
pub struct Keeper {
    keys: Vec<String>,
    wanted: Option<&'static str>,
    /// The latest report is not acted on yet.
    is_pending: bool,
    /// The label was as wanted when it was looked at last.
    is_right: bool,
    /// It is no longer, through no doing of ours.
    is_lost: bool,
    /// The object as the watch and our own writes show it; none if nobody watches.
    watched: Option<Held>,
    /// The version that was shown or answered last.
    version: Option<u64>,
    contest: Contest,
    freshness: Freshness,
}

impl Keeper {
    /// Will keep labels with these keys.
    pub fn new(keys: &[String]) -> Self {
        Self {
            keys: keys.to_vec(),
            wanted: None,
            is_pending: false,
            is_right: false,
            is_lost: false,
            watched: None,
            version: None,
            contest: Contest::default(),
            freshness: Freshness::default(),
        }
    }

    /// Takes a new report.
    pub fn observe(&mut self, report: &Report) {
        self.want(label::value(report.verdict()));
        self.freshness.observe(report);
    }

    /// Takes leave: nobody will keep the label after this.
    pub fn leave(&mut self) {
        self.want(label::value(Verdict::Unknown));
    }

    fn want(&mut self, value: &'static str) {
        if self.wanted.replace(value) != Some(value) {
            // news waits for no fight to end
            (self.is_right, self.is_lost) = (false, false);
        }
        self.is_pending = true;
    }

    /// Takes what the watch shows; none when there is no watch, or no object.
    pub fn watched(&mut self, held: Option<Held>) {
        match held {
            Some(held) if self.is_old(&held) => {}
            Some(held) => self.know(held, true),
            None => (self.watched, self.version) = (None, None),
        }
    }

    /// The watch may be behind the answers to our own calls.
    fn is_old(&self, held: &Held) -> bool {
        self.version.zip(held.version).is_some_and(|(known, version)| version < known)
    }

    fn know(&mut self, held: Held, is_watched: bool) {
        self.version = held.version;
        if is_watched {
            self.watched = Some(held);
        }
    }

    /// What is to be done next.
    pub fn next(&mut self, now: Instant) -> Step {
        if self.is_right && self.contest.calm_at().is_some_and(|calm| calm <= now) {
            self.contest.end();
            return Step::Calm;
        }
        match (self.wanted, &self.watched) {
            (None, _) => Step::Rest(None),
            (Some(value), Some(held)) => {
                let held = held.clone();
                self.compare(&held, value, now)
            }
            (Some(_), None) if self.is_pending => Step::Look,
            (Some(_), None) => Step::Rest(self.contest.calm_at()),
        }
    }

    /// Goes on with what the object holds.
    pub fn found(&mut self, held: &Held, now: Instant) -> Step {
        match self.wanted {
            Some(value) => self.compare(held, value, now),
            None => Step::Rest(None),
        }
    }

    /// Goes on without having seen the object.
    pub fn unseen(&mut self) -> Step {
        match self.wanted {
            Some(value) => {
                let check = self.freshness.due().cloned();
                Step::Write(Patch { labels: self.keys.clone(), value, check })
            }
            None => Step::Rest(None),
        }
    }

    fn compare(&mut self, held: &Held, value: &'static str, now: Instant) -> Step {
        if let Some(check) = &held.check {
            self.freshness.found(check);
        }
        let labels: Vec<_> =
            label::differing(&held.labels, &self.keys, value).into_iter().map(str::to_owned).collect();
        if labels.is_empty() {
            (self.is_right, self.is_lost, self.is_pending) = (true, false, false);
            return match self.freshness.due().cloned() {
                check @ Some(_) => Step::Write(Patch { labels, value, check }),
                None => Step::Rest(self.contest.calm_at()),
            };
        }
        self.is_lost |= std::mem::take(&mut self.is_right);
        let ready_at = self.contest.ready_at(now);
        if self.is_lost && ready_at > now {
            return Step::Rest(Some(ready_at));
        }
        let along = self.freshness.latest().filter(|_| held.check.is_none());
        let check = self.freshness.due().or(along).cloned();
        Step::Write(Patch { labels, value, check })
    }

    /// Notes that this was written, and what the object holds since.
    pub fn wrote(&mut self, patch: &Patch, held: Held, now: Instant) -> Wrote {
        if let Some(check) = &patch.check {
            self.freshness.written(check);
        }
        self.know(held, self.watched.is_some());
        let is_restore = std::mem::take(&mut self.is_lost);
        (self.is_right, self.is_pending) = (true, false);
        Wrote { is_restore, is_fight: is_restore && self.contest.restored(now) }
    }
}

#[cfg(test)]
mod tests;
