//! Reads nf_tables over netlink: the generation, tables, chains, rules, sets, objects and flowtables of this
//! network namespace, the names of its ipsets, what is called at its hooks, and its expectations. Changes nothing, and
//! understands no rule.
//!
//! Rules are read chain by chain: one dump of all rules takes time quadratic in their number.
//!
//! *Source*: `include/uapi/linux/netfilter/nf_tables.h`, `nfnetlink.h`, `ipset/ip_set.h`; RFC 3549.

pub mod events;
mod expectations;
mod hooks;
pub(super) mod message;
mod parse;

use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_DUMP_INTR, NLM_F_MULTIPART};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::domain::rules::Family;
use crate::domain::rules::kernel::objects::{Flowtable, Object};
use crate::domain::rules::kernel::sets::{Element, Set};
pub use crate::domain::rules::kernel::{Chain, Hook, Table};
use crate::host::process::procfs;
pub use expectations::{ExpectationId, has_expectations};
pub use hooks::HookList;
use message::{Get, Replies, Reply, Request};
pub use parse::{Placed, Rule};

/// The kernel puts no more than this into one message of a dump.
const RECEIVE_BYTES: usize = 32 * 1024;

/// Why nf_tables could not be read.
#[derive(Debug, thiserror::Error)]
pub enum NfnetlinkError {
    /// The process lacks CAP_NET_ADMIN in the network namespace's user namespace.
    #[error("reading {what} over netlink: permission denied, CAP_NET_ADMIN is needed")]
    PermissionDenied {
        /// What was asked for.
        what: &'static str,
    },
    /// The kernel has no nf_tables.
    #[error("the kernel has no nf_tables")]
    Absent,
    /// The kernel did not answer in time.
    #[error("reading {what} over netlink did not end before the deadline")]
    Deadline {
        /// What was asked for.
        what: &'static str,
    },
    /// The rules changed during the dump.
    #[error("reading {what} over netlink: the rule set changed meanwhile")]
    Interrupted {
        /// What was asked for.
        what: &'static str,
    },
    /// Part of an answer was lost: it did not fit the socket's or our buffer.
    #[error("reading {what} over netlink: part of the answer was lost")]
    Lost {
        /// What was asked for.
        what: &'static str,
    },
    /// An answer is not what the kernel's headers promise.
    #[error("reading {what} over netlink: unexpected answer: {detail}")]
    Unexpected {
        /// What was asked for.
        what: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The kernel refused the request, or the socket failed.
    #[error("reading {what} over netlink")]
    Failed {
        /// What was asked for.
        what: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

/// A connection to nf_tables that answers one request at a time.
pub struct Nfnetlink {
    socket: Socket,
    port: u32,
    deadline: Instant,
    sequence: u32,
    request: Request,
    buffer: Vec<u8>,
    /// Whether a dump goes on though the rules change meanwhile, and whether they did.
    tolerates_changes: bool,
    is_interrupted: bool,
}

impl Nfnetlink {
    /// Connects to the nf_tables of the calling thread's network namespace; nothing is read after `deadline`.
    ///
    /// # Errors
    /// [`NfnetlinkError::Absent`] if the kernel has no netfilter netlink, otherwise if no socket can be had.
    pub fn open(deadline: Instant) -> Result<Self, NfnetlinkError> {
        let what = "a netfilter socket";
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(|error| refused(what, error))?;
        let address = socket.bind_auto().map_err(|error| refused(what, error))?;
        Ok(Self {
            socket,
            port: address.port_number(),
            deadline,
            sequence: 0,
            request: Request::default(),
            buffer: Vec::with_capacity(RECEIVE_BYTES),
            tolerates_changes: false,
            is_interrupted: false,
        })
    }

    /// Nothing more is read after this moment.
    pub const fn allow_until(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// From now on a dump goes on though something changes meanwhile, anywhere: [`Self::was_interrupted`] tells.
    pub const fn tolerate_changes(&mut self) {
        self.tolerates_changes = true;
    }

    /// Whether something changed during a dump since this was asked last.
    pub const fn was_interrupted(&mut self) -> bool {
        std::mem::replace(&mut self.is_interrupted, false)
    }

    /// The number of the rule set's last change.
    ///
    /// # Errors
    /// As for every reading function: see [`NfnetlinkError`].
    pub fn generation(&mut self) -> Result<u32, NfnetlinkError> {
        let mut generation = None;
        self.request.start(Get::Generation, 0);
        self.exchange(Get::Generation, "the generation", |reply| {
            generation = Some(parse::generation(reply)?);
            Ok(())
        })?;
        generation.ok_or(NfnetlinkError::Unexpected { what: "the generation", detail: "no answer" })
    }

    /// Every table of every family.
    ///
    /// # Errors
    /// See [`NfnetlinkError`].
    pub fn tables(&mut self) -> Result<Vec<Table>, NfnetlinkError> {
        self.request.start(Get::Table, 0);
        self.collect(Get::Table, "tables", parse::table)
    }

    /// Every chain of one family, or of all.
    ///
    /// # Errors
    /// See [`NfnetlinkError`].
    pub fn chains(&mut self, family: Option<Family>) -> Result<Vec<Chain>, NfnetlinkError> {
        self.request.start(Get::Chain, family.map_or(0, Family::nfproto));
        self.collect(Get::Chain, "chains", parse::chain)
    }

    /// Calls `visit` with the handle, user data and expressions of each rule of a chain, in order.
    ///
    /// A chain that does not exist has no rules. Nothing is allocated for a rule. The kernel hides a rule too large
    /// for a message, and those behind it: compare with the chains' counts, see [`crate::domain::rules::kernel::expressions::References`].
    ///
    /// # Errors
    /// See [`NfnetlinkError`].
    pub fn for_each_rule(
        &mut self,
        family: Family,
        table: &[u8],
        chain: &[u8],
        mut visit: impl FnMut(u64, Option<&[u8]>, &[u8]),
    ) -> Result<(), NfnetlinkError> {
        self.request.start(Get::Rule, family.nfproto()).string(1, table).string(2, chain);
        self.exchange(Get::Rule, "rules", |reply| {
            let rule = parse::rule(reply)?;
            if rule.family != family || rule.table != table || rule.chain != chain {
                return Err("a rule of another chain");
            }
            visit(rule.handle, rule.userdata, rule.expressions);
            Ok(())
        })
    }

    /// Every set and map of a table, anonymous ones too; of all tables if none is named.
    ///
    /// # Errors
    /// See [`NfnetlinkError`].
    pub fn sets(&mut self, of: Option<(Family, &[u8])>) -> Result<Vec<Placed<Set>>, NfnetlinkError> {
        self.ask(Get::Set, of);
        self.collect(Get::Set, "sets", |reply| parse::placed(reply, Set::decode))
    }

    /// Calls `visit` with every element of a set, in no order. They are read page by page, and none is kept.
    ///
    /// # Errors
    /// See [`NfnetlinkError`].
    pub fn for_each_element(
        &mut self,
        family: Family,
        table: &[u8],
        set: &[u8],
        mut visit: impl FnMut(Element),
    ) -> Result<(), NfnetlinkError> {
        self.request.start(Get::SetElement, family.nfproto()).string(1, table).string(2, set);
        self.exchange(Get::SetElement, "elements of a set", |reply| parse::elements(reply, &mut visit))
    }

    /// Every flowtable of a table; of all tables if none is named.
    ///
    /// # Errors
    /// See [`NfnetlinkError`].
    pub fn flowtables(
        &mut self,
        of: Option<(Family, &[u8])>,
    ) -> Result<Vec<Placed<Flowtable>>, NfnetlinkError> {
        self.ask(Get::Flowtable, of);
        self.collect(Get::Flowtable, "flowtables", |reply| parse::placed(reply, Flowtable::decode))
    }

    /// Every stateful object (counter, quota, limit, ...) of a table; of all tables if none is named.
    ///
    /// # Errors
    /// See [`NfnetlinkError`].
    pub fn objects(&mut self, of: Option<(Family, &[u8])>) -> Result<Vec<Placed<Object>>, NfnetlinkError> {
        self.ask(Get::Object, of);
        self.collect(Get::Object, "objects", |reply| parse::placed(reply, Object::decode))
    }

    /// Prepares a request for what is in one table, or in all.
    fn ask(&mut self, get: Get, of: Option<(Family, &[u8])>) {
        match of {
            Some((family, table)) => self.request.start(get, family.nfproto()).string(1, table),
            None => self.request.start(get, 0),
        };
    }

    /// The name of every ipset; bytes, since the kernel takes any.
    ///
    /// Only for a node with rules that use ipsets: on another, asking makes the kernel load its ipset module.
    ///
    /// # Errors
    /// See [`NfnetlinkError`].
    pub fn ipset_names(&mut self) -> Result<Vec<Vec<u8>>, NfnetlinkError> {
        const ATTR_PROTOCOL: u16 = 1;
        const ATTR_FLAGS: u16 = 6;
        const NET_BYTEORDER: u16 = 0x4000;
        const LIST_SETNAME: u32 = 2;
        // the oldest that the kernel still speaks, and it says the same of names as the newest
        const PROTOCOL_MIN: u8 = 6;
        self.request
            .start(Get::Ipset, 0)
            .value(ATTR_PROTOCOL, [PROTOCOL_MIN])
            .value(ATTR_FLAGS | NET_BYTEORDER, LIST_SETNAME.to_be_bytes());
        self.collect(Get::Ipset, "the names of ipsets", parse::ipset_name)
    }

    fn collect<T>(
        &mut self,
        get: Get,
        what: &'static str,
        parse: impl Fn(&[u8]) -> Result<T, &'static str>,
    ) -> Result<Vec<T>, NfnetlinkError> {
        let mut items = Vec::new();
        self.exchange(get, what, |reply| {
            items.push(parse(reply)?);
            Ok(())
        })?;
        Ok(items)
    }

    /// Sends the prepared request and hands every answer to `visit` until the last.
    fn exchange(
        &mut self,
        get: Get,
        what: &'static str,
        mut visit: impl FnMut(&[u8]) -> Result<(), &'static str>,
    ) -> Result<(), NfnetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = self.request.finish(self.sequence);
        self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0).map_err(|error| failure(what, error, false))?;
        loop {
            self.receive(what)?;
            for reply in Replies(&self.buffer) {
                let reply = reply
                    .or(Err(NfnetlinkError::Unexpected { what, detail: "a message that does not fit" }))?;
                if reply.sequence == self.sequence && reply.flags & NLM_F_DUMP_INTR != 0 {
                    if !self.tolerates_changes {
                        return Err(NfnetlinkError::Interrupted { what });
                    }
                    self.is_interrupted = true;
                }
                // An earlier dump that ended with an error may have left messages behind.
                if reply.sequence == self.sequence && answer(get, what, reply, &mut visit)?.is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// Fills the buffer with one datagram from the kernel.
    fn receive(&mut self, what: &'static str) -> Result<(), NfnetlinkError> {
        loop {
            if Instant::now() >= self.deadline {
                return Err(NfnetlinkError::Deadline { what });
            }
            self.buffer.clear();
            let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
            match self.socket.recv_from(&mut self.buffer, flags) {
                Ok((length, _)) if length > self.buffer.len() => return Err(NfnetlinkError::Lost { what }),
                Ok((_, sender)) if sender.port_number() == 0 => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(what)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(what, error, false)),
            }
        }
    }

    fn wait(&self, what: &'static str) -> Result<(), NfnetlinkError> {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let timeout = Timespec::try_from(left).or(Err(NfnetlinkError::Deadline { what }))?;
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(failure(what, error.into(), false)),
        }
    }
}

impl std::fmt::Debug for Nfnetlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nfnetlink")
            .field("port", &self.port)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// *Source*: `NLMSG_ERROR`, `NLMSG_DONE`, `NLMSG_OVERRUN` in `include/uapi/linux/netlink.h`.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;

/// Handles one message of the answer; breaks after the last.
fn answer(
    get: Get,
    what: &'static str,
    reply: Reply<'_>,
    visit: &mut impl FnMut(&[u8]) -> Result<(), &'static str>,
) -> Result<ControlFlow<()>, NfnetlinkError> {
    match reply.kind {
        NLMSG_DONE | NLMSG_ERROR => match errno(reply.payload) {
            // a dump ends with the one, and what was asked for with NLM_F_ACK with the other
            Some(0) => Ok(ControlFlow::Break(())),
            Some(code) if code < 0 => {
                let error = io::Error::from_raw_os_error(code.saturating_neg());
                Err(failure(what, error, get == Get::Generation))
            }
            _ => Err(NfnetlinkError::Unexpected { what, detail: "an end without a result" }),
        },
        NLMSG_OVERRUN => Err(NfnetlinkError::Lost { what }),
        kind if kind == get.reply() => {
            visit(reply.payload).map_err(|detail| NfnetlinkError::Unexpected { what, detail })?;
            let is_single = reply.flags & NLM_F_MULTIPART == 0;
            Ok(if is_single { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        }
        _ => Err(NfnetlinkError::Unexpected { what, detail: "a message of another type" }),
    }
}

fn errno(payload: &[u8]) -> Option<i32> {
    payload.first_chunk().map(|code| i32::from_ne_bytes(*code))
}

/// What it means that no socket can be had: a filter of system calls refuses with the same errors as a kernel that has no
/// netfilter netlink, but only the latter has no socket of its own for it.
fn refused(what: &'static str, source: io::Error) -> NfnetlinkError {
    let sockets = procfs::read("/proc/thread-self/net", "netlink");
    let is_absent = matches!(sockets, Ok(Some(text)) if !has_kernel_socket(&text));
    failure(what, source, is_absent)
}

/// Whether the list of netlink sockets has the kernel's own one of netfilter.
///
/// *Source*: `netlink_native_seq_show` in `net/netlink/af_netlink.c`: a head, and then `sk Eth Pid ...`; the kernel's
/// port is 0.
fn has_kernel_socket(text: &str) -> bool {
    let protocol = NETLINK_NETFILTER.to_string();
    text.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        fields.next() == Some(&protocol) && fields.next() == Some("0")
    })
}

/// `is_absent` says that these errors mean that nf_tables is not there: the kernel itself says so, and nothing worked yet. It
/// answers a request for a subsystem it does not have with EINVAL.
fn failure(what: &'static str, source: io::Error, is_absent: bool) -> NfnetlinkError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => NfnetlinkError::PermissionDenied { what },
        Some(libc::EINTR | libc::EAGAIN) => NfnetlinkError::Interrupted { what },
        Some(libc::ENOBUFS) => NfnetlinkError::Lost { what },
        Some(
            libc::EINVAL
            | libc::ENOENT
            | libc::EOPNOTSUPP
            | libc::EPROTONOSUPPORT
            | libc::EAFNOSUPPORT
            | libc::ENOPROTOOPT,
        ) if is_absent => NfnetlinkError::Absent,
        _ => NfnetlinkError::Failed { what, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n";

    #[test]
    fn the_kernel_is_asked_whether_it_has_netfilter() {
        let line =
            |protocol, port| format!("0000000000378a9a {protocol}  {port}  00000000 0  0  0  2  0  4\n");
        let list = |lines: &[String]| has_kernel_socket(&(HEAD.to_owned() + &lines.concat()));
        assert!(list(&[line(0, 0), line(12, 4711), line(12, 0)]));
        assert!(!list(&[line(0, 0), line(12, 4711), line(112, 0)]));
        assert!(!list(&[]));
    }

    #[test]
    fn a_refused_socket_is_no_absent_netfilter() {
        let error = refused("x", io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        assert!(matches!(error, NfnetlinkError::Failed { .. }), "{error:?}");
    }
}
