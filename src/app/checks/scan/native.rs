//! Reads native tables, and what is native in iptables' tables: every line is made of the kernel's own bytes.
//! Leaves what named sets hold to `elements`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Context;
use super::completeness::Uses;
use crate::domain::judging::audit::Audit;
use crate::domain::rules::kernel::expressions::{References, references_of};
use crate::domain::rules::kernel::objects::{Flowtable, Object};
use crate::domain::rules::kernel::sets::Set;
use crate::domain::rules::kernel::{Chain, Ipsets, Table};
use crate::domain::rules::shadow::Content;
use crate::domain::rules::text::line::Line;
use crate::domain::rules::text::native::constants::Names;
use crate::domain::rules::text::native::dataflow::{Known, Sets};
use crate::domain::rules::text::native::{self, Around, Bound, Place, declared};
use crate::domain::rules::{Backend, Entry, Family, Kind, Problem, Reason};
use crate::host::netlink::links;
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError, Placed};

/// What all tables declare, and the names of devices.
#[derive(Debug, Default)]
pub struct Declarations {
    sets: Vec<Placed<Set>>,
    flowtables: Vec<Placed<Flowtable>>,
    objects: Vec<Placed<Object>>,
    devices: Arc<BTreeMap<u32, Vec<u8>>>,
}

impl Declarations {
    /// Reads all of them.
    ///
    /// # Errors
    /// What the kernel answers. Devices whose names cannot be read are written as numbers.
    pub fn read(kernel: &mut Nfnetlink) -> Result<Self, NfnetlinkError> {
        Ok(Self {
            sets: kernel.sets(None)?,
            flowtables: kernel.flowtables(None)?,
            objects: kernel.objects(None)?,
            devices: Arc::new(links::names().unwrap_or_default()),
        })
    }

    /// How many sets, flowtables and objects a table has, without the sets that belong to rules: as the kernel counts.
    pub fn count(&self, family: Family, table: &[u8]) -> usize {
        self.named_sets(family, table).count()
            + of(&self.flowtables, family, table).count()
            + of(&self.objects, family, table).count()
    }

    /// The sets of a table, without those that belong to rules.
    pub fn named_sets(&self, family: Family, table: &[u8]) -> impl Iterator<Item = &Set> {
        of(&self.sets, family, table).filter(|set| !set.is_anonymous())
    }

    /// The names of devices by index.
    pub fn devices(&self) -> Arc<BTreeMap<u32, Vec<u8>>> {
        Arc::clone(&self.devices)
    }
}

fn of<'a, T>(all: &'a [Placed<T>], family: Family, table: &[u8]) -> impl Iterator<Item = &'a T> {
    let is_there = move |placed: &&Placed<T>| placed.family == family && placed.table == table;
    all.iter().filter(is_there).map(|placed| &placed.what)
}

/// What the text of a table's rules depends on beside their bytes.
#[derive(Debug)]
pub struct Surroundings<'a> {
    family: Family,
    table: &'a [u8],
    devices: &'a BTreeMap<u32, Vec<u8>>,
    sets: Sets,
    bound: Bound,
}

impl<'a> Surroundings<'a> {
    /// Reads what the sets hold that belong to a rule, and the rules of chains that do.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn read(
        kernel: &mut Nfnetlink,
        declarations: &'a Declarations,
        (table, chains): (&'a Table, &[Chain]),
    ) -> Result<Self, NfnetlinkError> {
        let (family, name) = (table.family, table.name.as_slice());
        let mut sets = Sets::new();
        for set in of(&declarations.sets, family, name) {
            let mut known = Known { set: set.clone(), elements: Vec::new() };
            if set.is_anonymous() {
                kernel.for_each_element(family, name, &set.name, |element| known.elements.push(element))?;
            }
            sets.insert(set.name.clone(), known);
        }
        let mut bound = Bound::new();
        for chain in chains.iter().filter(|chain| is_of(chain, table) && chain.is_bound()) {
            let rules = bound.entry(chain.name.clone()).or_default();
            kernel.for_each_rule(family, name, &chain.name, |_, userdata, expressions| {
                rules.push((expressions.to_vec(), userdata.map(<[u8]>::to_vec)));
            })?;
        }
        Ok(Self { family, table: name, devices: &declarations.devices, sets, bound })
    }

    /// Of a table without sets, and without chains that belong to rules.
    pub fn none(family: Family, table: &'a [u8]) -> Self {
        static NO_DEVICES: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        Self { family, table, devices: &NO_DEVICES, sets: Sets::new(), bound: Bound::new() }
    }

    /// Judges a native rule: the values of `NFTA_RULE_USERDATA` and `NFTA_RULE_EXPRESSIONS`.
    pub fn judge_rule(
        &self,
        audit: &mut Audit<'_>,
        (chain, position): (&Chain, u32),
        (userdata, expressions): (Option<&[u8]>, &[u8]),
        (ipsets, cgroups): (&Ipsets, &BTreeMap<u64, Vec<u8>>),
        line: &mut Line,
    ) {
        line.truncate(0);
        let place = Place { family: self.family, table: self.table, chain: &chain.name };
        let names = Names { devices: self.devices, cgroups };
        let around = Around { ipsets, sets: &self.sets, bound: &self.bound, names };
        native::rule(place, expressions, userdata, around, line);
        let (table, name) = (String::from_utf8_lossy(self.table), String::from_utf8_lossy(&chain.name));
        let (position, line) = (Some(position), line.as_bytes());
        let entry = Entry { kind: Kind::Rule, table: &table, chain: Some(&name), position, line };
        audit.judge(Backend::Nftables, self.family, &entry);
    }

    /// Whether a rule with these expressions jumps to a chain of its own.
    pub fn jumps_to_own(&self, expressions: &[u8]) -> bool {
        native::jumps_to(&self.bound, expressions)
    }

    /// Whether rules have chains of their own, which may name anything.
    fn has_bound(&self) -> bool {
        !self.bound.is_empty()
    }

    /// Jumps and gotos of maps that belong to rules.
    pub fn jumps(&self) -> u64 {
        let elements = self.sets.values().flat_map(|known| &known.elements);
        elements.map(|element| u64::from(element.is_jump())).sum()
    }
}

fn is_of(chain: &Chain, table: &Table) -> bool {
    chain.family == table.family && chain.table == table.name
}

/// Reads and judges the declarations and rules of one native table; how often its chains are used.
///
/// # Errors
/// What the kernel answers.
pub fn read_table(
    context: &Context<'_>,
    audit: &mut Audit<'_>,
    kernel: &mut Nfnetlink,
    (table, chains): (&Table, &[Chain]),
    declarations: &Declarations,
) -> Result<Uses, NfnetlinkError> {
    let family = table.family;
    let name = String::from_utf8_lossy(&table.name);
    audit.table(Backend::Nftables, family, &name);
    let surroundings = Surroundings::read(kernel, declarations, (table, chains))?;
    let mut uses = Uses::default();
    declare(audit, table, declarations);
    for chain in chains.iter().filter(|chain| is_of(chain, table)) {
        uses.add_chain(chain);
        if let Some(line) = declared::chain(chain) {
            judge(audit, family, &chain.table, (Kind::Chain, Some(&chain.name)), &line);
        }
        uses.add_rules(read_chain(context, audit, kernel, chain, &surroundings)?);
    }
    uses.add_jumps(surroundings.jumps());
    Ok(uses)
}

/// Reads a chain's rules, and judges them unless the chain belongs to a rule, whose line shows them.
fn read_chain(
    context: &Context<'_>,
    audit: &mut Audit<'_>,
    kernel: &mut Nfnetlink,
    chain: &Chain,
    surroundings: &Surroundings<'_>,
) -> Result<Content, NfnetlinkError> {
    let (mut content, mut line) = (Content::default(), Line::default());
    kernel.for_each_rule(chain.family, &chain.table, &chain.name, |_, userdata, expressions| {
        content.rules += 1;
        let references = references_of(expressions);
        content.jumps += references.jumps;
        if references.hides_program {
            audit.problem(hidden_program(chain.family, &chain.table, &chain.name, content.rules));
        }
        if !chain.is_bound() {
            let ipsets = ipsets_for(context, references);
            let is_needed = references.names_cgroup || surroundings.has_bound();
            let names = (ipsets, context.cgroups(is_needed));
            surroundings.judge_rule(audit, (chain, content.rules), (userdata, expressions), names, &mut line);
        }
    })?;
    context.rules_read.fetch_add(content.rules.into(), Ordering::Relaxed);
    Ok(content)
}

/// The names of ipsets, asked for if a rule needs them.
fn ipsets_for<'a>(context: &'a Context<'_>, references: References) -> &'a Ipsets {
    let known = context.ipsets.known();
    let asked = references.names_ipset.then(|| context.ipsets.other_than(known, context)).flatten();
    asked.unwrap_or(known)
}

/// Judges what a table declares beside its chains.
pub fn declare(audit: &mut Audit<'_>, table: &Table, declarations: &Declarations) {
    let (family, name) = (table.family, table.name.as_slice());
    if let Some(line) = declared::table(table) {
        judge(audit, family, name, (Kind::Table, None), &line);
    }
    for set in declarations.named_sets(family, name) {
        let kind = if set.is_map() { Kind::Map } else { Kind::Set };
        judge(audit, family, name, (kind, Some(&set.name)), &declared::set(family, name, set));
    }
    for flowtable in of(&declarations.flowtables, family, name) {
        let line = declared::flowtable(family, name, flowtable);
        judge(audit, family, name, (Kind::Flowtable, Some(&flowtable.name)), &line);
    }
    for object in of(&declarations.objects, family, name) {
        let line = declared::object(family, name, object);
        judge(audit, family, name, (Kind::Object, Some(&object.name)), &line);
    }
}

/// Judges the line of a base chain that iptables does not know.
pub fn declare_base(audit: &mut Audit<'_>, chain: &Chain) {
    if let Some(line) = declared::chain(chain) {
        judge(audit, chain.family, &chain.table, (Kind::Chain, Some(&chain.name)), &line);
    }
}

/// Judges a native line that is no rule.
pub fn judge(
    audit: &mut Audit<'_>,
    family: Family,
    table: &[u8],
    (kind, name): (Kind, Option<&[u8]>),
    line: &str,
) {
    let table = String::from_utf8_lossy(table);
    let name = name.map(String::from_utf8_lossy);
    let line = line.as_bytes();
    let entry = Entry { kind, table: &table, chain: name.as_deref(), position: None, line };
    audit.judge(Backend::Nftables, family, &entry);
}

/// A rule that runs a program that nothing shows.
pub fn hidden_program(family: Family, table: &[u8], chain: &[u8], rule: u32) -> Problem {
    Problem::new(
        Reason::UnrenderedRule,
        format!(
            "rule {rule} of chain {} of table {family} {} runs a BPF program that is held by a descriptor: nothing says what it \
             does; pin the program and name its path, or delete the rule",
            chain.escape_ascii(),
            table.escape_ascii()
        ),
    )
}
