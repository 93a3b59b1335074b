//! One read of the whole node: both iptables backends, native nftables, and what nobody reads.
//! Judges through the audit and prints nothing.

mod completeness;
pub mod dump;
pub mod entries;
mod ipset;
mod legacy;
mod native;
mod nft;
pub mod saved;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::domain::audit::{Audit, Outcome, Reading, Rulebook, TextBudget, conclude};
use crate::domain::ruleset::{Problem, Reason};
use crate::host::command::Deadline;
use dump::Generator;

/// A torn read is repeated this often, and while the dump time-out allows.
const ATTEMPTS: u32 = 3;

/// How to read the node.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest a single dump may take.
    pub dump_timeout: Duration,
    /// Whether tables that no iptables tool manages are judged.
    pub nftables: bool,
    /// Violations whose text is kept.
    pub limit: usize,
    /// Set from elsewhere to stop at once.
    pub cancelled: Arc<AtomicBool>,
}

/// What one read of the node found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Judged lines and problems.
    pub outcome: Outcome,
    /// Versions of the programs that printed, by program.
    pub tools: BTreeMap<String, String>,
    /// Whether the rules changed while they were read, so that only violations are certain.
    pub is_torn: bool,
    /// How long each dump took, by program, from its start to the end of its text.
    pub dumps: Vec<(&'static str, Duration)>,
}

/// Shared by the readers of one scan.
struct Context<'a> {
    options: &'a Options,
}

impl Context<'_> {
    fn deadline(&self) -> Deadline {
        Deadline::after(self.options.dump_timeout, Arc::clone(&self.options.cancelled))
    }
}

/// What one reader learned beside the audit.
#[derive(Debug, Default)]
struct Attempt {
    torn: bool,
    tools: BTreeMap<String, String>,
    dumps: Vec<(&'static str, Duration)>,
}

impl Attempt {
    fn tool(&mut self, generator: Option<Generator>) {
        if let Some(Generator { program, version, .. }) = generator {
            self.tools.insert(program, version);
        }
    }

    fn merge(&mut self, other: Self) {
        self.torn |= other.torn;
        self.tools.extend(other.tools);
        self.dumps.extend(other.dumps);
    }
}

/// Reads and judges the node this process runs on. Takes no lock and changes nothing.
pub fn node(book: &Rulebook, options: &Options) -> Scan {
    let context = Context { options };
    let budget = TextBudget::new(0);
    let mut unread = Audit::new(book, options.limit, &budget);
    let (nft, legacy) = std::thread::scope(|scope| {
        let legacy = scope.spawn(|| until_whole(&context, book, &budget, legacy::read));
        (until_whole(&context, book, &budget, nft::read), legacy.join())
    });
    let (nft, mut attempt) = nft;
    let legacy = legacy.map_or_else(
        |_| {
            let what = "reading the legacy tables panicked: a bug";
            unread.problem(Problem::new(Reason::DumpFailed, what));
            Reading::default()
        },
        |(found, other)| {
            attempt.merge(other);
            found
        },
    );
    legacy::find_unread(&mut unread);
    let outcome = conclude(book, options.limit, &[nft, legacy, unread.seal()]);
    Scan { outcome, tools: attempt.tools, is_torn: attempt.torn, dumps: attempt.dumps }
}

type Reader = for<'a, 'b, 'c> fn(&'a Context<'b>, &'a mut Audit<'c>) -> Attempt;

/// Repeats a read that the rules changed under, a few times.
fn until_whole(
    context: &Context<'_>,
    book: &Rulebook,
    budget: &TextBudget,
    read: Reader,
) -> (Reading, Attempt) {
    let started = Instant::now();
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        let mut audit = Audit::new(book, context.options.limit, budget);
        let attempt = read(context, &mut audit);
        let is_late = started.elapsed() >= context.options.dump_timeout || context.deadline().is_cancelled();
        if !attempt.torn || left == 0 || is_late {
            if attempt.torn {
                audit.forget(&[Reason::CountMismatch]);
                audit.problem(Problem::new(
                    Reason::TornRead,
                    "the rules changed during every read of them; only the violations shown are certain",
                ));
            }
            return (audit.seal(), attempt);
        }
    }
}
