//! A network namespace that lives as long as one thread, in which a program finds nothing of this machine's names.
//! Knows nothing of what is done there.
//!
//! The namespaces end with the thread and the programs it started. Without privileges they belong to a user namespace,
//! which the whole process enters and never leaves: files are its own as before, and it is root over nothing else.
//!
//! *Source*: unshare(2), user_namespaces(7), mount_namespaces(7).

use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities};

use crate::host::raw;

/// Where programs look up users, services, hosts, realms and the like, and where daemons answer such questions; the
/// paths of cgroups, too.
const HIDDEN: [&str; 6] =
    ["/etc", "/run", "/sys/fs/cgroup", "/usr/etc", "/usr/share/iproute2", "/usr/lib/iproute2"];
/// The dynamic linker's list of libraries, which programs need to start.
const LINKER_CACHE: &str = "/etc/ld.so.cache";

/// Why there is no such namespace.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The kernel refused a namespace.
    #[error(
        "making a network namespace to load rules into: root can, and others where user namespaces are allowed \
         (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
    )]
    Refused(#[source] io::Error),
    /// A directory could not be hidden there.
    #[error("hiding {path} from the programs in a namespace of their own")]
    Hide {
        /// The directory, or a file that was to be put there.
        path: &'static str,
        /// What mount(2) or write(2) said.
        source: io::Error,
    },
}

impl NamespaceError {
    /// Whether a permission is missing.
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Refused(source) if matches!(source.kind(), io::ErrorKind::PermissionDenied))
    }
}

/// Does `work` on a thread of a new network namespace, where /etc holds nothing but this list of protocols.
///
/// # Errors
/// See [`NamespaceError`]; without privileges also where this process has other threads.
pub fn within<R: Send>(protocols: &str, work: impl FnOnce() -> R + Send) -> Result<R, NamespaceError> {
    if !is_privileged() {
        enter_user_namespace().map_err(NamespaceError::Refused)?;
    }
    std::thread::scope(|threads| {
        let thread = threads.spawn(|| {
            raw::unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS).map_err(NamespaceError::Refused)?;
            hide(protocols)?;
            Ok(work())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn is_privileged() -> bool {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN;
    capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
}

/// Makes this process root of a user namespace in which nobody else exists: nft is started as root.
fn enter_user_namespace() -> io::Result<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    raw::unshare(UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// Puts empty directories over those of this machine, for this thread and what it starts.
fn hide(protocols: &str) -> Result<(), NamespaceError> {
    // or the mounts below would be those of the whole machine
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| NamespaceError::Hide { path: "/", source: error.into() })?;
    let linker_cache = fs::read(LINKER_CACHE).ok();
    for path in HIDDEN.into_iter().filter(|path| Path::new(path).is_dir()) {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("tmpfs", path, "tmpfs", flags, Some(c"size=16m,mode=755"))
            .map_err(|error| NamespaceError::Hide { path, source: error.into() })?;
    }
    let put =
        |path, bytes: &[u8]| fs::write(path, bytes).map_err(|source| NamespaceError::Hide { path, source });
    if let Some(bytes) = linker_cache {
        put(LINKER_CACHE, &bytes)?;
    }
    put("/etc/protocols", protocols.as_bytes())
}
