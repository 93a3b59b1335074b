//! System calls that no safe crate offers: the only `unsafe` of the program.
//! Knows no option and no answer.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// What bpf(2) opens by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BpfObject {
    /// A program.
    Program,
    /// What holds a program where it runs.
    Link,
}

const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;
const BPF_LINK_GET_NEXT_ID: libc::c_long = 31;

/// The number of the next link behind this one.
///
/// # Errors
/// What bpf(2) says: `ENOENT` behind the last.
pub fn bpf_next_link(after: u32) -> io::Result<u32> {
    // start_id, next_id, open_flags
    let mut attributes = [after, 0, 0];
    bpf(BPF_LINK_GET_NEXT_ID, &mut attributes)?;
    let [_, next, _] = attributes;
    Ok(next)
}

/// Opens an object by its number.
///
/// # Errors
/// What bpf(2) says: `ENOENT` if it is gone.
pub fn bpf_open(object: BpfObject, number: u32) -> io::Result<OwnedFd> {
    let command = match object {
        BpfObject::Program => BPF_PROG_GET_FD_BY_ID,
        BpfObject::Link => BPF_LINK_GET_FD_BY_ID,
    };
    let descriptor = bpf(command, &mut [number, 0, 0])?;
    let descriptor = i32::try_from(descriptor).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Asks what an object is: the kernel fills a `struct bpf_prog_info` or `bpf_link_info`, cut at the buffer's end. Returns how
/// many bytes that are.
///
/// # Errors
/// What bpf(2) says; `InvalidInput` for a buffer that is longer than it can be told.
pub fn bpf_info(object: BorrowedFd<'_>, answer: &mut [u8]) -> io::Result<usize> {
    /// `info` of the union `bpf_attr`.
    #[repr(C)]
    struct Info {
        descriptor: u32,
        length: u32,
        answer: u64,
    }
    // what is not 0 the kernel would take for the address of a buffer of ours
    answer.fill(0);
    let mut attributes = Info {
        descriptor: u32::try_from(object.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?,
        length: u32::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        answer: answer.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel reads and writes the attributes, which are as long as it is told, and at most `length` bytes of
    // `answer`, which is that long; both live on.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw mut attributes, std::mem::size_of::<Info>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer.len().min(attributes.length as usize))
}

/// A command of bpf(2) whose attributes hold no address.
fn bpf(command: libc::c_long, attributes: &mut [u32; 3]) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes at most the attributes, which are as long as it is told.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), std::mem::size_of_val(attributes))
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
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
