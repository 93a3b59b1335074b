//! The kernel's own view of the legacy (x_tables) tables: which exist, and how many entries they hold.
//! Asks only for tables that are listed, because asking for another one creates it.
//!
//! *Source*: `include/uapi/linux/netfilter_ipv4/ip_tables.h` and `netfilter_ipv6/ip6_tables.h`
//! (`IPT_SO_GET_INFO`, `IPT_SO_GET_ENTRIES`, `struct ipt_getinfo`, `struct ipt_entry`).

pub mod ipset;
pub mod lock;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::process::procfs;
use super::raw;
use crate::domain::rules::Family;

/// `IPT_BASE_CTL` and `IP6T_BASE_CTL`, which are also `*_SO_GET_INFO`; `*_SO_GET_ENTRIES` is the next.
const IPT_BASE_CTL: i32 = 64;
/// The same of arptables.
const ARPT_BASE_CTL: i32 = 96;
/// `XT_TABLE_MAXNAMELEN`.
const NAME_BYTES: usize = 32;
/// `NF_INET_NUMHOOKS`.
const INET_HOOKS: usize = 5;
/// `NF_ARP_NUMHOOKS`.
const ARP_HOOKS: usize = 3;
/// `struct ipt_get_entries`: name, size (and padding to 8 bytes).
const ENTRIES_HEAD_BYTES: usize = NAME_BYTES + 8;

/// Sizes of one loaded table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Bit `1 << hook` for each hook the table has a chain on.
    pub valid_hooks: u32,
    /// Offset of the first entry of each hook's chain, in bytes; 0 for hooks that the family has not.
    pub hook_entry: [u32; INET_HOOKS],
    /// Offset of the entry with each hook's policy, in bytes.
    pub underflow: [u32; INET_HOOKS],
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

/// A table's entries, behind the head of the kernel's answer. They are large, and not copied.
#[derive(Debug)]
pub struct Entries(Vec<u8>);

impl Entries {
    /// The entries.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.get(ENTRIES_HEAD_BYTES..).unwrap_or_default()
    }
}

/// A socket for questions about a family's tables.
#[derive(Debug)]
pub struct Xtables {
    socket: OwnedFd,
    level: i32,
    /// The option that asks for a table's sizes.
    get_info: i32,
    hooks: usize,
}

impl Xtables {
    /// Opens the socket of [`Family::Ip`], [`Family::Ip6`] or [`Family::Arp`].
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn open(family: Family) -> io::Result<Self> {
        let (domain, level, get_info, hooks) = match family {
            Family::Ip6 => (AddressFamily::INET6, libc::IPPROTO_IPV6, IPT_BASE_CTL, INET_HOOKS),
            Family::Arp => (AddressFamily::INET, libc::IPPROTO_IP, ARPT_BASE_CTL, ARP_HOOKS),
            _ => (AddressFamily::INET, libc::IPPROTO_IP, IPT_BASE_CTL, INET_HOOKS),
        };
        let socket = socket_with(domain, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, level, get_info, hooks })
    }

    /// Asks for the sizes of a table that [`loaded_tables`] lists. Needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// What getsockopt(2) says; `InvalidData` for an answer of another size.
    pub fn info(&self, table: &str) -> io::Result<Info> {
        // `struct ipt_getinfo`: name, valid_hooks, hook_entry and underflow of each hook, num_entries, size
        let mut answer = request(table, NAME_BYTES + 4 * (2 * self.hooks + 3))?;
        self.get(self.get_info, &mut answer)?;
        let word = |index: usize| {
            let at = NAME_BYTES + 4 * index;
            answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
        };
        let of_hooks =
            |first: usize| std::array::from_fn(|hook| if hook < self.hooks { word(first + hook) } else { 0 });
        Ok(Info {
            valid_hooks: word(0),
            hook_entry: of_hooks(1),
            underflow: of_hooks(1 + self.hooks),
            num_entries: word(1 + 2 * self.hooks),
            size: word(2 + 2 * self.hooks),
        })
    }

    /// The table's entries as the kernel holds them: `size` bytes of `struct ipt_entry` and what follows each.
    ///
    /// # Errors
    /// `WouldBlock` when the table changed since `info`; else what getsockopt(2) says.
    pub fn entries(&self, table: &str, info: &Info) -> io::Result<Entries> {
        let mut answer = request(table, ENTRIES_HEAD_BYTES)?;
        // filled with ones, so that the pages are there: the kernel lets nobody else ask about tables while it copies
        answer.resize(ENTRIES_HEAD_BYTES + info.size as usize, 0xff);
        if let Some(size) = answer.get_mut(NAME_BYTES..NAME_BYTES + 4) {
            size.copy_from_slice(&info.size.to_ne_bytes());
        }
        self.get(self.get_info + 1, &mut answer)?;
        Ok(Entries(answer))
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
