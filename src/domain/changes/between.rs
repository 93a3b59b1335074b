//! What happened between two looks at the rules: what came and went, what could not be looked at, and who brought what is
//! there. In mind for one interval: so long nobody may call the node compliant.
//! Reads nothing, and knows no clock: `now` is an argument.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::carried::{CARRIED_MAX, Carried, Line, News};
use super::judged::Judged;
use super::{RuleChange, What};
use crate::domain::changes::wording::compact_authors;
use crate::domain::rules::{Problem, Reason};
use crate::domain::words::cut;
use crate::domain::words::numbers::counted;

/// So many lines that came and went are told as problems; of the others how many there are.
const TOLD: usize = 10;
/// Of a line in a problem.
const LINE_BYTES: usize = 300;

/// What is in mind.
#[derive(Debug, Default)]
pub struct Between {
    /// Not decided yet: no look has read their tables since.
    waiting: News,
    went: Vec<(Instant, Carried)>,
    missed: Option<Instant>,
    /// How many lines came and went since the start, and how often something could not be looked at.
    pub counts: Counts,
}

/// Since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that came and went.
    pub went: u64,
    /// Times that something could not be looked at.
    pub missed: u64,
}

impl Between {
    /// Takes what was heard before a look begins.
    pub fn hear(&mut self, news: News, now: Instant) {
        self.waiting.extend(news);
        let missed = std::mem::take(&mut self.waiting.missed);
        if missed > 0 {
            self.counts.missed += missed;
            self.missed = Some(now);
        }
    }

    /// Names the process that carried a line as the author of its change, and no other that changed the same chain.
    pub fn name_authors(&self, changes: &mut [RuleChange]) {
        for change in
            changes.iter_mut().filter(|change| !change.judged.is_allowed() && change.what != What::Removed)
        {
            if let Some(author) = self.waiting.author_of(change) {
                change.authors = vec![author];
            }
        }
    }

    /// Takes what a look has found: `is_there` says of a line whether it is there, and nothing where that was not read. What
    /// came and went, as changes.
    pub fn look(&mut self, now: Instant, is_there: impl Fn(&Line) -> Option<bool>) -> Vec<RuleChange> {
        let went = self.waiting.decide(is_there);
        let changes = went.iter().map(Carried::came_and_went).collect();
        self.counts.went += u64::try_from(went.len()).unwrap_or(u64::MAX);
        let keys: Vec<_> = went.iter().map(|carried| carried.line.key()).collect();
        self.went.retain(|(_, known)| !keys.contains(&known.line.key()));
        self.went.extend(went.into_iter().map(|carried| (now, carried)));
        let excess = self.went.len().saturating_sub(CARRIED_MAX);
        self.went.drain(..excess);
        changes
    }

    /// Forgets what other allowlists allow.
    pub fn judge_by(&mut self, judge: impl Fn(&Line) -> Judged) {
        self.waiting.judge_by(&judge);
        self.went.retain_mut(|(_, carried)| {
            carried.line.judged = judge(&carried.line);
            !carried.line.judged.is_allowed()
        });
    }

    /// What forbids to call the node compliant now.
    pub fn problems(&self, now: Instant, interval: Duration) -> Vec<Problem> {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < interval;
        let went: Vec<_> = self.went.iter().rev().filter(|(at, _)| is_recent(*at)).collect();
        let mut problems: Vec<_> = went
            .iter()
            .take(TOLD)
            .map(|(_, carried)| Problem::new(Reason::CameAndWent, told(carried)))
            .collect();
        if went.len() > TOLD {
            let more = counted((went.len() - TOLD) as u64, "more line");
            problems.push(Problem::new(Reason::CameAndWent, format!("and {more}: see `monitor history`")));
        }
        let undecided = self.waiting.len() as u64;
        if undecided > 0 {
            let what = format!(
                "{} that no pattern allows came, and what they belong to was not read whole since",
                counted(undecided, "line")
            );
            problems.push(Problem::new(Reason::CameAndWent, what));
        }
        if self.missed.is_some_and(is_recent) {
            let what = "changes of nf_tables came faster than they could be looked at, or were not understood: a rule may have \
                        come and gone; it is forgiven after one interval without";
            problems.push(Problem::new(Reason::ChangesMissed, what));
        }
        problems
    }

    /// When something is forgiven next.
    pub fn next(&self, now: Instant, interval: Duration) -> Option<Instant> {
        let ends = self.went.iter().map(|(at, _)| *at).chain(self.missed).map(|at| at + interval);
        ends.filter(|end| *end > now).min()
    }
}

fn told(carried: &Carried) -> String {
    let Line { family, table, line, .. } = &carried.line;
    let line = cut::to_bytes(&line.escape_ascii().to_string(), LINE_BYTES);
    let author = match &carried.author {
        Some(author) => format!(", brought by {}", compact_authors(&[Arc::clone(author)])),
        None => String::new(),
    };
    let table = table.escape_default();
    format!(
        "table {family} {table}: {line}: it was in force between two looks, and no pattern allows it{author}"
    )
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has to begin at some moment")]
mod tests {
    use super::*;
    use crate::domain::changes::author::Author;
    use crate::domain::rules::{Backend, Family, Kind};

    const INTERVAL: Duration = Duration::from_secs(300);

    fn carried(text: &str, name: &str) -> Carried {
        let line = Line {
            backend: Backend::IptablesNft,
            family: Family::Ip,
            table: "filter".into(),
            chain: Some("INPUT".into()),
            kind: Kind::Rule,
            line: text.into(),
            judged: Judged::Unexpected,
        };
        Carried { line, author: Some(Arc::new(Author::named(7, name.as_bytes()))) }
    }

    fn news(texts: &[&str]) -> News {
        let mut news = News::default();
        texts.iter().for_each(|text| news.add(carried(text, "mallory")));
        news
    }

    fn reasons(between: &Between, now: Instant) -> Vec<Reason> {
        between.problems(now, INTERVAL).iter().map(|problem| problem.reason).collect()
    }

    #[test]
    fn what_came_and_went_is_in_mind_for_one_interval() {
        let (mut between, zero) = (Between::default(), Instant::now());
        between.hear(news(&["-A INPUT -j DROP"]), zero);
        assert_eq!(between.look(zero, |_| None), []);
        assert_eq!(reasons(&between, zero + INTERVAL), [Reason::CameAndWent], "it may be there still");
        let changes = between.look(zero, |_| Some(false));
        assert_eq!((changes.len(), changes[0].what), (1, What::CameAndWent));
        assert_eq!(between.look(zero, |_| Some(false)), [], "told once");
        let last = zero + INTERVAL - Duration::from_millis(1);
        assert_eq!(
            (reasons(&between, last), between.next(last, INTERVAL)),
            (vec![Reason::CameAndWent], Some(zero + INTERVAL))
        );
        assert_eq!(
            (reasons(&between, zero + INTERVAL), between.next(zero + INTERVAL, INTERVAL)),
            (vec![], None)
        );
        let told = &between.problems(zero, INTERVAL)[0].detail;
        assert!(told.contains("-A INPUT -j DROP") && told.ends_with("brought by mallory"), "{told}");
        // again, later
        between.hear(news(&["-A INPUT -j DROP"]), last);
        between.look(last, |_| Some(false));
        assert_eq!(reasons(&between, zero + INTERVAL), [Reason::CameAndWent]);
        between.judge_by(|_| Judged::Allowed);
        assert_eq!((reasons(&between, last), between.counts), (vec![], Counts { went: 2, missed: 0 }));
    }

    #[test]
    fn what_was_missed_is_in_mind_for_one_interval() {
        let (mut between, zero) = (Between::default(), Instant::now());
        between.hear(News::missed(3), zero);
        assert_eq!((reasons(&between, zero), between.counts.missed), (vec![Reason::ChangesMissed], 3));
        between.hear(News::default(), zero + INTERVAL);
        assert_eq!(reasons(&between, zero + INTERVAL), []);
    }

    #[test]
    fn the_author_of_a_line_is_who_carried_it() {
        let mut between = Between::default();
        between.hear(news(&["there"]), Instant::now());
        let burst = Arc::new(Author::named(1, b"decoy"));
        let mut change = carried("there", "").came_and_went();
        (change.what, change.authors) = (What::Added, vec![Arc::clone(&burst); 8]);
        let other = RuleChange { line: b"other".to_vec(), ..change.clone() };
        let mut changes = [change, other];
        between.name_authors(&mut changes);
        let names = changes.each_ref().map(|change| change.authors[0].name.as_str());
        assert_eq!((names, changes[0].authors.len()), (["mallory", "decoy"], 1));
    }

    #[test]
    fn what_is_told_is_bounded() {
        let (mut between, zero) = (Between::default(), Instant::now());
        let texts: Vec<_> = (0..CARRIED_MAX).map(|number| number.to_string()).collect();
        for round in 0..3 {
            let texts: Vec<_> = texts.iter().map(|text| format!("{round} {text}")).collect();
            between.hear(news(&texts.iter().map(String::as_str).collect::<Vec<_>>()), zero);
            assert_eq!(between.look(zero, |_| Some(false)).len(), CARRIED_MAX);
        }
        assert_eq!(between.went.len(), CARRIED_MAX);
        let problems = between.problems(zero, INTERVAL);
        assert_eq!(problems.len(), TOLD + 1);
        assert!(problems[TOLD].detail.starts_with("and 990 more lines"), "{}", problems[TOLD].detail);
    }
}
