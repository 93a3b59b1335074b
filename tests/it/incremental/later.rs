//! What a large set holds is read after all rules, and nothing waits for it.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iptables_monitor::app::checks::scan::{NodeReader, Scan};
use iptables_monitor::domain::changes::Scope;
use iptables_monitor::domain::judging::audit::Rulebook;
use iptables_monitor::domain::rules::Reason;
use tokio::sync::Notify;

use super::{book, by, options, parts, reader, shown};
use crate::support::{Netns, lossy};

/// The kernel's time for these is quadratic: seconds, where a rule takes microseconds.
const INTERVALS: usize = 60_000;

const RULES: &str =
    "add table inet small\nadd chain inet small c\nadd rule inet small c counter comment \"ok\"\n";
const JUDGING: &str =
    "^table \n^set \n^inet small c counter comment \"ok\"$\n^elements inet large s 60000 sha256 \n";
const NOT_JUDGING: &str = "^table \n^set \n^inet small c counter comment \"ok\"$\n";

/// An agent beside a table of rules and one with a set whose content takes long.
struct Agent {
    netns: Netns,
    book: Rulebook,
    reader: NodeReader,
    came: Arc<Notify>,
}

impl Agent {
    fn new(patterns: &str, valid: Duration) -> Self {
        let netns = Netns::new();
        let mut script = String::from(RULES);
        script.push_str("add table inet large\nadd set inet large s { type ipv4_addr; flags interval; }\n");
        let element = |number: usize| {
            let at = number * 4;
            let address = |at: usize| format!("11.{}.{}.{}", at / 65536, at / 256 % 256, at % 256);
            format!("{}-{}", address(at), address(at + 1))
        };
        let all: Vec<_> = (0..INTERVALS).map(element).collect();
        for some in all.chunks(5_000) {
            writeln!(script, "add element inet large s {{ {} }}", some.join(", ")).unwrap();
        }
        let output = netns.feed("nft", &["-f", "-"], script.as_bytes());
        assert!(output.status.success(), "{}", lossy(&output));
        let came = Arc::new(Notify::new());
        let reader = NodeReader::for_rules_first(options(), valid, Arc::clone(&came));
        Self { netns, book: book(patterns), reader, came }
    }

    fn check(&mut self, scope: &Scope) -> Scan {
        let Self { netns, book, reader, .. } = self;
        netns.within(|| reader.check(book, scope))
    }

    /// Waits until the thread has read something.
    fn wait(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let came = self.came.notified();
        let is_told = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(100), came).await });
        is_told.expect("the content is read in the end");
    }

    /// Checks, whenever something was read, until the set is known to hold so many elements.
    fn settle(&mut self, elements: usize) -> Scan {
        for _ in 0..20 {
            self.wait();
            let scan = self.check(&parts(&[]));
            if set_elements(&scan) == elements as u64 {
                assert_eq!(self.reader.next(), None, "nothing is owed: {:?}", scan.outcome.problems);
                return scan;
            }
            assert_eq!(shown(&scan.changes), [""; 0], "nothing is told that was not read");
        }
        panic!("nobody reads {elements} elements");
    }
}

fn reasons(scan: &Scan) -> Vec<Reason> {
    scan.outcome.problems.iter().map(|problem| problem.reason).collect()
}

fn set_elements(scan: &Scan) -> u64 {
    scan.outcome.tables.iter().map(|table| table.set_elements).sum()
}

#[test]
fn rules_do_not_wait_for_what_a_large_set_holds() {
    let mut agent = Agent::new(JUDGING, Duration::from_secs(300));
    let first = agent.check(&Scope::Everything);
    assert_eq!(
        (first.outcome.violation_count, set_elements(&first)),
        (0, 0),
        "{:?}",
        first.outcome.violations
    );
    assert_eq!(reasons(&first), [Reason::ElementsUnread], "its content is judged and not known");
    // a change elsewhere is judged while the set is being read
    agent.netns.sh("nft add rule inet small c tcp dport 22 drop");
    let change = agent.check(&parts(&["inet small c"]));
    assert_eq!(change.outcome.violation_count, 1);
    assert_eq!(reasons(&change), [Reason::ElementsUnread]);
    let settled = agent.settle(INTERVALS);
    assert_eq!(reasons(&settled), []);
    assert_eq!(settled.changes, [], "what was there at the first read is no change");
    let fresh = agent.netns.within({
        let book = agent.book.clone();
        move || reader().check(&book, &Scope::Everything)
    });
    assert_eq!(settled.outcome, fresh.outcome);

    // what was read stays in force while it is read again
    agent.netns.sh("nft add element inet large s '{ 12.0.0.1 }'");
    let pending = agent.check(&by(&[("inet large", "mallory")]));
    assert_eq!((reasons(&pending), set_elements(&pending)), (vec![], INTERVALS as u64));
    assert!(agent.reader.next().is_some() || pending.changes.is_empty());
    std::thread::sleep(agent.reader.next().map_or(Duration::ZERO, |at| at - Instant::now()));
    let _begun = agent.check(&parts(&[]));
    let settled = agent.settle(INTERVALS + 1);
    assert_eq!(settled.outcome.violation_count, 2, "the rule, and the content that no pattern allows");
    let told = shown(&settled.changes);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("+ elements inet large s 60001 sha256 "), "{told:?}");
    assert_eq!(settled.changes[0].authors[0].name, "mallory");
}

#[test]
fn what_is_not_judged_is_no_problem_and_an_allowlist_judges_what_was_read() {
    let mut agent = Agent::new(NOT_JUDGING, Duration::from_millis(1));
    let first = agent.check(&Scope::Everything);
    assert_eq!((reasons(&first), first.outcome.violation_count), (vec![], 0));
    assert_eq!(set_elements(&first), 0);
    assert_eq!(reasons(&agent.settle(INTERVALS)), []);

    agent.book = book(JUDGING);
    let judged = agent.check(&parts(&[]));
    assert_eq!((reasons(&judged), judged.outcome.violation_count), (vec![], 0), "judged without a read");
    let again = agent.check(&Scope::Everything);
    assert_eq!(reasons(&again), [], "what was read before is in force for a minute at least");
    agent.netns.sh("nft delete table inet large");
    let gone = agent.check(&parts(&["inet large"]));
    assert_eq!((reasons(&gone), set_elements(&gone)), (vec![], 0));
    let told = shown(&gone.changes);
    assert!(told.iter().any(|line| line.starts_with("- elements inet large s 60000 sha256 ")), "{told:?}");
}
