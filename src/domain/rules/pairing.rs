//! Lays the text of iptables-nft-save beside the kernel's own rules, rule by rule.
//! Says for each printed line whether it may be judged as text; judges nothing.

use std::collections::HashMap;

use super::kernel::{ActionHash, ChainFault, ChainShape, Untrusted, action_of_text};
use super::{Entry, Family, Kind, Problem, Reason};

/// Misprinted texts kept for reports.
const PRINTED_KEPT: usize = 1000;

/// One iptables table as the kernel holds it.
#[derive(Debug)]
pub struct KernelTable {
    family: Family,
    name: String,
    chains: HashMap<String, KernelChain>,
    is_printed: bool,
    misprints: HashMap<u64, Vec<u8>>,
}

/// One chain of such a table.
#[derive(Debug)]
pub struct KernelChain {
    shape: ChainShape,
    rules: Vec<KernelRule>,
    printed: usize,
    is_declared: bool,
}

/// One rule: the kernel's number for it, and what its text may be used for.
#[derive(Clone, Copy, Debug)]
pub struct KernelRule {
    /// Tells it apart from every other rule of the table.
    pub handle: u64,
    /// What its text must show behind `-j`, or why its text may say anything.
    pub standing: Result<ActionHash, Untrusted>,
}

/// What a printed line may be used for.
#[derive(Debug, PartialEq, Eq)]
pub enum Use {
    /// Judge it: the kernel has exactly this.
    Judge,
    /// Ignore it: the rule is judged as the native rule it is.
    Native,
    /// Judge it, but the kernel does not have this.
    Mismatch(Problem),
}

impl KernelTable {
    /// A table without chains.
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        let chains = HashMap::new();
        Self { family, name: name.into(), chains, is_printed: false, misprints: HashMap::new() }
    }

    /// Adds a chain with its rules in order.
    pub fn add_chain(&mut self, name: impl Into<String>, shape: ChainShape, rules: Vec<KernelRule>) {
        self.chains.insert(name.into(), KernelChain { shape, rules, printed: 0, is_declared: false });
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text that misrepresents the rule of this handle.
    pub fn printed_as(&self, handle: u64) -> Option<&[u8]> {
        self.misprints.get(&handle).map(Vec::as_slice)
    }

    /// Notes that the text has this table; false when it had it before.
    pub fn print(&mut self) -> bool {
        !std::mem::replace(&mut self.is_printed, true)
    }

    /// Whether the text has this table.
    pub fn is_printed(&self) -> bool {
        self.is_printed
    }

    /// Chains that must be judged as native ones, or that hold rules that must, with those rules' handles.
    pub fn native_chains(&self) -> impl Iterator<Item = NativeChain<'_>> {
        self.chains.iter().filter_map(|(name, chain)| {
            let is_foreign = chain.is_foreign();
            let handles: Vec<u64> = chain
                .rules
                .iter()
                .filter(|rule| is_foreign || rule.standing.is_err())
                .map(|rule| rule.handle)
                .collect();
            let is_base = chain.shape == ChainShape::Foreign(ChainFault::ForeignHook);
            (!handles.is_empty() || is_base).then_some(NativeChain { name, handles, is_base })
        })
    }

    /// What a printed line of this table may be used for.
    pub fn pair(&mut self, entry: &Entry<'_>) -> Use {
        let found = entry.chain.and_then(|name| self.chains.get_mut(name));
        let Some(chain) = found else {
            // a built-in chain that nobody made yet is printed with the policy it would have
            if entry.kind == Kind::Policy && entry.line.ends_with(b" ACCEPT") {
                return Use::Judge;
            }
            return Use::Mismatch(mismatch(
                self.family,
                entry,
                "prints a chain that the kernel does not have",
            ));
        };
        match entry.kind {
            Kind::Rule => {
                let usage = chain.pair_rule(self.family, entry);
                if usage == Use::Native && self.misprints.len() < PRINTED_KEPT {
                    let handle = entry.position.and_then(|number| chain.rule(number)).map(|rule| rule.handle);
                    self.misprints.extend(handle.map(|handle| (handle, entry.line.to_vec())));
                }
                usage
            }
            _ => chain.pair_declaration(self.family, entry),
        }
    }

    /// What the kernel has and the text has not.
    pub fn missing(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.is_printed {
            problems.extend(self.unprinted());
            return problems;
        }
        for (name, chain) in &self.chains {
            let expected = if chain.is_hidden() { 0 } else { chain.rules.len() };
            if chain.printed != expected || (!chain.is_declared && !chain.is_hidden()) {
                problems.push(Problem::new(
                    Reason::CountMismatch,
                    format!(
                        "chain {} of table {} {} has {expected} rules in the kernel and {} in the text of \
                         iptables-nft-save: the text is forged or cut",
                        name.escape_default(),
                        self.family,
                        self.name,
                        chain.printed
                    ),
                ));
            }
        }
        problems
    }

    /// Rules whose only readable form is a text that was not printed.
    fn unprinted(&self) -> Option<Problem> {
        let unread: usize = self.chains.values().map(KernelChain::trusted).sum();
        let native: usize = self.native_chains().map(|chain| chain.handles.len()).sum();
        let cause = match native {
            0 => String::new(),
            _ => format!(
                ". The {native} native rules in this table are the likely cause; remove them and check again"
            ),
        };
        (unread > 0).then(|| {
            Problem::new(
                Reason::TableUnreadable,
                format!(
                    "iptables-nft-save did not print table {} {}: {unread} rules written by iptables were not judged{cause}",
                    self.family, self.name
                ),
            )
        })
    }

    /// The `-P` and `-N` lines of a table that was not printed, and its rules that no text shows.
    pub fn declarations(&self) -> impl Iterator<Item = (&str, Kind, String)> {
        let chains = if self.is_printed { None } else { Some(self.chains.iter()) };
        chains.into_iter().flatten().filter_map(|(name, chain)| match chain.shape {
            ChainShape::Builtin { policy } => {
                Some((name.as_str(), Kind::Policy, format!("-P {name} {}", policy.as_str())))
            }
            ChainShape::User => Some((name.as_str(), Kind::Chain, format!("-N {name}"))),
            ChainShape::Foreign(_) => None,
        })
    }

    /// Chains whose text looks like something else than they are.
    pub fn chain_problems(&self) -> impl Iterator<Item = Problem> {
        self.chains.iter().filter_map(|(name, chain)| {
            let ChainShape::Foreign(fault) = chain.shape else { return None };
            let reason = match fault {
                ChainFault::ForeignHook => return None,
                ChainFault::Detached => Reason::TableInactive,
                ChainFault::Name | ChainFault::UnknownFlags => Reason::UntrustedRule,
            };
            let (family, table, name) = (self.family, &self.name, name.escape_default());
            Some(Problem::new(reason, format!("chain {name} of table {family} {table}: {fault}")))
        })
    }
}

/// A chain of an iptables table that nft must show.
#[derive(Debug, PartialEq, Eq)]
pub struct NativeChain<'a> {
    /// Its name.
    pub name: &'a str,
    /// The rules that must be judged as native ones.
    pub handles: Vec<u64>,
    /// Whether the chain itself is a base chain that iptables does not know.
    pub is_base: bool,
}

impl KernelChain {
    fn is_foreign(&self) -> bool {
        matches!(self.shape, ChainShape::Foreign(_))
    }

    /// A base chain that iptables does not know is left out of the text, with its rules.
    fn is_hidden(&self) -> bool {
        self.shape == ChainShape::Foreign(ChainFault::ForeignHook)
    }

    fn trusted(&self) -> usize {
        if self.is_foreign() {
            return 0;
        }
        self.rules.iter().filter(|rule| rule.standing.is_ok()).count()
    }

    fn rule(&self, number: u32) -> Option<&KernelRule> {
        self.rules.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    fn pair_rule(&mut self, family: Family, entry: &Entry<'_>) -> Use {
        self.printed += 1;
        let Some(rule) = entry.position.and_then(|number| self.rule(number)) else {
            return Use::Mismatch(mismatch(family, entry, "prints a rule that the kernel does not have"));
        };
        match rule.standing {
            _ if self.is_foreign() => Use::Native,
            Err(_) => Use::Native,
            Ok(action) if action == action_of_text(entry.line) => Use::Judge,
            Ok(_) => Use::Mismatch(mismatch(family, entry, "prints another target than the kernel has")),
        }
    }

    fn pair_declaration(&mut self, family: Family, entry: &Entry<'_>) -> Use {
        self.is_declared = true;
        let is_right = match self.shape {
            ChainShape::Builtin { policy } => {
                entry.kind == Kind::Policy && entry.line.ends_with(policy.as_str().as_bytes())
            }
            ChainShape::User => entry.kind == Kind::Chain,
            ChainShape::Foreign(_) => return Use::Native,
        };
        if is_right {
            Use::Judge
        } else {
            Use::Mismatch(mismatch(family, entry, "prints a chain otherwise than the kernel has it"))
        }
    }
}

fn mismatch(family: Family, entry: &Entry<'_>, what: &str) -> Problem {
    Problem::new(
        Reason::CountMismatch,
        format!("iptables-nft-save ({family} {}) {what}: {}", entry.table, entry.line.escape_ascii()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::kernel::Policy;

    const JUMP: &[u8] = b"-A INPUT -j K";

    fn table(rules: Vec<KernelRule>) -> KernelTable {
        let mut table = KernelTable::new(Family::Ip, "filter");
        table.add_chain("INPUT", ChainShape::Builtin { policy: Policy::Accept }, rules);
        table
    }

    fn rule(handle: u64, line: &[u8]) -> KernelRule {
        KernelRule { handle, standing: Ok(action_of_text(line)) }
    }

    fn native(handle: u64) -> KernelRule {
        KernelRule { handle, standing: Err(Untrusted::Operator) }
    }

    fn entry(kind: Kind, position: Option<u32>, line: &[u8]) -> Entry<'_> {
        Entry { kind, table: "filter", chain: Some("INPUT"), position, line }
    }

    fn declare(table: &mut KernelTable) {
        assert!(table.print());
        assert_eq!(table.pair(&entry(Kind::Policy, None, b"-P INPUT ACCEPT")), Use::Judge);
    }

    #[test]
    fn a_whole_text_is_judged() {
        let mut table = table(vec![rule(1, JUMP)]);
        declare(&mut table);
        assert_eq!(table.pair(&entry(Kind::Rule, Some(1), JUMP)), Use::Judge);
        assert_eq!(table.missing(), []);
        assert_eq!(table.native_chains().count(), 0);
    }

    #[test]
    fn a_misprint_is_kept_for_the_report_and_listed_as_native() {
        let mut table = table(vec![rule(1, JUMP), native(7)]);
        declare(&mut table);
        assert_eq!(table.pair(&entry(Kind::Rule, Some(1), JUMP)), Use::Judge);
        assert_eq!(table.pair(&entry(Kind::Rule, Some(2), JUMP)), Use::Native);
        assert_eq!(table.printed_as(7), Some(JUMP));
        assert_eq!(table.missing(), []);
        let chains: Vec<_> = table.native_chains().collect();
        assert_eq!(chains, [NativeChain { name: "INPUT", handles: vec![7], is_base: false }]);
    }

    #[test]
    fn a_built_in_chain_that_nobody_made_is_printed_accepting() {
        let mut table = table(vec![]);
        declare(&mut table);
        let output =
            |line| Entry { kind: Kind::Policy, table: "filter", chain: Some("OUTPUT"), position: None, line };
        assert_eq!(table.pair(&output(b"-P OUTPUT ACCEPT")), Use::Judge);
        assert!(matches!(table.pair(&output(b"-P OUTPUT DROP")), Use::Mismatch(_)));
        assert_eq!(table.missing(), []);
    }

    #[test]
    fn too_many_too_few_and_other_rules_are_mismatches() {
        let mut more = table(vec![rule(1, JUMP)]);
        declare(&mut more);
        assert_eq!(more.pair(&entry(Kind::Rule, Some(1), JUMP)), Use::Judge);
        assert!(matches!(more.pair(&entry(Kind::Rule, Some(2), JUMP)), Use::Mismatch(_)));
        assert_eq!(more.missing().len(), 1);

        let mut fewer = table(vec![rule(1, JUMP)]);
        declare(&mut fewer);
        assert_eq!(fewer.missing().len(), 1);

        let mut other = table(vec![rule(1, JUMP)]);
        declare(&mut other);
        assert!(matches!(other.pair(&entry(Kind::Rule, Some(1), b"-A INPUT -j X")), Use::Mismatch(_)));
        let drop = entry(Kind::Policy, None, b"-P INPUT DROP");
        assert!(matches!(other.pair(&drop), Use::Mismatch(_)));
    }

    #[test]
    fn a_table_that_is_not_printed_is_unreadable_if_iptables_wrote_in_it() {
        let mixed = table(vec![rule(1, JUMP), native(2)]);
        assert_eq!(mixed.missing().first().map(|problem| problem.reason), Some(Reason::TableUnreadable));
        assert_eq!(mixed.declarations().next().unwrap().2, "-P INPUT ACCEPT");
        assert_eq!(table(vec![native(2)]).missing(), []);
    }
}
