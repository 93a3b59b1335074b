//! The kernel's own view of the legacy (x_tables) tables: which exist, and how many entries they hold.
//! Asks only for tables that are listed, because asking for another one creates it.
//!
//! *Source*: `include/uapi/linux/netfilter_ipv4/ip_tables.h` and `netfilter_ipv6/ip6_tables.h`
//! (`IPT_SO_GET_INFO`, `IPT_SO_GET_ENTRIES`, `struct ipt_getinfo`, `struct ipt_entry`).

pub mod lock;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto, socket_with};

use super::process::procfs;
use super::raw;
use crate::domain::rules::Family;

/// `IPT_BASE_CTL` and `IP6T_BASE_CTL`, which are also `*_SO_GET_INFO`.
const SO_GET_INFO: i32 = 64;
/// `IPT_SO_GET_ENTRIES` and `IP6T_SO_GET_ENTRIES`.
const SO_GET_ENTRIES: i32 = 65;
/// `XT_TABLE_MAXNAMELEN`.
const NAME_BYTES: usize = 32;
/// `struct ipt_getinfo`: name, valid_hooks, five hook_entry, five underflow, num_entries, size.
const INFO_BYTES: usize = NAME_BYTES + 4 * 13;
/// `struct ipt_get_entries`: name, size (and padding to 8 bytes).
const ENTRIES_HEAD_BYTES: usize = NAME_BYTES + 8;

/// Sizes of one loaded table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Bit `1 << hook` for each hook the table has a chain on.
    pub valid_hooks: u32,
    /// Offset of the first entry of each hook's chain, in bytes.
    pub hook_entry: [u32; 5],
    /// Offset of the entry with each hook's policy, in bytes.
    pub underflow: [u32; 5],
    /// Rules, one policy for each built-in chain, head and tail of each user chain, and the end marker.
    pub num_entries: u32,
    /// All entries, in bytes.
    pub size: u32,
}

/// The legacy tables that are loaded in this network namespace.
///
/// An absent list means that the kernel has no legacy tables, as long as it is procfs in which it is absent.
///
/// # Errors
/// See [`procfs::read`].
pub fn loaded_tables(family: Family) -> io::Result<Vec<String>> {
    let file = match family {
        Family::Ip6 => "ip6_tables_names",
        Family::Arp => "arp_tables_names",
        _ => "ip_tables_names",
    };
    // thread-self, not self: a test reads from a thread that is in another namespace
    let text = procfs::read("/proc/thread-self/net", file)?.unwrap_or_default();
    Ok(text.lines().map(str::to_owned).collect())
}

/// The kernel modules of ebtables-legacy that are loaded: its tables have no list to look at. A kernel without modules
/// has no list of them.
///
/// # Errors
/// See [`procfs::read`].
pub fn loaded_ebtables() -> io::Result<Vec<String>> {
    let modules = procfs::read("/proc", "modules")?.unwrap_or_default();
    let names = modules.lines().filter_map(|line| line.split(' ').next());
    Ok(names.filter(|name| name.starts_with("ebtable_")).map(str::to_owned).collect())
}

/// A raw socket, which the kernel wants for questions about a family's tables.
#[derive(Debug)]
pub struct Xtables {
    socket: OwnedFd,
    level: i32,
}

impl Xtables {
    /// Opens the socket of [`Family::Ip`] or [`Family::Ip6`]. Needs `CAP_NET_RAW`.
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn open(family: Family) -> io::Result<Self> {
        let (domain, level) = match family {
            Family::Ip6 => (AddressFamily::INET6, libc::IPPROTO_IPV6),
            _ => (AddressFamily::INET, libc::IPPROTO_IP),
        };
        let protocol: Protocol = ipproto::RAW;
        let socket = socket_with(domain, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
        Ok(Self { socket, level })
    }

    /// Asks for the sizes of a table that [`loaded_tables`] lists. Needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// What getsockopt(2) says; `InvalidData` for an answer of another size.
    pub fn info(&self, table: &str) -> io::Result<Info> {
        let mut answer = request(table, INFO_BYTES)?;
        self.get(SO_GET_INFO, &mut answer)?;
        let word = |index: usize| {
            let at = NAME_BYTES + 4 * index;
            answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
        };
        Ok(Info {
            valid_hooks: word(0),
            hook_entry: [word(1), word(2), word(3), word(4), word(5)],
            underflow: [word(6), word(7), word(8), word(9), word(10)],
            num_entries: word(11),
            size: word(12),
        })
    }

    /// The table's entries as the kernel holds them: `size` bytes of `struct ipt_entry` and what follows each.
    ///
    /// # Errors
    /// `WouldBlock` when the table changed since `info`; else what getsockopt(2) says.
    pub fn entries(&self, table: &str, info: &Info) -> io::Result<Vec<u8>> {
        let mut answer = request(table, ENTRIES_HEAD_BYTES)?;
        // filled with ones, so that the pages are there: the kernel lets nobody else ask about tables while it copies
        answer.resize(ENTRIES_HEAD_BYTES + info.size as usize, 0xff);
        if let Some(size) = answer.get_mut(NAME_BYTES..NAME_BYTES + 4) {
            size.copy_from_slice(&info.size.to_ne_bytes());
        }
        self.get(SO_GET_ENTRIES, &mut answer)?;
        answer.drain(..ENTRIES_HEAD_BYTES);
        Ok(answer)
    }

    fn get(&self, option: i32, answer: &mut [u8]) -> io::Result<()> {
        let length = raw::getsockopt(self.socket.as_fd(), self.level, option, answer)?;
        if length != answer.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer has another size"));
        }
        Ok(())
    }
}

fn request(table: &str, bytes: usize) -> io::Result<Vec<u8>> {
    if table.len() >= NAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the table's name is too long"));
    }
    let mut request = vec![0; bytes];
    request.get_mut(..table.len()).unwrap_or_default().copy_from_slice(table.as_bytes());
    Ok(request)
}
