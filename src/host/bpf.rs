//! BPF programs that are loaded: which they are, and whether one is at a netfilter hook.
//! Loads, attaches and changes nothing. Needs CAP_SYS_ADMIN.
//!
//! *Source*: bpf(2); `struct bpf_prog_info`, `struct bpf_link_info` and `enum bpf_link_type` in `include/uapi/linux/bpf.h`.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use crate::domain::rules::Family;
use crate::domain::rules::text::hook::Program;
use crate::host::raw::{BpfObject, bpf_info, bpf_next_link, bpf_open};

/// `struct bpf_prog_info` up to the end of `name`, and where it has what.
const PROGRAM_BYTES: usize = 80;
const PROGRAM_TAG: std::ops::Range<usize> = 8..16;
const PROGRAM_NAME: std::ops::Range<usize> = 64..80;
/// `struct bpf_link_info` up to the end of `netfilter`, and where it has what.
const LINK_BYTES: usize = 32;
const LINK_TYPE: usize = 0;
const LINK_PROGRAM: usize = 8;
const LINK_FAMILY: usize = 16;
const LINK_HOOK: usize = 20;
const LINK_PRIORITY: usize = 24;
const BPF_LINK_TYPE_NETFILTER: u32 = 10;

/// A BPF program at a netfilter hook. The kernel does not say of which network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetfilterLink {
    /// None for a number that we do not know.
    pub family: Option<Family>,
    /// The hook's number in its family.
    pub hook: u32,
    /// Lower is called earlier.
    pub priority: i32,
    /// None if it is gone.
    pub program: Option<Program>,
}

/// Which program has this number; none if it is gone.
///
/// # Errors
/// What bpf(2) says: `PermissionDenied` without CAP_SYS_ADMIN.
pub fn program(number: u32) -> io::Result<Option<Program>> {
    let mut answer = [0; PROGRAM_BYTES];
    let Some(length) = info(BpfObject::Program, number, &mut answer)? else { return Ok(None) };
    if length < PROGRAM_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel says less of a program than its header",
        ));
    }
    let tag = answer.get(PROGRAM_TAG).and_then(|tag| tag.try_into().ok()).unwrap_or_default();
    let name = answer.get(PROGRAM_NAME).unwrap_or_default();
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
    Ok(Some(Program { name, tag }))
}

/// Every BPF program at a netfilter hook of any network namespace. A kernel that cannot have one has none.
///
/// # Errors
/// What bpf(2) says: `PermissionDenied` without CAP_SYS_ADMIN; `TimedOut` after the deadline.
pub fn netfilter_links(deadline: Instant) -> io::Result<Vec<NetfilterLink>> {
    let (mut links, mut number) = (Vec::new(), 0);
    loop {
        if Instant::now() >= deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "listing BPF links did not end before the deadline",
            ));
        }
        number = match bpf_next_link(number) {
            Ok(number) => number,
            Err(error) if is_end(&error) => return Ok(links),
            Err(error) => return Err(error),
        };
        let mut answer = [0; LINK_BYTES];
        let Some(length) = info(BpfObject::Link, number, &mut answer)? else { continue };
        let word = |at: usize| {
            let bytes = answer.get(at..at + 4).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
        };
        if word(LINK_TYPE) != BPF_LINK_TYPE_NETFILTER {
            continue;
        }
        if length < LINK_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the kernel says less of a link than its header",
            ));
        }
        links.push(NetfilterLink {
            family: u8::try_from(word(LINK_FAMILY)).ok().and_then(Family::from_nfproto),
            hook: word(LINK_HOOK),
            priority: word(LINK_PRIORITY).cast_signed(),
            program: program(word(LINK_PROGRAM))?,
        });
    }
}

/// `ENOENT` ends the list; a kernel without BPF, or without links, has none.
fn is_end(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOSYS | libc::EINVAL))
}

fn info(object: BpfObject, number: u32, answer: &mut [u8]) -> io::Result<Option<usize>> {
    let opened = match bpf_open(object, number) {
        Ok(opened) => opened,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        // a link that is being made has no number yet
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return Ok(None),
        Err(error) => return Err(error),
    };
    bpf_info(opened.as_fd(), answer).map(Some)
}
