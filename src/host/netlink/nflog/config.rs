//! Takes an NFLOG group: one request, and its answer.
//! Binds no protocol family (`PF_BIND`): that would divert log lines of others, and no rule needs it.
//!
//! *Source*: `enum nfulnl_msg_types`, `nfulnl_attr_config` in `linux/netfilter/nfnetlink_log.h`.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;

use super::error::NflogError;
use super::options::NflogOptions;
use super::socket::{receive, wait};
use crate::host::netlink::nfnetlink::message::{Replies, Request};

const MSG_CONFIG: u16 = 4 << 8 | 1;
const CFG_CMD: u16 = 1;
const CFG_MODE: u16 = 2;
const CFG_NLBUFSIZ: u16 = 3;
const CFG_TIMEOUT: u16 = 4;
const CFG_QTHRESH: u16 = 5;
const CFG_FLAGS: u16 = 6;
const CMD_BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const F_SEQ: u16 = 1;
/// With what the kernel adds it fills what it allocates at once: 32 KiB.
const MESSAGE_BYTES: u32 = 30 << 10;

const NLMSG_ERROR: u16 = 2;
const ANSWER: Duration = Duration::from_secs(2);
/// Each line: group, the reader's netlink port, and counters. *Source*: `seq_show` in `net/netfilter/nfnetlink_log.c`.
const TAKEN: &str = "/proc/thread-self/net/netfilter/nfnetlink_log";

/// Takes a group. Packets that arrive meanwhile are not kept: they are missing before the first that is read.
///
/// # Errors
/// If the kernel refuses it or does not answer.
pub(super) fn take(
    socket: &Socket,
    buffer: &mut Vec<u8>,
    group: u16,
    options: NflogOptions,
) -> Result<(), NflogError> {
    let bind = |source| NflogError::Bind { group, source };
    let [r0, r1, r2, r3] = options.copy_bytes.to_be_bytes();
    let hundredths = u32::try_from(options.delay.as_millis() / 10).unwrap_or(u32::MAX);
    let mut request = Request::default();
    request
        .begin(MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, 0, group)
        .value(CFG_CMD, [CMD_BIND])
        .value(CFG_MODE, [r0, r1, r2, r3, COPY_PACKET, 0])
        .value(CFG_NLBUFSIZ, MESSAGE_BYTES.to_be_bytes())
        .value(CFG_TIMEOUT, hundredths.to_be_bytes())
        .value(CFG_QTHRESH, options.queue.to_be_bytes())
        .value(CFG_FLAGS, F_SEQ.to_be_bytes());
    let sequence = u32::from(group) + 1;
    socket.send_to(request.finish(sequence), &SocketAddr::new(0, 0), 0).map_err(bind)?;
    match answer(socket, buffer, sequence).map_err(bind)? {
        0 => Ok(()),
        code => Err(refusal(group, code)),
    }
}

/// The error number in the answer; 0 if there was none.
fn answer(socket: &Socket, buffer: &mut Vec<u8>, sequence: u32) -> io::Result<i32> {
    let deadline = Instant::now() + ANSWER;
    loop {
        match receive(socket, buffer) {
            Ok(()) => {
                let mut replies = Replies(buffer).flatten();
                let answer = replies.find(|reply| reply.kind == NLMSG_ERROR && reply.sequence == sequence);
                if let Some(code) = answer.and_then(|answer| answer.payload.first_chunk()) {
                    return Ok(i32::from_ne_bytes(*code).saturating_neg());
                }
            }
            Err(Errno::AGAIN) => {
                if !wait(socket, deadline)? {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(Errno::INTR | Errno::NOBUFS) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The kernel says EPERM for a group that another program reads, and for want of a capability.
fn refusal(group: u16, code: i32) -> NflogError {
    let source = io::Error::from_raw_os_error(code);
    match code {
        libc::EPERM | libc::EBUSY => {
            match fs::read_to_string(TAKEN).ok().and_then(|text| reader(&text, group)) {
                Some(port) => NflogError::Taken { group, port },
                None if code == libc::EPERM => NflogError::PermissionDenied { group },
                None => NflogError::Bind { group, source },
            }
        }
        libc::EINVAL => NflogError::Absent,
        _ => NflogError::Bind { group, source },
    }
}

/// The netlink port of the program that reads the group.
fn reader(text: &str, group: u16) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_this = words.next()?.parse() == Ok(group);
        words.next()?.parse().ok().filter(|_| is_this)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_who_reads_a_group() {
        let text = "    5   4711     0 2    128     10  1\n  100  17     0 2 65535    100  1\n";
        assert_eq!(reader(text, 100), Some(17));
        assert_eq!(reader(text, 5), Some(4711));
        assert_eq!(reader(text, 4), None);
        assert_eq!(reader("x\n5", 5), None);
    }
}
