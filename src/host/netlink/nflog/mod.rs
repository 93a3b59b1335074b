//! Reads the packets that NFLOG rules (`-j NFLOG --nflog-group 5`, `log group 5`) hand to this network namespace.
//! Understands their headers no more than it must, and changes nothing that other programs see but for taking the group.
//!
//! The kernel numbers the packets of a group: what did not arrive is known exactly, once a later one does.
//! The socket's buffer is the queue; it is bounded, and what it refuses is among the lost.
//!
//! *Source*: `include/uapi/linux/netfilter/nfnetlink_log.h`; `nfulnl_recv_config` and `nfulnl_log_packet` in
//! `net/netfilter/nfnetlink_log.c`.

mod config;
mod devices;
mod packet;

use std::io;
use std::time::{Duration, Instant, SystemTime};

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use super::nfnetlink::message::Replies;
use devices::Devices;
pub use packet::NflogPacket;

/// Datagrams that one call of [`Nflog::read`] takes at most: some thousand packets.
const DATAGRAMS: usize = 64;
const RECEIVE_BYTES: usize = 128 << 10;

/// How the kernel is to hand packets over.
#[derive(Clone, Copy, Debug)]
pub struct NflogOptions {
    /// Bytes of each packet that are copied; enough for the headers.
    pub copy_bytes: u32,
    /// The kernel collects this many packets ...
    pub queue: u32,
    /// ... or as many as come within this time, in steps of 10 ms, before it hands them over.
    pub delay: Duration,
    /// What the socket can hold, by the kernel's reckoning.
    pub receive_bytes: usize,
}

impl Default for NflogOptions {
    fn default() -> Self {
        Self { copy_bytes: 128, queue: 64, delay: Duration::from_millis(100), receive_bytes: 8 << 20 }
    }
}

/// What one call of [`Nflog::read`] brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Packets that were handed over.
    pub packets: u64,
    /// Packets that are missing before or among them.
    pub lost: u64,
    /// How often the socket's buffer was full; the packets lost thereby are counted when the next arrives.
    pub overruns: u64,
    /// Messages that do not follow the format.
    pub malformed: u64,
}

/// Why packets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NflogError {
    /// The process lacks CAP_NET_ADMIN in the network namespace's user namespace.
    #[error("NFLOG group {group}: permission denied, CAP_NET_ADMIN is needed")]
    PermissionDenied {
        /// The group.
        group: u16,
    },
    /// Another program reads this group; only one can.
    #[error(
        "NFLOG group {group} is read by another program (netlink port {port}, as a rule its process id): take another group"
    )]
    Taken {
        /// The group.
        group: u16,
        /// That program's netlink port.
        port: u32,
    },
    /// The kernel has no nfnetlink_log.
    #[error("the kernel has no NFLOG (nfnetlink_log)")]
    Absent,
    /// No socket can be had.
    #[error("opening a netfilter socket")]
    Socket(#[source] io::Error),
    /// The kernel refuses the group.
    #[error("taking NFLOG group {group}")]
    Bind {
        /// The group.
        group: u16,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The socket failed.
    #[error("reading NFLOG packets")]
    Read(#[source] io::Error),
}

/// Some groups of this network namespace, taken until this value is dropped.
pub struct Nflog {
    socket: Socket,
    buffer: Vec<u8>,
    groups: Vec<Group>,
    devices: Devices,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    number: u16,
    /// The number of its next packet.
    expected: u32,
}

impl Group {
    /// Notes a packet, and says how many are missing before it.
    fn note(&mut self, sequence: u32) -> u64 {
        let missing = sequence.wrapping_sub(self.expected);
        self.expected = sequence.wrapping_add(1);
        u64::from(missing)
    }
}

impl Nflog {
    /// Takes these groups of the calling thread's network namespace.
    ///
    /// # Errors
    /// If one of them cannot be had: then none is taken.
    pub fn open(groups: &[u16], options: NflogOptions) -> Result<Self, NflogError> {
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(NflogError::Socket)?;
        socket.bind_auto().map_err(NflogError::Socket)?;
        set_socket_recv_buffer_size_force(&socket, options.receive_bytes)
            .or_else(|_| set_socket_recv_buffer_size(&socket, options.receive_bytes))
            .map_err(|error| NflogError::Socket(error.into()))?;
        let mut numbers = groups.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
        for &number in &numbers {
            config::take(&socket, &mut buffer, number, options)?;
        }
        let groups = numbers.into_iter().map(|number| Group { number, expected: 0 }).collect();
        Ok(Self { socket, buffer, groups, devices: Devices::default() })
    }

    /// Waits until `deadline` for packets, and hands those that are there to `visit`.
    ///
    /// # Errors
    /// If the socket fails. A full buffer is no error: it is counted.
    pub fn read(
        &mut self,
        deadline: Instant,
        visit: &mut impl FnMut(NflogPacket<'_>),
    ) -> Result<Received, NflogError> {
        let mut received = Received::default();
        let mut datagrams = 0;
        while datagrams < DATAGRAMS {
            match receive(&self.socket, &mut self.buffer) {
                Ok(()) => {
                    datagrams += 1;
                    self.take(&mut received, visit);
                }
                Err(Errno::AGAIN) if received != Received::default() => break,
                Err(Errno::AGAIN) => {
                    if !wait(&self.socket, deadline).map_err(|error| NflogError::Read(error.into()))? {
                        break;
                    }
                }
                Err(Errno::NOBUFS) => received.overruns += 1,
                Err(Errno::INTR) => {}
                Err(error) => return Err(NflogError::Read(error.into())),
            }
        }
        Ok(received)
    }

    /// Takes the messages of the datagram in the buffer apart.
    fn take(&mut self, received: &mut Received, visit: &mut impl FnMut(NflogPacket<'_>)) {
        let now = SystemTime::now();
        for reply in Replies(&self.buffer) {
            let Ok(reply) = reply else {
                received.malformed += 1;
                continue;
            };
            if reply.kind != packet::MESSAGE {
                continue;
            }
            let Some(packet) = packet::decode(reply.payload, now, &mut self.devices, &self.socket) else {
                received.malformed += 1;
                continue;
            };
            if let Some(group) = self.groups.iter_mut().find(|group| group.number == packet.group) {
                received.lost += group.note(packet.sequence);
            }
            received.packets += 1;
            visit(packet);
        }
    }
}

impl std::fmt::Debug for Nflog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nflog").field("groups", &self.groups).finish_non_exhaustive()
    }
}

/// Fills the buffer with one datagram from the kernel; `AGAIN` if there is none.
fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> Result<(), Errno> {
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
fn wait(socket: &Socket, deadline: Instant) -> Result<bool, Errno> {
    let left = deadline.saturating_duration_since(Instant::now());
    let Some(timeout) = Timespec::try_from(left).ok().filter(|_| !left.is_zero()) else { return Ok(false) };
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_say_how_many_are_missing() {
        let mut group = Group { number: 5, expected: 0 };
        for (sequence, missing) in
            [(0, 0), (1, 0), (4, 2), (u32::MAX, u64::from(u32::MAX) - 5), (0, 0), (3, 2)]
        {
            assert_eq!(group.note(sequence), missing, "{sequence}");
        }
    }
}
