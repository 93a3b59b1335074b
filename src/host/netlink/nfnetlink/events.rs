//! Hears of changes to nf_tables: which chains and tables each transaction touched, and which process made it.
//! Hands over what each message holds ([`Message::news`]), and keeps nothing; what it cannot follow is a [`Loss`].
//!
//! Every transaction ends with `NFT_MSG_NEWGEN`, and generations are consecutive: so whoever hears all of them has heard
//! of every change since the socket was opened. Reading nf_tables sends no message; `iptables-nft -Z` does.
//!
//! *Source*: `enum nf_tables_msg_types`, `nft_gen_attributes` and the first attributes of the other messages in
//! `include/uapi/linux/netfilter/nf_tables.h`; `NFNLGRP_NFTABLES` in `nfnetlink.h`; netlink(7) for overruns.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use rustix::net::sockopt;

mod news;

use super::message::{NFGEN_HEADER, Replies, Reply};
use super::{NLMSG_OVERRUN, NfnetlinkError, refused};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::attributes::Attributes;
pub use news::{ElementsOf, Gone, Message, News, What};

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;
/// `NFNL_SUBSYS_NFTABLES`, where a message's type has it.
const NFTABLES: u16 = 10;
/// The kernel collects the messages of a transaction in datagrams of at most a page; room for sixteen.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Datagrams that one call handles, so that its caller gets a turn during a flood.
const BATCH: usize = 64;

/// What one message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact<'a> {
    /// A chain or a rule of it came, went or changed.
    Chain {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: &'a [u8],
        /// The chain's name; the new one of a chain that was renamed.
        chain: &'a [u8],
    },
    /// A table, or something in it that is no chain, came, went or changed.
    Table {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: &'a [u8],
    },
    /// A chain that others may jump to has another name: the rules that do so now read otherwise.
    Renamed,
    /// The end of a transaction: all facts since the last belong to it.
    Commit {
        /// The generation it made.
        generation: u32,
        /// The process that made it, in the initial PID namespace.
        pid: u32,
        /// That process's name, at most 15 bytes.
        name: &'a [u8],
    },
}

/// Why changes may have been missed. The socket is of no more use: open another one, then look at everything.
#[derive(Debug, thiserror::Error)]
pub enum Loss {
    /// There were more messages than the receive buffer holds.
    #[error("more changes at once than the receive buffer holds")]
    Overrun,
    /// A transaction was not heard of.
    #[error("generation {found} came after generation {last}")]
    Gap {
        /// The last generation that was heard of.
        last: u32,
        /// The one that came then.
        found: u32,
    },
    /// A message is not what the kernel's headers promise.
    #[error("a message of type {kind:#06x} was not understood")]
    Unknown {
        /// Its type.
        kind: u16,
    },
    /// The socket failed.
    #[error("receiving changes over netlink")]
    Failed(#[source] io::Error),
}

/// A subscription to the changes of one network namespace: that of the thread that opened it.
pub struct Events {
    socket: Socket,
    buffer: Vec<u8>,
    generation: Option<u32>,
}

impl Events {
    /// Subscribes. `buffer_bytes` of messages may wait to be heard; without CAP_NET_ADMIN in the initial user namespace
    /// the kernel may allow fewer.
    ///
    /// # Errors
    /// [`NfnetlinkError::Absent`] if the kernel has no netfilter netlink, [`NfnetlinkError::PermissionDenied`] without
    /// CAP_NET_ADMIN, otherwise if no socket can be had.
    pub fn open(buffer_bytes: usize) -> Result<Self, NfnetlinkError> {
        let what = "a socket for changes";
        let fail = |error| refused(what, error);
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(fail)?;
        socket.bind_auto().map_err(fail)?;
        if sockopt::set_socket_recv_buffer_size_force(&socket, buffer_bytes).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, buffer_bytes)
                .map_err(|error| fail(error.into()))?;
        }
        socket.add_membership(GROUP).map_err(fail)?;
        Ok(Self { socket, buffer: Vec::with_capacity(RECEIVE_BYTES), generation: None })
    }

    /// Hands over what was heard and the message that says it, without waiting; false when nothing more is there.
    ///
    /// # Errors
    /// [`Loss`]; what `visit` was told until then is true all the same.
    pub fn receive(&mut self, mut visit: impl FnMut(Fact<'_>, Message<'_>)) -> Result<bool, Loss> {
        for _ in 0..BATCH {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
                Ok((length, _)) if length > self.buffer.len() => return Err(Loss::Overrun),
                Ok((_, sender)) if sender.port_number() == 0 => {
                    datagram(&self.buffer, &mut self.generation, &mut visit)?;
                }
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(false),
                    Some(libc::EINTR) => {}
                    Some(libc::ENOBUFS) => return Err(Loss::Overrun),
                    _ => return Err(Loss::Failed(error)),
                },
            }
        }
        Ok(true)
    }

    /// The last generation that was heard of, if there was a transaction since the socket was opened.
    pub const fn generation(&self) -> Option<u32> {
        self.generation
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("generation", &self.generation).finish_non_exhaustive()
    }
}

fn datagram(
    bytes: &[u8],
    generation: &mut Option<u32>,
    visit: &mut impl FnMut(Fact<'_>, Message<'_>),
) -> Result<(), Loss> {
    for message in Replies(bytes) {
        let message = message.or(Err(Loss::Unknown { kind: 0 }))?;
        let fact = match message.kind {
            NLMSG_NOOP | QUOTA_IS_USED_UP if message.port == 0 => continue,
            NLMSG_OVERRUN => return Err(Loss::Overrun),
            kind => parse(message).ok_or(Loss::Unknown { kind })?,
        };
        if let Fact::Commit { generation: found, .. } = fact {
            match *generation {
                Some(last) if next(last) != found => return Err(Loss::Gap { last, found }),
                _ => *generation = Some(found),
            }
        }
        visit(fact, Message { number: message.kind & 0xff, payload: message.payload });
    }
    Ok(())
}

/// `NLMSG_NOOP`.
const NLMSG_NOOP: u16 = 1;
/// `NFT_MSG_NEWOBJ`, when nobody asked for it: packets have used up a quota. That changes no rule, belongs to no
/// transaction, and names the packet's family instead of the table's.
const QUOTA_IS_USED_UP: u16 = NFTABLES << 8 | 18;

/// No generation is 0.
const fn next(generation: u32) -> u32 {
    match generation.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

/// Looks at the first attributes only: tens of thousands of messages may come at once.
fn parse(message: Reply<'_>) -> Option<Fact<'_>> {
    let (header, attributes) = message.payload.split_first_chunk::<NFGEN_HEADER>()?;
    let [nfproto, ..] = *header;
    let attributes = Attributes::new(attributes);
    if message.kind >> 8 != NFTABLES {
        return None;
    }
    let kind = Kind::from_number(message.kind & 0xff)?;
    if kind == Kind::Generation {
        return commit(attributes);
    }
    let family = Family::from_nfproto(nfproto)?;
    // all of them begin with the name of their table
    let table = string(attributes, 1)?;
    Some(match kind {
        Kind::NewChain if is_renamed(message.flags, attributes) => Fact::Renamed,
        Kind::NewChain | Kind::OldChain => Fact::Chain { family, table, chain: string(attributes, 3)? },
        Kind::Rule => Fact::Chain { family, table, chain: string(attributes, 2)? },
        Kind::Other | Kind::Generation => Fact::Table { family, table },
    })
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NewChain,
    OldChain,
    Rule,
    Generation,
    Other,
}

impl Kind {
    /// `NFT_MSG_NEW*`, `_DEL*` and, since Linux 6.3, `_DESTROY*`.
    const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            3 => Self::NewChain,
            5 | 27 => Self::OldChain,
            6 | 8 | 28 => Self::Rule,
            15 => Self::Generation,
            0 | 2 | 9 | 11 | 12 | 14 | 18 | 20 | 22 | 24 | 26 | 29..=32 => Self::Other,
            _ => return None,
        })
    }
}

/// A chain that is neither created nor has a hook, whose policy could have changed, can only have been renamed.
fn is_renamed(flags: u16, attributes: Attributes<'_>) -> bool {
    const HOOK: u16 = 4;
    flags & (NLM_F_CREATE | NLM_F_EXCL) == 0 && value(attributes, HOOK).is_none()
}

fn commit(attributes: Attributes<'_>) -> Option<Fact<'_>> {
    let number = |kind| Some(u32::from_be_bytes(value(attributes, kind)?.try_into().ok()?));
    Some(Fact::Commit { generation: number(1)?, pid: number(2)?, name: string(attributes, 3)? })
}

fn value(mut attributes: Attributes<'_>, kind: u16) -> Option<&[u8]> {
    let found = attributes.find(|attribute| attribute.as_ref().map_or(true, |found| found.kind == kind))?;
    found.ok().map(|attribute| attribute.value)
}

fn string(attributes: Attributes<'_>, kind: u16) -> Option<&[u8]> {
    let (last, text) = value(attributes, kind)?.split_last()?;
    (*last == 0 && !text.contains(&0)).then_some(text)
}

#[cfg(test)]
mod tests;
