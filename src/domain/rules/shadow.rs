//! What the kernel held of one family's iptables tables when they were last read whole: which chains must be read again.
//! Keeps no rule, only hashes of them; a table in which anything but iptables wrote has no shadow.
//!
//! The text of such a rule is a function of its content, its chain's name and the names of the chains it jumps to, so a
//! chain of the same name whose rules have the same content is still what its text said. A chain that is renamed changes
//! the text of others; names of ipsets are not in the content. Both are left to a whole read.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::kernel::attributes::{Attributes, Fields};
use super::kernel::{Chain, ChainShape, Table, check_chain, check_table, jumps};

/// The content of a chain's rules, without what the kernel counts in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    hash: [u8; 16],
    rules: u32,
    /// Jumps and gotos.
    jumps: u32,
}

impl Content {
    /// How many rules there are.
    pub const fn rules(&self) -> u32 {
        self.rules
    }
}

/// The content of a chain while its rules stream by.
#[derive(Debug, Default)]
pub struct Contents {
    hash: Sha256,
    rules: u32,
    jumps: u32,
}

impl Contents {
    /// Adds a rule: the values of `NFTA_RULE_USERDATA` and `NFTA_RULE_EXPRESSIONS`.
    ///
    /// Of the expressions that iptables uses, only `counter` carries what the kernel counts: an extension's own state
    /// lies behind what the kernel shows of it, and `limit` shows no state.
    ///
    /// *Source*: `nft_counter_do_dump`, `nft_limit_dump` and `nft_extension_dump_info` (which shows no more than the
    /// extension's `usersize`) in the kernel's `net/netfilter`.
    pub fn add_rule(&mut self, userdata: Option<&[u8]>, expressions: &[u8]) {
        const END: &[u8] = &[0];
        const ELEMENT: &[u8] = &[1];
        const COUNTER: &[u8] = &[2];
        const USERDATA: &[u8] = &[3];
        self.rules += 1;
        self.jumps += jumps(expressions);
        if let Some(userdata) = userdata {
            self.add(USERDATA, userdata);
        }
        for element in Attributes::new(expressions).map_while(Result::ok) {
            match element.value {
                counter if is_counter(counter) => self.add(COUNTER, &[]),
                value => self.add(ELEMENT, value),
            }
        }
        self.add(END, &[]);
    }

    fn add(&mut self, tag: &[u8], value: &[u8]) {
        self.hash.update(tag);
        self.hash.update((value.len() as u64).to_ne_bytes());
        self.hash.update(value);
    }

    /// All rules together.
    pub fn finish(self) -> Content {
        let hash = self.hash.finalize().first_chunk().copied().unwrap_or_default();
        Content { hash, rules: self.rules, jumps: self.jumps }
    }
}

fn is_counter(element: &[u8]) -> bool {
    Fields::<3>::known(element).is_ok_and(|fields| fields.get(1) == Some(b"counter\0"))
}

/// One chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    handle: u64,
    shape: ChainShape,
    uses: u32,
    content: Content,
}

#[derive(Clone, Debug)]
struct HeldTable {
    handle: u64,
    chains: HashMap<Vec<u8>, Held>,
}

/// The iptables tables of one family.
#[derive(Clone, Debug, Default)]
pub struct Shadow {
    tables: HashMap<Vec<u8>, HeldTable>,
}

/// What must be read again.
#[derive(Debug, Default)]
pub struct Difference<'c> {
    /// Chains that are new, or touched, or whose kernel's numbers are others.
    pub changed: Vec<&'c Chain>,
    /// Table and name of chains that are no longer there.
    pub gone: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Shadow {
    /// Adds a table.
    pub fn add_table(&mut self, table: &Table) {
        let held = HeldTable { handle: table.handle, chains: HashMap::new() };
        self.tables.insert(table.name.clone(), held);
    }

    /// Adds a chain of such a table, or replaces it, with what its rules hold.
    pub fn add_chain(&mut self, chain: &Chain, content: Content) {
        let shape = check_chain(chain.family, &chain.table, chain);
        if let Some(table) = self.tables.get_mut(&chain.table) {
            let held = Held { handle: chain.handle, shape, uses: chain.uses, content };
            table.chains.insert(chain.name.clone(), held);
        }
    }

    /// Removes a chain.
    pub fn remove_chain(&mut self, table: &[u8], chain: &[u8]) {
        if let Some(table) = self.tables.get_mut(table) {
            table.chains.remove(chain);
        }
    }

    /// What the rules of a chain held.
    pub fn content(&self, chain: &Chain) -> Option<Content> {
        let held = self.tables.get(&chain.table)?.chains.get(&chain.name)?;
        let shape = check_chain(chain.family, &chain.table, chain);
        (held.shape == shape).then_some(held.content)
    }

    /// How many rules there are in all tables.
    pub fn rules(&self) -> u64 {
        self.held().map(|held| u64::from(held.content.rules)).sum()
    }

    fn held(&self) -> impl Iterator<Item = &Held> {
        self.tables.values().flat_map(|table| table.chains.values())
    }

    /// What must be read again, given the family's iptables tables and their chains as the kernel lists them now, and
    /// the chains that are said to be touched. None if only a whole read will do.
    pub fn compare<'c>(
        &self,
        tables: &[&Table],
        chains: &[&'c Chain],
        is_touched: impl Fn(&Chain) -> bool,
    ) -> Option<Difference<'c>> {
        if tables.len() != self.tables.len()
            || !tables.iter().all(|table| self.has_only_chains(table, chains))
        {
            return None;
        }
        let mut difference = Difference::default();
        let mut known = 0;
        for &chain in chains {
            let held = self.tables.get(&chain.table)?.chains.get(&chain.name);
            let shape = check_chain(chain.family, &chain.table, chain);
            if matches!(shape, ChainShape::Foreign(_)) {
                return None;
            }
            known += usize::from(held.is_some());
            let is_same = held.is_some_and(|held| {
                held.handle == chain.handle && held.shape == shape && held.uses == chain.uses
            });
            if !is_same || is_touched(chain) {
                difference.changed.push(chain);
            }
        }
        if known != self.held().count() {
            difference.gone = self.gone(chains)?;
        }
        (!self.is_renamed(&difference.changed)).then_some(difference)
    }

    /// Whether the table is the one it was, in force, and holds nothing but chains: each set, map, object and flowtable
    /// would count as a use of it.
    fn has_only_chains(&self, table: &Table, chains: &[&Chain]) -> bool {
        let of_table = chains.iter().filter(|chain| chain.table == table.name).count();
        self.tables.get(&table.name).is_some_and(|held| held.handle == table.handle)
            && check_table(table.family, &table.name, table.flags, table.owner.is_some()).is_ok()
            && usize::try_from(table.uses).is_ok_and(|uses| uses == of_table)
    }

    /// The chains that are no longer there. Without a built-in one the program prints the policy it would have.
    fn gone(&self, chains: &[&Chain]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let listed: HashSet<(&[u8], &[u8])> =
            chains.iter().map(|chain| (chain.table.as_slice(), chain.name.as_slice())).collect();
        let mut gone = Vec::new();
        for (table, held) in &self.tables {
            for (name, chain) in &held.chains {
                if listed.contains(&(table.as_slice(), name.as_slice())) {
                    continue;
                }
                if matches!(chain.shape, ChainShape::Builtin { .. }) {
                    return None;
                }
                gone.push((table.clone(), name.clone()));
            }
        }
        Some(gone)
    }

    /// Whether a chain has got the name of another, or another name: then rules elsewhere read differently.
    fn is_renamed(&self, changed: &[&Chain]) -> bool {
        let is_new = |chain: &&&Chain| {
            let held = self.tables.get(&chain.table).and_then(|table| table.chains.get(&chain.name));
            held.is_none_or(|held| held.handle != chain.handle)
        };
        let mut fresh = changed.iter().filter(is_new).peekable();
        if fresh.peek().is_none() {
            return false;
        }
        let handles: HashSet<(&[u8], u64)> = self
            .tables
            .iter()
            .flat_map(|(name, table)| table.chains.values().map(move |held| (name.as_slice(), held.handle)))
            .collect();
        fresh.any(|chain| handles.contains(&(chain.table.as_slice(), chain.handle)))
    }

    /// Whether the kernel handed over every rule: over all chains of a table, the uses it counts are the rules and their
    /// jumps. See [`jumps`].
    pub fn is_complete(&self) -> bool {
        self.tables.values().all(|table| {
            let said: u64 = table.chains.values().map(|held| u64::from(held.uses)).sum();
            let seen: u64 = table
                .chains
                .values()
                .map(|held| u64::from(held.content.rules) + u64::from(held.content.jumps))
                .sum();
            said == seen
        })
    }
}

#[cfg(test)]
mod tests;
