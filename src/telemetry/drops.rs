//! Metrics of drops: who could not reach whom, and what became of every log line.
//! Bounds no names: that is done before.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::domain::drops::accounting::{Accounting, Fate};

/// The metrics; cheap to clone.
#[derive(Clone, Debug)]
pub struct DropMetrics {
    told: IntCounterVec,
    packets: IntCounterVec,
    shed: IntCounter,
    sources: Sources,
}

impl DropMetrics {
    /// Metrics that count nothing yet, in this registry.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let pairs = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), &["src", "dst"]);
        let metrics = Self {
            told: pairs(
                "packet_drops_count",
                "Kinds of packet drops told, repeats within the interval not counted; the name is kube-iptables-tailer's.",
            )?,
            packets: pairs(
                "iptables_monitor_drops_packets_total",
                "Logged packets by who is on both sides, repeats counted.",
            )?,
            shed: IntCounter::new(
                "iptables_monitor_drops_events_shed_total",
                "Messages for the owners of pods that found no room in the queue of Events.",
            )?,
            sources: Sources::new()?,
        };
        registry.register(Box::new(metrics.told.clone()))?;
        registry.register(Box::new(metrics.packets.clone()))?;
        registry.register(Box::new(metrics.shed.clone()))?;
        registry.register(Box::new(metrics.sources.clone()))?;
        Ok(metrics)
    }

    /// Shows the counters of a source under this name.
    pub fn add_source(&self, name: &str, accounting: Arc<Accounting>) {
        self.sources.lock().push((name.to_owned(), accounting));
    }

    /// Counts a kind of drops that is told for the first time within the interval.
    pub fn told(&self, src: &str, dst: &str) {
        self.told.with_label_values(&[src, dst]).inc();
    }

    /// Counts packets.
    pub fn packets(&self, src: &str, dst: &str, count: u64) {
        self.packets.with_label_values(&[src, dst]).inc_by(count);
    }

    /// Counts messages that were not written for want of room.
    pub fn shed(&self, count: u64) {
        self.shed.inc_by(count);
    }
}

type Named = Vec<(String, Arc<Accounting>)>;

/// The counters of all sources, read when somebody scrapes: so the sums hold in every answer.
#[derive(Clone, Debug)]
struct Sources {
    named: Arc<Mutex<Named>>,
    descs: Vec<Desc>,
}

/// *Source*: the invariants are `arrived = read + lost` and `read = reported + folded + ignored + unparsed + shed`.
const LINES: (&str, &str) = (
    "iptables_monitor_drops_lines_total",
    "Log lines by source and what became of them: arrived = read + lost; read = reported + folded + ignored + unparsed + shed.",
);
const MARKS: (&str, &str) = (
    "iptables_monitor_drops_marks_total",
    "Log lines that were cut or understood in part only, and losses whose size nobody knows (gap).",
);

impl Sources {
    fn new() -> prometheus::Result<Self> {
        let descs =
            [(LINES, "fate"), (MARKS, "mark")].map(|((name, help), label)| counters(name, help, label));
        let descs: prometheus::Result<Vec<_>> = descs.into_iter().collect();
        let descs = descs?.iter().flat_map(|vec| vec.desc().into_iter().cloned()).collect();
        Ok(Self { named: Arc::default(), descs })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counters(name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), &["source", label])
}

impl Collector for Sources {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let vecs = (counters(LINES.0, LINES.1, "fate"), counters(MARKS.0, MARKS.1, "mark"));
        let (Ok(lines), Ok(marks)) = vecs else { return Vec::new() };
        for (source, accounting) in self.lock().iter() {
            let counts = accounting.counts();
            let set = |vec: &IntCounterVec, what: &str, count| {
                vec.with_label_values(&[source.as_str(), what]).inc_by(count);
            };
            Fate::ALL.into_iter().for_each(|fate| set(&lines, fate.as_str(), counts.of(fate)));
            set(&lines, "read", counts.read());
            set(&lines, "lost", counts.lost);
            set(&lines, "arrived", counts.arrived());
            set(&marks, "cut", counts.cut);
            set(&marks, "incomplete", counts.incomplete);
            set(&marks, "gap", counts.gaps);
        }
        [lines.collect(), marks.collect()].concat()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, TextEncoder};

    use super::*;

    fn render(registry: &Registry) -> String {
        let mut out = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_invariants_are_in_every_answer() {
        let registry = Registry::new();
        let metrics = DropMetrics::register(&registry).unwrap();
        let accounting = Arc::new(Accounting::default());
        metrics.add_source("kmsg", Arc::clone(&accounting));
        accounting.add(Fate::Reported, 2);
        accounting.add(Fate::Folded, 5);
        accounting.add_losses(3, 1, 0);
        let text = render(&registry);
        for line in [
            r#"iptables_monitor_drops_lines_total{fate="read",source="kmsg"} 7"#,
            r#"iptables_monitor_drops_lines_total{fate="arrived",source="kmsg"} 10"#,
            r#"iptables_monitor_drops_lines_total{fate="folded",source="kmsg"} 5"#,
            r#"iptables_monitor_drops_marks_total{mark="gap",source="kmsg"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
