//! Reads what only nft shows: native tables, and the native parts of iptables' tables.
//! Makes no line itself; every listing is compared with the kernel's own numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::json;

use super::Context;
use super::completeness::{self, Uses};
use super::dump::{self, OUTPUT_LIMIT_BYTES};
use super::unit::Draft;
use crate::domain::judging::audit::Audit;
use crate::domain::rules::kernel::{Chain, Table};
use crate::domain::rules::pairing::KernelTable;
use crate::domain::rules::saved::nft_json::{self, BaseChains, Item, JsonError, NativeLine};
use crate::domain::rules::{Backend, Entry, Family, Kind, Problem, Reason};
use crate::domain::words::error_chain::chain_of;
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
    for chain in chains.iter().filter(of_table) {
        let mut rules = 0;
        uses.add_chain(chain);
        kernel.for_each_rule(family, &table.name, &chain.name, |_, userdata, expressions| {
            rules += 1;
            uses.add_rule(expressions);
            if !nft_json::is_text_shown(family, userdata, expressions) {
                audit.problem(unshown_text(chain, rules as usize));
            }
        })?;
        expected.insert((Counted::Chain, String::from_utf8_lossy(&chain.name).into_owned()), rules);
    }
    completeness::check(audit, kernel, family, name, uses)?;
    audit.table(Backend::Nftables, family, name);
    let mut listed = BTreeMap::new();
    let listing = list(context, bases, &request(family, name, None), draft, &mut |audit, item| {
        count(&item, &mut listed);
        judge(audit, item, None);
    });
    let audit = &mut draft.audit;
    match listing {
        Err(problem) => audit.problem(problem),
        Ok(()) if listed == expected => {}
        Ok(()) => audit.problem(difference(family, name, &expected, &listed)),
    }
    Ok(())
}

/// Reads and judges the native parts of an iptables table: rules whose text cannot be trusted, base chains that
/// iptables does not know, and declarations.
///
/// # Errors
/// What the kernel answers; what nft says is a problem of the audit.
pub fn read_foreign(
    context: &Context<'_>,
    draft: &mut Draft<'_>,
    kernel: &mut Nfnetlink,
    (family, table): (Family, &KernelTable),
    known: &BaseChains,
) -> Result<(), NfnetlinkError> {
    let declared: BTreeSet<_> = declared(kernel, family, table.name())?.into_keys().collect();
    let mut rules = BTreeSet::new();
    let mut bases = BTreeSet::new();
    let mut chains = BTreeSet::new();
    for chain in table.native_chains() {
        rules.extend(chain.handles);
        chains.insert(chain.name);
        if chain.is_base {
            bases.insert(chain.name);
        }
    }
    let mut requests: Vec<_> =
        chains.iter().map(|chain| request(family, table.name(), Some(chain))).collect();
    if !declared.is_empty() || requests.len() > CHAINS_LISTED_ALONE {
        requests = vec![request(family, table.name(), None)];
    }
    let mut listed = BTreeMap::new();
    for request in requests {
        let listing = list(context, known, &request, draft, &mut |audit, item| {
            count(&item, &mut listed);
            let Item::Line(line) = item else { return judge(audit, item, None) };
            let is_wanted = match line.kind {
                Kind::Rule => line.handle.is_some_and(|handle| rules.remove(&handle)),
                Kind::Chain => line.chain.as_deref().is_some_and(|name| bases.remove(name)),
                _ => true,
            };
            if is_wanted {
                let printed = line.handle.and_then(|handle| table.printed_as(handle));
                judge(audit, Item::Line(line), printed);
            }
        });
        if let Err(problem) = listing {
            draft.audit.problem(problem);
        }
    }
    let unseen = declared.iter().filter(|key| !listed.contains_key(*key)).count();
    let missing = rules.len() + bases.len() + unseen;
    if missing > 0 {
        draft.audit.problem(Problem::new(
            Reason::CountMismatch,
            format!(
                "nft does not show {missing} native rules or declarations of table {family} {}",
                table.name()
            ),
        ));
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
pub fn judge(audit: &mut Audit<'_>, item: Item, printed_as: Option<&[u8]>) {
    match item {
        Item::Line(line) => judge_line(audit, &line, printed_as),
        Item::SetElements { family, table, set, count, hash } => {
            audit.set_elements(family, &table, &set, count, &hash)
        }
        Item::Problem(problem) => audit.problem(problem),
        Item::Metainfo { .. } | Item::Table { .. } | Item::Chain { .. } => {}
    }
}

fn judge_line(audit: &mut Audit<'_>, line: &NativeLine, printed_as: Option<&[u8]>) {
    let entry = Entry {
        kind: line.kind,
        table: &line.table,
        chain: line.chain.as_deref(),
        position: line.position,
        line: &line.line,
    };
    if !line.has_xt {
        return audit.judge(Backend::Nftables, line.family, &entry, printed_as);
    }
    audit.count(Backend::Nftables, line.family, &entry);
    let printed = printed_as.map_or(String::new(), |text| format!(", printed as `{}`", text.escape_ascii()));
    audit.problem(Problem::new(
        Reason::UntrustedRule,
        format!(
            "rule {} of chain {} has an x_tables part that no tool here shows in full: {}{printed}",
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
    if let Some(problem) = dump::ending_problems("nft", &ended, &[]).pop() {
        return Err(problem);
    }
    parsed.map_err(|error| {
        let what = format!("reading the answer of `nft` to {request}: {}", chain_of(&error));
        Problem::new(Reason::MalformedLine, what)
    })
}

/// A rule of which nft leaves something out.
pub fn unshown_text(chain: &Chain, number: usize) -> Problem {
    let (table, name) = (chain.table.escape_ascii(), chain.name.escape_ascii());
    Problem::new(
        Reason::UnrenderedRule,
        format!(
            "rule {number} of {} {table} {name} has a part that nft does not show: text that is not UTF-8, bytes behind a \
             name, or a write into the packet that is not what it says",
            chain.family
        ),
    )
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
