//! Which Event is to be written when: news at once, what lasts every half hour, all of it within a limit.
//! Writes nothing: the caller asks what is due and says what was written.

use std::time::{Duration, Instant};

use super::blocked;
use super::event::{EventReason, NodeEvent};
use super::note::{self, Detail};
use crate::domain::judging::report::Report;
use crate::domain::verdict::Verdict;

/// An Event that still holds is refreshed this often: the API server forgets Events after an hour.
pub const REFRESH: Duration = Duration::from_secs(30 * 60);
/// New Events of one reason: so many at once, and one more for each such time.
const BURST: u32 = 5;
const REFILL: Duration = Duration::from_secs(10 * 60);

/// Something to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A new Event.
    Create(NodeEvent),
    /// The same note again, seen so many times until now.
    Refresh(NodeEvent, i32),
}

/// How an action was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// There is a new Event.
    Created,
    /// The Event that was there says that it goes on.
    Refreshed,
}

/// What was announced and what is to be; its size does not depend on how long it is used.
#[derive(Debug)]
pub struct Announcements {
    verdict: Verdict,
    wanted: Vec<NodeEvent>,
    told: Vec<Told>,
    /// A Warning was written, and no recovery since.
    is_troubled: bool,
    blocked: blocked::News,
    buckets: [Bucket; EventReason::ALL.len()],
    replaced: u64,
}

#[derive(Debug)]
struct Told {
    event: NodeEvent,
    at: Instant,
    seen: i32,
}

impl Announcements {
    /// Nothing is announced yet.
    pub fn new(now: Instant) -> Self {
        Self {
            verdict: Verdict::Compliant,
            wanted: Vec::new(),
            told: Vec::new(),
            is_troubled: false,
            blocked: blocked::News::default(),
            buckets: EventReason::ALL.map(|_| Bucket { tokens: BURST, since: now }),
            replaced: 0,
        }
    }

    /// Takes a new report; what an older one called for is forgotten.
    pub fn observe(&mut self, report: &Report, detail: Detail) {
        self.verdict = report.verdict();
        let mut wanted = note::warnings(report, detail);
        wanted.extend(report.blocked.as_ref().and_then(|blocked| self.blocked.observe(blocked)));
        if self.verdict == Verdict::Compliant && self.is_troubled {
            wanted.push(note::recovery(report));
        }
        // no report takes back what others tell
        let told = self.wanted.iter().filter(|event| event.reason == EventReason::LabelContested);
        wanted.extend(told.cloned());
        let untold =
            self.wanted.iter().filter(|event| !self.is_told(event) && !wanted.contains(event)).count();
        self.replaced += untold as u64;
        self.told.retain(|told| wanted.iter().any(|event| event.reason == told.event.reason));
        for told in self.told.iter_mut().filter(|told| wanted.contains(&told.event)) {
            told.seen = told.seen.saturating_add(1);
        }
        self.wanted = wanted;
    }

    /// Takes what is to be told once, whatever reports say; an earlier one of its reason is forgotten.
    pub fn tell(&mut self, event: NodeEvent) {
        let before = self.wanted.len();
        self.wanted.retain(|wanted| wanted.reason != event.reason);
        self.replaced += (before - self.wanted.len()) as u64;
        self.wanted.push(event);
    }

    /// What is to be written now; the same answer until [`Announcements::written`] or a new report.
    pub fn due(&self, now: Instant) -> Option<Action> {
        self.wanted.iter().find(|event| self.due_at(event, now) <= now).map(|event| {
            match self.told_as(event.reason) {
                Some(told) if told.event == *event => Action::Refresh(event.clone(), told.seen.max(2)),
                _ => Action::Create(event.clone()),
            }
        })
    }

    /// When something will be due if no report comes before.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        self.wanted.iter().map(|event| self.due_at(event, now)).min()
    }

    /// Says that what was due was written.
    pub fn written(&mut self, action: &Action, how: Written, now: Instant) {
        let (Action::Create(event) | Action::Refresh(event, _)) = action;
        if let Action::Create(event) = action {
            self.bucket_mut(event.reason).take(now);
        }
        if event.reason.is_momentary() {
            match event.reason {
                EventReason::BlockedIPTablesRule => self.blocked.written(),
                EventReason::IPTablesRulesCompliant => self.is_troubled = false,
                _ => {}
            }
            self.wanted.retain(|wanted| wanted != event);
            return;
        }
        self.is_troubled |= self.verdict != Verdict::Compliant;
        let seen = match action {
            Action::Refresh(_, seen) if how == Written::Refreshed => *seen,
            _ => 1,
        };
        self.told.retain(|told| told.event.reason != event.reason);
        self.told.push(Told { event: event.clone(), at: now, seen });
    }

    /// Notes that another one replaced before they could be written.
    pub const fn replaced(&self) -> u64 {
        self.replaced
    }

    fn due_at(&self, event: &NodeEvent, now: Instant) -> Instant {
        match self.told_as(event.reason) {
            Some(told) if told.event == *event => told.at + REFRESH,
            _ => self.bucket(event.reason).ready_at(now),
        }
    }

    fn told_as(&self, reason: EventReason) -> Option<&Told> {
        self.told.iter().find(|told| told.event.reason == reason)
    }

    fn is_told(&self, event: &NodeEvent) -> bool {
        self.told_as(event.reason).is_some_and(|told| told.event == *event)
    }

    #[expect(clippy::indexing_slicing, reason = "there is a bucket for each reason")]
    const fn bucket(&self, reason: EventReason) -> &Bucket {
        &self.buckets[reason as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "there is a bucket for each reason")]
    const fn bucket_mut(&mut self, reason: EventReason) -> &mut Bucket {
        &mut self.buckets[reason as usize]
    }
}

/// A token bucket of its own for each reason, so that one that changes all the time does not silence another.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    /// Since when the next token is being earned.
    since: Instant,
}

impl Bucket {
    fn ready_at(&self, now: Instant) -> Instant {
        if self.tokens > 0 { now } else { self.since + REFILL }
    }

    fn take(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.since).as_secs() / REFILL.as_secs();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(earned) >= BURST {
            self.tokens = BURST;
            self.since = now;
        } else {
            self.tokens += earned;
            self.since += REFILL * earned;
        }
        self.tokens = self.tokens.saturating_sub(1);
    }
}
