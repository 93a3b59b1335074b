//! Why packets cannot be read.
//! Tries nothing again.

use std::io;

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
