//! Netlink attributes as values: an expression is declared once, and read and written by that declaration.
//! Knows no expression.
//!
//! An expression is decoded only if every attribute it has is declared, has the declared size and occurs once. Then it
//! is encoded and compared with what was decoded, as trees of attributes: their order is free, and the padding before
//! 64-bit numbers (`*_PAD`) and the flag bits of types (`NLA_F_NESTED`) do not count. The kernel writes attributes in the
//! order in which they are declared here, so that the comparison is one of bytes.
//!
//! *Source*: `struct nlattr` in `include/uapi/linux/netlink.h`; `nf_tables` puts its numbers in network byte order.

use crate::domain::rules::kernel::attributes::{Attribute, Attributes, Malformed};

/// The head of an attribute: its length and type.
const HEADER: usize = 4;

/// Attributes are aligned to this many bytes (`NLA_ALIGNTO`).
const ALIGN: usize = 4;

/// The value of an attribute.
pub trait Value<'a>: Sized {
    /// Reads it; none if the value's bytes are no such value.
    fn read(value: &'a [u8]) -> Option<Self>;
    /// Writes the value's bytes.
    fn write(&self, out: &mut Vec<u8>);
}

macro_rules! number {
    ($($of:ty),+) => {$(
        impl Value<'_> for $of {
            fn read(value: &[u8]) -> Option<Self> {
                Some(Self::from_be_bytes(value.try_into().ok()?))
            }
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )+};
}
number!(u8, u16, u32, u64, i32);

impl<'a> Value<'a> for &'a [u8] {
    fn read(value: &'a [u8]) -> Option<Self> {
        Some(value)
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

/// A string without the NUL that ends it; untrusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a>(pub &'a [u8]);

impl<'a> Value<'a> for Text<'a> {
    fn read(value: &'a [u8]) -> Option<Self> {
        let (last, text) = value.split_last()?;
        (*last == 0 && !text.contains(&0)).then_some(Self(text))
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
        out.push(0);
    }
}

/// `NFTA_DATA_*`: what a register is compared with or gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// `NFTA_DATA_VALUE`.
    Value(&'a [u8]),
    /// `NFTA_DATA_VERDICT`.
    Verdict(Verdict<'a>),
}

/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`.
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;

impl<'a> Value<'a> for Data<'a> {
    fn read(value: &'a [u8]) -> Option<Self> {
        match fields::<3>(value, NO_PAD).ok()? {
            [None, Some(value), None] => Some(Self::Value(value)),
            [None, None, Some(verdict)] => Verdict::read(verdict).map(Self::Verdict),
            _ => None,
        }
    }
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Value(value) => value.put(DATA_VALUE, out),
            Self::Verdict(verdict) => verdict.put(DATA_VERDICT, out),
        }
    }
}

/// `NFTA_VERDICT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// `NFTA_VERDICT_CODE`.
    pub code: i32,
    /// `NFTA_VERDICT_CHAIN`.
    pub chain: Option<Text<'a>>,
}

impl<'a> Value<'a> for Verdict<'a> {
    fn read(value: &'a [u8]) -> Option<Self> {
        let [None, code, chain] = fields::<3>(value, NO_PAD).ok()? else { return None };
        Some(Self { code: Slot::take(code)?, chain: Slot::take(chain)? })
    }
    fn write(&self, out: &mut Vec<u8>) {
        self.code.put(1, out);
        self.chain.put(2, out);
    }
}

/// A declared attribute: one that must be there, or one that may be absent.
pub trait Slot<'a>: Sized {
    /// The value of the attribute, if it has one; none if it must be there and is not, or is no such value.
    fn take(value: Option<&'a [u8]>) -> Option<Self>;
    /// Writes the attribute, if it is there.
    fn put(&self, kind: u16, out: &mut Vec<u8>);
}

impl<'a, T: Value<'a>> Slot<'a> for T {
    fn take(value: Option<&'a [u8]>) -> Option<Self> {
        T::read(value?)
    }
    fn put(&self, kind: u16, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        self.write(out);
        let [l0, l1] = u16::try_from(out.len() - start).unwrap_or_default().to_ne_bytes();
        let [k0, k1] = kind.to_ne_bytes();
        if let Some(header) = out.get_mut(start..start + HEADER) {
            header.copy_from_slice(&[l0, l1, k0, k1]);
        }
        out.resize(out.len().next_multiple_of(ALIGN), 0);
    }
}

impl<'a, T: Value<'a>> Slot<'a> for Option<T> {
    fn take(value: Option<&'a [u8]>) -> Option<Self> {
        match value {
            Some(value) => T::read(value).map(Some),
            None => Some(None),
        }
    }
    fn put(&self, kind: u16, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.put(kind, out);
        }
    }
}

/// The type of the padding attribute of a container that has none.
pub const NO_PAD: u16 = 0;

/// The values of a container's attributes by type, for types below `N`.
///
/// # Errors
/// If it holds another attribute or one twice, or does not divide into attributes.
pub fn fields<const N: usize>(container: &[u8], pad: u16) -> Result<[Option<&[u8]>; N], Malformed> {
    let mut fields = [None; N];
    for attribute in Attributes::new(container) {
        let Attribute { kind, value } = attribute?;
        if is_pad(kind, value, pad) {
            continue;
        }
        let slot = fields.get_mut(usize::from(kind)).ok_or(Malformed)?;
        if slot.replace(value).is_some() {
            return Err(Malformed);
        }
    }
    Ok(fields)
}

const fn is_pad(kind: u16, value: &[u8], pad: u16) -> bool {
    pad != NO_PAD && kind == pad && value.is_empty()
}

/// Whether two containers hold the same attributes in any order, but for padding and the flag bits of types.
pub fn is_same(one: &[u8], two: &[u8], pad: u16) -> bool {
    one == two || is_same_tree(one, two, pad) == Ok(true)
}

fn is_same_tree(one: &[u8], two: &[u8], pad: u16) -> Result<bool, Malformed> {
    let list = |container| -> Result<Vec<Attribute<'_>>, Malformed> {
        let all = Attributes::new(container);
        all.filter(|attribute| !attribute.is_ok_and(|a| is_pad(a.kind, a.value, pad))).collect()
    };
    let (one, two) = (list(one)?, list(two)?);
    let is_in_two = |attribute: &Attribute<'_>| {
        let mut same_kind = two.iter().filter(|other| other.kind == attribute.kind);
        same_kind.any(|other| is_same(attribute.value, other.value, NO_PAD))
    };
    Ok(one.len() == two.len() && one.iter().all(is_in_two))
}

/// Declares an expression: the number of its attributes' types, the type of its padding, and each attribute with its
/// type, in the order in which the kernel writes them.
///
/// ```text
/// expression! {
///     /// `NFTA_CMP_*`.
///     Cmp<'a>[4, NO_PAD] { sreg: u32 = 1, op: u32 = 2, data: Data<'a> = 3 }
/// }
/// ```
macro_rules! expression {
    ($(#[$meta:meta])* $name:ident<$life:lifetime>[$top:expr, $pad:expr] { $($fields:tt)+ }) => {
        expression!(@struct [$(#[$meta])*] [$name<$life>] $($fields)+);
        expression!(@form [$life] [$name<$life>] [$top, $pad] $($fields)+);
    };
    ($(#[$meta:meta])* $name:ident[$top:expr, $pad:expr] { $($fields:tt)+ }) => {
        expression!(@struct [$(#[$meta])*] [$name] $($fields)+);
        expression!(@form ['a] [$name] [$top, $pad] $($fields)+);
    };
    (@struct [$($meta:tt)*] [$($name:tt)+] $($field:ident: $of:ty = $kind:expr),+ $(,)?) => {
        $($meta)*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $($name)+ { $(#[allow(missing_docs)] pub $field: $of),+ }
    };
    (@form [$life:lifetime] [$($name:tt)+] [$top:expr, $pad:expr] $($field:ident: $of:ty = $kind:expr),+ $(,)?) => {
        impl<$life> $crate::domain::rules::kernel::expressions::form::Form<$life> for $($name)+ {
            const PAD: u16 = $pad;
            fn decode(container: &$life [u8]) -> Option<Self> {
                use $crate::domain::rules::kernel::expressions::form::{Slot, fields};
                let fields = fields::<$top>(container, $pad).ok()?;
                Some(Self { $($field: Slot::take(fields.get($kind).copied().flatten())?),+ })
            }
            fn encode(&self, out: &mut Vec<u8>) {
                use $crate::domain::rules::kernel::expressions::form::Slot;
                $(self.$field.put($kind, out);)+
            }
        }
    };
}
pub(crate) use expression;

/// An expression's attributes, declared by `expression!`.
pub trait Form<'a>: Sized {
    /// The type of the padding attribute, or [`NO_PAD`].
    const PAD: u16;
    /// Reads every attribute; none if one that must be there is not, or one is not declared.
    fn decode(container: &'a [u8]) -> Option<Self>;
    /// Writes every attribute.
    fn encode(&self, out: &mut Vec<u8>);
}

/// Reads the attributes, if writing them again gives the same ones. `scratch` is for the writing.
pub fn decode<'a, T: Form<'a>>(container: &'a [u8], scratch: &mut Vec<u8>) -> Option<T> {
    let decoded = T::decode(container)?;
    scratch.clear();
    decoded.encode(scratch);
    is_same(container, scratch, T::PAD).then_some(decoded)
}
