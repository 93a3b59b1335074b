//! The agent: a check at the start, then one every interval, or at once when asked to.
//! Tells each outcome to the caller; the allowlists are read again before every check.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::allowlists::{Keeper, Sources};
use super::blocked::Counter;
use super::cluster::{NetnsEvidence, netns_problem};
use super::reload::Reload;
use super::scan::{Options, Reader, Scan};
use crate::domain::audit::Rulebook;
use crate::domain::change::Scope;
use crate::domain::report::{Evidence as ReportEvidence, Report, Verdict};
use crate::domain::ruleset::Problem;

/// A torn read is repeated after a tenth of the interval, within these bounds.
const REPEAT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);

/// What the agent does and how often.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's name, for reports.
    pub node: String,
    /// Where the allowlists come from.
    pub sources: Sources,
    /// From the start of a check to the start of the next.
    pub interval: Duration,
    /// How the node is read.
    pub scan: Options,
    /// Where the counter of blocked rules is pinned; none if nobody asks for it.
    pub blocked_map: Option<PathBuf>,
    /// End after the first compliant check.
    pub terminate_on_success: bool,
}

/// Why the agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A signal asked for it.
    Stopped,
    /// The node is compliant and that was all to be found out.
    Compliant,
}

/// What the loop waits for.
enum Wake {
    Tick,
    CheckNow,
    Allowlists,
    Shutdown,
}

/// One check's report, made of a scan.
pub fn report(scan: Scan, node: &str, evidence: ReportEvidence, now: SystemTime) -> Report {
    let Scan { outcome, tools, .. } = scan;
    Report {
        checked_at: now,
        node: node.to_owned(),
        evidence,
        tools,
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
    /// How long the check took.
    pub took: Duration,
    /// How long each dump took, by program.
    pub dumps: Vec<(&'static str, Duration)>,
    /// Patterns in force.
    pub patterns: usize,
    /// Patterns that do not compile.
    pub broken: usize,
}

/// Evidence about the network namespace, as it is found; none where none is required.
pub type Evidence = Option<watch::Receiver<NetnsEvidence>>;

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

/// Runs until a signal, or until the node is compliant if that is all to be found out.
///
/// # Errors
/// If the signal handlers cannot be installed, or the thread that reads the node dies.
pub async fn run(
    settings: Settings,
    mut evidence: Evidence,
    mut tell: impl FnMut(&Checked),
) -> std::io::Result<Ending> {
    let mut signals = Signals::install()?;
    let mut keeper = Keeper::new(settings.sources.clone());
    let mut reader = Reader::new(settings.scan.clone());
    let mut reload = Reload::new(settings.sources.directories());
    let mut counter = settings.blocked_map.clone().map(Counter::new);
    let mut last_whole = None;
    loop {
        let started = Instant::now();
        let book = keeper.reload();
        let mut reading = tokio::task::spawn_blocking(move || {
            let scan = reader.check(&book, &Scope::Everything);
            (reader, scan)
        });
        let mut scan;
        (reader, scan) = tokio::select! {
            read = &mut reading => read?,
            () = signals.shutdown() => {
                settings.scan.cancelled.store(true, Ordering::Relaxed);
                let _ = tokio::time::timeout(Duration::from_secs(1), reading).await;
                return Ok(Ending::Stopped);
            }
        };
        let is_torn = scan.is_torn;
        let dumps = std::mem::take(&mut scan.dumps);
        let new = report(scan, &settings.node, ReportEvidence::Kernel, SystemTime::now());
        let mut report = standing(last_whole.as_ref(), started, settings.interval, is_torn, new);
        if !is_torn {
            last_whole = Some(Whole { at: started, report: report.clone() });
        }
        report.problems.extend(unproven(&mut evidence));
        report.blocked = counter.as_mut().map(|counter| counter.read(SystemTime::now()));
        let is_done = settings.terminate_on_success && report.verdict() == Verdict::Compliant;
        let (patterns, broken) = keeper.counts();
        tell(&Checked { report, took: started.elapsed(), dumps, patterns, broken });
        if is_done {
            return Ok(Ending::Compliant);
        }
        let pause = if is_torn { repeat_after(settings.interval) } else { settings.interval };
        loop {
            match signals.wait_until(started + pause, &mut evidence, &mut reload).await {
                Wake::Tick | Wake::CheckNow => break,
                Wake::Allowlists if keeper.reload_if_changed().is_some() => break,
                Wake::Allowlists => log::debug!("the allowlists say what they said"),
                Wake::Shutdown => return Ok(Ending::Stopped),
            }
        }
    }
}

fn unproven(evidence: &mut Evidence) -> Option<Problem> {
    evidence.as_mut().and_then(|evidence| netns_problem(&evidence.borrow_and_update()))
}

/// Waits for other evidence about the network namespace; for ever when none is to come.
async fn other_evidence(evidence: &mut Evidence) {
    if let Some(found) = evidence
        && found.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

fn repeat_after(interval: Duration) -> Duration {
    (interval / 10).clamp(*REPEAT.start(), *REPEAT.end()).min(interval)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn shutdown(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn wait_until(&mut self, moment: Instant, evidence: &mut Evidence, reload: &mut Reload) -> Wake {
        tokio::select! {
            _ = self.terminate.recv() => Wake::Shutdown,
            _ = self.interrupt.recv() => Wake::Shutdown,
            _ = self.hangup.recv() => Wake::CheckNow,
            () = other_evidence(evidence) => Wake::CheckNow,
            () = reload.changed() => Wake::Allowlists,
            () = tokio::time::sleep_until(moment.into()) => Wake::Tick,
        }
    }
}

/// Reads and judges this node once.
pub fn check_once(book: &Rulebook, options: &Options, node: &str) -> Report {
    report(
        Reader::new(options.clone()).check(book, &Scope::Everything),
        node,
        ReportEvidence::Kernel,
        SystemTime::now(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::ruleset::Reason;

    const INTERVAL: Duration = Duration::from_secs(300);

    fn made(violation_count: u64, problem: Option<Reason>) -> Report {
        Report {
            checked_at: SystemTime::UNIX_EPOCH,
            node: "n".into(),
            evidence: ReportEvidence::Kernel,
            tools: BTreeMap::new(),
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
        assert_eq!(after(Duration::ZERO, false, made(0, Some(Reason::DumpFailed))), Verdict::Unknown);
    }

    #[test]
    fn a_torn_read_is_repeated_sooner_than_the_interval() {
        assert_eq!(repeat_after(INTERVAL), Duration::from_secs(30));
        assert_eq!(repeat_after(Duration::from_secs(50)), Duration::from_secs(5));
        assert_eq!(repeat_after(Duration::from_millis(500)), Duration::from_millis(500));
    }
}
