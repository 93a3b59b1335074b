//! Files of procfs, and whether it is procfs that has them: to an empty or foreign `/proc`, nothing exists.
//! Parses none of them.
//!
//! *Source*: `PROC_SUPER_MAGIC` in `include/uapi/linux/magic.h`; statfs(2).

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, fstatfs, openat};

const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// The text of a file in a directory of procfs; none if the kernel has no such file.
///
/// # Errors
/// What open(2) and read(2) say, also when the directory is missing; `Unsupported` if it or the file lies on another
/// file system.
pub fn read(directory: &str, file: &str) -> io::Result<Option<String>> {
    let Some(file) = open(directory, file)? else { return Ok(None) };
    let mut text = String::new();
    std::fs::File::from(file).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Whether a file in a directory of procfs has any text; none if the kernel has no such file. Reads a byte of it.
///
/// # Errors
/// See [`read`].
pub fn has_text(directory: &str, file: &str) -> io::Result<Option<bool>> {
    let Some(file) = open(directory, file)? else { return Ok(None) };
    Ok(Some(std::fs::File::from(file).read(&mut [0])? > 0))
}

fn open(directory: &str, file: &str) -> io::Result<Option<OwnedFd>> {
    let directory =
        openat(CWD, directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    require_procfs(&directory)?;
    let file = match openat(&directory, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        file => file?,
    };
    require_procfs(&file)?;
    Ok(Some(file))
}

fn require_procfs(file: impl AsFd) -> io::Result<()> {
    if fstatfs(file)?.f_type == PROC_SUPER_MAGIC {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "/proc is not procfs: mount it there (mount -t proc proc /proc)",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_procfs_can_say_that_there_is_nothing() {
        assert!(read("/proc", "uptime").unwrap().is_some());
        assert_eq!(has_text("/proc", "uptime").unwrap(), Some(true));
        assert_eq!(has_text("/proc", "no-such-file").unwrap(), None);
        assert_eq!(read("/proc", "no-such-file").unwrap(), None);
        let foreign = tempfile::tempdir().unwrap();
        let foreign = foreign.path().to_str().unwrap();
        assert_eq!(read(foreign, "no-such-file").unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert_eq!(read("/proc/no-such-directory", "x").unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(format!("{foreign}/x"), "").unwrap();
        let elsewhere = format!("..{foreign}/x");
        assert_eq!(read("/proc", &elsewhere).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
