//! Two routes to the loopback device that let the node answer health probes, as the older system adds them.
//! The one thing here that changes the node; nothing is replaced, and nothing removed at the end.
//!
//! In iproute2's words:
//! ```text
//! 169.254.7.127 dev lo proto static scope link
//! fd16:9254:7127:1337:ffff:ffff:ffff:ffff dev lo proto static
//! ```
//! *Source*: rtnetlink(7), `include/uapi/linux/rtnetlink.h` (`struct rtmsg`, `RTA_*`); RFC 3549 section 3.1.1.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::domain::rules::kernel::attributes::find;

/// The destinations, each a single address.
pub const HEALTH_PROBE: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 7, 127)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd16, 0x9254, 0x7127, 0x1337, 0xffff, 0xffff, 0xffff, 0xffff)),
];

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLMSG_ERROR: u16 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
/// The loopback device's number in every network namespace. *Source*: `LOOPBACK_IFINDEX` in `include/net/flow.h`.
const LOOPBACK: u32 = 1;
/// `struct nlmsghdr` and `struct rtmsg`.
const NETLINK_HEADER: usize = 16;
const ROUTE_HEADER: usize = 12;

/// What was found or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The route is new.
    New,
    /// Such a route was there.
    Present,
}

/// Why a route is not there.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The process lacks CAP_NET_ADMIN.
    #[error("adding the route to {0}: permission denied, CAP_NET_ADMIN is needed")]
    PermissionDenied(IpAddr),
    /// This address family is off.
    #[error("adding the route to {0}: this node does not use its address family")]
    FamilyOff(IpAddr),
    /// There is another route to this very address, to another device; it was left alone.
    #[error("adding the route to {0}: there is another, to another device")]
    Occupied(IpAddr),
    /// The kernel refused, or the socket failed.
    #[error("adding the route to {0}")]
    Failed(IpAddr, #[source] io::Error),
}

/// Adds the route to `destination` in the network namespace of the calling thread, unless it is there.
///
/// # Errors
/// See [`RouteError`].
pub fn add(destination: IpAddr) -> Result<Added, RouteError> {
    match exchange(&new_route(destination)) {
        Ok(_) => Ok(Added::New),
        Err(error) => match error.raw_os_error() {
            Some(libc::EEXIST) => is_to_loopback(destination),
            Some(libc::EPERM) => Err(RouteError::PermissionDenied(destination)),
            // IPv6 says EACCES or EINVAL where sysctl disables it on the device, EOPNOTSUPP or EAFNOSUPPORT without the module
            Some(libc::EACCES | libc::EINVAL | libc::EOPNOTSUPP | libc::EAFNOSUPPORT)
                if destination.is_ipv6() =>
            {
                Err(RouteError::FamilyOff(destination))
            }
            _ => Err(RouteError::Failed(destination, error)),
        },
    }
}

fn is_to_loopback(destination: IpAddr) -> Result<Added, RouteError> {
    let reply = exchange(&get_route(destination)).map_err(|error| RouteError::Failed(destination, error))?;
    let attributes = reply.get(NETLINK_HEADER + ROUTE_HEADER..).unwrap_or_default();
    match find(attributes, RTA_OIF) {
        Some(device) if device == LOOPBACK.to_ne_bytes() => Ok(Added::Present),
        _ => Err(RouteError::Occupied(destination)),
    }
}

fn new_route(destination: IpAddr) -> Vec<u8> {
    let scope = if destination.is_ipv4() { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
    let header = [0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST];
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let mut message = start(RTM_NEWROUTE, flags, destination, header);
    push_attribute(&mut message, RTA_OIF, &LOOPBACK.to_ne_bytes());
    finish(message)
}

fn get_route(destination: IpAddr) -> Vec<u8> {
    finish(start(RTM_GETROUTE, NLM_F_REQUEST, destination, [0; 5]))
}

/// A message up to the attribute of its destination. `header` is the rest of `struct rtmsg` before its flags: tos, table,
/// protocol, scope, type.
fn start(kind: u16, flags: u16, destination: IpAddr, header: [u8; 5]) -> Vec<u8> {
    let (family, bytes) = match destination {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let bits = u8::try_from(bytes.len() * 8).unwrap_or(u8::MAX);
    let mut message = vec![0; 4];
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[u8::try_from(family).unwrap_or_default(), bits, 0]);
    message.extend_from_slice(&header);
    message.extend_from_slice(&[0; 4]);
    push_attribute(&mut message, RTA_DST, &bytes);
    message
}

/// The values here are multiples of four bytes, so no padding is needed.
fn push_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
}

fn finish(mut message: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    if let Some(field) = message.first_chunk_mut::<4>() {
        *field = length.to_ne_bytes();
    }
    message
}

/// Sends a request and returns the answer. rtnetlink works while the request is sent, so the answer is there at once.
fn exchange(message: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.send_to(message, &SocketAddr::new(0, 0), 0)?;
    let mut reply = Vec::with_capacity(8192);
    loop {
        reply.clear();
        let (_, sender) = socket.recv_from(&mut reply, libc::MSG_DONTWAIT)?;
        if sender.port_number() == 0 {
            return check(reply);
        }
    }
}

/// An answer of type `NLMSG_ERROR` holds an error number, which is 0 for success.
fn check(reply: Vec<u8>) -> io::Result<Vec<u8>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "an answer that is too short");
    let kind = reply.get(4..6).and_then(<[u8]>::first_chunk).ok_or_else(damaged)?;
    if u16::from_ne_bytes(*kind) != NLMSG_ERROR {
        return Ok(reply);
    }
    let code = reply.get(NETLINK_HEADER..).and_then(<[u8]>::first_chunk).ok_or_else(damaged)?;
    match i32::from_ne_bytes(*code) {
        0 => Ok(reply),
        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_any_bytes_are_safe() {
        for length in 0..64 {
            for byte in [0, 1, 2, 4, 255] {
                let bytes = vec![byte; length];
                let _ = find(&bytes, RTA_OIF);
                let _ = check(bytes);
            }
        }
    }

    #[test]
    fn attributes_are_found_behind_others() {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, RTA_DST, &[169, 254, 7, 127]);
        push_attribute(&mut bytes, RTA_OIF, &LOOPBACK.to_ne_bytes());
        assert_eq!(find(&bytes, RTA_OIF), Some(&LOOPBACK.to_ne_bytes()[..]));
        assert_eq!(find(&bytes, 9), None);
    }
}
