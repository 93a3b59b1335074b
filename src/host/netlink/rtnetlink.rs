//! Messages to rtnetlink and its answers, for what adds something to a network namespace.
//! Adds nothing itself.
//!
//! *Source*: RFC 3549; `include/uapi/linux/netlink.h`, `rtnetlink.h`.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// `struct nlmsghdr`.
pub const NETLINK_HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
/// `NLMSG_ALIGNTO`, `RTA_ALIGNTO`.
const ALIGNMENT: usize = 4;

/// Adds an attribute, padded.
pub fn push_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(ALIGNMENT), 0);
}

/// Writes a message's length into its first four bytes.
pub fn finish(mut message: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    if let Some(field) = message.first_chunk_mut::<4>() {
        *field = length.to_ne_bytes();
    }
    message
}

/// Sends a request and returns the answer. rtnetlink works while the request is sent, so the answer is there at once.
///
/// # Errors
/// What the kernel answers, and what the socket says.
pub fn exchange(message: &[u8]) -> io::Result<Vec<u8>> {
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
    use crate::domain::rules::kernel::attributes::find;

    const FIRST: u16 = 1;
    const SECOND: u16 = 4;

    #[test]
    fn answers_of_any_bytes_are_safe() {
        for length in 0..64 {
            for byte in [0, 1, 2, 4, 255] {
                let bytes = vec![byte; length];
                let _ = find(&bytes, SECOND);
                let _ = check(bytes);
            }
        }
    }

    #[test]
    fn attributes_are_found_behind_others() {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, FIRST, b"dummy");
        push_attribute(&mut bytes, SECOND, &1u32.to_ne_bytes());
        assert_eq!(find(&bytes, SECOND), Some(&1u32.to_ne_bytes()[..]));
        assert_eq!(find(&bytes, 9), None);
    }
}
