//! A place in a log file that is found again after the file was renamed, copied or replaced.
//! Reads heads and attributes of files; does not look for files.
//!
//! A file is known by its inode, its time of birth, and hashes of its head and of what comes right before the place.
//! Its device is left out: the candidates are in one directory, and devices' numbers change when a node starts again.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, FileType, StatxFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How much of a file's beginning tells it from others.
pub(super) const HEAD_BYTES: usize = 1024;
/// How much before a place shows that a file was not replaced by one with the same beginning, such as a hole.
pub(super) const TRAIL_BYTES: usize = 64;

/// Where to go on after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TailPosition {
    /// Nothing was seen yet: not even whether there is a file.
    Start,
    /// There was no file; whatever appears is read from its beginning.
    Waiting {
        /// Rotated files that were written to before are of no interest, in nanoseconds since 1970.
        since: i64,
    },
    /// Within a file.
    At(TailPlace),
}

/// The first byte of a file that was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailPlace {
    /// The file's inode.
    pub inode: u64,
    /// When it was made, in nanoseconds since 1970, where the filesystem knows.
    pub born: Option<i64>,
    /// When it was last written to as far as was seen, in nanoseconds since 1970.
    pub modified: i64,
    /// How it begins.
    pub head: Print,
    /// What comes right before the byte.
    pub trail: Print,
    /// The offset of the byte, in bytes.
    pub offset: u64,
    /// Whether the byte belongs to a line that was handed over, cut.
    pub is_within_cut: bool,
}

impl TailPlace {
    /// Whether this is the place's file, and not truncated. One that only lost its end is still the same.
    pub(super) fn is_in(&self, file: &File, facts: &Facts) -> io::Result<bool> {
        let is_same = facts.inode == self.inode && facts.born == self.born && self.head.is_in(file)?;
        let is_shorter = facts.size_bytes < self.offset;
        Ok(is_same && if is_shorter { !self.head.is_hole() } else { self.trail.is_in(file)? })
    }

    /// Whether this is a copy of the place's file. One that ends before the place was made before that was written.
    pub(super) fn is_in_copy(&self, copy: &File, facts: &Facts) -> io::Result<bool> {
        let is_alike = self.head.bytes > 0 && self.head.is_in(copy)?;
        let is_shorter = facts.size_bytes < self.offset;
        Ok(is_alike && if is_shorter { !self.head.is_hole() } else { self.trail.is_in(copy)? })
    }
}

/// The hash of a piece of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    /// Where the piece begins, in bytes.
    pub offset: u64,
    /// How long it is.
    pub bytes: usize,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

impl Print {
    pub(super) fn of(offset: u64, piece: &[u8]) -> Self {
        let sha256 = Sha256::digest(piece).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { offset, bytes: piece.len(), sha256 }
    }

    /// Whether it is nothing but NULs, as at the beginning of a file that was truncated under its writer.
    fn is_hole(&self) -> bool {
        *self == Self::of(self.offset, &vec![0; self.bytes.min(HEAD_BYTES)])
    }

    /// Whether the file has the same piece at the same place.
    pub(super) fn is_in(&self, file: &File) -> io::Result<bool> {
        let piece = read_piece(file, self.offset, self.bytes.min(HEAD_BYTES))?;
        Ok(Self::of(self.offset, &piece) == *self)
    }
}

/// So many bytes of a file, fewer if it ends before.
pub(super) fn read_piece(file: &File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; bytes];
    let mut length = 0;
    while let Some(rest) = piece.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    piece.truncate(length);
    Ok(piece)
}

/// What the filesystem says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub device: (u32, u32),
    pub inode: u64,
    pub born: Option<i64>,
    pub modified: i64,
    pub size_bytes: u64,
    pub is_regular: bool,
}

impl Facts {
    /// Of an open file.
    pub(super) fn of(file: impl AsFd) -> io::Result<Self> {
        Self::read(file, c"", AtFlags::EMPTY_PATH)
    }

    /// Of a name, relative to a directory.
    ///
    /// *Source*: statx(2).
    pub(super) fn read(
        directory: impl AsFd,
        name: impl rustix::path::Arg,
        flags: AtFlags,
    ) -> io::Result<Self> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let found = rustix::fs::statx(directory, name, flags, wanted)?;
        let has_birth = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
        let nanoseconds =
            |seconds: i64, part: u32| seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(part));
        Ok(Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            born: has_birth.then(|| nanoseconds(found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
            modified: nanoseconds(found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
            size_bytes: found.stx_size,
            is_regular: FileType::from_raw_mode(found.stx_mode.into()) == FileType::RegularFile,
        })
    }

    /// Whether both are the same file, if neither was deleted meanwhile.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}
