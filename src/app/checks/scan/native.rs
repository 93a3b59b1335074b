//! Reads native tables, and the native parts of iptables' tables.
//! Lines come from nft, compared with the kernel's own numbers; a rule that nft cannot say in full, or does not show, has
//! a line of its own bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::json;

use super::Context;
use super::completeness::{self, Uses};
use super::dump::{self, OUTPUT_LIMIT_BYTES};
use super::iptables::hidden_program;
use super::unit::Draft;
use crate::domain::judging::audit::Audit;
use crate::domain::rules::kernel::expressions::{References, references_of};
use crate::domain::rules::kernel::{Chain, Ipsets, Table};
use crate::domain::rules::saved::nft_json::{self, BaseChains, Item, JsonError, NativeLine};
use crate::domain::rules::shadow::Content;
use crate::domain::rules::text::line::Line;
use crate::domain::rules::text::native::{self, Place};
use crate::domain::rules::{Backend, Entry, Family, Kind, Problem, Reason};
use crate::domain::words::error_chain::chain_of;
use crate::domain::words::numbers::counted;
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};
use crate::host::process::command;

/// More chains than this are listed with their whole table: one process instead of many.
const CHAINS_LISTED_ALONE: usize = 8;

/// Reads and judges one native table.
///
/// # Errors
/// What the kernel answers; what nft says is a problem of the audit.
pub fn read_table(
    context: &Context<'_>,
    draft: &mut Draft<'_>,
    kernel: &mut Nfnetlink,
    (table, chains): (&Table, &[Chain]),
    bases: &BaseChains,
) -> Result<(), NfnetlinkError> {
    let family = table.family;
    let audit = &mut draft.audit;
    let Ok(name) = std::str::from_utf8(&table.name) else {
        audit.problem(unreadable_name(family, &table.name));
        return Ok(());
    };
    let of_table = |chain: &&Chain| chain.family == family && chain.table == table.name;
    let mut uses = Uses::default();
    let mut expected = declared(kernel, family, name)?;
    let mut unsaid = Natives::default();
    for chain in chains.iter().filter(of_table) {
        let mut content = Content::default();
        uses.add_chain(chain);
        kernel.for_each_rule(family, &table.name, &chain.name, |handle, userdata, expressions| {
            content.rules += 1;
            let references = references_of(expressions);
            content.jumps += references.jumps;
            if references.hides_program {
                let chain = String::from_utf8_lossy(&chain.name);
                audit.problem(hidden_program(family, name, &chain, content.rules));
            }
            if !is_said(family, (userdata, expressions), references) {
                let known = context.ipsets.known();
                let asked =
                    references.names_ipset.then(|| context.ipsets.other_than(known, context)).flatten();
                let rule = (userdata, expressions);
                unsaid.add_rule(chain, content.rules, handle, rule, references, asked.unwrap_or(known));
            }
        })?;
        uses.add_rules(content);
        let rules = u64::from(content.rules);
        context.rules_read.fetch_add(rules, Ordering::Relaxed);
        expected.insert((Counted::Chain, String::from_utf8_lossy(&chain.name).into_owned()), rules);
    }
    completeness::check(audit, kernel, family, name, uses)?;
    audit.table(Backend::Nftables, family, name);
    let mut listed = BTreeMap::new();
    let listing = list(context, bases, &request(family, name, None), draft, &mut |audit, item| {
        count(&item, &mut listed);
        let handle = match &item {
            Item::Line(NativeLine { kind: Kind::Rule, handle, .. }) => *handle,
            _ => None,
        };
        match handle.and_then(|handle| unsaid.rules.remove(&handle)) {
            Some(rule) => rule.judge(audit, family, name),
            None => judge(audit, item),
        }
    });
    let audit = &mut draft.audit;
    match listing {
        Err(problem) => audit.problem(problem),
        Ok(()) if listed == expected => {}
        Ok(()) => audit.problem(difference(family, name, &expected, &listed)),
    }
    Ok(())
}

/// A rule that is judged by a line of its own bytes if nft has no better one.
#[derive(Debug)]
struct NativeRule {
    chain: String,
    position: u32,
    line: Vec<u8>,
    /// Whether nft's line would leave something out.
    is_unsaid: bool,
    /// Whether the line is all of the rule.
    is_whole: bool,
}

impl NativeRule {
    fn judge(&self, audit: &mut Audit<'_>, family: Family, table: &str) {
        let (chain, position) = (Some(self.chain.as_str()), Some(self.position));
        let entry = Entry { kind: Kind::Rule, table, chain, position, line: &self.line };
        audit.judge(Backend::Nftables, family, &entry);
        if !self.is_whole {
            audit.problem(Problem::new(
                Reason::UnrenderedRule,
                format!(
                    "rule {} of chain {} of table {family} {} looks into a set of its own that nft does not show; write \
                     the set's elements as rules, or name the set",
                    self.position,
                    self.chain.escape_default(),
                    table.escape_default()
                ),
            ));
        }
    }
}

/// What of one table is judged as native although iptables manages the table, or nft does not say it in full.
#[derive(Debug, Default)]
pub struct Natives {
    /// By the kernel's number.
    rules: BTreeMap<u64, NativeRule>,
    /// Base chains that iptables does not know, each with a line of its own.
    bases: BTreeMap<String, Vec<u8>>,
}

impl Natives {
    /// Adds a rule: the values of `NFTA_RULE_USERDATA` and `NFTA_RULE_EXPRESSIONS`.
    pub fn add_rule(
        &mut self,
        chain: &Chain,
        position: u32,
        handle: u64,
        (userdata, expressions): (Option<&[u8]>, &[u8]),
        references: References,
        ipsets: &Ipsets,
    ) {
        let mut line = Line::default();
        let place = Place { family: chain.family, table: &chain.table, chain: &chain.name };
        let is_whole = native::rule(place, expressions, userdata, ipsets, &mut line);
        let rule = NativeRule {
            chain: String::from_utf8_lossy(&chain.name).into_owned(),
            position,
            line: line.as_bytes().to_vec(),
            is_unsaid: !is_said(chain.family, (userdata, expressions), references),
            is_whole,
        };
        self.rules.insert(handle, rule);
    }

    /// Adds a base chain.
    pub fn add_base(&mut self, chain: &Chain) {
        let mut line = Line::default();
        native::chain(chain, &mut line);
        let name = String::from_utf8_lossy(&chain.name).into_owned();
        self.bases.insert(name, line.as_bytes().to_vec());
    }

    /// Adds those of other chains.
    pub fn absorb(&mut self, other: Self) {
        self.rules.extend(other.rules);
        self.bases.extend(other.bases);
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.bases.is_empty()
    }

    /// The chains of which nft may have a line.
    fn listed(&self) -> BTreeSet<String> {
        let of_rules = self.rules.values().filter(|rule| !rule.is_unsaid).map(|rule| &rule.chain);
        of_rules.chain(self.bases.keys()).cloned().collect()
    }

    /// Takes what nft has a line for; false if the line is not wanted.
    fn take(&mut self, line: &NativeLine) -> bool {
        match (line.kind, line.handle, &line.chain) {
            (Kind::Rule, Some(handle), _) => {
                self.rules.get(&handle).is_some_and(|rule| !rule.is_unsaid)
                    && self.rules.remove(&handle).is_some()
            }
            (Kind::Chain, _, Some(name)) => self.bases.remove(name).is_some(),
            (Kind::Rule | Kind::Chain, ..) => false,
            _ => true,
        }
    }

    /// Judges what nft had no line for.
    fn judge(&self, audit: &mut Audit<'_>, family: Family, table: &str) {
        self.rules.values().for_each(|rule| rule.judge(audit, family, table));
        for (name, line) in &self.bases {
            let entry = Entry { kind: Kind::Chain, table, chain: Some(name), position: None, line };
            audit.judge(Backend::Nftables, family, &entry);
        }
    }
}

/// Whether nft says all of a rule.
fn is_said(family: Family, (userdata, expressions): (Option<&[u8]>, &[u8]), references: References) -> bool {
    !references.has_part && nft_json::is_text_shown(family, userdata, expressions)
}

/// Reads and judges the native parts of an iptables table: rules and base chains that no iptables makes, and
/// declarations.
///
/// # Errors
/// What the kernel answers; what nft says is a problem of the audit, but where it was only asked for better lines.
pub fn read_foreign(
    context: &Context<'_>,
    draft: &mut Draft<'_>,
    kernel: &mut Nfnetlink,
    (family, table): (Family, &str),
    mut natives: Natives,
    known: &BaseChains,
) -> Result<(), NfnetlinkError> {
    let declared: BTreeSet<_> = declared(kernel, family, table)?.into_keys().collect();
    let mut requests: Vec<_> =
        natives.listed().iter().map(|chain| request(family, table, Some(chain))).collect();
    if !declared.is_empty() || requests.len() > CHAINS_LISTED_ALONE {
        requests = vec![request(family, table, None)];
    }
    let mut listed = BTreeMap::new();
    for request in requests {
        let listing = list(context, known, &request, draft, &mut |audit, item| {
            count(&item, &mut listed);
            match item {
                Item::Line(line) if !natives.take(&line) => {}
                Item::Problem(_) if declared.is_empty() => {}
                item => judge(audit, item),
            }
        });
        // without nft a rule has the line of its own bytes, on every read the same one
        let is_needed = |problem: &Problem| !declared.is_empty() || problem.reason != Reason::MissingTool;
        if let Some(problem) = listing.err().filter(is_needed) {
            draft.audit.problem(problem);
        }
    }
    natives.judge(&mut draft.audit, family, table);
    let unseen = declared.iter().filter(|key| !listed.contains_key(*key)).count();
    if unseen > 0 {
        let declarations = counted(unseen as u64, "declaration");
        let what = format!("nft does not show {declarations} of table {family} {table}");
        draft.audit.problem(Problem::new(Reason::CountMismatch, what));
    }
    Ok(())
}

/// What is counted on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Counted {
    Chain,
    Set,
    Flowtable,
    Object,
}

type Counts = BTreeMap<(Counted, String), u64>;

/// The named sets, maps, flowtables and objects that the kernel has in a table.
fn declared(kernel: &mut Nfnetlink, family: Family, table: &str) -> Result<Counts, NfnetlinkError> {
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let mut counts = Counts::new();
    for set in kernel.sets(family, table.as_bytes())?.iter().filter(|set| !set.is_anonymous()) {
        *counts.entry((Counted::Set, name(&set.name))).or_default() += 1;
    }
    for flowtable in kernel.flowtables(family, table.as_bytes())? {
        *counts.entry((Counted::Flowtable, name(&flowtable.name))).or_default() += 1;
    }
    for object in kernel.objects(family, table.as_bytes())? {
        *counts.entry((Counted::Object, name(&object.name))).or_default() += 1;
    }
    Ok(counts)
}

/// Counts what nft shows as [`declared`] and the kernel's rules are counted: chains by their rules.
fn count(item: &Item, listed: &mut Counts) {
    match item {
        Item::Chain { name, .. } => {
            listed.entry((Counted::Chain, name.clone())).or_default();
        }
        Item::Line(NativeLine { kind, chain: Some(name), .. }) => {
            let counted = match kind {
                Kind::Rule => Counted::Chain,
                Kind::Set | Kind::Map => Counted::Set,
                Kind::Flowtable => Counted::Flowtable,
                Kind::Object => Counted::Object,
                Kind::Policy | Kind::Chain | Kind::Table | Kind::Element => return,
            };
            *listed.entry((counted, name.clone())).or_default() += 1;
        }
        _ => {}
    }
}

/// Judges one thing that nft shows.
pub fn judge(audit: &mut Audit<'_>, item: Item) {
    match item {
        Item::Line(line) => judge_line(audit, &line),
        Item::SetElements { family, table, set, count, hash } => {
            audit.set_elements(family, &table, &set, count, &hash)
        }
        Item::Problem(problem) => audit.problem(problem),
        Item::Metainfo { .. } | Item::Table { .. } | Item::Chain { .. } => {}
    }
}

fn judge_line(audit: &mut Audit<'_>, line: &NativeLine) {
    let entry = Entry {
        kind: line.kind,
        table: &line.table,
        chain: line.chain.as_deref(),
        position: line.position,
        line: &line.line,
    };
    if !line.has_xt {
        return audit.judge(Backend::Nftables, line.family, &entry);
    }
    audit.count(Backend::Nftables, line.family, &entry);
    audit.problem(Problem::new(
        Reason::UntrustedRule,
        format!(
            "rule {} of chain {} has an x_tables part that nft does not show in full: {}",
            line.position.unwrap_or(0),
            line.chain.as_deref().unwrap_or("?").escape_default(),
            line.line.escape_ascii(),
        ),
    ));
}

/// A request for one table or one chain. Its names are JSON strings: nft never reads them as commands.
fn request(family: Family, table: &str, chain: Option<&str>) -> String {
    let family = family.as_str();
    let what = match chain {
        Some(chain) => json!({ "chain": { "family": family, "table": table, "name": chain } }),
        None => json!({ "table": { "family": family, "name": table } }),
    };
    json!({ "nftables": [{ "list": what }] }).to_string()
}

fn list(
    context: &Context<'_>,
    bases: &BaseChains,
    request: &str,
    Draft { audit, tools, dumps, .. }: &mut Draft<'_>,
    sink: &mut impl FnMut(&mut Audit<'_>, Item),
) -> Result<(), Problem> {
    let started = Instant::now();
    let deadline = context.deadline();
    let running =
        command::start("nft", &["-j", "-f", "-"], request.as_bytes(), &deadline, OUTPUT_LIMIT_BYTES);
    let mut running = running.map_err(|error| dump::command_problem(&error))?;
    let parsed = nft_json::parse_with(bases, &mut running, &mut |item| {
        if let Item::Metainfo { version } = &item {
            tools.insert("nft".to_owned(), version.clone());
        }
        sink(audit, item);
    });
    if let Err(JsonError::Read(source)) = parsed {
        return Err(dump::command_problem(&running.error(source)));
    }
    let ended = running.finish().map_err(|error| dump::command_problem(&error))?;
    dumps.push(("nft", started.elapsed()));
    // a failure has its reason on standard error, and half an answer
    if let Some(problem) = dump::ending_problem("nft", &ended) {
        return Err(problem);
    }
    parsed.map_err(|error| {
        let what = format!("reading the answer of `nft` to {request}: {}", chain_of(&error));
        Problem::new(Reason::MalformedLine, what)
    })
}

fn unreadable_name(family: Family, name: &[u8]) -> Problem {
    Problem::new(
        Reason::UnrenderedRule,
        format!(
            "the {family} table `{}` has a name that is not UTF-8: nft cannot list it",
            name.escape_ascii()
        ),
    )
}

fn difference(family: Family, table: &str, kernel: &Counts, nft: &Counts) -> Problem {
    let differs = |(key, count): &(&(Counted, String), &u64)| nft.get(*key) != Some(*count);
    let first = kernel.iter().find(differs).map_or_else(
        || "nft shows more".to_owned(),
        |((_, name), count)| {
            let shown = name.escape_default();
            format!("`{shown}` has {count} in the kernel")
        },
    );
    Problem::new(
        Reason::CountMismatch,
        format!(
            "what nft shows of table {family} {} is not what the kernel holds: {first}",
            table.escape_default()
        ),
    )
}
