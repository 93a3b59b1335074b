//! What the kernel held of one family's iptables tables when they were last read whole: which chains must be read again.
//! Keeps no rule, only numbers; a table in which anything but iptables wrote has no shadow.
//!
//! The text of a rule is a function of its content, its chain's name and the names of the chains it jumps to. A chain
//! that is renamed changes the text of others: that is left to a whole read.

use std::collections::{HashMap, HashSet};

use super::kernel::{Chain, ChainShape, Table, check_chain, check_table};

/// What a chain's rules add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// How many rules there are.
    pub rules: u32,
    /// Their jumps and gotos.
    pub jumps: u32,
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
            && table.owner.is_none()
            && table.flags == 0
            && check_table(table.family, &table.name, table.flags).is_ok()
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
    /// jumps.
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
