//! Lists what is called at netfilter hooks.
//!
//! *Source*: `include/uapi/linux/netfilter/nfnetlink_hook.h`.

use super::message::{Get, NFGEN_HEADER};
use super::{Nfnetlink, NfnetlinkError};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::hooks::Callback;

const NFNLA_HOOK_HOOKNUM: u16 = 1;
const NFNLA_HOOK_DEV: u16 = 3;

/// What is called at a hook, in the order in which it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookList {
    /// The kernel lists these.
    Listed(Vec<Callback>),
    /// The kernel has no such hook.
    NoHook,
    /// The device is gone.
    NoDevice,
    /// The kernel does not list hooks at all. It says the same of a request that is malformed, so that only an answer to
    /// one that others understood means that.
    Unlisted,
}

impl Nfnetlink {
    /// Asks what is called at a hook; one of family netdev has a device.
    ///
    /// # Errors
    /// See [`NfnetlinkError`].
    pub fn callbacks(
        &mut self,
        family: Family,
        hook: u32,
        device: Option<&[u8]>,
    ) -> Result<HookList, NfnetlinkError> {
        let mut callbacks = Vec::new();
        let request = self.request.start(Get::Hook, family.nfproto());
        request.value(NFNLA_HOOK_HOOKNUM, hook.to_be_bytes());
        if let Some(device) = device {
            request.string(NFNLA_HOOK_DEV, device);
        }
        let result = self.exchange(Get::Hook, "what is called at netfilter hooks", |reply| {
            let attributes = reply.get(NFGEN_HEADER..).ok_or("a message that is too short")?;
            callbacks.push(Callback::decode(attributes).or(Err("attributes of a hook that do not fit"))?);
            Ok(())
        });
        let Err(error) = result else { return Ok(HookList::Listed(callbacks)) };
        answer(&error).ok_or(error)
    }
}

/// What an error of the kernel says of a hook.
fn answer(error: &NfnetlinkError) -> Option<HookList> {
    let NfnetlinkError::Failed { source, .. } = error else { return None };
    match source.raw_os_error()? {
        libc::EINVAL => Some(HookList::Unlisted),
        libc::EOPNOTSUPP | libc::EPROTONOSUPPORT => Some(HookList::NoHook),
        libc::ENODEV => Some(HookList::NoDevice),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn said(code: i32) -> Option<HookList> {
        answer(&NfnetlinkError::Failed { what: "x", source: io::Error::from_raw_os_error(code) })
    }

    #[test]
    fn a_kernel_without_the_list_is_told_from_one_without_the_hook_and_from_a_failure() {
        assert_eq!(said(libc::EINVAL), Some(HookList::Unlisted));
        assert_eq!(said(libc::EOPNOTSUPP), Some(HookList::NoHook));
        assert_eq!(said(libc::EPROTONOSUPPORT), Some(HookList::NoHook));
        assert_eq!(said(libc::ENODEV), Some(HookList::NoDevice));
        for code in [libc::ENOMEM, libc::EIO, libc::EBUSY] {
            assert_eq!(said(code), None);
        }
        assert_eq!(answer(&NfnetlinkError::PermissionDenied { what: "x" }), None);
        assert_eq!(answer(&NfnetlinkError::Deadline { what: "x" }), None);
    }
}
