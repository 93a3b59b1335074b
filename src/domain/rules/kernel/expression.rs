//! One nf_tables expression, decoded from its attributes: only the forms iptables-nft writes.
//! Does not know in which order they may stand or which values they may hold.
//!
//! *Source*: `include/uapi/linux/netfilter/nf_tables.h` and `nf_tables_compat.h`.

use super::Untrusted;
use super::attributes::{Attribute, Attributes, Fields};

/// One expression; a name follows its kernel name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expression<'a> {
    /// `meta load KEY => reg 1`
    MetaLoad(u32),
    /// `payload load LENGTH @ BASE + OFFSET => reg 1`
    Payload {
        base: u32,
        offset: u32,
        length: u32,
    },
    /// `bitwise reg 1 = reg 1 & MASK ^ 0`
    Bitwise(&'a [u8]),
    /// `cmp OP reg 1 VALUE`
    Cmp(CmpOp, &'a [u8]),
    /// `range eq|neq reg 1 FROM TO`
    Range {
        from: &'a [u8],
        to: &'a [u8],
    },
    /// `limit`, packets, not inverted
    Limit {
        rate: u64,
        unit: u64,
        burst: u32,
    },
    Match(Extension<'a>),
    Counter,
    Target(Extension<'a>),
    /// `immediate reg 0 VERDICT [CHAIN]`
    Verdict {
        code: i32,
        chain: Option<&'a [u8]>,
    },
    /// `log group ... [prefix ...]`
    Nflog {
        prefix: Option<&'a [u8]>,
    },
    /// `immediate reg 9 1`, the first half of TRACE
    TraceValue,
    /// `meta set nftrace with reg 9`, the second half of TRACE
    TraceSet,
}

/// An x_tables match or target inside an nf_tables rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extension<'a> {
    pub name: &'a [u8],
    pub revision: u32,
    pub info: &'a [u8],
}

/// *Source*: `enum nft_cmp_ops`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CmpOp {
    Eq,
    Neq,
    Lte,
    Gt,
}

/// `NFT_META_*`, `NFT_PAYLOAD_*_HEADER` numbers.
pub(super) const META_MARK: u32 = 3;
pub(super) const META_IIFNAME: u32 = 6;
pub(super) const META_OIFNAME: u32 = 7;
pub(super) const META_L4PROTO: u32 = 16;
const META_NFTRACE: u32 = 12;
pub(super) const NETWORK_HEADER: u32 = 1;
pub(super) const TRANSPORT_HEADER: u32 = 2;

const REG_VERDICT: u32 = 0;
const REG_1: u32 = 1;
const REG32_01: u32 = 9;

/// A rule's expressions, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expressions<'a> {
    list: Attributes<'a>,
}

impl<'a> Expressions<'a> {
    pub const fn new(list: &'a [u8]) -> Self {
        Self { list: Attributes::new(list) }
    }

    /// The next expression, none at the end.
    pub fn advance(&mut self) -> Result<Option<Expression<'a>>, Untrusted> {
        const LIST_ELEM: u16 = 1;
        match self.list.next() {
            None => Ok(None),
            Some(Ok(Attribute { kind: LIST_ELEM, value })) => decode(value).map(Some),
            Some(_) => Err(Untrusted::Malformed),
        }
    }

    /// How many jumps and gotos there are, in decodable expressions and others.
    pub fn jumps(self) -> u32 {
        self.list.flatten().map(|element| u32::from(names_chain(element.value).is_some())).sum()
    }

    /// Whether any expression is an x_tables match or target that names ipsets.
    pub fn has_ipset(self) -> bool {
        self.list.flatten().any(|element| {
            let extension = Fields::<3>::known(element.value)
                .ok()
                .filter(|fields| matches!(fields.get(1), Some(b"match\0" | b"target\0")))
                .and_then(|fields| Fields::<4>::known(fields.get(2)?).ok()?.string(1));
            extension.is_some_and(is_ipset_extension)
        })
    }

    /// Whether any expression, decodable or not, is an x_tables match or target.
    pub fn has_xt(self) -> bool {
        self.list.flatten().any(|element| {
            Fields::<3>::known(element.value)
                .is_ok_and(|fields| matches!(fields.get(1), Some(b"match\0" | b"target\0")))
        })
    }
}

/// Whether a match or target of this name shows the names of ipsets.
pub(super) fn is_ipset_extension(name: &[u8]) -> bool {
    matches!(name, b"set" | b"SET")
}

/// The chain in the verdict of an `immediate`.
fn names_chain(element: &[u8]) -> Option<&[u8]> {
    let fields = Fields::<3>::known(element).ok()?;
    let data = fields.get(2).filter(|_| fields.get(1) == Some(b"immediate\0"))?;
    let container = Fields::<3>::known(data).ok()?.get(2)?;
    Fields::<3>::known(Fields::<3>::known(container).ok()?.get(2)?).ok()?.get(2)
}

fn decode(element: &[u8]) -> Result<Expression<'_>, Untrusted> {
    let fields = Fields::<3>::strict(element).or(Err(Untrusted::Malformed))?;
    let name = fields.get(1).ok_or(Untrusted::Malformed)?;
    let data = fields.get(2).unwrap_or_default();
    let decoded = match name {
        b"match\0" => xt(data).map(Expression::Match),
        b"target\0" => xt(data).map(Expression::Target),
        b"counter\0" => counter(data),
        b"cmp\0" => cmp(data),
        b"payload\0" => payload(data),
        b"meta\0" => meta(data),
        b"immediate\0" => immediate(data),
        b"bitwise\0" => bitwise(data),
        b"limit\0" => limit(data),
        b"range\0" => range(data),
        b"log\0" => nflog(data),
        _ => return Err(Untrusted::UnknownExpression),
    };
    decoded.ok_or(Untrusted::ExpressionForm)
}

fn xt(data: &[u8]) -> Option<Extension<'_>> {
    let fields = Fields::<4>::strict(data).ok()?;
    Some(Extension { name: fields.string(1)?, revision: fields.be32(2)?, info: fields.get(3)? })
}

fn counter(data: &[u8]) -> Option<Expression<'_>> {
    let fields = Fields::<4>::strict(data).ok()?;
    (fields.get(1).is_some() && fields.get(2).is_some()).then_some(Expression::Counter)
}

/// The bytes of a `NFTA_DATA_VALUE`.
fn data_value(data: &[u8]) -> Option<&[u8]> {
    Fields::<2>::strict(data).ok()?.get(1)
}

fn cmp(data: &[u8]) -> Option<Expression<'_>> {
    let fields = Fields::<4>::strict(data).ok()?;
    let op = match fields.be32(2)? {
        0 => CmpOp::Eq,
        1 => CmpOp::Neq,
        3 => CmpOp::Lte,
        4 => CmpOp::Gt,
        _ => return None,
    };
    (fields.be32(1)? == REG_1).then_some(Expression::Cmp(op, data_value(fields.get(3)?)?))
}

fn payload(data: &[u8]) -> Option<Expression<'_>> {
    let fields = Fields::<5>::strict(data).ok()?;
    let load =
        Expression::Payload { base: fields.be32(2)?, offset: fields.be32(3)?, length: fields.be32(4)? };
    (fields.be32(1)? == REG_1).then_some(load)
}

fn meta(data: &[u8]) -> Option<Expression<'_>> {
    let fields = Fields::<4>::strict(data).ok()?;
    let key = fields.be32(2)?;
    if fields.has_only(&[1, 2]) {
        (fields.be32(1)? == REG_1).then_some(Expression::MetaLoad(key))
    } else {
        let is_trace = fields.has_only(&[2, 3]) && key == META_NFTRACE && fields.be32(3)? == REG32_01;
        is_trace.then_some(Expression::TraceSet)
    }
}

fn immediate(data: &[u8]) -> Option<Expression<'_>> {
    const DATA_VERDICT: u16 = 2;
    let fields = Fields::<3>::strict(data).ok()?;
    let container = fields.get(2)?;
    match fields.be32(1)? {
        REG_VERDICT => verdict(Fields::<3>::strict(container).ok()?.get(DATA_VERDICT)?),
        REG32_01 => (data_value(container)? == [1]).then_some(Expression::TraceValue),
        _ => None,
    }
}

fn verdict(data: &[u8]) -> Option<Expression<'_>> {
    let fields = Fields::<3>::strict(data).ok()?;
    let chain = match fields.get(2) {
        Some(_) => Some(fields.string(2)?),
        None => None,
    };
    Some(Expression::Verdict { code: fields.be32(1)?.cast_signed(), chain })
}

fn bitwise(data: &[u8]) -> Option<Expression<'_>> {
    const OP_BOOL: u32 = 0;
    let fields = Fields::<8>::strict(data).ok()?;
    let mask = data_value(fields.get(4)?)?;
    let xor = data_value(fields.get(5)?)?;
    let is_boolean = fields.get(7).is_none() && fields.get(6).is_none_or(|op| op == OP_BOOL.to_be_bytes());
    let is_plain = fields.be32(1)? == REG_1 && fields.be32(2)? == REG_1 && xor.iter().all(|byte| *byte == 0);
    let is_whole = fields.be32(3)? as usize == mask.len() && xor.len() == mask.len();
    (is_boolean && is_plain && is_whole).then_some(Expression::Bitwise(mask))
}

fn limit(data: &[u8]) -> Option<Expression<'_>> {
    const TYPE_PACKETS: u32 = 0;
    let fields = Fields::<7>::strict(data).ok()?;
    let is_plain = fields.be32(4)? == TYPE_PACKETS && fields.be32(5)? == 0;
    let limit = Expression::Limit { rate: fields.be64(1)?, unit: fields.be64(2)?, burst: fields.be32(3)? };
    is_plain.then_some(limit)
}

/// Both operators print alike but for `!`, which the text has too.
fn range(data: &[u8]) -> Option<Expression<'_>> {
    let fields = Fields::<5>::strict(data).ok()?;
    let is_known = fields.be32(1)? == REG_1 && fields.be32(2)? <= 1;
    let range = Expression::Range { from: data_value(fields.get(3)?)?, to: data_value(fields.get(4)?)? };
    is_known.then_some(range)
}

fn nflog(data: &[u8]) -> Option<Expression<'_>> {
    const GROUP: u16 = 1;
    const PREFIX: u16 = 2;
    let fields = Fields::<7>::strict(data).ok()?;
    fields.get(GROUP)?;
    let prefix = match fields.get(PREFIX) {
        Some(_) => Some(fields.string(PREFIX)?),
        None => None,
    };
    fields.has_at_most(&[1, 2, 3, 4]).then_some(Expression::Nflog { prefix })
}
