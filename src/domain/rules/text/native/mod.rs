//! Native rules as nft(8) writes them, from the kernel's expressions.
//! Judges nothing.
//!
//! `FAMILY TABLE CHAIN` and then statement by statement. A rule is divided into groups of expressions ([`dataflow`]), each of
//! which is a statement in words, or is written whole as `[NAME ATTRIBUTE=0xHEX …]` for each expression. What the kernel
//! counts is left out. Two rules with one line differ only as [`same`](crate::domain::rules::kernel::same) lists.

mod actions;
mod compare;
pub mod constants;
pub mod contents;
pub mod dataflow;
pub mod declared;
pub mod elements;
mod fields;
mod keys;
mod layers;
mod operand;
mod packet;
mod raw;
pub mod stateful;
pub mod symbols;
#[cfg(test)]
mod tests;
mod translate;
pub mod types;

use std::collections::BTreeMap;

use constants::Names;
use dataflow::{Group, Sets};
use layers::{Layers, Test};

use super::line::Line;
use super::word::{self, quote};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::expressions::form::Data;
use crate::domain::rules::kernel::expressions::{Expression, Extension, Immediate, decode};
use crate::domain::rules::kernel::parts::{Part, Role, Surroundings, write};
use crate::domain::rules::kernel::sets::comment;
use crate::domain::rules::kernel::{Chain, Ipsets};

/// Where a native rule stands.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Place<'a> {
    pub family: Family,
    pub table: &'a [u8],
    pub chain: &'a [u8],
}

/// The chains that belong to rules, by name: for each rule the values of `NFTA_RULE_EXPRESSIONS` and `NFTA_RULE_USERDATA`.
pub type Bound = BTreeMap<Vec<u8>, Vec<BoundRule>>;

/// The values of `NFTA_RULE_EXPRESSIONS` and `NFTA_RULE_USERDATA`.
pub type BoundRule = (Vec<u8>, Option<Vec<u8>>);

/// Whether a rule jumps to one of these chains: its line shows what they hold.
pub fn jumps_to(chains: &Bound, expressions: &[u8]) -> bool {
    let is_jump = |expression: &Expression<'_>| match expression {
        Expression::Immediate(Immediate { data: Data::Verdict(verdict), .. }) => {
            verdict.chain.is_some_and(|chain| chains.contains_key(chain.0))
        }
        _ => false,
    };
    !chains.is_empty() && decode(expressions).is_ok_and(|decoded| decoded.iter().any(is_jump))
}

/// What the text of a rule depends on beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// Names of ipsets by their index in the kernel.
    pub ipsets: &'a Ipsets,
    /// The sets of the table.
    pub sets: &'a Sets,
    /// The chains of the table that belong to rules.
    pub bound: &'a Bound,
    /// The names that only the machine knows.
    pub names: Names<'a>,
}

/// A statement in words.
struct Said {
    text: String,
    /// What it tells about the packet's headers, if it could be one that nft leaves unsaid.
    test: Option<Test>,
}

/// Writes a rule: `expressions` is the value of `NFTA_RULE_EXPRESSIONS`, `userdata` that of `NFTA_RULE_USERDATA`.
pub fn rule(
    place: Place<'_>,
    expressions: &[u8],
    userdata: Option<&[u8]>,
    around: Around<'_>,
    line: &mut Line,
) {
    line.push(place.family.as_str().as_bytes());
    for name in [place.table, place.chain] {
        line.word(word::name(name));
    }
    texts(place, expressions, userdata, around).iter().for_each(|text| line.word(text));
}

/// The statements of a rule, and its comment.
fn texts(place: Place<'_>, expressions: &[u8], userdata: Option<&[u8]>, around: Around<'_>) -> Vec<String> {
    let mut texts = match decode(expressions) {
        Ok(decoded) => statements(place, &decoded, around),
        Err(_) => vec![raw::bytes("expressions", expressions)],
    };
    if let Some(userdata) = userdata {
        match comment(userdata) {
            Ok(Some(comment)) => texts.push(format!("comment {}", quote(comment))),
            Ok(None) => {}
            Err(_) => texts.push(raw::bytes("userdata", userdata)),
        }
    }
    texts
}

/// The rules of a chain that belongs to a rule: `ip saddr 1.1.1.1 accept; drop`.
fn bound(place: Place<'_>, rules: &[BoundRule], around: Around<'_>) -> String {
    let text = |(expressions, userdata): &BoundRule| {
        texts(place, expressions, userdata.as_deref(), around).join(" ")
    };
    rules.iter().map(text).collect::<Vec<_>>().join("; ")
}

fn statements(place: Place<'_>, expressions: &[Expression<'_>], around: Around<'_>) -> Vec<String> {
    let mut writer = Writer {
        place,
        around,
        sets: around.sets,
        names: around.names,
        layers: Layers::new(place.family),
        read: Vec::new(),
        said: Vec::new(),
    };
    match dataflow::groups(expressions, around.sets, place.family) {
        Some(groups) => groups.iter().for_each(|group| writer.group(group)),
        None => writer.raw(expressions),
    }
    writer.said
}

/// A rule while it is written.
struct Writer<'a> {
    place: Place<'a>,
    around: Around<'a>,
    sets: &'a Sets,
    names: Names<'a>,
    layers: Layers,
    /// The values of the present group that were read, in order.
    read: Vec<usize>,
    /// The statements so far.
    said: Vec<String>,
}

impl Writer<'_> {
    /// Adds the statement of a group. Every value must be read once, in order: else the words would not tell all of it.
    fn group(&mut self, group: &Group<'_>) {
        self.layers.begin();
        self.read.clear();
        let said = self.attempt(|writer| {
            let said = writer.action(group)?;
            writer.read.iter().copied().eq(0..group.values.len()).then_some(said)
        });
        let Some(said) = said else { return self.raw(group.expressions) };
        let from = self.said.len() - self.layers.used().len().min(self.said.len());
        if self.layers.used().iter().copied().eq(from..self.said.len()) {
            self.said.truncate(from);
            self.layers.forget(from);
        }
        for Said { text, test } in said {
            match test.filter(|test| !self.layers.is_known(*test)) {
                Some(test) => self.layers.test(self.said.len(), test),
                None => self.layers.settle(),
            }
            self.said.push(text);
        }
    }

    /// Adds expressions by their bytes.
    fn raw(&mut self, expressions: &[Expression<'_>]) {
        self.said.extend(
            expressions.iter().map(|expression| raw::expression(expression, self.place, self.around)),
        );
        self.layers.settle();
    }

    /// Undoes what was read, and what was needed, if there are no words.
    fn attempt<T>(&mut self, act: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let (read, layers) = (self.read.len(), self.layers.clone());
        let done = act(self);
        if done.is_none() {
            self.read.truncate(read);
            self.layers = layers;
        }
        done
    }

    /// An x_tables part as iptables-save writes it; none if its name is no word or its revision no byte.
    fn part(&self, role: Role, part: &Extension<'_>) -> Option<String> {
        let revision = u8::try_from(part.revision).ok()?;
        let part = Part { name: part.name.0, revision, info: part.info };
        let mut line = Line::default();
        write(
            role,
            &part,
            Surroundings { family: self.place.family, ipsets: self.around.ipsets },
            &mut line,
        )?;
        String::from_utf8(line.as_bytes().strip_prefix(b" ")?.to_vec()).ok()
    }
}

/// Writes a base chain: `chain FAMILY TABLE NAME`, and what the kernel says of it by its numbers.
pub fn chain(chain: &Chain, line: &mut Line) {
    line.push(b"chain ");
    line.push(chain.family.as_str().as_bytes());
    for name in [&chain.table, &chain.name] {
        line.push(b" ");
        line.push(word::name(name).as_bytes());
    }
    line.word(format_args!("[flags={:#x}", chain.flags));
    if let Some(policy) = chain.policy {
        line.word(format_args!("policy={policy}"));
    }
    if let Some(kind) = &chain.chain_type {
        line.push(b" type=");
        line.push(word::name(kind).as_bytes());
    }
    if let Some(hook) = &chain.hook {
        line.word(format_args!("hook={} priority={}", hook.hooknum, hook.priority));
        for device in &hook.devices {
            line.push(b" device=");
            line.push(word::quote(device).as_bytes());
        }
    }
    line.push(b"]");
}
