//! The expressions of nf_tables rules, decoded from their attributes and encoded back.
//! Does not know in which order they may stand or which values they may hold, and writes no rule.
//!
//! What nothing here declares is [`Expression::Raw`]: another expression, an attribute of a newer kernel, or a form that
//! writing again would not give.
//!
//! *Source*: `include/uapi/linux/netfilter/nf_tables.h` and `nf_tables_compat.h`; the order of attributes from the
//! `dump` functions in `net/netfilter/nft_*.c`.

pub mod form;
pub mod numbers;
#[cfg(test)]
mod tests;

use form::{Data, Form, NO_PAD, Text, expression};

use crate::domain::rules::kernel::attributes::{Attribute, Attributes, Malformed, find};
use crate::domain::rules::kernel::parts::hides_program;

expression! {
    /// `NFTA_MATCH_*`, `NFTA_TARGET_*`: an x_tables part.
    Extension<'a>[4, NO_PAD] { name: Text<'a> = 1, revision: u32 = 2, info: &'a [u8] = 3 }
}
expression! {
    /// `NFTA_COUNTER_*`. All of it is state.
    Counter[3, 3] { bytes: u64 = 1, packets: u64 = 2 }
}
expression! {
    /// `NFTA_CMP_*`.
    Cmp<'a>[4, NO_PAD] { sreg: u32 = 1, op: u32 = 2, data: Data<'a> = 3 }
}
expression! {
    /// `NFTA_RANGE_*`.
    Range<'a>[5, NO_PAD] { sreg: u32 = 1, op: u32 = 2, from: Data<'a> = 3, to: Data<'a> = 4 }
}
expression! {
    /// `NFTA_PAYLOAD_*`: loads to `dreg`, or stores from `sreg`.
    Payload[9, NO_PAD] {
        sreg: Option<u32> = 5,
        dreg: Option<u32> = 1,
        base: u32 = 2,
        offset: u32 = 3,
        length: u32 = 4,
        checksum_type: Option<u32> = 6,
        checksum_offset: Option<u32> = 7,
        checksum_flags: Option<u32> = 8,
    }
}
expression! {
    /// `NFTA_META_*`: loads to `dreg`, or sets from `sreg`.
    Meta[4, NO_PAD] { key: u32 = 2, dreg: Option<u32> = 1, sreg: Option<u32> = 3 }
}
expression! {
    /// `NFTA_BITWISE_*`.
    Bitwise<'a>[9, NO_PAD] {
        sreg: u32 = 1,
        dreg: u32 = 2,
        length: u32 = 3,
        op: Option<u32> = 6,
        mask: Option<Data<'a>> = 4,
        xor: Option<Data<'a>> = 5,
        data: Option<Data<'a>> = 7,
        sreg2: Option<u32> = 8,
    }
}
expression! {
    /// `NFTA_IMMEDIATE_*`.
    Immediate<'a>[3, NO_PAD] { dreg: u32 = 1, data: Data<'a> = 2 }
}
expression! {
    /// `NFTA_LIMIT_*`.
    Limit[6, 6] { rate: u64 = 1, unit: u64 = 2, burst: u32 = 3, kind: u32 = 4, flags: u32 = 5 }
}
expression! {
    /// `NFTA_LOG_*`.
    Log<'a>[7, NO_PAD] {
        prefix: Option<Text<'a>> = 2,
        level: Option<u32> = 5,
        flags: Option<u32> = 6,
        group: Option<u16> = 1,
        snaplen: Option<u32> = 3,
        threshold: Option<u16> = 4,
    }
}

/// One expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Expression<'a> {
    Match(Extension<'a>),
    Target(Extension<'a>),
    Counter(Counter),
    Cmp(Cmp<'a>),
    Range(Range<'a>),
    Payload(Payload),
    Meta(Meta),
    Bitwise(Bitwise<'a>),
    Immediate(Immediate<'a>),
    Limit(Limit),
    Log(Log<'a>),
    /// Nothing decodes it.
    Raw(Raw<'a>),
}

impl Expression<'_> {
    /// Its kernel name.
    pub const fn name(&self) -> &[u8] {
        match self {
            Self::Match(_) => b"match",
            Self::Target(_) => b"target",
            Self::Counter(_) => b"counter",
            Self::Cmp(_) => b"cmp",
            Self::Range(_) => b"range",
            Self::Payload(_) => b"payload",
            Self::Meta(_) => b"meta",
            Self::Bitwise(_) => b"bitwise",
            Self::Immediate(_) => b"immediate",
            Self::Limit(_) => b"limit",
            Self::Log(_) => b"log",
            Self::Raw(raw) => raw.name,
        }
    }

    /// Its attributes, the value of `NFTA_EXPR_DATA`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Match(extension) | Self::Target(extension) => extension.encode(&mut out),
            Self::Counter(counter) => counter.encode(&mut out),
            Self::Cmp(cmp) => cmp.encode(&mut out),
            Self::Range(range) => range.encode(&mut out),
            Self::Payload(payload) => payload.encode(&mut out),
            Self::Meta(meta) => meta.encode(&mut out),
            Self::Bitwise(bitwise) => bitwise.encode(&mut out),
            Self::Immediate(immediate) => immediate.encode(&mut out),
            Self::Limit(limit) => limit.encode(&mut out),
            Self::Log(log) => log.encode(&mut out),
            Self::Raw(raw) => out.extend_from_slice(raw.attributes.unwrap_or_default()),
        }
        out
    }
}

/// An expression that nothing decodes, with its attributes as the kernel gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// `NFTA_EXPR_NAME`, without its NUL.
    pub name: &'a [u8],
    /// `NFTA_EXPR_DATA`, if there is one.
    pub attributes: Option<&'a [u8]>,
}

/// Expressions and bytes of them that few rules exceed.
const USUAL_RULE: usize = 16;
const SCRATCH: usize = 512;

/// `NFTA_LIST_ELEM`.
const LIST_ELEM: u16 = 1;

/// The expressions in the value of `NFTA_RULE_EXPRESSIONS`, in order.
///
/// # Errors
/// If it does not follow the kernel's format.
pub fn decode(list: &[u8]) -> Result<Vec<Expression<'_>>, Malformed> {
    let mut expressions = Vec::with_capacity(USUAL_RULE);
    let mut scratch = Vec::with_capacity(SCRATCH);
    for element in Attributes::new(list) {
        let Attribute { kind: LIST_ELEM, value } = element? else { return Err(Malformed) };
        let [None, Some(name), attributes] = form::fields::<3>(value, NO_PAD)? else { return Err(Malformed) };
        let (0, name) = name.split_last().map(|(last, name)| (*last, name)).ok_or(Malformed)? else {
            return Err(Malformed);
        };
        let decoded = attributes.and_then(|attributes| one(name, attributes, &mut scratch));
        expressions.push(decoded.unwrap_or(Expression::Raw(Raw { name, attributes })));
    }
    Ok(expressions)
}

fn one<'a>(name: &[u8], attributes: &'a [u8], scratch: &mut Vec<u8>) -> Option<Expression<'a>> {
    // those that most rules have stand first
    match name {
        b"cmp" => form::decode(attributes, scratch).map(Expression::Cmp),
        b"payload" => form::decode(attributes, scratch).map(Expression::Payload),
        b"match" => form::decode(attributes, scratch).map(Expression::Match),
        b"counter" => form::decode(attributes, scratch).map(Expression::Counter),
        b"immediate" => form::decode(attributes, scratch).map(Expression::Immediate),
        b"meta" => form::decode(attributes, scratch).map(Expression::Meta),
        b"target" => form::decode(attributes, scratch).map(Expression::Target),
        b"bitwise" => form::decode(attributes, scratch).map(Expression::Bitwise),
        b"range" => form::decode(attributes, scratch).map(Expression::Range),
        b"limit" => form::decode(attributes, scratch).map(Expression::Limit),
        b"log" => form::decode(attributes, scratch).map(Expression::Log),
        _ => None,
    }
}

/// What a rule names beside itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// How many jumps and gotos it has, in expressions that are decoded and others.
    pub jumps: u32,
    /// Whether an x_tables part names ipsets, by their index.
    pub names_ipset: bool,
    /// Whether it has an x_tables part.
    pub has_part: bool,
    /// Whether an x_tables part runs a program that nothing shows: see [`hides_program`].
    pub hides_program: bool,
}

/// `meta load KEY` to register 1.
pub const fn meta(key: u32) -> Meta {
    Meta { key, dreg: Some(numbers::REG_1), sreg: None }
}

/// `payload load LENGTH @ BASE + OFFSET` to register 1.
pub const fn payload(base: u32, offset: u32, length: u32) -> Payload {
    Payload {
        sreg: None,
        dreg: Some(numbers::REG_1),
        base,
        offset,
        length,
        checksum_type: None,
        checksum_offset: None,
        checksum_flags: None,
    }
}

/// What these expressions name.
pub fn references(expressions: &[Expression<'_>]) -> References {
    let mut found = References::default();
    for expression in expressions {
        found.has_part |= matches!(expression.name(), b"match" | b"target");
        match expression {
            Expression::Immediate(Immediate { data: Data::Verdict(verdict), .. }) => {
                found.jumps += u32::from(verdict.chain.is_some());
            }
            Expression::Match(part) | Expression::Target(part) => {
                found.names_ipset |= is_ipset(part.name.0);
                found.hides_program |= hides_program(part.name.0, part.revision, part.info);
            }
            Expression::Raw(raw) => {
                let of_newer = raw.references();
                found.jumps += of_newer.jumps;
                found.names_ipset |= of_newer.names_ipset;
                found.hides_program |= of_newer.hides_program;
            }
            _ => {}
        }
    }
    found
}

/// What the rule names with these expressions, the value of `NFTA_RULE_EXPRESSIONS`.
pub fn references_of(list: &[u8]) -> References {
    decode(list).map(|expressions| references(&expressions)).unwrap_or_default()
}

/// Whether a match or target of this name names ipsets.
pub fn is_ipset(name: &[u8]) -> bool {
    matches!(name, b"set" | b"SET")
}

impl Raw<'_> {
    /// What it names, as far as older attributes tell.
    fn references(&self) -> References {
        /// `NFTA_IMMEDIATE_DATA`, `NFTA_DATA_VERDICT`, `NFTA_VERDICT_CHAIN`.
        const CHAIN: [u16; 3] = [2, 2, 2];
        /// `NFTA_MATCH_NAME`, `NFTA_TARGET_NAME`.
        const EXTENSION: [u16; 1] = [1];
        let at =
            |path: &[u16]| path.iter().try_fold(self.attributes?, |container, kind| find(container, *kind));
        let name = match self.name {
            b"match" | b"target" => at(&EXTENSION).and_then(|name| name.strip_suffix(b"\0")),
            _ => None,
        };
        References {
            jumps: u32::from(self.name == b"immediate" && at(&CHAIN).is_some()),
            names_ipset: name.is_some_and(is_ipset),
            hides_program: name.is_some_and(|name| name == b"bpf"),
            ..References::default()
        }
    }
}
