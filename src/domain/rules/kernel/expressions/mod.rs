//! The expressions of nf_tables rules, decoded from their attributes and encoded back.
//! Does not know in which order they may stand or which values they may hold, and writes no rule.
//!
//! What nothing here declares is [`Expression::Raw`]: another expression, an attribute of a newer kernel, or a form that
//! writing again would not give.
//!
//! *Source*: `include/uapi/linux/netfilter/nf_tables.h` and `nf_tables_compat.h`; the order of attributes from the
//! `dump` functions in `net/netfilter/nft_*.c`.

pub mod form;
mod forms;
pub mod numbers;
#[cfg(test)]
mod tests;

use form::{Data, Form, NO_PAD};
pub use forms::*;

use crate::domain::rules::kernel::attributes::{Attribute, Attributes, Malformed, find};
use crate::domain::rules::kernel::parts::hides_program;

/// The expressions that are decoded: their variant, what holds their attributes, and their kernel name. Those that most
/// rules have stand first.
macro_rules! expressions {
    ($($variant:ident($form:ty) = $name:literal),+ $(,)?) => {
        /// One expression.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Expression<'a> {
            $($variant($form),)+
            /// Nothing decodes it.
            Raw(Raw<'a>),
        }

        impl<'a> Expression<'a> {
            /// Its kernel name.
            pub const fn name(&self) -> &[u8] {
                match self {
                    $(Self::$variant(_) => $name,)+
                    Self::Raw(raw) => raw.name,
                }
            }

            /// Its attributes, the value of `NFTA_EXPR_DATA`.
            pub fn encode(&self) -> Vec<u8> {
                let mut out = Vec::new();
                match self {
                    $(Self::$variant(form) => form.encode(&mut out),)+
                    Self::Raw(raw) => out.extend_from_slice(raw.attributes.unwrap_or_default()),
                }
                out
            }

            fn decode(name: &[u8], attributes: &'a [u8], scratch: &mut Vec<u8>) -> Option<Self> {
                match name {
                    $($name => form::decode(attributes, scratch).map(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
expressions! {
    Cmp(Cmp<'a>) = b"cmp",
    Payload(Payload) = b"payload",
    Match(Extension<'a>) = b"match",
    Counter(Counter) = b"counter",
    Immediate(Immediate<'a>) = b"immediate",
    Meta(Meta) = b"meta",
    Target(Extension<'a>) = b"target",
    Bitwise(Bitwise<'a>) = b"bitwise",
    Range(Range<'a>) = b"range",
    Limit(Limit) = b"limit",
    Log(Log<'a>) = b"log",
    Lookup(Lookup<'a>) = b"lookup",
    Ct(Ct) = b"ct",
    Fib(Fib) = b"fib",
    Rt(Rt) = b"rt",
    Socket(Socket) = b"socket",
    Exthdr(Exthdr) = b"exthdr",
    Tunnel(Tunnel) = b"tunnel",
    Osf(Osf) = b"osf",
    Numgen(Numgen) = b"numgen",
    Hash(Hash) = b"hash",
    Xfrm(Xfrm) = b"xfrm",
    Byteorder(Byteorder) = b"byteorder",
    Dynset(Dynset<'a>) = b"dynset",
    Objref(Objref<'a>) = b"objref",
    Quota(Quota) = b"quota",
    Connlimit(Connlimit) = b"connlimit",
    Last(Last) = b"last",
    Nat(Nat) = b"nat",
    Masq(Masq) = b"masq",
    Redir(Redir) = b"redir",
    Tproxy(Tproxy) = b"tproxy",
    Synproxy(Synproxy) = b"synproxy",
    Queue(Queue) = b"queue",
    Reject(Reject) = b"reject",
    Dup(Dup) = b"dup",
    Fwd(Fwd) = b"fwd",
    Flow(Flow<'a>) = b"flow_offload",
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
        expressions.push(one(value, &mut scratch)?);
    }
    Ok(expressions)
}

/// The expression in the value of one `NFTA_LIST_ELEM`, or of an attribute that holds just one.
pub fn decode_one(element: &[u8]) -> Option<Expression<'_>> {
    one(element, &mut Vec::new()).ok()
}

fn one<'a>(value: &'a [u8], scratch: &mut Vec<u8>) -> Result<Expression<'a>, Malformed> {
    let [None, Some(name), attributes] = form::fields::<3>(value, NO_PAD)? else { return Err(Malformed) };
    let (0, name) = name.split_last().map(|(last, name)| (*last, name)).ok_or(Malformed)? else {
        return Err(Malformed);
    };
    let decoded = attributes.and_then(|attributes| Expression::decode(name, attributes, scratch));
    Ok(decoded.unwrap_or(Expression::Raw(Raw { name, attributes })))
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
    /// Whether it names cgroups, by their number.
    pub names_cgroup: bool,
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
            Expression::Socket(socket) => found.names_cgroup |= socket.key == numbers::SOCKET_CGROUPV2,
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
