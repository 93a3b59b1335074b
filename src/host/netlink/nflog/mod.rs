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
mod error;
mod options;
mod packet;
mod socket;

use std::time::{Instant, SystemTime};

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use super::nfnetlink::message::Replies;
use devices::Devices;
pub use error::NflogError;
pub use options::NflogOptions;
pub use packet::NflogPacket;
use socket::{receive, wait};

/// Datagrams that one call of [`Nflog::read`] takes at most: some thousand packets.
const DATAGRAMS: usize = 64;
const RECEIVE_BYTES: usize = 128 << 10;

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
