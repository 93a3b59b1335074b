//! Lists the expectations of connection tracking.
//!
//! *Source*: `include/uapi/linux/netfilter/nfnetlink_conntrack.h`.

use std::io;

use super::message::{Get, NFGEN_HEADER};
use super::{Nfnetlink, NfnetlinkError};
use crate::domain::rules::kernel::expectations::Expectation;
use crate::host::process::procfs;

/// Whether this network namespace has any expectation: false on a kernel without connection tracking. Asking for their list
/// instead makes the kernel load a module.
///
/// # Errors
/// See [`procfs::has_text`]; without root, that the file may not be read.
pub fn has_expectations() -> io::Result<bool> {
    Ok(procfs::has_text("/proc/thread-self/net", "nf_conntrack_expect")?.unwrap_or(false))
}

impl Nfnetlink {
    /// Calls `visit` with every expectation, in no order.
    ///
    /// # Errors
    /// See [`NfnetlinkError`]; [`NfnetlinkError::Failed`] with `EINVAL` from a kernel that cannot list them.
    pub fn for_each_expectation(&mut self, mut visit: impl FnMut(Expectation)) -> Result<(), NfnetlinkError> {
        self.request.start(Get::Expectation, 0);
        self.exchange(Get::Expectation, "expectations of connection tracking", |reply| {
            let attributes = reply.get(NFGEN_HEADER..).ok_or("a message that is too short")?;
            visit(Expectation::decode(attributes).or(Err("attributes of an expectation that do not fit"))?);
            Ok(())
        })
    }
}
