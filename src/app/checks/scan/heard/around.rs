//! What the text of a rule that is heard depends on beside its bytes: sets, chains that belong to rules, and names.
//! Read once, and then kept as the messages say, which come in the order of the changes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::app::checks::scan::nft::is_of_iptables;
use crate::app::checks::scan::{Context, ScanOptions};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::sets::{Element, Set};
use crate::domain::rules::kernel::{Chain, ChainShape, Ipsets, check_chain};
use crate::domain::rules::text::line::Line;
use crate::domain::rules::text::native::constants::Names;
use crate::domain::rules::text::native::contents::Contents;
use crate::domain::rules::text::native::dataflow::{Known, Sets};
use crate::domain::rules::text::native::elements::Shape;
use crate::domain::rules::text::native::types::Type;
use crate::domain::rules::text::native::{self, Bound, Place, declared};
use crate::host::netlink::links;
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError, Rule};

/// Sets of all tables that are known; a rule that names a further one is written as bytes.
const SETS_MAX: usize = 65_536;
/// Elements of sets that belong to rules of one transaction, and rules of chains that do.
const PARTS_MAX: usize = 100_000;
/// Names that only the machine knows are asked for again after this time, if a rule is not allowed.
const FRESH: Duration = Duration::from_millis(200);

/// A table of a family.
pub type TableKey = (Family, Vec<u8>);

/// What is known.
#[derive(Debug)]
pub struct Around {
    tables: BTreeMap<TableKey, Table>,
    sets: usize,
    /// Elements and rules that belong to rules of the present transaction, and the tables of these.
    parts: usize,
    passing: BTreeSet<TableKey>,
    context: Context<'static>,
    devices: BTreeMap<u32, Vec<u8>>,
    asked: Instant,
}

/// What is known of one table.
#[derive(Debug, Default)]
struct Table {
    sets: Sets,
    /// Of the present transaction.
    bound: Bound,
    /// Chains that iptables does not know, in a table of its own.
    foreign: BTreeSet<Vec<u8>>,
}

impl Table {
    fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.bound.is_empty() && self.foreign.is_empty()
    }
}

impl Around {
    /// Reads what there is.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn read(options: &ScanOptions) -> Result<Self, NfnetlinkError> {
        let context = Context::of(Cow::Owned(options.clone()));
        let mut kernel = Nfnetlink::open(context.deadline().moment())?;
        let devices = links::names().unwrap_or_default();
        let tables = BTreeMap::new();
        let mut around = Self {
            tables,
            sets: 0,
            parts: 0,
            passing: BTreeSet::new(),
            context,
            devices,
            asked: Instant::now(),
        };
        for placed in kernel.sets(None)?.into_iter().filter(|placed| !placed.what.is_anonymous()) {
            around.add_set((placed.family, placed.table), placed.what);
        }
        kernel
            .chains(None)?
            .iter()
            .filter(|chain| !chain.is_bound())
            .for_each(|chain| around.add_chain(chain));
        Ok(around)
    }

    fn table(&self, family: Family, table: &[u8]) -> Option<&Table> {
        if self.tables.is_empty() {
            // as on a node without sets, where thousands of rules may come at once
            return None;
        }
        self.tables.get(&(family, table.to_vec()))
    }

    fn table_mut(&mut self, family: Family, table: &[u8]) -> &mut Table {
        self.tables.entry((family, table.to_vec())).or_default()
    }

    /// Adds a set; false if there are too many.
    pub fn add_set(&mut self, (family, table): TableKey, set: Set) -> bool {
        if self.sets >= SETS_MAX {
            return false;
        }
        if set.is_anonymous() {
            self.passing.insert((family, table.clone()));
        }
        let name = set.name.clone();
        let known = Known { set, elements: Vec::new() };
        let is_new = self.table_mut(family, &table).sets.insert(name, known).is_none();
        self.sets += usize::from(is_new);
        true
    }

    /// A set by its name.
    pub fn set(&self, family: Family, table: &[u8], set: &[u8]) -> Option<&Set> {
        self.table(family, table)?.sets.get(set).map(|known| &known.set)
    }

    /// Adds what a set of a rule holds; false if that is too much.
    pub fn add_elements(&mut self, family: Family, table: &[u8], set: &[u8], elements: Vec<Element>) -> bool {
        self.parts += elements.len();
        if self.parts > PARTS_MAX {
            return false;
        }
        if let Some(known) = self.table_mut(family, table).sets.get_mut(set) {
            known.elements.extend(elements);
        }
        true
    }

    /// Notes a chain that is not like others.
    pub fn add_chain(&mut self, chain: &Chain) {
        let (family, table) = (chain.family, chain.table.as_slice());
        if chain.is_bound() {
            self.passing.insert((family, table.to_vec()));
            self.table_mut(family, table).bound.entry(chain.name.clone()).or_default();
        }
        if !is_of_iptables(family, table) {
            return;
        }
        if matches!(check_chain(family, table, chain), ChainShape::Foreign(_)) {
            self.table_mut(family, table).foreign.insert(chain.name.clone());
        } else if let Some(known) = self.tables.get_mut(&(family, table.to_vec())) {
            known.foreign.remove(&chain.name);
        }
    }

    /// Adds a rule of a chain that belongs to another rule; false if there are too many.
    pub fn add_bound_rule(&mut self, rule: Rule<'_>) -> bool {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return false;
        }
        let known = self.tables.get_mut(&(rule.family, rule.table.to_vec()));
        if let Some(rules) = known.and_then(|table| table.bound.get_mut(rule.chain)) {
            rules.push((rule.expressions.to_vec(), rule.userdata.map(<[u8]>::to_vec)));
        }
        true
    }

    /// Whether a table has no sets, and only chains that iptables knows.
    pub fn is_plain(&self, family: Family, table: &[u8]) -> bool {
        self.table(family, table).is_none_or(Table::is_empty)
    }

    /// Whether chains of the present transaction belong to rules of this table.
    pub fn has_bound(&self, family: Family, table: &[u8]) -> bool {
        self.table(family, table).is_some_and(|table| !table.bound.is_empty())
    }

    /// Whether a chain belongs to a rule.
    pub fn is_bound(&self, family: Family, table: &[u8], chain: &[u8]) -> bool {
        self.table(family, table).is_some_and(|table| table.bound.contains_key(chain))
    }

    /// Whether iptables does not know a chain of its own table.
    pub fn is_foreign(&self, family: Family, table: &[u8], chain: &[u8]) -> bool {
        self.table(family, table).is_some_and(|table| table.foreign.contains(chain))
    }

    /// Whether a rule jumps to a chain of its own.
    pub fn jumps_to_own(&self, family: Family, table: &[u8], expressions: &[u8]) -> bool {
        self.table(family, table).is_some_and(|table| native::jumps_to(&table.bound, expressions))
    }

    /// Forgets a table.
    pub fn remove_table(&mut self, family: Family, table: &[u8]) {
        let gone = self.tables.remove(&(family, table.to_vec()));
        self.sets -= gone.map_or(0, |table| table.sets.len());
    }

    /// Forgets a chain.
    pub fn remove_chain(&mut self, family: Family, table: &[u8], chain: &[u8]) {
        if let Some(known) = self.tables.get_mut(&(family, table.to_vec())) {
            known.foreign.remove(chain);
            known.bound.remove(chain);
        }
    }

    /// Forgets a set.
    pub fn remove_set(&mut self, family: Family, table: &[u8], set: &[u8]) {
        let known = self.tables.get_mut(&(family, table.to_vec()));
        let is_gone = known.is_some_and(|table| table.sets.remove(set).is_some());
        self.sets -= usize::from(is_gone);
    }

    /// Forgets what belongs to rules: no later transaction can name it.
    pub fn end_transaction(&mut self) {
        self.parts = 0;
        for key in std::mem::take(&mut self.passing) {
            let Some(table) = self.tables.get_mut(&key) else { continue };
            table.bound.clear();
            let before = table.sets.len();
            table.sets.retain(|_, known| !known.set.is_anonymous());
            self.sets -= before - table.sets.len();
            if table.is_empty() {
                self.tables.remove(&key);
            }
        }
    }

    /// Names of ipsets as far as they were asked for.
    pub fn ipsets(&self) -> &Ipsets {
        self.context.ipsets.known()
    }

    /// Asks for the names of ipsets if nobody did; whether there are any now that were not known.
    pub fn learn_ipsets(&self) -> bool {
        self.context.ipsets.other_than(self.ipsets(), &self.context).is_some()
    }

    /// Asks anew for the names that only the machine knows, unless that was done just now; whether it was.
    pub fn renew(&mut self) -> bool {
        if self.asked.elapsed() < FRESH {
            return false;
        }
        self.devices = links::names().unwrap_or_default();
        let options = self.context.options.clone().into_owned();
        self.context = Context::of(Cow::Owned(options));
        self.asked = Instant::now();
        true
    }

    /// Writes a rule as a native line.
    pub fn write_native(&self, rule: Rule<'_>, names_cgroup: bool, line: &mut Line) {
        static NO_SETS: Sets = Sets::new();
        static NO_CHAINS: Bound = Bound::new();
        let Rule { family, table, chain, userdata, expressions, .. } = rule;
        let known = self.table(family, table);
        let around = native::Around {
            ipsets: self.ipsets(),
            sets: known.map_or(&NO_SETS, |known| &known.sets),
            bound: known.map_or(&NO_CHAINS, |known| &known.bound),
            names: self.names(names_cgroup || self.has_bound(family, table)),
        };
        native::rule(Place { family, table, chain }, expressions, userdata, around, line);
    }

    fn names(&self, has_cgroups: bool) -> Names<'_> {
        Names { devices: &self.devices, cgroups: self.context.cgroups(has_cgroups) }
    }

    /// The texts of elements of a map.
    pub fn element_texts<'e>(
        &self,
        (family, table, set): (Family, &[u8], &[u8]),
        elements: impl Iterator<Item = &'e Element>,
    ) -> Vec<String> {
        let Some(set) = self.set(family, table, set) else { return Vec::new() };
        let key = declared::key_parts(set).unwrap_or_default();
        let value = declared::value_parts(set).unwrap_or_default();
        let names = self.names(key.iter().chain(&value).any(|part| part.of == Type::Cgroup));
        let mut contents = Contents::new(Shape { set, key: &key, value: &value, names });
        let mut texts = Vec::new();
        elements.for_each(|element| contents.add(element, |text| texts.push(text)));
        contents.finish(|text| texts.push(text));
        texts
    }
}
