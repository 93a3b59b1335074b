//! The names of network devices by their numbers.
//! Watches no changes.
//!
//! *Source*: rtnetlink(7), `struct ifinfomsg` and `IFLA_IFNAME` in `include/uapi/linux/if_link.h`.

use std::collections::BTreeMap;
use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::nfnetlink::message::Replies;
use crate::domain::rules::kernel::attributes::find;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
/// `struct ifinfomsg`, and where in it the device's number stands.
const LINK_HEADER: usize = 16;
const INDEX: std::ops::Range<usize> = 4..8;
/// The kernel fills datagrams of a dump up to this size.
const RECEIVE_BYTES: usize = 32 << 10;

/// The names of all devices in the network namespace of the calling thread.
///
/// # Errors
/// What socket(2), sendto(2) and recvfrom(2) say. The kernel answers at once, so that nothing is waited for.
pub fn names() -> io::Result<BTreeMap<u32, Vec<u8>>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.send_to(&request(), &SocketAddr::new(0, 0), 0)?;
    let mut names = BTreeMap::new();
    let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
    loop {
        buffer.clear();
        let (_, sender) = socket.recv_from(&mut buffer, libc::MSG_DONTWAIT)?;
        if sender.port_number() == 0 && read(&buffer, &mut names)? {
            return Ok(names);
        }
    }
}

fn request() -> Vec<u8> {
    let length = u32::try_from(16 + LINK_HEADER).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(RTM_GETLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message.resize(16 + LINK_HEADER, 0);
    message
}

/// Takes the devices of one datagram; true if it was the last.
fn read(datagram: &[u8], names: &mut BTreeMap<u32, Vec<u8>>) -> io::Result<bool> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a message that does not fit");
    for reply in Replies(datagram) {
        let reply = reply.map_err(|()| damaged())?;
        match reply.kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return Err(io::Error::other("the kernel refused to list its devices")),
            RTM_NEWLINK => {
                let index = reply.payload.get(INDEX).and_then(<[u8]>::first_chunk).ok_or_else(damaged)?;
                let attributes = reply.payload.get(LINK_HEADER..).ok_or_else(damaged)?;
                if let Some(name) = find(attributes, IFLA_IFNAME) {
                    let name = name.strip_suffix(b"\0").unwrap_or(name).to_vec();
                    names.insert(u32::from_ne_bytes(*index), name);
                }
            }
            _ => {}
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_has_its_name() {
        let names = names().expect("devices");
        assert_eq!(names.get(&1).map(Vec::as_slice), Some(&b"lo"[..]));
    }

    #[test]
    fn answers_of_any_bytes_are_safe() {
        for length in 0..80 {
            for byte in [0, 1, 2, 3, 16, 255] {
                let _ = read(&vec![byte; length], &mut BTreeMap::new());
            }
        }
    }
}
