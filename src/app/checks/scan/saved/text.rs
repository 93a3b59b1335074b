//! Loads the text of `nft list ruleset` into a network namespace of its own, and reads what is there as on a live node.
//! Which text may be loaded, and what of it, is decided in `domain::rules::saved::nft_text`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::app::checks::scan::dump::{command_problem, ending_problem};
use crate::app::checks::scan::later::{Elements, Patience};
use crate::app::checks::scan::nft::{self, netlink_problem};
use crate::app::checks::scan::side::Side;
use crate::app::checks::scan::unit::{Key, Units};
use crate::app::checks::scan::{Context, Hooks, ScanOptions};
use crate::domain::changes::Scope;
use crate::domain::changes::diff::Told;
use crate::domain::judging::audit::{Rulebook, TextBudget};
use crate::domain::rules::saved::nft_text::{self, Counts, FIRST_INDEX, Listing, Table};
use crate::domain::rules::text::protocols;
use crate::domain::rules::{Problem, Reason};
use crate::domain::words::cut;
use crate::domain::words::error_chain::chain_of;
use crate::host::netlink::devices;
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};
use crate::host::process::command::{self, Deadline};
use crate::host::process::namespace::{self, NamespaceError};

/// What nft may print: nothing.
const OUTPUT_LIMIT_BYTES: u64 = 1 << 20;
/// What nft may take: the text of 100,000 rules takes a tenth of it.
const MEMORY_LIMIT_BYTES: u64 = 4 << 30;

/// What a text is judged by, and within which time.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    pub book: &'a Rulebook,
    pub limit: usize,
    pub budget: &'a TextBudget,
    /// The longest that loading, and then reading, may take.
    pub timeout: Duration,
}

/// Loads and judges a text; `sink` is told what is wrong with it.
pub fn read(settings: Settings<'_>, bytes: &[u8], sink: &mut (impl FnMut(Problem) + Send)) -> Units {
    let listing = match nft_text::scan(bytes, sink) {
        Ok(listing) if listing.tables.is_empty() => return Units::new(),
        Ok(listing) => listing,
        Err(problem) => {
            sink(problem);
            return Units::new();
        }
    };
    match namespace::within(&protocols::file(), || loaded(settings, &listing, sink)) {
        Ok(units) => units,
        Err(error) => {
            sink(namespace_problem(&error));
            Units::new()
        }
    }
}

/// Within the namespace: loads, counts, and judges.
fn loaded(settings: Settings<'_>, listing: &Listing, sink: &mut impl FnMut(Problem)) -> Units {
    let options = ScanOptions {
        dump_timeout: settings.timeout,
        nftables: true,
        hooks: Hooks::Unread,
        limit: settings.limit,
        cancelled: Arc::new(AtomicBool::new(false)),
    };
    let context = Context::new(&options);
    if let Err(problem) = load(listing, &context.deadline()) {
        sink(problem);
        return Units::new();
    }
    match counted(&context.deadline()) {
        Ok(found) => differences(&listing.tables, &found).for_each(&mut *sink),
        Err(error) => sink(netlink_problem(&error)),
    }
    let mut side = Side::new(nft::read, Key::Inventory);
    side.owe(&Scope::Everything, |_| true);
    let mut units = side.read(&context, settings.book, settings.budget).units;
    let (mut elements, mut told) = (Elements::new(Patience::Endless), Told::default());
    elements.want(units.values().map(|unit| &**unit), side.owed(), &mut told);
    elements.read(&options, settings.book, &mut told);
    units.extend(elements.standing(settings.book));
    units
}

fn load(listing: &Listing, deadline: &Deadline) -> Result<(), Problem> {
    for (name, index) in listing.devices.iter().zip(FIRST_INDEX..) {
        devices::add(name, index).map_err(|error| Problem::new(Reason::KernelRead, chain_of(&error)))?;
    }
    let left = deadline.moment().saturating_duration_since(std::time::Instant::now());
    let running = command::start("nft", &["-f", "-"], listing.text.as_bytes(), deadline, OUTPUT_LIMIT_BYTES)
        .and_then(|running| running.confine(MEMORY_LIMIT_BYTES, left).map(|()| running));
    let ended = running.and_then(command::Running::finish).map_err(|error| {
        let Problem { reason, detail } = command_problem(&error);
        let hint = "the text of `nft list ruleset` is loaded by nft into a namespace of its own; `nft -j list ruleset` \
                    is read without it";
        Problem::new(reason, format!("{detail}: {hint}"))
    })?;
    match ending_problem("nft -f -", &ended) {
        Some(Problem { reason, detail }) => {
            let shown = cut::to_bytes(&detail, 1000);
            Err(Problem::new(reason, format!("loading the text into a namespace of its own: {shown}")))
        }
        None => Ok(()),
    }
}

fn namespace_problem(error: &NamespaceError) -> Problem {
    let reason = if error.is_permission() { Reason::PermissionDenied } else { Reason::KernelRead };
    let hint = "`nft -j list ruleset` is read without a namespace";
    Problem::new(reason, format!("{}: {hint}", chain_of(error)))
}

/// What this namespace's tables hold.
fn counted(deadline: &Deadline) -> Result<Vec<Table>, NfnetlinkError> {
    let mut kernel = Nfnetlink::open(deadline.moment())?;
    let chains = kernel.chains(None)?;
    let mut found = Vec::new();
    for table in kernel.tables()? {
        let mut counts = Counts::default();
        for chain in chains.iter().filter(|chain| chain.family == table.family && chain.table == table.name) {
            counts.chains += 1;
            kernel.for_each_rule(table.family, &table.name, &chain.name, |_, _, _| counts.rules += 1)?;
        }
        let of_table = kernel.sets(Some((table.family, &table.name)))?;
        for set in of_table.iter().map(|set| &set.what).filter(|set| !set.is_anonymous()) {
            kernel.for_each_element(table.family, &table.name, &set.name, |element| {
                counts.elements += u64::from(!element.is_interval_end());
            })?;
        }
        let name = String::from_utf8_lossy(&table.name).into_owned();
        found.push(Table { family: table.family, name, counts });
    }
    Ok(found)
}

/// What the text has and the kernel has not, or the other way round.
fn differences<'a>(text: &'a [Table], kernel: &'a [Table]) -> impl Iterator<Item = Problem> + 'a {
    let names: BTreeSet<_> =
        text.iter().chain(kernel).map(|table| (table.family, table.name.as_str())).collect();
    let of = |tables: &'a [Table], (family, name)| -> Vec<Counts> {
        let is_it = |table: &&Table| (table.family, table.name.as_str()) == (family, name);
        tables.iter().filter(is_it).map(|table| table.counts).collect()
    };
    names.into_iter().filter_map(move |(family, name)| {
        let (text, kernel) = (of(text, (family, name)), of(kernel, (family, name)));
        let what = format!(
            "table {family} {} has {} in the text, and {} where the text was loaded",
            cut::to_bytes(name, 100),
            told(&text),
            told(&kernel)
        );
        (text != kernel).then(|| Problem::new(Reason::CountMismatch, what))
    })
}

fn told(counts: &[Counts]) -> String {
    match counts {
        [] => "nothing".to_owned(),
        [Counts { chains, rules, elements }] => {
            format!("{chains} chains, {rules} rules and {elements} elements")
        }
        several => format!("{} tables of this name", several.len()),
    }
}
