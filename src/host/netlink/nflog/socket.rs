//! One datagram at a time from the kernel.
//! Understands none.

use std::time::Instant;

use netlink_sys::Socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Fills the buffer with one datagram from the kernel; `AGAIN` if there is none.
pub(super) fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> Result<(), Errno> {
    loop {
        buffer.clear();
        match socket.recv_from(buffer, libc::MSG_DONTWAIT) {
            Ok((_, sender)) if sender.port_number() == 0 => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
}

/// Waits for a datagram; false at the deadline.
pub(super) fn wait(socket: &Socket, deadline: Instant) -> Result<bool, Errno> {
    let left = deadline.saturating_duration_since(Instant::now());
    let Some(timeout) = Timespec::try_from(left).ok().filter(|_| !left.is_zero()) else { return Ok(false) };
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error),
    }
}
