//! The metrics of the agent, in Prometheus' classic text format.
//! Bounds what untrusted names can do to a time series database; serves nothing.
//!
//! *Source*: Prometheus documentation, "Exposition formats" (text format 0.0.4), "Metric and label naming".

mod attribution;
mod label;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use self::attribution::{Attribution, Processes};
use super::drops::DropMetrics;
use crate::domain::changes::ChangeSet;
use crate::domain::changes::between;
use crate::domain::changes::judged::Judged;
use crate::domain::judging::report::{Report, TableSummary, Violation};
use crate::domain::rules::{Backend, Family, IPTABLES_TABLES, Reason};
use crate::domain::verdict::Verdict;
use label::{OTHER, shown};

/// Every metric's name begins with this.
const PREFIX: &str = "iptables_monitor";
/// Names of native tables that get their own series; the tables of all others are added up as [`OTHER`].
const MAX_NATIVE_NAMES: usize = 20;
/// Stands where else a word of what the allowlists say would: of these changes only the number is known.
const NOT_LISTED: &str = "not_listed";
const VERDICTS: [Verdict; 3] = [Verdict::Compliant, Verdict::Violations, Verdict::Unknown];
const TABLE_LABELS: [&str; 3] = ["backend", "family", "table"];
/// Upper bounds of a check's duration, in seconds: from an empty node to 100,000 rules.
const CHECK_SECONDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// All metrics of this process; a clone is another handle to the same ones.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    /// Names in it have no prefix: one of them is another system's.
    unprefixed: Registry,
    drops: DropMetrics,
    /// Held while several series change together, so that no scrape sees half of a check.
    names: Mutex<Names>,
    verdict: IntGaugeVec,
    rules: IntGaugeVec,
    unexpected: IntGaugeVec,
    not_judged: IntGaugeVec,
    changes: IntCounterVec,
    problems: IntGaugeVec,
    attributed: IntGaugeVec,
    processes: IntGaugeVec,
    check_duration: Histogram,
    patterns: IntGauge,
    broken_patterns: IntGauge,
    last_check: Gauge,
    checks: IntCounter,
    came_and_went: IntCounter,
    changes_missed: IntCounter,
    blocked_rules: IntCounter,
    blocked_read_errors: IntCounter,
    api_writes: IntCounterVec,
    api_failures: IntCounterVec,
    permission: IntGaugeVec,
    label_restores: IntCounterVec,
    watching: IntGaugeVec,
    heard: IntCounterVec,
    journal: IntCounterVec,
    journal_open: IntGauge,
    journal_bytes: IntGauge,
    shed: IntCounterVec,
}

impl Metrics {
    /// Metrics of a process that has not checked anything: the verdict is unknown.
    ///
    /// # Panics
    /// Never: the names and labels are fixed and valid.
    pub fn new(version: &str, commit: &str) -> Self {
        let registry =
            Registry::new_custom(Some(PREFIX.to_owned()), None).expect("the prefix is a valid name");
        let on = &registry;
        let unprefixed = Registry::new();
        let drops = DropMetrics::register(&unprefixed).expect("every name is valid and registered once");
        let build_info =
            gauges(on, "build_info", "Always 1; the labels say which build this is.", &["version", "commit"]);
        build_info.with_label_values(&[version, commit]).set(1);
        let metrics = Self(Arc::new(Inner {
            verdict: gauges(on, "verdict", "1 for the verdict that stands, 0 for the others.", &["verdict"]),
            rules: gauges(on, "rules", "Rules that were read.", &TABLE_LABELS),
            unexpected: gauges(on, "unexpected_rules", "Lines that no pattern allows.", &TABLE_LABELS),
            not_judged: gauges(
                on,
                "not_judged_lines",
                "Lines of which nobody can say whether they are allowed.",
                &TABLE_LABELS,
            ),
            changes: counters(
                on,
                "changes_total",
                "Lines that changed, by what the allowlists say of them.",
                &["judgement"],
            ),
            problems: gauges(
                on,
                "problems",
                "What was not read or not understood, as far as it is told one by one.",
                &["reason"],
            ),
            attributed: gauges(
                on,
                "attributed_rules",
                "Unexpected rules that are listed, by what is reported of who brought them.",
                &["how"],
            ),
            processes: gauges(
                on,
                "attributed_rules_by_process",
                "Unexpected rules that are listed, by the process that is said to have brought them, and by its parents.",
                &["process", "parents"],
            ),
            check_duration: registered(
                on,
                Histogram::with_opts(
                    HistogramOpts::new("check_duration_seconds", "How long a check took.")
                        .buckets(CHECK_SECONDS.to_vec()),
                ),
            ),
            patterns: registered(on, IntGauge::new("patterns", "Patterns in force.")),
            broken_patterns: registered(
                on,
                IntGauge::new("broken_patterns", "Patterns that do not compile and allow nothing."),
            ),
            last_check: registered(
                on,
                Gauge::new("last_check_timestamp_seconds", "When the check that stands ended, in Unix time."),
            ),
            checks: registered(on, IntCounter::new("checks_total", "Checks done.")),
            came_and_went: registered(
                on,
                IntCounter::new(
                    "came_and_went_total",
                    "Lines that no pattern allows that came and went between two looks.",
                ),
            ),
            changes_missed: registered(
                on,
                IntCounter::new(
                    "changes_missed_total",
                    "Changes that could not be looked at when they were heard of.",
                ),
            ),
            blocked_rules: registered(
                on,
                IntCounter::new(
                    "blocked_rules_total",
                    "Rules that an eBPF program blocked since this process first read its counter.",
                ),
            ),
            blocked_read_errors: registered(
                on,
                IntCounter::new("blocked_read_errors_total", "Checks that could not read that counter."),
            ),
            api_writes: counters(on, "api_writes_total", "Writes to the API server.", &["operation"]),
            api_failures: counters(
                on,
                "api_failures_total",
                "Calls to the API server that failed.",
                &["operation", "reason"],
            ),
            permission: gauges(
                on,
                "permission",
                "1 for what RBAC grants of what this agent needs, 0 for what it does not.",
                &["verb", "resource"],
            ),
            label_restores: counters(
                on,
                "label_restores_total",
                "Times that the label was restored after somebody else changed or removed it.",
                &["object"],
            ),
            watching: gauges(
                on,
                "watching",
                "1 where changes are heard of as they are made, 0 where only the interval finds them.",
                &["half"],
            ),
            heard: counters(on, "watch_total", "What hearing of changes has come to.", &["what"]),
            journal: counters(on, "journal_total", "What became of changes in the journal.", &["what"]),
            journal_open: registered(on, IntGauge::new("journal_open", "1 while the journal is written.")),
            journal_bytes: registered(
                on,
                IntGauge::new("journal_bytes", "The size of the journal's database."),
            ),
            shed: counters(on, "shed_total", "What was left out to stay within a limit.", &["what"]),
            names: Mutex::default(),
            registry,
            unprefixed,
            drops,
        }));
        metrics.set_verdict(Verdict::Unknown);
        metrics.set_problems(&BTreeMap::new());
        metrics.set_attributed(&[]);
        for judgement in Judged::ALL.map(Judged::as_str).into_iter().chain([NOT_LISTED]) {
            metrics.0.changes.with_label_values(&[judgement]);
        }
        metrics
    }

    /// Notes the report that stands after a check, and how long the check took.
    pub fn check_done(&self, report: &Report, took: Duration) {
        let mut names = self.names();
        let metrics = &self.0;
        metrics.rules.reset();
        metrics.unexpected.reset();
        metrics.not_judged.reset();
        for ((backend, family, table), counts) in names.tables.counts(&report.tables) {
            let labels = [backend.as_str(), family.as_str(), &table];
            metrics.rules.with_label_values(&labels).set(number(counts.rules));
            metrics.unexpected.with_label_values(&labels).set(number(counts.unexpected));
            metrics.not_judged.with_label_values(&labels).set(number(counts.not_judged));
        }
        let mut problems = BTreeMap::new();
        for problem in &report.problems {
            *problems.entry(problem.reason).or_default() += 1;
        }
        self.set_problems(&problems);
        self.set_verdict(report.verdict());
        self.set_attributed(&report.violations);
        metrics.processes.reset();
        for ([process, parents], count) in names.processes.counts(&report.violations) {
            metrics.processes.with_label_values(&[process, parents]).set(number(count));
        }
        if let Some(blocked) = &report.blocked {
            let told = metrics.blocked_rules.get();
            metrics.blocked_rules.inc_by(blocked.count.saturating_sub(told));
            metrics.blocked_read_errors.inc_by(blocked.error.is_some().into());
        }
        metrics.last_check.set(unix_seconds(report.checked_at));
        metrics.check_duration.observe(took.as_secs_f64());
        metrics.checks.inc();
    }

    /// Notes what happened between looks since the start.
    pub fn between(&self, counts: between::Counts) {
        for (counter, count) in
            [(&self.0.came_and_went, counts.went), (&self.0.changes_missed, counts.missed)]
        {
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    /// Counts the changes that a check found; those that are not listed were not kept with what is said of them.
    pub fn changed(&self, set: &ChangeSet) {
        let _together = self.names();
        for change in &set.changes {
            self.0.changes.with_label_values(&[change.judged.as_str()]).inc();
        }
        self.0.changes.with_label_values(&[NOT_LISTED]).inc_by(set.untold);
    }

    /// Notes how many patterns are in force and how many are broken.
    pub fn allowlist(&self, patterns: usize, broken: usize) {
        let _together = self.names();
        self.0.patterns.set(number(patterns as u64));
        self.0.broken_patterns.set(number(broken as u64));
    }

    /// Counts a write to the API server.
    pub fn api_write(&self, operation: &'static str) {
        self.0.api_writes.with_label_values(&[operation]).inc();
    }

    /// Counts a call to the API server that failed.
    pub fn api_failure(&self, operation: &'static str, reason: &'static str) {
        self.0.api_failures.with_label_values(&[operation, reason]).inc();
    }

    /// Notes whether RBAC grants something that is needed.
    pub fn permission(&self, verb: &'static str, resource: &'static str, is_granted: bool) {
        self.0.permission.with_label_values(&[verb, resource]).set(is_granted.into());
    }

    /// Counts a label that was restored, by the kind of its object.
    pub fn label_restored(&self, object: &'static str) {
        self.0.label_restores.with_label_values(&[object]).inc();
    }

    /// Notes whether changes of one half of netfilter are heard of.
    pub fn watching(&self, half: &'static str, is_on: bool) {
        self.0.watching.with_label_values(&[half]).set(is_on.into());
    }

    /// Notes how often something has happened so far while listening for changes.
    pub fn heard(&self, what: &'static str, count: u64) {
        let counter = self.0.heard.with_label_values(&[what]);
        counter.inc_by(count.saturating_sub(counter.get()));
    }

    /// Notes how often something has happened to the journal so far.
    pub fn journal(&self, what: &'static str, count: u64) {
        let counter = self.0.journal.with_label_values(&[what]);
        counter.inc_by(count.saturating_sub(counter.get()));
    }

    /// Notes whether the journal is written, and its size in bytes.
    pub fn journal_size(&self, is_open: bool, bytes: u64) {
        self.0.journal_open.set(is_open.into());
        self.0.journal_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts something that was left out to stay within a limit.
    pub fn shed(&self, what: &'static str) {
        self.0.shed.with_label_values(&[what]).inc();
    }

    /// The metrics of drops.
    pub fn drops(&self) -> DropMetrics {
        self.0.drops.clone()
    }

    /// The page of metrics: text format 0.0.4.
    pub fn render(&self) -> String {
        let together = self.names();
        let mut families = self.0.registry.gather();
        drop(together);
        families.extend(self.0.unprefixed.gather());
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            log::error!(error:%; "the metrics could not be written");
            String::new()
        })
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_verdict(&self, standing: Verdict) {
        for verdict in VERDICTS {
            self.0.verdict.with_label_values(&[verdict.as_str()]).set((verdict == standing).into());
        }
    }

    fn set_attributed(&self, violations: &[Violation]) {
        for how in Attribution::ALL {
            let count = violations.iter().filter(|violation| Attribution::of(violation) == how).count();
            self.0.attributed.with_label_values(&[how.as_str()]).set(number(count as u64));
        }
    }

    fn set_problems(&self, counts: &BTreeMap<Reason, u64>) {
        for reason in Reason::ALL {
            let count = counts.get(&reason).copied().unwrap_or_default();
            self.0.problems.with_label_values(&[reason.as_str()]).set(number(count));
        }
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("names and labels are fixed and valid");
    registry.register(Box::new(metric.clone())).expect("every name is registered once");
    metric
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The names that have their own series.
#[derive(Debug, Default)]
struct Names {
    tables: NativeNames,
    processes: Processes,
}

/// The native table names that have their own series: the first ones seen, for as long as the process lives,
/// so that tables of ever new names cannot make ever new series.
#[derive(Debug, Default)]
struct NativeNames(BTreeSet<String>);

#[derive(Debug, Default)]
struct Counts {
    rules: u64,
    unexpected: u64,
    not_judged: u64,
}

impl NativeNames {
    fn counts(&mut self, tables: &[TableSummary]) -> BTreeMap<(Backend, Family, String), Counts> {
        let mut sums: BTreeMap<_, Counts> = BTreeMap::new();
        for table in tables {
            let sum = sums
                .entry((table.backend, table.family, self.label(table.backend, &table.table)))
                .or_default();
            sum.rules = sum.rules.saturating_add(table.rules);
            sum.unexpected = sum.unexpected.saturating_add(table.unexpected);
            sum.not_judged = sum.not_judged.saturating_add(table.not_judged);
        }
        sums
    }

    fn label(&mut self, backend: Backend, table: &str) -> String {
        // what acts beside rules has no names of others
        if backend == Backend::Netfilter || IPTABLES_TABLES.contains(&table) {
            return table.to_owned();
        }
        let name = shown(table);
        if !self.0.contains(&name) {
            if self.0.len() >= MAX_NATIVE_NAMES {
                return OTHER.to_owned();
            }
            self.0.insert(name.clone());
        }
        name
    }
}

#[cfg(test)]
mod tests;
