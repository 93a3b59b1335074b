//! Sets and maps as the kernel holds them: declarations and elements.
//! Writes no text, and keeps what the kernel counts out.
//!
//! *Source*: `enum nft_set_attributes`, `nft_set_elem_attributes`, `nft_set_flags`, `nft_set_elem_flags` in
//! `include/uapi/linux/netfilter/nf_tables.h`.

use super::attributes::{Attribute, Attributes, Malformed};
use super::expressions::form::{self, Data, NO_PAD, Slot, Text, Value as _, expression};
use super::taken::{Raw, Taken};

/// A set or map, without its elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// `NFTA_SET_NAME`; bytes, since the kernel takes any.
    pub name: Vec<u8>,
    /// `NFTA_SET_FLAGS`: `NFT_SET_*` bits.
    pub flags: u32,
    /// `NFTA_SET_KEY_TYPE`: the type of its keys, as nft numbers types.
    pub key_type: u32,
    /// `NFTA_SET_KEY_LEN`: bytes of a key.
    pub key_length: u32,
    /// `NFTA_SET_DATA_TYPE`: the type of a map's values.
    pub data_type: Option<u32>,
    /// `NFTA_SET_DATA_LEN`: bytes of a map's value.
    pub data_length: Option<u32>,
    /// `NFTA_SET_OBJ_TYPE`: which objects (`NFT_OBJECT_*`) a map names.
    pub object_type: Option<u32>,
    /// `NFTA_SET_POLICY`.
    pub policy: Option<u32>,
    /// `NFTA_SET_DESC_SIZE`: how many elements it may hold.
    pub size: Option<u32>,
    /// `NFTA_SET_DESC_CONCAT`: bytes of each part of a key, without padding.
    pub fields: Vec<u32>,
    /// `NFTA_SET_TIMEOUT`, in milliseconds.
    pub timeout: Option<u64>,
    /// `NFTA_SET_GC_INTERVAL`, in milliseconds.
    pub gc_interval: Option<u32>,
    /// `NFTA_SET_USERDATA`.
    pub userdata: Vec<u8>,
    /// `NFTA_SET_EXPRESSIONS` (`NFTA_LIST_ELEM` attributes), and what `NFTA_SET_EXPR` holds as one of them.
    pub expressions: Vec<u8>,
    /// Attributes that are none of these.
    pub rest: Vec<Raw>,
}

expression! {
    /// `NFTA_SET_DESC_*`.
    Description<'a>[3, NO_PAD] { size: Option<u32> = 1, concat: Option<&'a [u8]> = 2 }
}
expression! {
    /// `NFTA_SET_FIELD_*`.
    Field[2, NO_PAD] { length: u32 = 1 }
}

/// `NFTA_LIST_ELEM`.
const LIST_ELEM: u16 = 1;

impl Set {
    /// Reads the attributes of `NFT_MSG_NEWSET`.
    ///
    /// # Errors
    /// If there is no name, or if they do not divide into attributes.
    pub fn decode(attributes: &[u8]) -> Result<Self, Malformed> {
        // `NFTA_SET_TABLE`, `_ID`, `_PAD`, `_HANDLE`, `_TYPE` (a pointer of the kernel), `_COUNT`
        const NO_TEXT: [u16; 6] = [1, 10, 14, 16, 19, 20];
        let mut taken = Taken::new(attributes)?;
        taken.ignore(&NO_TEXT);
        let (size, fields) = taken.take_if(9, description).unwrap_or_default();
        let data_type: Option<u32> = taken.take(6);
        Ok(Self {
            name: taken.take::<Text<'_>>(2).ok_or(Malformed)?.0.to_vec(),
            flags: taken.take(3).unwrap_or(0),
            key_type: taken.take(4).unwrap_or(0),
            key_length: taken.take(5).unwrap_or(0),
            data_type,
            data_length: if data_type.is_some() { taken.take(7) } else { None },
            policy: taken.take(8),
            size,
            fields,
            timeout: taken.take(11),
            gc_interval: taken.take(12),
            userdata: taken.take::<&[u8]>(13).unwrap_or_default().to_vec(),
            object_type: taken.take(15),
            expressions: list(&mut taken, 17, 18),
            rest: taken.rest(),
        })
    }

    /// Whether it belongs to one rule, and is listed there instead of on its own.
    pub const fn is_anonymous(&self) -> bool {
        self.flags & SET_ANONYMOUS != 0
    }

    /// Whether its values are verdicts.
    pub const fn is_verdict_map(&self) -> bool {
        matches!(self.data_type, Some(DATA_VERDICT))
    }

    /// Whether it maps keys to values or objects.
    pub const fn is_map(&self) -> bool {
        self.data_type.is_some() || self.object_type.is_some()
    }

    /// The last number of 32 bits of this type in its user data, which nft(8) writes in the machine's order.
    fn note(&self, kind: u8) -> Option<u32> {
        let value = userdata_value(&self.userdata, kind).ok()??;
        Some(u32::from_ne_bytes(value.try_into().ok()?))
    }

    /// Of each part of a key, whether nft(8) noted that it is a number in the machine's order.
    pub fn host_keys(&self) -> Vec<bool> {
        self.host_parts(USERDATA_KEY_ORDER, USERDATA_KEY_TYPEOF)
    }

    /// The same for the values of a map.
    pub fn host_values(&self) -> Vec<bool> {
        self.host_parts(USERDATA_DATA_ORDER, USERDATA_DATA_TYPEOF)
    }

    fn host_parts(&self, order: u8, of: u8) -> Vec<bool> {
        let concatenated = userdata_value(&self.userdata, of).ok().flatten().and_then(concatenated);
        concatenated.unwrap_or_else(|| vec![self.note(order) == Some(BYTEORDER_HOST_ENDIAN)])
    }

    /// Whether nft(8) noted that it merges intervals (`NFTNL_UDATA_SET_MERGE_ELEMENTS`).
    pub fn merges(&self) -> bool {
        self.note(USERDATA_MERGE).is_some_and(|note| note != 0)
    }

    /// Its comment (`NFTNL_UDATA_SET_COMMENT`), without the NUL that ends it.
    pub fn comment(&self) -> Option<&[u8]> {
        let comment = userdata_value(&self.userdata, USERDATA_COMMENT).ok()??;
        Some(comment.strip_suffix(b"\0").unwrap_or(comment))
    }
}

/// `NFTNL_UDATA_SET_KEYBYTEORDER`, `_DATABYTEORDER`, `_MERGE_ELEMENTS`, `_KEY_TYPEOF`, `_DATA_TYPEOF`, `_COMMENT`.
const USERDATA_KEY_ORDER: u8 = 0;
const USERDATA_DATA_ORDER: u8 = 1;
const USERDATA_MERGE: u8 = 2;
const USERDATA_KEY_TYPEOF: u8 = 3;
const USERDATA_DATA_TYPEOF: u8 = 4;
const USERDATA_COMMENT: u8 = 7;

/// `BYTEORDER_HOST_ENDIAN` of nft(8).
const BYTEORDER_HOST_ENDIAN: u32 = 1;

/// Of each part of the concatenation that nft(8) noted a key to be, whether it is a number in the machine's order.
///
/// *Source*: `set_make_typeof_udata` in `src/mnl.c`, `concat_expr_build_udata` in `src/expression.c`, `enum expr_types` in
/// `include/expression.h` of nftables 1.0.6.
fn concatenated(of: &[u8]) -> Option<Vec<bool>> {
    /// `NFTNL_UDATA_SET_TYPEOF_EXPR`, `_DATA`; `NFTNL_UDATA_SET_KEY_CONCAT_SUB_TYPE`, `_SUB_DATA`.
    const KIND: u8 = 0;
    const DATA: u8 = 1;
    /// `EXPR_META`, `EXPR_CT`, `EXPR_CONCAT`.
    const META: u32 = 9;
    const CT: u32 = 12;
    const CONCAT: u32 = 13;
    let kind = |of: &[u8]| Some(u32::from_ne_bytes(userdata_value(of, KIND).ok()??.try_into().ok()?));
    if kind(of)? != CONCAT {
        return None;
    }
    let parts = userdata_value(of, DATA).ok()??;
    let part = |number: u8| userdata_value(parts, number).ok().flatten();
    Some((0..).map_while(part).map(|part| matches!(kind(part), Some(META | CT))).collect())
}

/// The size and the lengths of the fields in the value of `NFTA_SET_DESC`.
fn description(value: &[u8]) -> Option<(Option<u32>, Vec<u32>)> {
    let Description { size, concat } = form::decode(value, &mut Vec::new())?;
    let field = |field: Result<Attribute<'_>, Malformed>| {
        let Attribute { kind: LIST_ELEM, value } = field.ok()? else { return None };
        form::decode(value, &mut Vec::new()).map(|Field { length }| length)
    };
    Some((size, Attributes::new(concat.unwrap_or_default()).map(field).collect::<Option<_>>()?))
}

/// A list of expressions, or one expression as a list.
fn list(taken: &mut Taken<'_>, one: u16, several: u16) -> Vec<u8> {
    let mut list = Vec::new();
    if let Some(expression) = taken.take::<&[u8]>(one) {
        expression.put(LIST_ELEM, &mut list);
    }
    list.extend_from_slice(taken.take::<&[u8]>(several).unwrap_or_default());
    list
}

/// `NFT_SET_ANONYMOUS`.
pub const SET_ANONYMOUS: u32 = 0x1;
/// `NFT_SET_INTERVAL`.
pub const SET_INTERVAL: u32 = 0x4;
/// `NFT_SET_CONSTANT`.
pub const SET_CONSTANT: u32 = 0x2;
/// `NFT_SET_MAP`.
pub const SET_MAP: u32 = 0x8;
/// `NFT_SET_TIMEOUT`.
pub const SET_TIMEOUT: u32 = 0x10;
/// `NFT_SET_EVAL`.
pub const SET_EVAL: u32 = 0x20;
/// `NFT_SET_OBJECT`.
pub const SET_OBJECT: u32 = 0x40;
/// `NFT_SET_CONCAT`.
pub const SET_CONCAT: u32 = 0x80;
/// `NFT_SET_EXPR`.
pub const SET_EXPR: u32 = 0x100;
/// `NFT_DATA_VERDICT`, for `NFTA_SET_DATA_TYPE`.
pub const DATA_VERDICT: u32 = 0xffff_ff00;
/// `NFT_SET_ELEM_INTERVAL_END`.
pub const ELEMENT_INTERVAL_END: u32 = 0x1;
/// `NFT_SET_ELEM_CATCHALL`.
pub const ELEMENT_CATCHALL: u32 = 0x2;

/// `NFTNL_UDATA_SET_ELEM_COMMENT`.
const UDATA_COMMENT: u8 = 0;

/// The comment in an element's user data, without the NUL that ends it; the last one if there are several, as nft(8) takes
/// it.
///
/// *Source*: `struct nftnl_udata` in `include/udata.h` of libnftnl: a type, a length, a value, all without padding.
pub fn comment(userdata: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let value = userdata_value(userdata, UDATA_COMMENT)?;
    Ok(value.map(|value| value.strip_suffix(b"\0").unwrap_or(value)))
}

/// The last value of this type in user data.
///
/// # Errors
/// If it does not divide into values.
pub fn userdata_value(mut userdata: &[u8], kind: u8) -> Result<Option<&[u8]>, Malformed> {
    let mut found = None;
    while let Some((&[of, length], rest)) = userdata.split_first_chunk() {
        let (value, behind) = rest.split_at_checked(length.into()).ok_or(Malformed)?;
        userdata = behind;
        if of == kind {
            found = Some(value);
        }
    }
    if userdata.is_empty() { Ok(found) } else { Err(Malformed) }
}

/// One element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// `NFTA_SET_ELEM_KEY`; none for the catch-all element.
    pub key: Option<Vec<u8>>,
    /// `NFTA_SET_ELEM_KEY_END`: the last key of an interval of several parts.
    pub key_end: Option<Vec<u8>>,
    /// `NFTA_SET_ELEM_FLAGS`.
    pub flags: u32,
    /// `NFTA_SET_ELEM_DATA`.
    pub value: Option<Value>,
    /// `NFTA_SET_ELEM_OBJREF`.
    pub object: Option<Vec<u8>>,
    /// `NFTA_SET_ELEM_TIMEOUT`, in milliseconds.
    pub timeout: Option<u64>,
    /// `NFTA_SET_ELEM_USERDATA`.
    pub userdata: Option<Vec<u8>>,
    /// `NFTA_SET_ELEM_EXPRESSIONS` (`NFTA_LIST_ELEM` attributes), and what `NFTA_SET_ELEM_EXPR` holds as one of them.
    pub expressions: Vec<u8>,
    /// Attributes that are none of these.
    pub rest: Vec<Raw>,
}

impl Element {
    /// Hands over the elements in the value of `NFTA_SET_ELEM_LIST_ELEMENTS`.
    ///
    /// # Errors
    /// If it does not follow the kernel's format.
    pub fn each(list: &[u8], mut visit: impl FnMut(Self)) -> Result<(), Malformed> {
        for element in Attributes::new(list) {
            let Attribute { kind: LIST_ELEM, value } = element? else { return Err(Malformed) };
            visit(Self::decode(value)?);
        }
        Ok(())
    }

    fn decode(attributes: &[u8]) -> Result<Self, Malformed> {
        // `NFTA_SET_ELEM_EXPIRATION`, `_PAD`
        const NO_TEXT: [u16; 2] = [5, 8];
        let mut taken = Taken::new(attributes)?;
        taken.ignore(&NO_TEXT);
        let key = |value| match Data::read(value)? {
            Data::Value(value) => Some(value.to_vec()),
            Data::Verdict(_) => None,
        };
        Ok(Self {
            key: taken.take_if(1, key),
            value: taken.take(2).map(|data| match data {
                Data::Value(value) => Value::Bytes(value.to_vec()),
                Data::Verdict(verdict) => {
                    Value::Verdict { code: verdict.code, chain: verdict.chain.map(|chain| chain.0.to_vec()) }
                }
            }),
            flags: taken.take(3).unwrap_or(0),
            timeout: taken.take(4),
            userdata: taken.take::<&[u8]>(6).map(<[u8]>::to_vec),
            object: taken.take::<Text<'_>>(9).map(|name| name.0.to_vec()),
            key_end: taken.take_if(10, key),
            expressions: list(&mut taken, 7, 11),
            rest: taken.rest(),
        })
    }

    /// Whether it only says where the interval before it ends.
    pub const fn is_interval_end(&self) -> bool {
        self.flags & ELEMENT_INTERVAL_END != 0
    }

    /// Whether its value is a jump or goto.
    pub const fn is_jump(&self) -> bool {
        matches!(self.value, Some(Value::Verdict { chain: Some(_), .. }))
    }
}

/// What a map's element leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `NFTA_DATA_VALUE`.
    Bytes(Vec<u8>),
    /// `NFTA_DATA_VERDICT`.
    Verdict {
        /// `NFTA_VERDICT_CODE`.
        code: i32,
        /// `NFTA_VERDICT_CHAIN`.
        chain: Option<Vec<u8>>,
    },
}
