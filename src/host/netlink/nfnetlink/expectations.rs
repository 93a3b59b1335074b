//! Lists the expectations of connection tracking, and finds the zones that they are of.
//!
//! *Source*: `include/uapi/linux/netfilter/nfnetlink_conntrack.h`.

use std::io;

use super::message::{Get, NFGEN_HEADER};
use super::{Nfnetlink, NfnetlinkError};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::attributes::find;
use crate::domain::rules::kernel::expectations::Expectation;
use crate::host::process::procfs;

const CTA_EXPECT_TUPLE: u16 = 2;
const CTA_EXPECT_ID: u16 = 5;
const CTA_EXPECT_ZONE: u16 = 7;
const NLA_F_NESTED: u16 = 0x8000;
const WHAT: &str = "expectations of connection tracking";

/// Whether this network namespace has any expectation: false on a kernel without connection tracking. Asking for their list
/// instead makes the kernel load a module.
///
/// # Errors
/// See [`procfs::has_text`]; without root, that the file may not be read.
pub fn has_expectations() -> io::Result<bool> {
    Ok(procfs::has_text("/proc/thread-self/net", "nf_conntrack_expect")?.unwrap_or(false))
}

/// What tells an expectation from every other while it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectationId {
    number: [u8; 4],
    /// What it expects, as the kernel wrote it.
    tuple: Vec<u8>,
}

impl ExpectationId {
    fn of(attributes: &[u8]) -> Option<Self> {
        let number = find(attributes, CTA_EXPECT_ID)?.try_into().ok()?;
        Some(Self { number, tuple: find(attributes, CTA_EXPECT_TUPLE)?.to_vec() })
    }
}

impl Nfnetlink {
    /// Calls `visit` with every expectation, in no order.
    ///
    /// # Errors
    /// See [`NfnetlinkError`]; [`NfnetlinkError::Failed`] with `EINVAL` from a kernel that cannot list them.
    pub fn for_each_expectation(
        &mut self,
        mut visit: impl FnMut(Expectation, ExpectationId),
    ) -> Result<(), NfnetlinkError> {
        self.request.start(Get::Expectation, 0);
        self.exchange(Get::Expectation, WHAT, |reply| {
            const MALFORMED: &str = "attributes of an expectation that do not fit";
            let attributes = reply.get(NFGEN_HEADER..).ok_or("a message that is too short")?;
            let id = ExpectationId::of(attributes).ok_or(MALFORMED)?;
            visit(Expectation::decode(attributes).or(Err(MALFORMED))?, id);
            Ok(())
        })
    }

    /// The zone of an expectation, which the kernel does not list: it is asked about one zone after the other. None if the
    /// expectation is gone, or hidden by one that expects the same.
    ///
    /// # Errors
    /// See [`NfnetlinkError`].
    pub fn zone_of(&mut self, family: Family, id: &ExpectationId) -> Result<Option<u16>, NfnetlinkError> {
        for zone in 0..=u16::MAX {
            self.request
                .start_one(Get::Expectation, family.nfproto())
                .bytes(CTA_EXPECT_TUPLE | NLA_F_NESTED, &id.tuple)
                .value(CTA_EXPECT_ZONE, zone.to_be_bytes())
                .value(CTA_EXPECT_ID, id.number);
            match self.exchange(Get::Expectation, WHAT, |_| Ok(())) {
                Ok(()) => return Ok(Some(zone)),
                Err(NfnetlinkError::Failed { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
