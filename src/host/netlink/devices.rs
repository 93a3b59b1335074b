//! Network devices without a wire, in a network namespace made for them.
//! Whoever calls this has to be in such a namespace: it adds devices to that of the calling thread.
//!
//! *Source*: rtnetlink(7), `include/uapi/linux/if_link.h` (`IFLA_*`), `struct ifinfomsg`; `drivers/net/dummy.c`, `ifb.c`.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};

use super::rtnetlink::{exchange, finish, push_attribute};

const RTM_NEWLINK: u16 = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
/// Kinds of devices that need no other; one is enough, and hardly any kernel has none.
const KINDS: [&str; 3] = ["dummy", "ifb", "bridge"];

/// Why a device is not there.
#[derive(Debug, thiserror::Error)]
#[error("making the device {name:?} in a namespace of its own")]
pub struct DeviceError {
    name: String,
    source: io::Error,
}

/// Adds a device with this name and this index, which is down.
///
/// # Errors
/// What the kernel answers: a name that is taken or no name, or none of the modules `dummy`, `ifb` and `bridge`.
pub fn add(name: &str, index: u32) -> Result<(), DeviceError> {
    let mut result = Ok(());
    for kind in KINDS {
        result = exchange(&new_link(name, index, kind)).map(drop);
        let is_unknown = |error: &io::Error| error.raw_os_error() == Some(libc::EOPNOTSUPP);
        if !result.as_ref().is_err_and(is_unknown) {
            break;
        }
    }
    result.map_err(|source| DeviceError { name: name.to_owned(), source })
}

fn new_link(name: &str, index: u32, kind: &str) -> Vec<u8> {
    let mut message = vec![0; 4];
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    // sequence and port; then the family and the type of `struct ifinfomsg`
    message.extend_from_slice(&[0; 12]);
    message.extend_from_slice(&index.to_ne_bytes());
    // flags of the device, and which of them change
    message.extend_from_slice(&[0; 8]);
    push_attribute(&mut message, IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
    let mut information = Vec::new();
    push_attribute(&mut information, IFLA_INFO_KIND, kind.as_bytes());
    push_attribute(&mut message, IFLA_LINKINFO, &information);
    finish(message)
}
