//! The paths of cgroups by their numbers, which rules name.
//! Reads no more of a cgroup than its directory.
//!
//! *Source*: cgroup_id(): the inode number of the cgroup's directory, `Documentation/admin-guide/cgroup-v2.rst`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// More cgroups than this are not named.
const MOST: usize = 100_000;

/// The cgroups below a directory: for each its number and its path from there on. What cannot be read has no name.
pub fn below(root: &Path) -> BTreeMap<u64, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let directory = root.join(&path);
        let Ok(metadata) = std::fs::symlink_metadata(&directory) else { continue };
        if found.len() >= MOST {
            break;
        }
        let name = if path.as_os_str().is_empty() { Path::new("/") } else { path.as_path() };
        found.insert(metadata.ino(), name.as_os_str().as_bytes().to_vec());
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        waiting.extend(directories.map(|entry| path.join(entry.file_name())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_their_path_from_the_root_on() {
        let root = tempfile::tempdir().expect("a directory");
        let slice = root.path().join("system.slice");
        let service = slice.join("a.service");
        std::fs::create_dir_all(&service).expect("directories");
        std::fs::write(slice.join("cgroup.procs"), "").expect("a file");
        let found = below(root.path());
        let name = |path: &Path| found.get(&path.metadata().expect("metadata").ino()).cloned();
        assert_eq!(name(root.path()), Some(b"/".to_vec()));
        assert_eq!(name(&service), Some(b"system.slice/a.service".to_vec()));
        assert_eq!(found.len(), 3, "files are no cgroups");
    }
}
