//! System calls that no safe crate offers: the only `unsafe` of the program.
//! Knows no option and no answer.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::thread::UnshareFlags;

/// Asks a socket for an option. `answer` holds the question first, where the option has one, and then what the kernel
/// says; returns how many bytes that are.
///
/// # Errors
/// What getsockopt(2) says; `InvalidInput` for a buffer that is longer than it can be told.
pub fn getsockopt(socket: BorrowedFd<'_>, level: i32, option: i32, answer: &mut [u8]) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel writes at most `length` bytes to `answer`, which is that long and lives on.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, answer.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(length as usize)
}

/// Moves the calling thread into new namespaces of these kinds; other flags are passed over.
///
/// # Errors
/// What unshare(2) says.
pub fn unshare(namespaces: UnshareFlags) -> io::Result<()> {
    let known = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUSER;
    // SAFETY: only CLONE_FILES takes file descriptors away from a thread, and it is not passed on.
    unsafe { rustix::thread::unshare_unsafe(namespaces & known) }?;
    Ok(())
}
