//! Advice how to log what this node's firewall drops: rules for its own tools, with their undoing, as a text.
//! Changes nothing, and prints no name or condition that a shell could take for anything but a word.
//!
//! ```text
//! # iptables-nft: table filter, chain INPUT: before rule 3, which drops
//! iptables-nft -w -t filter -I INPUT 3 -p tcp -m limit --limit 5/minute --limit-burst 10 -j LOG --log-prefix 'drop1-INPUT: '
//! # undo: iptables-nft -w -t filter -D INPUT -p tcp -m limit --limit 5/minute --limit-burst 10 -j LOG --log-prefix 'drop1-INPUT: '
//! ```
//! *Source*: iptables(8), iptables-extensions(8) (`limit`, `LOG`, `NFLOG`), nft(8) (`insert rule ... index`).

mod command;
mod owner;
mod partly;
mod place;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::BuildHasher;

use super::rule_words::words;
use super::rules::statement::{Effect, Statement};
use super::rules::{Verdict, Via};
use crate::domain::rules::{Backend, Entry, Family, Kind};
use crate::domain::words::escape;
use command::{Logging, Target};
use owner::owner;
use partly::Partly;
use place::{KEPT, Place};

/// Rules that are proposed.
const SHOWN: usize = 100;
/// Chains whose last rule is known to log.
const LOGGED: usize = 10_000;

/// What is known of a node's chains, fed with the lines of a scan.
#[derive(Debug, Default)]
pub struct Survey {
    drops: Vec<Dropping>,
    jumps: Vec<Jump>,
    partly: Partly,
    untold: u64,
    hasher: RandomState,
    /// For each chain whose latest rule logs, what that asks of a packet but for limits.
    logged: HashMap<u64, Vec<Vec<u8>>>,
}

/// Something that drops packets.
#[derive(Clone, Debug)]
struct Dropping {
    place: Place,
    line: Vec<u8>,
    is_reject: bool,
    is_logged: bool,
}

/// A rule that jumps to a chain of another program.
#[derive(Clone, Debug)]
struct Jump {
    place: Place,
    to: String,
    line: Vec<u8>,
}

impl Survey {
    /// Takes a line; lines of a chain must come in order.
    pub fn line(&mut self, backend: Backend, family: Family, entry: &Entry<'_>) {
        if backend == Backend::Nftables && entry.kind == Kind::Element {
            self.partly.element(family, entry.table, entry.line);
        }
        let Some(chain) = entry.chain else { return };
        let place = || Place {
            backend,
            family,
            table: entry.table.to_owned(),
            chain: chain.to_owned(),
            position: entry.position,
        };
        match entry.kind {
            Kind::Policy | Kind::Chain if drops_by_policy(entry.line) => self.keep_drop(Dropping {
                place: place(),
                line: entry.line.to_vec(),
                is_reject: false,
                is_logged: false,
            }),
            Kind::Rule => {
                let key = self.hasher.hash_one((backend, family, entry.table, chain));
                if let Some(statement) = Statement::parse(backend, entry.line) {
                    self.rule(key, place, &statement, entry);
                }
            }
            _ => {}
        }
    }

    fn rule(&mut self, key: u64, place: impl Fn() -> Place, statement: &Statement, entry: &Entry<'_>) {
        let before = self.logged.remove(&key);
        if statement.log.is_some() && self.logged.len() < LOGGED {
            self.logged.insert(key, without_limits(&statement.matches));
        }
        let was_logged =
            before.is_some_and(|asked| asked.iter().all(|piece| statement.matches.contains(piece)));
        let is_logged = statement.log.is_some() || was_logged;
        match &statement.effect {
            Effect::Decides(verdict @ (Verdict::Drop | Verdict::Reject)) => self.keep_drop(Dropping {
                place: place(),
                line: entry.line.to_vec(),
                is_reject: *verdict == Verdict::Reject,
                is_logged,
            }),
            Effect::MayDecide => {
                let place = place();
                if place.backend == Backend::Nftables {
                    self.partly.rule(place, entry.line, is_logged);
                }
            }
            Effect::Decides(Verdict::Elsewhere(to)) if owner(to).is_some() && self.jumps.len() < KEPT => {
                let place = place();
                if owner(&place.chain).is_none() {
                    self.jumps.push(Jump { place, to: to.clone(), line: entry.line.to_vec() });
                }
            }
            _ => {}
        }
    }

    /// Whether all that reaches the end of the chain was logged just before.
    fn logs_at_end(&self, place: &Place) -> bool {
        let Place { backend, family, table, chain, .. } = place;
        let key = self.hasher.hash_one((*backend, *family, table.as_str(), chain.as_str()));
        self.logged.get(&key).is_some_and(Vec::is_empty)
    }

    fn keep_drop(&mut self, drop: Dropping) {
        match self.drops.len() < KEPT {
            true => self.drops.push(drop),
            false => self.untold += 1,
        }
    }
}

fn without_limits(matches: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let is_limit =
        |piece: &&Vec<u8>| piece.starts_with(b"-m\0limit\0") || piece.starts_with(b"-m\0hashlimit\0");
    matches.iter().filter(|piece| !is_limit(piece)).cloned().collect()
}

/// `-P INPUT DROP`, or `chain inet t in type filter hook input priority 0 policy drop`.
fn drops_by_policy(line: &[u8]) -> bool {
    let words = words(line);
    match words.as_slice() {
        [option, _, policy] if option.is("-P") => policy.is("DROP"),
        words => words
            .windows(2)
            .any(|pair| matches!(pair, [name, policy] if name.is("policy") && policy.is("drop"))),
    }
}

/// The advice: commands to be read and run by a person.
pub fn render(survey: &Survey, via: Via) -> String {
    let untold = survey.untold + survey.partly.untold();
    let mut advice = Advice { text: head(via), via, count: 0, untold };
    let mut drops: Vec<_> = survey.drops.iter().collect();
    // the last of a chain first: what is inserted there does not move those before it
    drops.sort_by_key(|drop| {
        let Place { backend, family, table, chain, position } = &drop.place;
        (backend, family, table, chain, std::cmp::Reverse(position.unwrap_or(u32::MAX)))
    });
    for drop in drops {
        match owner(&drop.place.chain).or_else(|| owner::of_table(drop.place.backend, &drop.place.table)) {
            Some(owner) => advice.before_jumps(survey, drop, owner),
            None => advice.before(survey, drop),
        }
    }
    survey.partly.rules().into_iter().for_each(|rule| advice.partly(rule));
    advice.finish()
}

fn head(via: Via) -> String {
    let (what, read) = match via {
        Via::Log => ("a line of the kernel's log".to_owned(), "monitor drops --source kmsg".to_owned()),
        Via::Nflog(group) => {
            (format!("a message of NFLOG group {group}"), format!("monitor drops --source nflog:{group}"))
        }
    };
    format!(
        "# Rules that log what this firewall drops; nothing was changed. Read them, then run those you want as root.\n\
         # Each makes at most 5 packets a minute, after a burst of 10, {what}. Run them from top to bottom:\n\
         # rule numbers hold for the rules as they are now. Then follow the packets: {read}\n"
    )
}

struct Advice {
    text: String,
    via: Via,
    count: usize,
    untold: u64,
}

impl Advice {
    /// A rule in front of one that drops.
    fn before(&mut self, survey: &Survey, drop: &Dropping) {
        let place = &drop.place;
        let what = match (place.position, drop.is_reject) {
            (None, _) => "behind its last rule: its policy is to drop".to_owned(),
            (Some(position), false) => format!("before rule {position}, which drops"),
            (Some(position), true) => format!("before rule {position}, which rejects"),
        };
        if drop.is_logged || place.position.is_none() && survey.logs_at_end(place) {
            return self.remark(place, &format!("{what}: that is logged already"));
        }
        let name = if drop.is_reject { "reject" } else { "drop" };
        self.propose(place, &what, &[&drop.line], name);
    }

    /// A rule in front of each jump to a chain that another program rewrites.
    fn before_jumps(&mut self, survey: &Survey, drop: &Dropping, owner: &str) {
        let (place, chain) = (&drop.place, escape::name(&drop.place.chain));
        let is_to_chain = |jump: &&Jump| {
            let of = |place: &Place| (place.backend, place.family, place.table.clone());
            jump.to == place.chain && of(&jump.place) == of(place)
        };
        let mut jumps: Vec<_> = survey.jumps.iter().filter(is_to_chain).collect();
        jumps.sort_by_key(|jump| std::cmp::Reverse(jump.place.position));
        if jumps.is_empty() {
            let advice = owner::instead(owner);
            return self.remark(place, &format!("{owner} rewrites this chain, which drops: {advice}"));
        }
        for jump in jumps {
            let what = format!(
                "before the jump to {chain}, which {owner} rewrites (a rule in it would be lost); \
                 it may log packets that an earlier rule of {chain} lets pass"
            );
            self.propose(&jump.place, &what, &[&jump.line, &drop.line], "drop");
        }
    }

    /// A remark about a rule that drops some packets: nothing can be proposed for it.
    fn partly(&mut self, rule: &partly::Rule) {
        let place = &rule.place;
        let position = place.position.unwrap_or_default();
        let what = format!("before rule {position}, which drops some packets, as a verdict map does");
        let owner = owner(&place.chain).or_else(|| owner::of_table(place.backend, &place.table));
        let then = match (rule.is_logged, owner) {
            (true, _) => "that is logged already".to_owned(),
            (false, Some(owner)) => format!("{owner} rewrites this chain: {}", owner::instead(owner)),
            (false, None) => "a rule for them is to be made by hand".to_owned(),
        };
        self.remark(place, &format!("{what}: {then}"));
    }

    fn propose(&mut self, place: &Place, what: &str, lines: &[&[u8]], name: &str) {
        if self.count >= SHOWN {
            self.untold += 1;
            return;
        }
        let number = self.count + 1;
        let logging = Logging { via: self.via, number, name };
        let target =
            Target { backend: place.backend, family: place.family, table: &place.table, chain: &place.chain };
        // the policy's line is a declaration, and asks nothing of a packet
        let lines = if place.position.is_some() { lines } else { &[] };
        let Some([do_it, undo]) = command::render(target, place.position, lines, &logging) else {
            return self.remark(
                place,
                &format!("{what}: a rule for it is to be made by hand, as its conditions count packets or are not plain words"),
            );
        };
        self.count = number;
        self.remark(place, what);
        let _ = writeln!(self.text, "{do_it}\n# undo: {undo}");
    }

    fn remark(&mut self, place: &Place, what: &str) {
        let Place { backend, family, table, chain, .. } = place;
        let (table, chain) = (escape::name(table), escape::name(chain));
        if self.text.len() < SHOWN * 2000 {
            let _ =
                writeln!(self.text, "\n# {backend}, family {family}, table {table}, chain {chain}: {what}");
        } else {
            self.untold += 1;
        }
    }

    fn finish(mut self) -> String {
        if self.count == 0 {
            self.text.push_str("\n# No rule to propose: nothing here drops packets unlogged, or none in a way that a rule could show.\n");
        }
        if self.untold > 0 {
            let _ = writeln!(self.text, "\n# {} more are not shown.", self.untold);
        }
        self.text
    }
}

#[cfg(test)]
mod tests;
