//! Feeds the index of logging rules with the lines of a scan, one by one.
//! Keeps only rules that log; of the others it remembers what they decide about packets that were logged before them.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::after::{After, By, Verdict};
use super::condition::Condition;
use super::facts::Hook;
use super::index::{LogRule, RuleIndex};
use super::statement::{Effect, Statement};
use crate::domain::drops::rule_words::words;
use crate::domain::rules::{Backend, Entry, Family, Kind};

/// Rules that are kept, ...
const KEPT: usize = 10_000;
/// ... if their lines are no longer than this together.
const KEPT_BYTES: usize = 4 << 20;
/// Chains whose hook or policy is remembered.
const CHAINS: usize = 10_000;
/// Logging rules in a row, or nearly so, whose packets' fate is sought at the same time.
const OPEN: usize = 64;

/// A [`RuleIndex`] in the making.
#[derive(Debug, Default)]
pub struct Builder {
    rules: Vec<LogRule>,
    bytes: usize,
    untold: u64,
    hasher: RandomState,
    bases: HashMap<u64, Base>,
    open: HashMap<u64, Vec<Open>>,
}

/// What is known of a base chain.
#[derive(Clone, Debug, Default)]
struct Base {
    hook: Option<Hook>,
    policy: Option<Verdict>,
}

/// A logging rule whose packets' fate is not known yet.
#[derive(Debug)]
struct Open {
    rule: usize,
    statement: Statement,
    /// No rule since then may have decided.
    is_certain: bool,
}

impl Builder {
    /// Takes a line; lines of a chain must come in order.
    pub fn line(&mut self, backend: Backend, family: Family, entry: &Entry<'_>) {
        let Some(chain) = entry.chain else { return };
        let key = self.hasher.hash_one((backend, family, entry.table, chain));
        match entry.kind {
            Kind::Rule => self.rule(key, backend, family, chain, entry),
            Kind::Policy | Kind::Chain if self.bases.len() < CHAINS => {
                self.bases.extend(base(backend, chain, entry.line).map(|base| (key, base)));
            }
            _ => {}
        }
    }

    fn rule(&mut self, key: u64, backend: Backend, family: Family, chain: &str, entry: &Entry<'_>) {
        let is_awaited = self.open.contains_key(&key);
        if !is_awaited && !may_log(backend, entry.line) {
            return;
        }
        let Some(statement) = Statement::parse(backend, entry.line) else { return };
        let position = entry.position.unwrap_or(0);
        if is_awaited {
            self.decide(key, position, &statement);
        }
        if let Some(log) = &statement.log {
            if self.rules.len() >= KEPT || self.bytes + entry.line.len() > KEPT_BYTES {
                self.untold += 1;
                return;
            }
            self.bytes += entry.line.len();
            let is_iptables = backend != Backend::Nftables;
            let rule = LogRule {
                backend,
                family,
                table: entry.table.to_owned(),
                chain: chain.to_owned(),
                position,
                line: entry.line.to_vec(),
                via: log.via,
                prefix: log.prefix.clone(),
                after: None,
                hook: None,
                conditions: if is_iptables { Condition::all(&words(entry.line)) } else { vec![] },
            };
            self.rules.push(rule);
            self.await_verdict(key, self.rules.len() - 1, statement);
        }
    }

    /// Notes the fate of packets that a rule has logged, or that it is to be found.
    fn await_verdict(&mut self, key: u64, rule: usize, statement: Statement) {
        if let Effect::Decides(verdict) = &statement.effect {
            let verdict = verdict.clone();
            self.note(rule, After { verdict, by: By::Itself, is_certain: true });
            return;
        }
        let is_certain = statement.effect == Effect::None;
        let open = self.open.entry(key).or_default();
        if open.len() >= OPEN {
            open.remove(0);
        }
        open.push(Open { rule, statement, is_certain });
    }

    /// Holds a later rule of the chain against those whose packets' fate is open.
    fn decide(&mut self, key: u64, position: u32, later: &Statement) {
        let Some(mut open) = self.open.remove(&key) else { return };
        open.retain_mut(|open| match &later.effect {
            Effect::None => true,
            Effect::Decides(verdict) if open.statement.is_covered_by(later) => {
                let after =
                    After { verdict: verdict.clone(), by: By::Rule(position), is_certain: open.is_certain };
                self.note(open.rule, after);
                false
            }
            Effect::Decides(_) | Effect::MayDecide => {
                open.is_certain = false;
                true
            }
        });
        if !open.is_empty() {
            self.open.insert(key, open);
        }
    }

    fn note(&mut self, rule: usize, after: After) {
        if let Some(rule) = self.rules.get_mut(rule) {
            rule.after = Some(after);
        }
    }

    /// The index of what was fed.
    pub fn build(mut self) -> RuleIndex {
        for (key, open) in std::mem::take(&mut self.open) {
            let policy = self.bases.get(&key).map(|base| base.policy.clone());
            let (verdict, by) = match policy {
                Some(policy) => (policy, By::Policy),
                None => (Some(Verdict::Return), By::End),
            };
            for Open { rule, is_certain, .. } in open {
                if let Some(verdict) = verdict.clone() {
                    self.note(rule, After { verdict, by, is_certain });
                }
            }
        }
        let mut index = RuleIndex { untold: self.untold, ..RuleIndex::default() };
        for (at, mut rule) in self.rules.into_iter().enumerate() {
            let key =
                self.hasher.hash_one((rule.backend, rule.family, rule.table.as_str(), rule.chain.as_str()));
            rule.hook = self.bases.get(&key).and_then(|base| base.hook);
            let prefix = rule.prefix.trim_ascii().to_vec();
            index.by_prefix.entry((rule.via, prefix)).or_default().push(at);
            index.rules.push(rule);
        }
        index
    }
}

/// A quick look that passes over nearly all rules that do not log.
fn may_log(backend: Backend, line: &[u8]) -> bool {
    let word: &[u8] = if backend == Backend::Nftables { b" log" } else { b"LOG" };
    memchr::memmem::find(line, word).is_some()
}

/// `-P INPUT DROP`, or `chain inet t in type filter hook input priority 0 policy drop`; none for a chain without hook.
fn base(backend: Backend, chain: &str, line: &[u8]) -> Option<Base> {
    let words = words(line);
    let value =
        |option: &str| words.iter().skip_while(|word| !word.is(option)).nth(1).and_then(|word| word.as_str());
    if backend == Backend::Nftables {
        let hook = value("hook")?;
        return Some(Base { hook: Hook::from_name(hook), policy: value("policy").and_then(verdict) });
    }
    let is_policy = words.first().is_some_and(|word| word.is("-P"));
    let policy = words.get(2).and_then(|word| word.as_str()).and_then(verdict);
    is_policy.then(|| Base { hook: Hook::from_name(chain), policy })
}

fn verdict(policy: &str) -> Option<Verdict> {
    match policy {
        "ACCEPT" | "accept" => Some(Verdict::Accept),
        "DROP" | "drop" => Some(Verdict::Drop),
        _ => None,
    }
}
