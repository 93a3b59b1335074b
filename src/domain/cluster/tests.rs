//! What reports call for, and a day of checks compressed in time.
//! Uses no clock: time is a number that grows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::note::{Detail, NOTE_BYTES, recovery, warnings};
use super::*;
use crate::domain::changes::Provenance;
use crate::domain::changes::author::{Ancestor, Author, PodHint};
use crate::domain::judging::blocked::Blocked;
use crate::domain::judging::report::{Evidence, Report, Violation};
use crate::domain::rules::{Backend, Family, Kind, Problem, Reason};
use crate::domain::words::escape;

pub(super) fn report(lines: &[&str], problems: &[(Reason, &str)]) -> Report {
    let violation = |line: &&str| Violation {
        backend: Backend::IptablesNft,
        family: Family::Ip,
        table: "filter".into(),
        chain: Some("INPUT".into()),
        position: Some(1),
        kind: Kind::Rule,
        line: line.as_bytes().to_vec(),
        suggested_pattern: None,
        provenance: None,
    };
    Report {
        checked_at: SystemTime::UNIX_EPOCH,
        node: "n".into(),
        evidence: Evidence::Kernel,
        tables: Vec::new(),
        violations: lines.iter().map(violation).collect(),
        violation_count: lines.len() as u64,
        violations_hash: String::new(),
        ruleset_hash: String::new(),
        problems: problems.iter().map(|(reason, detail)| Problem::new(*reason, *detail)).collect(),
        blocked: None,
    }
}

fn told(report: &Report, detail: Detail) -> Vec<String> {
    let shown = |event: &NodeEvent| {
        format!("{} {}: {}", event.reason.event_type(), event.reason.as_str(), event.note)
    };
    warnings(report, detail).iter().map(shown).collect()
}

#[test]
fn a_note_names_the_rule_and_its_chain() {
    assert_eq!(
        told(&report(&["-A INPUT -j DROP"], &[]), Detail::Full),
        [
            "Warning UnexpectedIPTablesRules: 1 unexpected rule: ip filter INPUT (iptables-nft): -A INPUT -j DROP"
        ]
    );
    assert_eq!(
        told(&report(&["a", "b"], &[]), Detail::Full),
        [
            "Warning UnexpectedIPTablesRules: 2 unexpected rules: ip filter INPUT (iptables-nft): a; ip filter INPUT \
          (iptables-nft): b"
        ]
    );
    assert!(told(&report(&[], &[]), Detail::Full).is_empty());
}

#[test]
fn each_kind_of_problem_has_its_event() {
    let problems = [
        (Reason::TornRead, "a"),
        (Reason::MixedBackends, "not decisive"),
        (Reason::BrokenPattern, "filter:3"),
        (Reason::UnrenderedRule, "b"),
        (Reason::UnrenderedRule, "c"),
        (Reason::CameAndWent, "d"),
        (Reason::CameAndWent, "e"),
    ];
    assert_eq!(
        told(&report(&["x"], &problems), Detail::Full),
        [
            "Warning UnexpectedIPTablesRules: 1 unexpected rule: ip filter INPUT (iptables-nft): x",
            "Warning IPTablesCheckIncomplete: The check is incomplete: TornRead: a; UnrenderedRule (2 times): b",
            "Warning ShortLivedIPTablesRule: Rules that no pattern allows came and went between two looks: d; e",
            "Warning InvalidAllowlist: The allowlist is not in order: BrokenPattern: filter:3",
        ]
    );
}

#[test]
fn count_shows_no_text_of_rules() {
    let problems = [Reason::UnrenderedRule, Reason::InvalidAllowlist, Reason::CameAndWent];
    let problems = problems.map(|reason| (reason, "SECRET"));
    let all = told(&report(&["SECRET"], &problems), Detail::Count);
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|note| !note.contains("SECRET")), "{all:?}");
    assert!(all[0].ends_with("1 unexpected rule"), "{all:?}");
}

/// A rule that this process, and those that started it, are said to have brought.
fn attributed(line: &str, names: &[&str]) -> Report {
    let [name, parents @ ..] = names else { panic!("a name") };
    let parents = parents.iter().map(|name| Ancestor { pid: 1, name: (*name).into(), command_line: None });
    let author = Author {
        pid: 71,
        name: (*name).into(),
        executable: None,
        command_line: None,
        parents: parents.collect(),
        container: None,
        pod: Some(PodHint { uid: "u".into(), name: Some(("default".into(), "web".into())) }),
    };
    let mut report = report(&[line], &[]);
    let first_seen = SystemTime::UNIX_EPOCH;
    report.violations[0].provenance =
        Some(Provenance { first_seen, is_older: false, authors: vec![author.into()] });
    report
}

#[test]
fn a_note_names_who_is_said_to_have_brought_the_rule() {
    let given = attributed("-A INPUT -j DROP", &["iptables", "bash", "sshd"]);
    assert!(
        told(&given, Detail::Full)[0].ends_with("-j DROP (by iptables < bash < sshd, pod default/web)"),
        "{:?}",
        told(&given, Detail::Full)
    );
    assert!(told(&given, Detail::Count)[0].ends_with(": 1 unexpected rule"));
    let long = "n".repeat(90);
    let crowded = attributed(&"x".repeat(900), &[&long, &long, &long, &long, &long]);
    let note = &warnings(&crowded, Detail::Full)[0].note;
    let item = note.strip_prefix("1 unexpected rule: ").unwrap();
    assert!(item.len() <= 300 && item.contains("xxx... (by nnn") && item.ends_with("nnn...)"), "{item}");
}

#[test]
fn rule_text_cannot_do_anything_to_a_terminal() {
    let all = told(&report(&["-A INPUT --comment \"\x1b[2J\u{202e}\n-N x\""], &[]), Detail::Full);
    assert!(all[0].ends_with(r#"-A INPUT --comment "\x{1b}[2J\x{202e}\n-N x""#), "{all:?}");
}

#[test]
fn a_long_note_says_how_many_more_there_are() {
    let long = "x".repeat(5000);
    let long = long.as_str();
    let mut given = report(&[long; 100], &[]);
    given.violation_count = u64::MAX;
    let all = warnings(&given, Detail::Full);
    let note = &all[0].note;
    assert!(note.len() <= NOTE_BYTES && note.len() > NOTE_BYTES / 2, "{}", note.len());
    assert!(note.ends_with("xxx...; and 18446744073709551612 more"), "{note}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_note_is_short_and_printable(lines in prop::collection::vec(any::<String>(), 0..40), table: String) {
        let mut given = report(&lines.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        for violation in &mut given.violations {
            violation.table = table.clone();
            violation.line.push(0xff);
        }
        given.problems = lines.iter().map(|line| Problem::new(Reason::KernelRead, line.clone())).collect();
        for event in warnings(&given, Detail::Full).iter().chain([&recovery(&given)]) {
            prop_assert!(event.note.len() <= NOTE_BYTES);
            prop_assert!(!escape::line(event.note.as_bytes()).is_escaped, "{}", event.note);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made in another way; which one does not matter"
)]
pub(super) fn start() -> Instant {
    Instant::now()
}

/// Carries out whatever is due, with an API server that always works.
struct Simulation {
    start: Instant,
    now: Instant,
    announcements: Announcements,
    created: Vec<NodeEvent>,
    refreshed: Vec<i32>,
}

impl Simulation {
    fn new() -> Self {
        let now = start();
        Self {
            start: now,
            now,
            announcements: Announcements::new(now),
            created: Vec::new(),
            refreshed: Vec::new(),
        }
    }

    fn step(&mut self) {
        while let Some(action) = self.announcements.due(self.now) {
            let how = match &action {
                Action::Create(event) => {
                    self.created.push(event.clone());
                    Written::Created
                }
                Action::Refresh(_, seen) => {
                    self.refreshed.push(*seen);
                    Written::Refreshed
                }
            };
            self.announcements.written(&action, how, self.now);
        }
    }

    /// Lets time pass, with everything written the moment it becomes due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.announcements.next_due(self.now).filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.step();
        }
        self.now = end;
    }

    fn check(&mut self, report: &Report) {
        self.announcements.observe(report, Detail::Full);
        self.step();
    }

    fn reasons(&self) -> Vec<EventReason> {
        self.created.iter().map(|event| event.reason).collect()
    }
}

const INTERVAL: Duration = Duration::from_secs(300);
const CHECKS_A_DAY: u32 = 288;

#[test]
fn what_lasts_a_day_is_written_twice_an_hour() {
    let mut simulation = Simulation::new();
    for _ in 0..CHECKS_A_DAY {
        simulation.check(&report(&["x"], &[]));
        simulation.pass(INTERVAL);
    }
    assert_eq!(simulation.now - simulation.start, Duration::from_secs(24 * 3600));
    assert_eq!(simulation.created.len(), 1);
    assert_eq!(simulation.refreshed.len(), 48);
    assert!(simulation.refreshed.is_sorted_by(|a, b| a < b) && simulation.refreshed[0] >= 2);
    assert_eq!(simulation.announcements.replaced(), 0);
}

#[test]
fn a_compliant_day_is_silent() {
    let mut simulation = Simulation::new();
    for _ in 0..CHECKS_A_DAY {
        simulation.check(&report(&[], &[(Reason::MixedBackends, "x")]));
        simulation.pass(INTERVAL);
    }
    assert!(simulation.created.is_empty() && simulation.refreshed.is_empty());
}

#[test]
fn recovery_is_told_once_and_only_after_a_warning() {
    use EventReason::{IPTablesRulesCompliant, UnexpectedIPTablesRules};
    let mut simulation = Simulation::new();
    simulation.check(&report(&[], &[]));
    assert!(simulation.created.is_empty());
    simulation.check(&report(&["x"], &[]));
    for _ in 0..100 {
        simulation.pass(INTERVAL);
        simulation.check(&report(&[], &[]));
    }
    assert_eq!(simulation.reasons(), [UnexpectedIPTablesRules, IPTablesRulesCompliant]);
    simulation.check(&report(&["x"], &[]));
    simulation.check(&report(&[], &[]));
    assert_eq!(simulation.created.len(), 4);
}

#[test]
fn a_pattern_that_is_broken_on_a_compliant_node_calls_for_no_recovery() {
    let mut simulation = Simulation::new();
    simulation.check(&report(&[], &[(Reason::BrokenPattern, "x")]));
    simulation.check(&report(&[], &[]));
    assert_eq!(simulation.reasons(), [EventReason::InvalidAllowlist]);
}

#[test]
fn a_warning_that_never_left_calls_for_no_recovery() {
    let mut announcements = Announcements::new(start());
    announcements.observe(&report(&["x"], &[]), Detail::Full);
    announcements.observe(&report(&[], &[]), Detail::Full);
    assert_eq!(announcements.due(start()), None);
    assert_eq!(announcements.replaced(), 1);
}

#[test]
fn one_reason_that_changes_all_the_time_does_not_silence_another() {
    let mut simulation = Simulation::new();
    for number in 0..100 {
        simulation.check(&report(&[], &[(Reason::TornRead, &number.to_string())]));
        simulation.pass(Duration::from_secs(1));
    }
    assert_eq!(simulation.created.len(), 5);
    assert_eq!(simulation.announcements.replaced(), 94);
    simulation.check(&report(&["x"], &[]));
    assert_eq!(simulation.reasons().last(), Some(&EventReason::UnexpectedIPTablesRules));
}

#[test]
fn a_contested_label_is_told_once_whatever_reports_say() {
    let mut simulation = Simulation::new();
    let contested = note::contested("CiliumNode", "n", &["k".to_owned()]);
    simulation.announcements.tell(note::contested("Node", "n", &["k".to_owned()]));
    simulation.announcements.tell(contested.clone());
    assert_eq!(simulation.announcements.replaced(), 1);
    for _ in 0..CHECKS_A_DAY {
        simulation.check(&report(&[], &[]));
        simulation.pass(INTERVAL);
    }
    assert_eq!(simulation.created, [contested], "and there is nothing to recover from");
    assert!(simulation.refreshed.is_empty());
    let long = note::contested("CiliumNode", &"n".repeat(253), &vec!["k".repeat(300); 20]);
    assert!(long.note.len() <= NOTE_BYTES);
}

#[test]
fn the_latest_note_is_written_when_its_turn_comes() {
    let mut simulation = Simulation::new();
    for number in 0..10 {
        simulation.check(&report(&[&number.to_string()], &[]));
    }
    simulation.pass(Duration::from_secs(601));
    assert_eq!(simulation.created.len(), 6);
    assert!(simulation.created.last().is_some_and(|event| event.note.ends_with(": 9")));
}

/// A report at this second with so many rules blocked until then.
fn blocked(second: u64, count: u64) -> Report {
    let at = |second| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
    let blocked =
        Blocked { counter: None, count, since: at(0), read_at: at(second), last_at: None, error: None };
    Report { blocked: Some(blocked), ..report(&[], &[]) }
}

#[test]
fn each_blocked_rule_is_told_once() {
    let mut simulation = Simulation::new();
    for (second, count) in [(0, 0), (300, 0), (600, 1), (900, 1), (1200, 1), (1500, 4), (1800, 4)] {
        simulation.check(&blocked(second, count));
        simulation.pass(INTERVAL);
    }
    let notes: Vec<_> = simulation.created.iter().map(|event| event.note.as_str()).collect();
    assert_eq!(
        notes,
        ["1 rule was blocked since 1970-01-01T00:05:00Z", "3 rules were blocked since 1970-01-01T00:20:00Z"]
    );
    assert!(simulation.created.iter().all(|event| event.reason.event_type() == "Warning"));
    assert!(simulation.refreshed.is_empty());
}

/// Each attempt says the same, so that the API server can tell that it is the same.
#[test]
fn an_increase_that_waits_is_not_mixed_with_the_next() {
    let mut announcements = Announcements::new(start());
    announcements.observe(&blocked(0, 0), Detail::Full);
    announcements.observe(&blocked(1, 2), Detail::Count);
    let first = announcements.due(start());
    announcements.observe(&blocked(2, 7), Detail::Full);
    assert_eq!(announcements.due(start()), first);
    announcements.written(&first.unwrap(), Written::Created, start());
    assert_eq!(announcements.due(start()), None);
    announcements.observe(&blocked(3, 7), Detail::Full);
    let Some(Action::Create(second)) = announcements.due(start()) else { panic!("the rest is due") };
    assert_eq!(second.note, "5 rules were blocked since 1970-01-01T00:00:01Z");
    assert_eq!(announcements.replaced(), 0);
}

#[test]
fn many_increases_are_told_in_few_events() {
    let mut simulation = Simulation::new();
    for second in 0..7200 {
        simulation.check(&blocked(second, second));
        simulation.pass(Duration::from_secs(1));
    }
    let told = |event: &NodeEvent| event.note.split(' ').next().map(|number| number.replace(',', ""));
    let told = simulation.created.iter().filter_map(told).filter_map(|number| number.parse::<u64>().ok());
    assert!(simulation.created.len() <= 5 + 12, "{}", simulation.created.len());
    let told = told.sum::<u64>();
    assert!(told > 7_199 - 1_200 && told <= 7_199, "{told}");
}

#[test]
fn an_event_that_was_written_anew_counts_from_one() {
    let now = start();
    let mut announcements = Announcements::new(now);
    let given = report(&["x"], &[]);
    announcements.observe(&given, Detail::Full);
    let create = announcements.due(now).unwrap();
    announcements.written(&create, Written::Created, now);
    for _ in 0..9 {
        announcements.observe(&given, Detail::Full);
    }
    let later = now + REFRESH;
    let refresh = announcements.due(later).unwrap();
    assert!(matches!(refresh, Action::Refresh(_, 10)), "{refresh:?}");
    announcements.written(&refresh, Written::Created, later);
    assert_eq!(announcements.due(later), None);
    assert!(matches!(announcements.due(later + REFRESH), Some(Action::Refresh(_, 2))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_day_costs_more_than_so_many_writes(
        states in prop::collection::vec((0..4_usize, any::<u8>(), any::<bool>(), any::<bool>()), 1..50),
        seconds in 1..600_u64,
    ) {
        let mut simulation = Simulation::new();
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        let keys = [label::DEFAULT_KEY.to_owned()];
        let (mut label_writes, mut losses, mut changes, mut last) = (0, 0, 0, None);
        let checks = 24 * 3600 / seconds;
        for check in 0..checks {
            let (violations, text, is_torn, is_lost) = states[check as usize % states.len()];
            let text = text.to_string();
            let torn = [(Reason::TornRead, text.as_str())];
            let given = report(&vec![text.as_str(); violations], if is_torn { &torn } else { &[] });
            let value = label::value(given.verdict());
            if is_lost && labels.remove(&keys[0]).is_some() {
                losses += 1;
            }
            changes += u32::from(last.replace(value) != Some(value));
            if !label::differing(&labels, &keys, value).is_empty() {
                labels.insert(keys[0].clone(), value.into());
                label_writes += 1;
            }
            prop_assert_eq!(&labels[&keys[0]], value);
            simulation.check(&given);
            simulation.pass(Duration::from_secs(seconds));
        }
        prop_assert!(label_writes <= losses + changes);
        prop_assert!(label_writes >= changes);
        for reason in EventReason::ALL {
            let created = simulation.created.iter().filter(|event| event.reason == reason).count();
            prop_assert!(created <= 5 + 24 * 6, "{created} of {reason:?}");
        }
        prop_assert!(simulation.refreshed.len() <= 3 * 48);
        let violates = states.iter().take(checks as usize).any(|state| state.0 > 0);
        prop_assert_eq!(violates, simulation.reasons().contains(&EventReason::UnexpectedIPTablesRules));
    }
}
