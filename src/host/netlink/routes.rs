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

use super::rtnetlink::{NETLINK_HEADER, exchange, finish, push_attribute};
use crate::domain::rules::kernel::attributes::find;

/// The destinations, each a single address.
pub const HEALTH_PROBE: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 7, 127)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd16, 0x9254, 0x7127, 0x1337, 0xffff, 0xffff, 0xffff, 0xffff)),
];

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
/// The loopback device's number in every network namespace. *Source*: `LOOPBACK_IFINDEX` in `include/net/flow.h`.
const LOOPBACK: u32 = 1;
/// `struct rtmsg`.
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
