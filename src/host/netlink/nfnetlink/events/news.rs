//! What a message of a transaction says to be there, or to be gone.
//! Decodes what stands in it no further than a reader of the same kind of object does.
//!
//! *Source*: `enum nf_tables_msg_types`, `nft_rule_attributes`, `nft_chain_attributes`, `nft_set_attributes`,
//! `nft_set_elem_list_attributes`, `nft_object_attributes`, `nft_flowtable_attributes` in
//! `include/uapi/linux/netfilter/nf_tables.h`.

use super::super::parse::{self, Placed, Rule};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::objects::{Flowtable, Object};
use crate::domain::rules::kernel::sets::{Element, Set};
use crate::domain::rules::kernel::{Chain, Table};

/// `NFT_MSG_*`.
const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const DELCHAIN: u16 = 5;
const NEWRULE: u16 = 6;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const DELSET: u16 = 11;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;
const NEWOBJ: u16 = 18;
const DELOBJ: u16 = 20;
const NEWFLOWTABLE: u16 = 22;
const DELFLOWTABLE: u16 = 24;
const DESTROYTABLE: u16 = 26;
const DESTROYCHAIN: u16 = 27;
const DESTROYRULE: u16 = 28;
const DESTROYSET: u16 = 29;
const DESTROYSETELEM: u16 = 30;
const DESTROYOBJ: u16 = 31;
const DESTROYFLOWTABLE: u16 = 32;

/// One message of a transaction, not decoded yet.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `NFT_MSG_*`.
    pub(super) number: u16,
    /// What stands behind the netlink header.
    pub(super) payload: &'a [u8],
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// A table is there, or has other flags.
    Table(Table),
    /// A chain is there, or has another policy, name or device.
    Chain(Chain),
    /// A rule is there.
    Rule(Rule<'a>),
    /// A set or map is there.
    Set(Placed<Set>),
    /// Elements of a set are there.
    Elements(ElementsOf<'a>),
    /// An object is there.
    Object(Placed<Object>),
    /// A flowtable is there.
    Flowtable(Placed<Flowtable>),
    /// Something is there no longer.
    Gone(Gone<'a>),
}

/// Elements of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ElementsOf<'a> {
    pub family: Family,
    pub table: &'a [u8],
    pub set: &'a [u8],
    pub elements: Vec<Element>,
}

/// What is there no longer, in a table of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone<'a> {
    /// The table's family.
    pub family: Family,
    /// The table's name.
    pub table: &'a [u8],
    /// What of it.
    pub what: What<'a>,
}

/// What of a table is there no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// All of it.
    Table,
    /// A chain.
    Chain(&'a [u8]),
    /// Devices that a chain or flowtable hung on.
    Devices,
    /// A rule of a chain, by its handle.
    Rule(&'a [u8], u64),
    /// A set.
    Set(&'a [u8]),
    /// Elements of a set.
    Elements(&'a [u8], Vec<Element>),
    /// An object.
    Object(&'a [u8]),
    /// A flowtable.
    Flowtable(&'a [u8]),
}

impl<'a> Message<'a> {
    /// What it says; none if it cannot be understood.
    pub fn news(self) -> Option<News<'a>> {
        let Self { number, payload } = self;
        match number {
            NEWTABLE => parse::table(payload).ok().map(News::Table),
            NEWCHAIN => parse::chain(payload).ok().map(News::Chain),
            NEWRULE => parse::rule(payload).ok().map(News::Rule),
            NEWSET => parse::placed(payload, Set::decode).ok().map(News::Set),
            NEWSETELEM => elements(payload).map(News::Elements),
            NEWOBJ => parse::placed(payload, Object::decode).ok().map(News::Object),
            NEWFLOWTABLE => parse::placed(payload, Flowtable::decode).ok().map(News::Flowtable),
            _ => gone(number, payload).map(News::Gone),
        }
    }
}

fn gone(number: u16, payload: &[u8]) -> Option<Gone<'_>> {
    if matches!(number, DELSETELEM | DESTROYSETELEM) {
        let ElementsOf { family, table, set, elements } = elements(payload)?;
        return Some(Gone { family, table, what: What::Elements(set, elements) });
    }
    let (family, fields) = parse::open::<5>(payload).ok()?;
    let name = |kind| fields.string(kind);
    let what = match number {
        DELTABLE | DESTROYTABLE => What::Table,
        // with `NFTA_CHAIN_HOOK`, `NFTA_FLOWTABLE_HOOK` only devices go
        DELCHAIN | DESTROYCHAIN if fields.get(4).is_some() => What::Devices,
        DELFLOWTABLE | DESTROYFLOWTABLE if fields.get(3).is_some() => What::Devices,
        DELCHAIN | DESTROYCHAIN => What::Chain(name(3)?),
        DELRULE | DESTROYRULE => What::Rule(name(2)?, fields.be64(3)?),
        DELSET | DESTROYSET => What::Set(name(2)?),
        DELOBJ | DESTROYOBJ => What::Object(name(2)?),
        DELFLOWTABLE | DESTROYFLOWTABLE => What::Flowtable(name(2)?),
        _ => return None,
    };
    Some(Gone { family, table: name(1)?, what })
}

fn elements(payload: &[u8]) -> Option<ElementsOf<'_>> {
    let (family, fields) = parse::open::<4>(payload).ok()?;
    let mut elements = Vec::new();
    parse::elements(payload, &mut |element| elements.push(element)).ok()?;
    Some(ElementsOf { family, table: fields.string(1)?, set: fields.string(2)?, elements })
}
