//! What the messages of nf_tables and ipset hold.
//! Reads from no socket; what stands in a table is decoded by `domain::rules::kernel`.
//!
//! *Source*: `enum nft_rule_attributes`, `nft_set_elem_list_attributes` and `nft_gen_attributes` in
//! `include/uapi/linux/netfilter/nf_tables.h`; `ipset/ip_set.h`.

use super::message::NFGEN_HEADER;
use crate::domain::rules::Family;
use crate::domain::rules::kernel::attributes::{Fields, Malformed};
use crate::domain::rules::kernel::sets::Element;
use crate::domain::rules::kernel::{Chain, Table};

/// Something in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// The table's family.
    pub family: Family,
    /// The table's name.
    pub table: Vec<u8>,
    /// What it is.
    pub what: T,
}

/// A rule, borrowed from its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Rule<'a> {
    pub family: Family,
    pub table: &'a [u8],
    pub chain: &'a [u8],
    pub handle: u64,
    /// The value of `NFTA_RULE_USERDATA`.
    pub userdata: Option<&'a [u8]>,
    /// The value of `NFTA_RULE_EXPRESSIONS`.
    pub expressions: &'a [u8],
}

const MALFORMED: &str = "attributes that do not fit";
const MISSING: &str = "an attribute is missing or malformed";

/// The family and attributes behind `struct nfgenmsg`.
fn split(payload: &[u8]) -> Result<(Family, &[u8]), &'static str> {
    let (header, attributes) = payload.split_first_chunk::<NFGEN_HEADER>().ok_or(MALFORMED)?;
    let [number, ..] = *header;
    Ok((Family::from_nfproto(number).ok_or("a family that is not known")?, attributes))
}

pub(super) fn open<const N: usize>(payload: &[u8]) -> Result<(Family, Fields<'_, N>), &'static str> {
    let (family, attributes) = split(payload)?;
    Ok((family, Fields::known(attributes).or(Err(MALFORMED))?))
}

pub(super) fn generation(payload: &[u8]) -> Result<u32, &'static str> {
    let attributes = payload.get(NFGEN_HEADER..).ok_or(MALFORMED)?;
    Fields::<2>::known(attributes).or(Err(MALFORMED))?.be32(1).ok_or(MISSING)
}

pub(super) fn table(payload: &[u8]) -> Result<Table, &'static str> {
    let (family, attributes) = split(payload)?;
    Table::decode(family, attributes).or(Err(MISSING))
}

pub(super) fn chain(payload: &[u8]) -> Result<Chain, &'static str> {
    let (family, attributes) = split(payload)?;
    Chain::decode(family, attributes).or(Err(MISSING))
}

pub(super) fn rule(payload: &[u8]) -> Result<Rule<'_>, &'static str> {
    let (family, fields) = open::<8>(payload)?;
    Ok(Rule {
        family,
        table: fields.string(1).ok_or(MISSING)?,
        chain: fields.string(2).ok_or(MISSING)?,
        handle: fields.be64(3).ok_or(MISSING)?,
        expressions: fields.get(4).ok_or(MISSING)?,
        userdata: fields.get(7),
    })
}

/// A set, flowtable or object: its first attribute is the name of its table.
pub(super) fn placed<T>(
    payload: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<Placed<T>, &'static str> {
    let (family, fields) = open::<2>(payload)?;
    let table = fields.string(1).ok_or(MISSING)?.to_vec();
    let (_, attributes) = split(payload)?;
    Ok(Placed { family, table, what: decode(attributes).or(Err(MISSING))? })
}

/// Hands over every element in one message of a set's elements.
pub(super) fn elements(payload: &[u8], visit: &mut impl FnMut(Element)) -> Result<(), &'static str> {
    /// `NFTA_SET_ELEM_LIST_ELEMENTS`.
    const ELEMENTS: u16 = 3;
    let (_, fields) = open::<4>(payload)?;
    Element::each(fields.get(ELEMENTS).unwrap_or_default(), visit).or(Err(MALFORMED))
}

/// `IPSET_ATTR_SETNAME`.
pub(super) fn ipset_name(payload: &[u8]) -> Result<Vec<u8>, &'static str> {
    let attributes = payload.get(NFGEN_HEADER..).ok_or(MALFORMED)?;
    Ok(Fields::<3>::known(attributes).or(Err(MALFORMED))?.string(2).ok_or(MISSING)?.to_vec())
}
