//! The agent's loop: everything is read at the start and once every interval; between, what is heard to have changed.
//! Tells each outcome to the caller; the allowlists are read again before every check.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::allowlists::{Keeper, Sources};
use super::blocked::Counter;
use super::history::HistoryStore;
use super::log_rules;
use super::reload::Reload;
use super::scan::{NodeReader, Scan, ScanOptions};
use super::wake::{Evidence, Wake, wait_until};
use super::watch::{self, Watch};
use crate::app::ending::Ending;
use crate::app::service::Fault;
use crate::domain::changes::between::{Between, Counts};
use crate::domain::changes::carried::{Line, News};
use crate::domain::changes::debounce::Pace;
use crate::domain::changes::history::{Key, Place};
use crate::domain::changes::{ChangeSet, Scope};
use crate::domain::drops::rules::RuleIndex;
use crate::domain::judging::audit::Rulebook;
use crate::domain::judging::netns::netns_problem;
use crate::domain::judging::provenance::Provenances;
use crate::domain::judging::report::{Evidence as ReportEvidence, Report};
use crate::domain::rules::Problem;
use crate::domain::verdict::Verdict;
use crate::domain::words::error_chain::chain_of;

/// A torn read is repeated after a tenth of the interval, within these bounds.
const REPEAT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);

/// Where something can change without anybody being told, it is looked at this often.
const SILENT: Duration = Duration::from_secs(3);

/// What the agent does and how often.
#[derive(Clone, Debug)]
pub struct CheckSettings {
    /// The node's name, for reports.
    pub node: String,
    /// Where the allowlists come from.
    pub sources: Sources,
    /// From the start of a check of everything to the start of the next.
    pub interval: Duration,
    /// How changes are heard of between; none if they are not.
    pub watch: Option<watch::WatchSettings>,
    /// How the node is read.
    pub scan: ScanOptions,
    /// Where the counter of blocked rules is pinned; none if nobody asks for it.
    pub blocked_map: Option<PathBuf>,
    /// End after the first compliant check.
    pub terminate_on_success: bool,
}

/// One check's report, made of a scan.
pub fn report(scan: Scan, node: &str, evidence: ReportEvidence, now: SystemTime) -> Report {
    let Scan { outcome, .. } = scan;
    Report {
        checked_at: now,
        node: node.to_owned(),
        evidence,
        tables: outcome.tables,
        violations: outcome.violations,
        violation_count: outcome.violation_count,
        violations_hash: outcome.violations_hash,
        ruleset_hash: outcome.ruleset_hash,
        problems: outcome.problems,
        blocked: None,
    }
}

/// One check, with what it took.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The report that stands now.
    pub report: Report,
    /// What is other than it was at the check before; none if nothing is.
    pub changes: Option<Arc<ChangeSet>>,
    /// How long the check took.
    pub took: Duration,
    /// Patterns in force.
    pub patterns: usize,
    /// Patterns that do not compile.
    pub broken: usize,
    /// Whether everything was read, and not only what was heard to have changed.
    pub is_full: bool,
    /// What came and went between looks, or was missed, since the start.
    pub between: Counts,
    /// What hearing of changes has come to; none where it was not asked for.
    pub heard: Option<(watch::Counters, watch::Failures)>,
}

/// The index of rules that log, for whoever names the rule of a packet; kept as the rules are.
pub type LogRules = Arc<RwLock<RuleIndex>>;

/// The report that stands after a check: a torn read without violations leaves the last whole report in force
/// until that is older than one interval.
fn standing(last: Option<&Whole>, now: Instant, interval: Duration, is_torn: bool, new: Report) -> Report {
    match last {
        Some(last) if is_torn && new.violation_count == 0 && now - last.at <= interval => last.report.clone(),
        _ => new,
    }
}

/// The last report whose rules were all read at one moment.
struct Whole {
    at: Instant,
    report: Report,
}

/// Runs until `stop`, or until the node is compliant if that is all to be found out.
///
/// # Errors
/// If the handler of SIGHUP cannot be installed, or a thread that reads the node or hears of changes dies.
pub async fn run(
    settings: CheckSettings,
    journal: Arc<HistoryStore>,
    log_rules: Option<LogRules>,
    mut evidence: Evidence,
    mut tell: impl FnMut(&Checked),
    stop: impl Future<Output = Ending>,
) -> Result<Ending, Fault> {
    tokio::pin!(stop);
    let hangup = signal(SignalKind::hangup());
    let mut hangup =
        hangup.map_err(|source| Fault::Failed { attempt: "asking to hear of SIGHUP", source })?;
    let mut reload = Reload::new(settings.sources.directories());
    let mut checker = Checker::new(settings, journal, log_rules);
    let book = checker.keeper.reload();
    let CheckSettings { watch, scan, .. } = checker.settings.clone();
    let watch = start_watch(watch, scan, book).await?;
    let mut wake = Wake::Tick;
    loop {
        let book = checker.keeper.reload();
        if let Some(watch) = &watch {
            watch.judge_by(&book);
        }
        let (scope, news) = scope(wake, watch.as_ref());
        checker.hear(news, &book);
        let checked = tokio::select! {
            checked = checker.check(&scope, book, &mut evidence) => checked?,
            ending = &mut stop => {
                checker.cancel().await;
                return Ok(ending);
            }
        };
        let heard = watch.as_ref().map(|watch| (watch.counters(), watch.failures()));
        tell(&Checked { heard, ..checked });
        if checker.is_done() {
            return Ok(Ending::Compliant);
        }
        checker.reconcile().await?;
        wake = loop {
            let wake = tokio::select! {
                wake = wait_until(checker.next(), &mut hangup, &mut evidence, &mut reload) => wake,
                () = heard_of(watch.as_ref(), checker.pace) => Wake::Heard,
                () = checker.came.notified() => Wake::Heard,
                fault = death_of(watch.as_ref()) => return Err(fault),
                ending = &mut stop => return Ok(ending),
            };
            match wake {
                Wake::Allowlists if checker.keeper.reload_if_changed().is_none() => {
                    log::debug!("the allowlists say what they said");
                }
                other => break other,
            }
        };
        match wake {
            // what was torn, or changes in silence, is read again, and nothing else
            Wake::Tick if !checker.is_full_due() => wake = Wake::Heard,
            Wake::Allowlists => checker.journal.allowlists_changed(),
            _ => {}
        }
    }
}

/// Starts to hear of changes before anything is read. Where that cannot be, the interval finds them.
async fn start_watch(
    settings: Option<watch::WatchSettings>,
    scan: ScanOptions,
    book: Rulebook,
) -> Result<Option<Watch>, Fault> {
    let Some(settings) = settings else { return Ok(None) };
    let started = tokio::task::spawn_blocking(move || watch::start(settings, scan, book)).await;
    let started = started.map_err(|error| Fault::from(error).of("starting to hear of changes"))?;
    Ok(started
        .inspect_err(|error| {
            let error = chain_of(error);
            log::warn!("changes are only seen at the interval: starting to listen: {error}");
        })
        .ok())
}

async fn heard_of(watch: Option<&Watch>, pace: Pace) {
    match watch {
        Some(watch) => watch.ready(pace).await,
        None => std::future::pending().await,
    }
}

/// Waits until nobody hears of changes any more though it looks as if somebody did.
async fn death_of(watch: Option<&Watch>) -> Fault {
    match watch {
        Some(watch) => watch.ended().await,
        None => std::future::pending().await,
    }
}

/// What is to be read, and what was heard. Only while every change is heard of is anything left out.
fn scope(wake: Wake, watch: Option<&Watch>) -> (Scope, News) {
    // in any case: what is read now has seen it
    let heard = watch.and_then(Watch::take);
    let hears_all = watch.is_some_and(|watch| watch.failures() == watch::Failures::default());
    let (scope, news) =
        heard.map_or((Scope::Parts(BTreeMap::new()), News::default()), |heard| (heard.scope, heard.news));
    match wake {
        Wake::Heard => (scope, news),
        Wake::Allowlists | Wake::Evidence if hears_all => (scope, news),
        _ => (Scope::Everything, news),
    }
}

/// Checks the node again and again, and remembers what the next check needs.
struct Checker {
    settings: CheckSettings,
    journal: Arc<HistoryStore>,
    log_rules: Option<LogRules>,
    keeper: Keeper,
    counter: Option<Counter>,
    reader: Option<NodeReader>,
    /// Told when more was read of what sets hold.
    came: Arc<Notify>,
    reading: Option<tokio::task::JoinHandle<(NodeReader, Scan)>>,
    last_whole: Option<Whole>,
    provenances: Provenances,
    verdict: Option<Verdict>,
    /// The hash of the last report's violations.
    violations: Option<String>,
    /// What happened between two looks.
    between: Between,
    pace: Pace,
    last_full: Instant,
    repeat_at: Option<Instant>,
    is_torn: bool,
}

impl Checker {
    fn new(settings: CheckSettings, journal: Arc<HistoryStore>, log_rules: Option<LogRules>) -> Self {
        Self {
            journal,
            log_rules,
            keeper: Keeper::new(settings.sources.clone()),
            counter: settings.blocked_map.clone().map(Counter::new),
            reader: None,
            came: Arc::default(),
            reading: None,
            last_whole: None,
            provenances: Provenances::default(),
            verdict: None,
            violations: None,
            between: Between::default(),
            pace: Pace::default(),
            last_full: Instant::now(),
            repeat_at: None,
            is_torn: false,
            settings,
        }
    }

    /// Takes what was heard until now.
    fn hear(&mut self, news: News, book: &Rulebook) {
        self.between.hear(news, Instant::now());
        self.between.judge_by(|line: &Line| {
            let entry = line.entry();
            book.judge(line.backend, line.family, &entry).judged()
        });
    }

    async fn check(
        &mut self,
        scope: &Scope,
        book: Rulebook,
        evidence: &mut Evidence,
    ) -> Result<Checked, Fault> {
        let (started, is_full) = (Instant::now(), *scope == Scope::Everything);
        let mut scan = self.read(scope.clone(), book).await?;
        if let Some(reader) = self.reader.as_ref().filter(|_| !scan.is_torn) {
            self.between.name_authors(&mut scan.changes);
            let went = self.between.look(started, |line| reader.holds(line));
            scan.changes.splice(..0, went);
        }
        let cost = scan.cost;
        if is_full {
            self.last_full = started;
        }
        let is_silent = self.reader.as_ref().is_some_and(NodeReader::is_silent);
        self.is_torn = scan.is_torn;
        let repeat_at = match scan.is_torn {
            true => Some(started + repeat_after(self.settings.interval)),
            false => is_silent.then(|| started + SILENT),
        };
        let elements_at = self.reader.as_ref().and_then(NodeReader::next);
        let forgiven_at = self.between.next(started, self.settings.interval);
        self.repeat_at = repeat_at.into_iter().chain(elements_at).chain(forgiven_at).min();
        let (patterns, broken) = self.keeper.counts();
        let (report, changes) = self.conclude(scan, started, evidence);
        // the first one has to be, whatever it takes
        if let Some(before) = self.violations.replace(report.violations_hash.clone()) {
            self.pace = self.pace.after(started, cost, before != report.violations_hash);
        }
        let took = started.elapsed();
        let between = self.between.counts;
        Ok(Checked { report, changes, took, patterns, broken, is_full, between, heard: None })
    }

    fn new_reader(&self) -> NodeReader {
        let CheckSettings { scan, interval, .. } = &self.settings;
        NodeReader::for_rules_first(scan.clone(), *interval, Arc::clone(&self.came))
    }

    async fn read(&mut self, scope: Scope, book: Rulebook) -> Result<Scan, Fault> {
        let mut reader = self.reader.take().unwrap_or_else(|| self.new_reader());
        let log_rules = self.log_rules.clone();
        let reading = self.reading.insert(tokio::task::spawn_blocking(move || {
            let is_first = !reader.has_read();
            let scan = reader.check(&book, &scope);
            if let Some(log_rules) = log_rules
                && (is_first || !scan.changes.is_empty() || scan.untold > 0)
            {
                *log_rules.write().unwrap_or_else(PoisonError::into_inner) = log_rules::index(&reader);
            }
            (reader, scan)
        }));
        let failed = |error| Fault::from(error).of("reading the rules of this node");
        let (reader, scan) = reading.await.map_err(failed)?;
        (self.reader, self.reading) = (Some(reader), None);
        Ok(scan)
    }

    /// Compares what is present with the journal where that may lack changes.
    async fn reconcile(&mut self) -> Result<(), Fault> {
        let (now, journal) = (SystemTime::now(), Arc::clone(&self.journal));
        let is_whole = !self.is_torn;
        if let (true, Some(verdict)) = (is_whole && journal.wants_reconcile(now), self.verdict)
            && let Some(reader) = self.reader.take_if(|reader| reader.is_whole() && reader.keeps_every_text())
        {
            let compare = move || {
                journal.reconcile(now, verdict, reader.present());
                reader
            };
            let compared = tokio::task::spawn_blocking(compare).await;
            let failed = |error| Fault::from(error).of("comparing the rules with the journal");
            self.reader = Some(compared.map_err(failed)?);
        }
        Ok(())
    }

    /// Gives a read that is under way a moment to end.
    async fn cancel(&mut self) {
        self.settings.scan.cancelled.store(true, Ordering::Relaxed);
        if let Some(reading) = self.reading.take() {
            let _ = tokio::time::timeout(Duration::from_secs(1), reading).await;
        }
    }

    /// What the scan means: the report that stands now, and what is other than before.
    fn conclude(
        &mut self,
        mut scan: Scan,
        started: Instant,
        evidence: &mut Evidence,
    ) -> (Report, Option<Arc<ChangeSet>>) {
        let (is_torn, now) = (scan.is_torn, SystemTime::now());
        let (changes, untold) = (std::mem::take(&mut scan.changes), scan.untold);
        let journal = Arc::clone(&self.journal);
        self.provenances.note(&mut scan.outcome.violations, &changes, now, |line| {
            let place = Place {
                backend: line.backend,
                family: line.family,
                table: &line.table,
                chain: line.chain.as_deref(),
            };
            journal.first_seen(Key::of(place, &line.line))
        });
        let new = report(scan, &self.settings.node, ReportEvidence::Kernel, now);
        let mut report = standing(self.last_whole.as_ref(), started, self.settings.interval, is_torn, new);
        if !is_torn {
            self.last_whole = Some(Whole { at: started, report: report.clone() });
        }
        report.problems.extend(self.between.problems(started, self.settings.interval));
        report.problems.extend(unproven(evidence));
        report.blocked = self.counter.as_mut().map(|counter| counter.read(now));
        let after = report.verdict();
        let before = self.verdict.replace(after);
        let is_news = before.is_some_and(|before| before != after || !changes.is_empty() || untold > 0);
        let set = is_news.then(|| Arc::new(ChangeSet { at: now, before, after, changes, untold }));
        (report, set)
    }

    fn is_done(&self) -> bool {
        self.settings.terminate_on_success && self.verdict == Some(Verdict::Compliant)
    }

    /// When the next check is due if nothing happens.
    fn next(&self) -> Instant {
        let full = self.last_full + self.settings.interval;
        self.repeat_at.map_or(full, |repeat| repeat.min(full))
    }

    /// Whether it is one of everything; where nobody hears of changes every one is.
    fn is_full_due(&self) -> bool {
        self.settings.watch.is_none() || Instant::now() >= self.last_full + self.settings.interval
    }
}

fn unproven(evidence: &mut Evidence) -> Option<Problem> {
    evidence.as_mut().and_then(|evidence| netns_problem(&evidence.borrow_and_update()))
}

fn repeat_after(interval: Duration) -> Duration {
    (interval / 10).clamp(*REPEAT.start(), *REPEAT.end()).min(interval)
}

/// Reads and judges this node once.
pub fn check_once(book: &Rulebook, options: &ScanOptions, node: &str) -> Report {
    report(
        NodeReader::new(options.clone()).check(book, &Scope::Everything),
        node,
        ReportEvidence::Kernel,
        SystemTime::now(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::Reason;

    const INTERVAL: Duration = Duration::from_secs(300);

    fn made(violation_count: u64, problem: Option<Reason>) -> Report {
        Report {
            checked_at: SystemTime::UNIX_EPOCH,
            node: "n".into(),
            evidence: ReportEvidence::Kernel,
            tables: Vec::new(),
            violations: Vec::new(),
            violation_count,
            violations_hash: String::new(),
            ruleset_hash: String::new(),
            problems: problem.map(|reason| Problem::new(reason, "")).into_iter().collect(),
            blocked: None,
        }
    }

    fn after(age: Duration, is_torn: bool, new: Report) -> Verdict {
        let at = Instant::now();
        let last = Whole { at, report: made(0, None) };
        standing(Some(&last), at + age, INTERVAL, is_torn, new).verdict()
    }

    #[test]
    fn a_torn_read_keeps_the_last_whole_verdict_for_one_interval() {
        let torn = || made(0, Some(Reason::TornRead));
        assert_eq!(after(INTERVAL / 10, true, torn()), Verdict::Compliant);
        assert_eq!(after(INTERVAL + Duration::from_secs(1), true, torn()), Verdict::Unknown);
        assert_eq!(standing(None, Instant::now(), INTERVAL, true, torn()).verdict(), Verdict::Unknown);
    }

    #[test]
    fn violations_of_a_torn_read_count_at_once() {
        assert_eq!(after(Duration::ZERO, true, made(1, Some(Reason::TornRead))), Verdict::Violations);
    }

    #[test]
    fn a_whole_read_always_counts() {
        assert_eq!(after(Duration::ZERO, false, made(0, Some(Reason::KernelRead))), Verdict::Unknown);
    }

    #[test]
    fn a_torn_read_is_repeated_sooner_than_the_interval() {
        assert_eq!(repeat_after(INTERVAL), Duration::from_secs(30));
        assert_eq!(repeat_after(Duration::from_secs(50)), Duration::from_secs(5));
        assert_eq!(repeat_after(Duration::from_millis(500)), Duration::from_millis(500));
    }
}
