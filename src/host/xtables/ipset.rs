//! Numbers of ipsets, which x_tables parts hold instead of names.
//! Does not read what a set holds.
//!
//! *Source*: `include/uapi/linux/netfilter/ipset/ip_set.h` (`SO_IP_SET`, `struct ip_set_req_get_set`).

use std::io;
use std::os::fd::AsFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::host::raw;

/// `SO_IP_SET`.
const SO_IP_SET: i32 = 83;
/// `IP_SET_OP_GET_BYNAME`.
const IP_SET_OP_GET_BYNAME: u32 = 6;
/// `IPSET_PROTOCOL_MIN`, which every kernel takes.
const IPSET_PROTOCOL_MIN: u32 = 6;
/// `IPSET_MAXNAMELEN`.
const IPSET_MAXNAMELEN: usize = 32;
/// `IPSET_INVALID_ID`: there is no such set.
const IPSET_INVALID_ID: u16 = u16::MAX;
/// Where the name, and in the answer the number, stands: behind operation and version.
const NAME: usize = 8;

/// The number of each of these sets; a set that is no longer there is left out. Needs `CAP_NET_ADMIN`.
///
/// # Errors
/// What socket(2) and getsockopt(2) say.
pub fn numbers(names: Vec<Vec<u8>>) -> io::Result<Vec<(u16, Vec<u8>)>> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut numbers = Vec::new();
    for name in names {
        let mut request = [0; NAME + IPSET_MAXNAMELEN];
        let head = [IP_SET_OP_GET_BYNAME.to_ne_bytes(), IPSET_PROTOCOL_MIN.to_ne_bytes()].concat();
        for (field, byte) in request.iter_mut().zip(head.iter().chain(&name)) {
            *field = *byte;
        }
        raw::getsockopt(socket.as_fd(), libc::IPPROTO_IP, SO_IP_SET, &mut request)?;
        let number = request.get(NAME..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
        let number = u16::from_ne_bytes(number);
        if number != IPSET_INVALID_ID {
            numbers.push((number, name));
        }
    }
    Ok(numbers)
}
