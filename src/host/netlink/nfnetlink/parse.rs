//! What the messages of nf_tables and ipset hold.
//! Reads from no socket; attributes that newer kernels add are passed over.
//!
//! *Source*: `enum nft_table_attributes`, `nft_chain_attributes`, `nft_hook_attributes`, `nft_rule_attributes`,
//! `nft_set_attributes` and `nft_gen_attributes` in `include/uapi/linux/netfilter/nf_tables.h`; `ipset/ip_set.h`.

use super::message::NFGEN_HEADER;
use crate::domain::rules::Family;
use crate::domain::rules::kernel::attributes::{Attributes, Fields};
use crate::domain::rules::kernel::{Chain, Hook, Table};

/// A set or map, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The name; bytes, since the kernel takes any.
    pub name: Vec<u8>,
    /// `NFT_SET_*` bits.
    pub flags: u32,
    /// The type of its keys, as nft numbers types: for keys of several parts, six bits each.
    pub key_type: u32,
    /// The type of its values, for a map.
    pub data_type: Option<u32>,
}

impl Set {
    /// Whether its values are verdicts (`NFT_DATA_VERDICT`).
    pub const fn is_verdict_map(&self) -> bool {
        matches!(self.data_type, Some(0xffff_ff00))
    }

    /// Whether it belongs to one rule, and is listed there instead of on its own.
    pub const fn is_anonymous(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// A flowtable or object, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name; bytes, since the kernel takes any.
    pub name: Vec<u8>,
}

/// A rule, borrowed from its message.
pub(super) struct Rule<'a> {
    pub family: Family,
    pub table: &'a [u8],
    pub chain: &'a [u8],
    pub handle: u64,
    pub userdata: Option<&'a [u8]>,
    pub expressions: &'a [u8],
}

const MALFORMED: &str = "attributes that do not fit";
const MISSING: &str = "an attribute is missing or malformed";

/// The family and attributes behind `struct nfgenmsg`.
fn open<const N: usize>(payload: &[u8]) -> Result<(Family, Fields<'_, N>), &'static str> {
    let (header, attributes) = payload.split_first_chunk::<NFGEN_HEADER>().ok_or(MALFORMED)?;
    let [number, ..] = *header;
    let family = Family::from_nfproto(number).ok_or("a family that is not known")?;
    Ok((family, Fields::known(attributes).or(Err(MALFORMED))?))
}

pub(super) fn generation(payload: &[u8]) -> Result<u32, &'static str> {
    let attributes = payload.get(NFGEN_HEADER..).ok_or(MALFORMED)?;
    Fields::<2>::known(attributes).or(Err(MALFORMED))?.be32(1).ok_or(MISSING)
}

pub(super) fn table(payload: &[u8]) -> Result<Table, &'static str> {
    let (family, fields) = open::<8>(payload)?;
    Ok(Table {
        family,
        name: fields.string(1).ok_or(MISSING)?.to_vec(),
        flags: fields.be32(2).ok_or(MISSING)?,
        uses: fields.be32(3).ok_or(MISSING)?,
        handle: fields.be64(4).ok_or(MISSING)?,
        owner: optional(&fields, 7, Fields::be32)?,
    })
}

pub(super) fn chain(payload: &[u8]) -> Result<Chain, &'static str> {
    let (family, fields) = open::<11>(payload)?;
    Ok(Chain {
        family,
        table: fields.string(1).ok_or(MISSING)?.to_vec(),
        handle: fields.be64(2).ok_or(MISSING)?,
        name: fields.string(3).ok_or(MISSING)?.to_vec(),
        hook: fields.get(4).map(hook).transpose()?,
        policy: optional(&fields, 5, Fields::be32)?,
        uses: fields.be32(6).ok_or(MISSING)?,
        chain_type: optional(&fields, 7, Fields::string)?.map(<[u8]>::to_vec),
        flags: optional(&fields, 10, Fields::be32)?.unwrap_or(0),
    })
}

fn hook(container: &[u8]) -> Result<Hook, &'static str> {
    let fields = Fields::<5>::known(container).or(Err(MALFORMED))?;
    let mut devices: Vec<Vec<u8>> =
        optional(&fields, 3, Fields::string)?.map(<[u8]>::to_vec).into_iter().collect();
    for device in fields.get(4).map(Attributes::new).into_iter().flatten() {
        let name = device.or(Err(MALFORMED))?.value;
        devices.push(name.strip_suffix(&[0]).unwrap_or(name).to_vec());
    }
    Ok(Hook {
        hooknum: fields.be32(1).ok_or(MISSING)?,
        priority: fields.be32(2).ok_or(MISSING)?.cast_signed(),
        devices,
    })
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

pub(super) fn set(payload: &[u8]) -> Result<Set, &'static str> {
    let (_, fields) = open::<7>(payload)?;
    Ok(Set {
        name: fields.string(2).ok_or(MISSING)?.to_vec(),
        flags: optional(&fields, 3, Fields::be32)?.unwrap_or(0),
        key_type: optional(&fields, 4, Fields::be32)?.unwrap_or(0),
        data_type: optional(&fields, 6, Fields::be32)?,
    })
}

/// One element of a set or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its key; none for the catch-all element.
    pub key: Option<&'a [u8]>,
    /// Whether its value is a jump or goto.
    pub is_jump: bool,
}

/// Hands over every element in one message of a set's elements.
pub(super) fn elements(payload: &[u8], visit: &mut impl FnMut(Element<'_>)) -> Result<(), &'static str> {
    let (_, fields) = open::<4>(payload)?;
    for element in fields.get(3).map(Attributes::new).into_iter().flatten() {
        let element = nested::<3>(element.or(Err(MALFORMED))?.value)?;
        let key = element.get(1).map(|key| nested::<2>(key)?.get(1).ok_or(MISSING)).transpose()?;
        visit(Element { key, is_jump: element.get(2).map_or(Ok(false), is_jump)? });
    }
    Ok(())
}

/// Whether the data of an element is a verdict with a chain.
fn is_jump(data: &[u8]) -> Result<bool, &'static str> {
    match nested::<3>(data)?.get(2) {
        Some(verdict) => Ok(nested::<3>(verdict)?.get(2).is_some()),
        None => Ok(false),
    }
}

fn nested<const N: usize>(container: &[u8]) -> Result<Fields<'_, N>, &'static str> {
    Fields::known(container).or(Err(MALFORMED))
}

pub(super) fn named(payload: &[u8]) -> Result<Named, &'static str> {
    let (_, fields) = open::<3>(payload)?;
    Ok(Named { name: fields.string(2).ok_or(MISSING)?.to_vec() })
}

/// `IPSET_ATTR_SETNAME`.
pub(super) fn ipset_name(payload: &[u8]) -> Result<Vec<u8>, &'static str> {
    let attributes = payload.get(NFGEN_HEADER..).ok_or(MALFORMED)?;
    Ok(Fields::<3>::known(attributes).or(Err(MALFORMED))?.string(2).ok_or(MISSING)?.to_vec())
}

/// An attribute that may be absent, but not malformed.
fn optional<'a, const N: usize, T>(
    fields: &Fields<'a, N>,
    kind: u16,
    read: impl Fn(&Fields<'a, N>, u16) -> Option<T>,
) -> Result<Option<T>, &'static str> {
    match fields.get(kind) {
        None => Ok(None),
        Some(_) => read(fields, kind).map(Some).ok_or(MISSING),
    }
}
