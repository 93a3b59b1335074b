//! Flowtables and stateful objects as the kernel holds them.
//! Writes no text.
//!
//! *Source*: `enum nft_flowtable_attributes`, `nft_flowtable_hook_attributes`, `nft_object_attributes`, `NFT_OBJECT_*` and
//! the attributes named beside each object in `include/uapi/linux/netfilter/nf_tables.h`; `nfnetlink_cttimeout.h`.

use super::attributes::Malformed;
use super::chains::Hook;
use super::expressions::form::{self, NO_PAD, Text, expression};
use super::sets::comment;
use super::taken::{Raw, Taken};

/// A flowtable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flowtable {
    /// `NFTA_FLOWTABLE_NAME`; bytes, since the kernel takes any.
    pub name: Vec<u8>,
    /// Where it is attached.
    pub hook: Option<Hook>,
    /// `NFTA_FLOWTABLE_FLAGS`.
    pub flags: u32,
    /// Attributes that are none of these.
    pub rest: Vec<Raw>,
}

expression! {
    /// `NFTA_FLOWTABLE_HOOK_*`.
    FlowtableHook<'a>[4, NO_PAD] { number: u32 = 1, priority: u32 = 2, devices: Option<&'a [u8]> = 3 }
}

impl Flowtable {
    /// Reads the attributes of `NFT_MSG_NEWFLOWTABLE`.
    ///
    /// # Errors
    /// If there is no name, or if they do not divide into attributes.
    pub fn decode(attributes: &[u8]) -> Result<Self, Malformed> {
        // `NFTA_FLOWTABLE_TABLE`, `_USE`, `_HANDLE`, `_PAD`
        const NO_TEXT: [u16; 4] = [1, 4, 5, 6];
        let mut taken = Taken::new(attributes)?;
        taken.ignore(&NO_TEXT);
        let hook = |value| {
            let FlowtableHook { number, priority, devices } = form::decode(value, &mut Vec::new())?;
            Hook::of_devices(number, priority, devices)
        };
        Ok(Self {
            name: taken.take::<Text<'_>>(2).ok_or(Malformed)?.0.to_vec(),
            hook: taken.take_if(3, hook),
            flags: taken.take(7).unwrap_or(0),
            rest: taken.rest(),
        })
    }
}

/// A stateful object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// `NFTA_OBJ_NAME`; bytes, since the kernel takes any.
    pub name: Vec<u8>,
    /// `NFTA_OBJ_TYPE`: `NFT_OBJECT_*`.
    pub kind: u32,
    /// `NFTA_OBJ_DATA`: attributes as its kind demands.
    pub data: Vec<u8>,
    /// `NFTA_OBJ_USERDATA`.
    pub userdata: Vec<u8>,
    /// Attributes that are none of these.
    pub rest: Vec<Raw>,
}

impl Object {
    /// Reads the attributes of `NFT_MSG_NEWOBJ`.
    ///
    /// # Errors
    /// If it has no name or type, or if they do not divide into attributes.
    pub fn decode(attributes: &[u8]) -> Result<Self, Malformed> {
        // `NFTA_OBJ_TABLE`, `_USE`, `_HANDLE`, `_PAD`
        const NO_TEXT: [u16; 4] = [1, 5, 6, 7];
        let mut taken = Taken::new(attributes)?;
        taken.ignore(&NO_TEXT);
        Ok(Self {
            name: taken.take::<Text<'_>>(2).ok_or(Malformed)?.0.to_vec(),
            kind: taken.take(3).ok_or(Malformed)?,
            data: taken.take::<&[u8]>(4).unwrap_or_default().to_vec(),
            userdata: taken.take::<&[u8]>(8).unwrap_or_default().to_vec(),
            rest: taken.rest(),
        })
    }

    /// Its comment (`NFTNL_UDATA_OBJ_COMMENT`), without the NUL that ends it.
    pub fn comment(&self) -> Option<&[u8]> {
        comment(&self.userdata).ok().flatten()
    }
}

expression! {
    /// `NFTA_CT_HELPER_*`.
    CtHelper<'a>[4, NO_PAD] { name: Text<'a> = 1, l4proto: u8 = 3, l3proto: u16 = 2 }
}
expression! {
    /// `NFTA_CT_TIMEOUT_*`; the times are attributes by the protocol's states, in seconds.
    CtTimeout<'a>[4, NO_PAD] { l4proto: u8 = 2, l3proto: u16 = 1, times: Option<&'a [u8]> = 3 }
}
expression! {
    /// `NFTA_CT_EXPECT_*`; `timeout` is milliseconds in the machine's order, see [`CtExpectation::milliseconds`].
    CtExpectation[6, NO_PAD] { l3proto: u16 = 1, l4proto: u8 = 2, dport: u16 = 3, timeout: u32 = 4, size: u8 = 5 }
}
expression! {
    /// `NFTA_SECMARK_*`.
    Secmark<'a>[2, NO_PAD] { context: Text<'a> = 1 }
}

impl CtExpectation {
    /// How long an expected connection is waited for.
    pub const fn milliseconds(&self) -> u32 {
        u32::from_ne_bytes(self.timeout.to_be_bytes())
    }
}
