//! A legacy (x_tables) table of ip, ip6 or arp, as getsockopt gives it: its chains, their policies and rules.
//! Copies no entry, and writes no text.
//!
//! The kernel takes tables that no iptables writes, and of which iptables-save prints another thing than they do. So
//! the structure is checked first; what is broken is a [`Fault`], and then no chain is known.
//!
//! *Source*: `IPT_SO_GET_INFO`, `IPT_SO_GET_ENTRIES` and the like; how iptables lays a table out from
//! `iptcc_compile_table` in `libiptc/libiptc.c`: a built-in chain is its rules and its policy, a user chain an ERROR entry
//! with its name, its rules and a RETURN, and an ERROR entry named ERROR ends the table.

mod entry;
#[cfg(test)]
mod tests;

use std::ops::Range;

use entry::{Entry, Layout, Standard, error_name, standard};

use super::head::{self, Head};
use super::parts::{self, Role};
use super::rule::{Action, Condition, Match, Rule, Verdict};
use crate::domain::rules::Family;

/// Hooks of a family at most.
const HOOKS: usize = 5;

/// Where the chains of a table's hooks stand: offsets into its entries, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// Bit `1 << hook` for each hook with a chain (`valid_hooks`).
    pub valid: u32,
    /// The first entry of each hook's chain (`hook_entry`).
    pub entry: [u32; HOOKS],
    /// The entry with each hook's policy (`underflow`).
    pub underflow: [u32; HOOKS],
}

/// A table: what `struct ipt_getinfo` says of it, and its entries.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// ip, ip6 or arp.
    pub family: Family,
    /// Its name.
    pub name: &'a str,
    /// Where its hooks' chains stand.
    pub hooks: Hooks,
    /// How many entries it has (`num_entries`).
    pub count: u32,
    /// Its entries, `size` bytes.
    pub entries: &'a [u8],
}

/// Why a table is none that iptables writes, so that no text says what it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes do not divide into entries, or an entry's do not divide into its parts.
    #[error("the entry at offset {0} does not follow the kernel's format")]
    Malformed(usize),
    /// There are more or fewer entries than the kernel says.
    #[error("it has {found} entries, and {said} as the kernel says")]
    Count {
        /// How many there are.
        found: u32,
        /// How many there should be.
        said: u32,
    },
    /// A hook begins in no entry, or the family has no such hook.
    #[error("hook {0} begins in no entry")]
    HookNowhere(u32),
    /// Two hooks begin in one entry.
    #[error("the hooks {0} and {1} begin in one entry")]
    HooksShared(&'static str, &'static str),
    /// A hook begins in an ERROR entry, which drops or changes what it matches and is printed as a chain.
    #[error("the chain of hook {0} begins in an ERROR entry")]
    HookIsError(&'static str),
    /// The policy of a hook stands elsewhere than at the end of its chain.
    #[error("the policy of hook {0} is not the last entry of its chain")]
    Underflow(&'static str),
    /// The policy of a hook has conditions.
    #[error("the policy of hook {0} has conditions")]
    PolicyConditional(&'static str),
    /// The policy of a hook is neither ACCEPT nor DROP.
    #[error("the policy of hook {0} is neither ACCEPT nor DROP")]
    PolicyVerdict(&'static str),
    /// The ERROR entry that begins a chain has conditions.
    #[error("the ERROR entry that begins chain {} has conditions", .0.escape_ascii())]
    HeadConditional(Vec<u8>),
    /// A chain ends in something else than RETURN.
    #[error("chain {} does not end in RETURN", .0.escape_ascii())]
    ChainEnd(Vec<u8>),
    /// Two chains have one name.
    #[error("two chains are named {}", .0.escape_ascii())]
    ChainTwice(Vec<u8>),
    /// An entry belongs to no chain.
    #[error("the entry at offset {0} belongs to no chain")]
    Stray(usize),
    /// The last entry is not the one that ends a table.
    #[error("no ERROR entry ends it")]
    NoEnd,
    /// A rule goes to an entry that is not the first one of a chain.
    #[error("rule {position} of chain {} goes to offset {to}, where no chain begins", chain.escape_ascii())]
    Jump {
        /// The chain.
        chain: Vec<u8>,
        /// The rule's number in it, 1-based.
        position: u32,
        /// Where it goes.
        to: usize,
    },
}

/// A chain, and where its entries stand.
#[derive(Clone, Copy, Debug)]
struct Chain<'a> {
    name: &'a [u8],
    /// Its first entry; the last one if it has no rule.
    first: usize,
    /// Its last entry: the policy, or RETURN.
    last: usize,
    /// Of a chain of a hook: its hook's name, which is its own, and its policy.
    hook: Option<(&'static str, Verdict)>,
}

/// What a table holds.
// one is handed over at a time, and a box for each rule would cost more
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    /// A chain of a hook.
    Policy {
        /// Its name.
        chain: &'static str,
        /// ACCEPT or DROP.
        policy: Verdict,
    },
    /// A chain that is only jumped to.
    Chain {
        /// Its name; untrusted.
        chain: &'a [u8],
    },
    /// A rule.
    Rule {
        /// Its chain; untrusted.
        chain: &'a [u8],
        /// Its number in the chain, 1-based.
        position: u32,
        /// The rule.
        rule: Rule<'a>,
    },
}

/// The chains of a table whose structure is whole, in its order. Jumps name chains that stand behind them, so that rules
/// are read when all chains are known.
#[derive(Debug)]
pub struct Chains<'a>(Vec<Chain<'a>>);

impl<'a> Chains<'a> {
    /// Walks a table.
    ///
    /// # Errors
    /// If its structure is broken.
    pub fn of(table: &Table<'a>) -> Result<Self, Fault> {
        chains(table).map(Self)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The first chain of the second half of the entries.
    pub fn middle(&self) -> usize {
        let end = self.0.last().map_or(0, |chain| chain.last);
        self.0.partition_point(|chain| chain.last < end / 2)
    }

    /// Whether every name is UTF-8.
    pub fn are_text(&self) -> bool {
        self.0.iter().all(|chain| std::str::from_utf8(chain.name).is_ok())
    }
}

/// Hands over each of some chains, and behind it its rules, in the table's order.
///
/// # Errors
/// If a rule is broken or goes to no chain. Items may have been handed over before.
pub fn read<'a>(
    table: &Table<'a>,
    Chains(chains): &Chains<'a>,
    which: Range<usize>,
    mut take: impl FnMut(Item<'a>),
) -> Result<(), Fault> {
    for chain in chains.get(which).unwrap_or_default() {
        take(match chain.hook {
            Some((chain, policy)) => Item::Policy { chain, policy },
            None => Item::Chain { chain: chain.name },
        });
        let (mut at, mut position) = (chain.first, 0);
        while at < chain.last {
            let entry = entry_at(table, at)?;
            let next = at + entry.bytes.len();
            position += 1;
            let rule = rule(table.family, &entry, next, chains).map_err(|fault| match fault {
                Some(to) => Fault::Jump { chain: chain.name.to_vec(), position, to },
                None => Fault::Malformed(at),
            })?;
            take(Item::Rule { chain: chain.name, position, rule });
            at = next;
        }
    }
    Ok(())
}

fn entry_at<'a>(table: &Table<'a>, at: usize) -> Result<Entry<'a>, Fault> {
    let rest = table.entries.get(at..).unwrap_or_default();
    Entry::split(Layout::of(table.family), rest).ok_or(Fault::Malformed(at))
}

/// The rule that an entry is.
///
/// # Errors
/// Where it goes, if that is no chain; none if it does not follow the kernel's format.
fn rule<'a>(
    family: Family,
    entry: &Entry<'a>,
    next: usize,
    chains: &[Chain<'a>],
) -> Result<Rule<'a>, Option<usize>> {
    let target = entry.target().ok_or(None)?;
    let is_goto = head::is_goto(family, entry.head());
    let action = match standard(&target) {
        None if target.name.is_empty() => return Err(None),
        None => Action::Target(target),
        Some(Standard::Verdict(verdict)) => Action::Verdict(verdict),
        Some(Standard::Other(verdict)) => Action::RawVerdict(verdict),
        Some(Standard::Jump(to)) if to == next => Action::None,
        Some(Standard::Jump(to)) => {
            let at = chains.binary_search_by_key(&to, |chain| chain.first).map_err(|_| Some(to))?;
            let name = chains.get(at).map(|chain| chain.name).ok_or(Some(to))?;
            Action::Chain { name, is_goto }
        }
    };
    let is_said = !is_goto || matches!(action, Action::Chain { .. });
    let head = Head::decode(family, entry.head()).filter(|_| is_said && family != Family::Arp);
    let matches = entry.matches().map(|part| part.map(Match::Part).ok_or(None)).collect::<Result<_, _>>()?;
    Ok(Rule {
        head: head.map_or(Condition::Raw(entry.head()), Condition::Head),
        matches,
        has_merged_ports: false,
        action,
    })
}

/// The chains of a table whose structure is whole, in its order.
fn chains<'a>(table: &Table<'a>) -> Result<Vec<Chain<'a>>, Fault> {
    let names = Layout::of(table.family).chains;
    let mut index = Index { table, chains: Vec::new(), open: None };
    let (mut at, mut found, mut has_end) = (0, 0u32, false);
    while at < table.entries.len() {
        let entry = entry_at(table, at)?;
        let next = at + entry.bytes.len();
        let target = entry.target().ok_or(Fault::Malformed(at))?;
        let is_error = target.name == entry::ERROR;
        let mut here = hooks_at(table, at);
        if let Some(hook) = here.next() {
            let name = names
                .get(hook)
                .copied()
                .ok_or(Fault::HookNowhere(u32::try_from(hook).unwrap_or(u32::MAX)))?;
            if let Some(other) = here.next() {
                return Err(Fault::HooksShared(name, names.get(other).copied().unwrap_or_default()));
            }
            if is_error {
                return Err(Fault::HookIsError(name));
            }
            index.close()?;
            index.open =
                Some(Open { name: name.as_bytes(), hook: Some((hook, name)), first: at, last: None });
        }
        if is_error {
            let name = error_name(&target).ok_or(Fault::Malformed(at))?;
            if !entry.is_unconditional() {
                return Err(Fault::HeadConditional(name.to_vec()));
            }
            index.close()?;
            has_end = name == entry::ERROR && next == table.entries.len();
            let chain = Open { name, hook: None, first: next, last: None };
            index.open = (!has_end).then_some(chain);
        } else {
            let open = index.open.as_mut().ok_or(Fault::Stray(at))?;
            open.last = Some((at, entry));
        }
        found += 1;
        at = next;
    }
    index.close()?;
    if !has_end {
        return Err(Fault::NoEnd);
    }
    if found != table.count {
        return Err(Fault::Count { found, said: table.count });
    }
    index.finish()
}

/// The hooks that begin in the entry at this offset.
fn hooks_at(table: &Table<'_>, at: usize) -> impl Iterator<Item = usize> {
    let Hooks { valid, entry, .. } = table.hooks;
    let is_here =
        move |(hook, offset): &(usize, u32)| valid & (1 << hook) != 0 && usize::try_from(*offset) == Ok(at);
    entry.into_iter().enumerate().filter(is_here).map(|(hook, _)| hook)
}

/// A chain whose end was not seen yet.
struct Open<'a> {
    name: &'a [u8],
    hook: Option<(usize, &'static str)>,
    first: usize,
    /// The last entry so far.
    last: Option<(usize, Entry<'a>)>,
}

struct Index<'t, 'a> {
    table: &'t Table<'a>,
    chains: Vec<Chain<'a>>,
    open: Option<Open<'a>>,
}

impl<'a> Index<'_, 'a> {
    /// Ends the chain that is open, which must end as chains do.
    fn close(&mut self) -> Result<(), Fault> {
        let Some(Open { name, hook, first, last }) = self.open.take() else { return Ok(()) };
        let end = || Fault::ChainEnd(name.to_vec());
        let (last, entry) = last.ok_or_else(end)?;
        let target = entry.target().ok_or(Fault::Malformed(last))?;
        let hook = match (hook, standard(&target)) {
            (Some((hook, name)), standard) => {
                let underflow = self.table.hooks.underflow.get(hook).copied().unwrap_or_default();
                if usize::try_from(underflow) != Ok(last) {
                    return Err(Fault::Underflow(name));
                }
                if !entry.is_unconditional() {
                    return Err(Fault::PolicyConditional(name));
                }
                match standard {
                    Some(Standard::Verdict(policy @ (Verdict::Accept | Verdict::Drop))) => {
                        Some((name, policy))
                    }
                    _ => return Err(Fault::PolicyVerdict(name)),
                }
            }
            (None, Some(Standard::Verdict(Verdict::Return))) if entry.is_unconditional() => None,
            (None, _) => return Err(end()),
        };
        self.chains.push(Chain { name, first, last, hook });
        Ok(())
    }

    /// The chains, if every hook has one and no two share a name.
    fn finish(self) -> Result<Vec<Chain<'a>>, Fault> {
        let names = Layout::of(self.table.family).chains;
        let mut missing = self.table.hooks.valid;
        for (name, _) in self.chains.iter().filter_map(|chain| chain.hook) {
            let hook = names.iter().position(|hook| *hook == name);
            missing &= !hook.map_or(0, |hook| 1 << hook);
        }
        if missing != 0 {
            return Err(Fault::HookNowhere(missing.trailing_zeros()));
        }
        let mut names: Vec<&[u8]> = self.chains.iter().map(|chain| chain.name).collect();
        names.sort_unstable();
        match names.array_windows().find(|[one, two]| one == two) {
            Some([name, _]) => Err(Fault::ChainTwice(name.to_vec())),
            None => Ok(self.chains),
        }
    }
}

/// Hands over the bytes of a table's entries that are no state, in order: the same ones for the same rules.
///
/// Kernels since Linux 4.11 show what matches remember as zeros; older ones show it, and it is left out here.
///
/// # Errors
/// [`Fault::Malformed`].
pub fn stable<'a>(family: Family, entries: &'a [u8], mut take: impl FnMut(&'a [u8])) -> Result<(), Fault> {
    let layout = Layout::of(family);
    let mut at = 0;
    while at < entries.len() {
        let malformed = Fault::Malformed(at);
        let rest = entries.get(at..).unwrap_or_default();
        let entry = Entry::split(layout, rest).ok_or(malformed.clone())?;
        let mut from = 0;
        for state in layout.state() {
            take(entry.bytes.get(from..state.start).unwrap_or_default());
            from = state.end;
        }
        for part in entry.matches() {
            let part = part.ok_or(malformed.clone())?;
            let end = from + entry::PART_HEAD + part.info.len();
            for state in parts::state(Role::Match, &part, family) {
                let start = from.max(end - part.info.len() + state.start);
                take(entry.bytes.get(from..start).unwrap_or_default());
                from = end.min(end - part.info.len() + state.end);
            }
            take(entry.bytes.get(from..end).unwrap_or_default());
            from = end;
        }
        take(entry.bytes.get(from..).unwrap_or_default());
        at += entry.bytes.len();
    }
    Ok(())
}
