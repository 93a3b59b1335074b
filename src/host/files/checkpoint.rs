//! A file that keeps where each source of log lines is to go on after a restart.
//! Does not know what a position is, nor when its lines are safe: save one only after its lines were delivered.
//!
//! ```json
//! {"version": 1, "positions": {"file:/var/log/kern.log": {"at": {"inode": 12, "offset": 4711}}}}
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What this program writes; it sets aside what another version wrote.
const VERSION: u32 = 1;
/// Positions take a few hundred bytes each.
const MAX_BYTES: u64 = 1 << 20;
/// More sources than anyone has.
const MAX_POSITIONS: usize = 256;

/// The positions of all sources.
#[derive(Debug)]
pub struct Checkpoints {
    path: PathBuf,
    interval: Duration,
    positions: BTreeMap<String, Value>,
    is_changed: bool,
    written: Option<Instant>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    version: u32,
    positions: BTreeMap<String, Value>,
}

/// Why positions could not be kept, or were not found.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CheckpointError {
    #[error("reading the positions in {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("writing the positions to {}: is the directory there, and writable?", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}: not the positions of this version, set aside as {}", path.display(), aside.display())]
    Unreadable { path: PathBuf, aside: PathBuf },
    #[error("{}: the position of {key} is not one of its kind", path.display())]
    WrongKind { path: PathBuf, key: String, source: serde_json::Error },
    #[error("{}: more than {MAX_POSITIONS} sources, or {MAX_BYTES} bytes", path.display())]
    TooMany { path: PathBuf },
}

impl Checkpoints {
    /// Reads the file; none yet is no error. It is written at most once an interval.
    ///
    /// A file that makes no sense is renamed, and told beside the result: the sources begin anew then.
    ///
    /// # Errors
    /// If a file is there and cannot be read or set aside. To begin anew then would silently lose what is in between.
    pub fn open(path: &Path, interval: Duration) -> Result<(Self, Option<CheckpointError>), CheckpointError> {
        let mut checkpoints = Self {
            path: path.to_owned(),
            interval,
            positions: BTreeMap::new(),
            is_changed: false,
            written: None,
        };
        let error = |source| CheckpointError::Read { path: path.to_owned(), source };
        let Some(bytes) = read_bounded(path).map_err(error)? else { return Ok((checkpoints, None)) };
        match serde_json::from_slice::<Wire>(&bytes) {
            Ok(wire) if wire.version == VERSION && bytes.len() as u64 <= MAX_BYTES => {
                checkpoints.positions = wire.positions;
                Ok((checkpoints, None))
            }
            _ => {
                let aside = with_suffix(path, ".unreadable");
                fs::rename(path, &aside).map_err(error)?;
                let told = CheckpointError::Unreadable { path: path.to_owned(), aside };
                Ok((checkpoints, Some(told)))
            }
        }
    }

    /// Where a source is to go on; none if it was never saved.
    ///
    /// # Errors
    /// [`CheckpointError::WrongKind`] if another kind of source was saved under this key.
    pub fn load<P: DeserializeOwned>(&self, key: &str) -> Result<Option<P>, CheckpointError> {
        let position = self.positions.get(key).map(P::deserialize).transpose();
        position.map_err(|source| CheckpointError::WrongKind {
            path: self.path.clone(),
            key: key.to_owned(),
            source,
        })
    }

    /// Keeps a position, and writes the file if it was not written for an interval.
    ///
    /// # Errors
    /// If the file cannot be written; the position is kept, and written with the next.
    pub fn save<P: Serialize>(&mut self, key: &str, position: &P) -> Result<(), CheckpointError> {
        let too_many = || CheckpointError::TooMany { path: self.path.clone() };
        let value = serde_json::to_value(position).map_err(|_| too_many())?;
        if !self.positions.contains_key(key) && self.positions.len() >= MAX_POSITIONS {
            return Err(too_many());
        }
        if self.positions.get(key) != Some(&value) {
            self.positions.insert(key.to_owned(), value);
            self.is_changed = true;
        }
        self.write_if_due()
    }

    /// Writes what has changed, if the file was not written for an interval. Call it now and then.
    ///
    /// # Errors
    /// If the file cannot be written; it is tried again after another interval.
    pub fn write_if_due(&mut self) -> Result<(), CheckpointError> {
        if self.written.is_some_and(|written| written.elapsed() < self.interval) {
            return Ok(());
        }
        self.write()
    }

    /// Writes what has changed. Call it before the end.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&mut self) -> Result<(), CheckpointError> {
        if !self.is_changed {
            return Ok(());
        }
        self.written = Some(Instant::now());
        let wire = Wire { version: VERSION, positions: std::mem::take(&mut self.positions) };
        let bytes = serde_json::to_vec(&wire);
        self.positions = wire.positions;
        match bytes {
            Ok(bytes) if bytes.len() as u64 <= MAX_BYTES => replace(&self.path, &bytes)
                .map_err(|source| CheckpointError::Write { path: self.path.clone(), source })?,
            _ => return Err(CheckpointError::TooMany { path: self.path.clone() }),
        }
        self.is_changed = false;
        Ok(())
    }
}

/// One byte more than the limit at most; none if there is no file.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Whatever happens meanwhile, the file has the old content or the new.
///
/// *Source*: rename(2), fsync(2): the directory's entry is written by an fsync of the directory.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    make_directory(parent)?;
    let new = with_suffix(path, ".new");
    let mut file = create_own(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn make_directory(directory: Option<&Path>) -> io::Result<()> {
    let Some(directory) = directory else { return Ok(()) };
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A file that was not there before, so that nobody's link leads elsewhere.
fn create_own(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SLOWLY: Duration = Duration::from_secs(3600);

    fn open(path: &Path, interval: Duration) -> Checkpoints {
        let (checkpoints, told) = Checkpoints::open(path, interval).unwrap();
        assert!(told.is_none(), "{told:?}");
        checkpoints
    }

    #[test]
    fn positions_are_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("positions");
        let mut checkpoints = open(&path, Duration::ZERO);
        assert_eq!(checkpoints.load::<u64>("a").unwrap(), None);
        checkpoints.save("a", &1u64).unwrap();
        checkpoints.save("b", &("x", 2)).unwrap();
        checkpoints.save("a", &3u64).unwrap();
        let again = open(&path, Duration::ZERO);
        assert_eq!(again.load::<u64>("a").unwrap(), Some(3));
        assert_eq!(again.load::<(String, u8)>("b").unwrap(), Some(("x".into(), 2)));
        assert!(matches!(again.load::<u64>("b"), Err(CheckpointError::WrongKind { .. })));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_file_is_written_once_an_interval_and_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("positions");
        let mut checkpoints = open(&path, SLOWLY);
        (1..=1000u64).for_each(|position| checkpoints.save("a", &position).unwrap());
        assert_eq!(open(&path, SLOWLY).load::<u64>("a").unwrap(), Some(1));
        checkpoints.write_if_due().unwrap();
        assert_eq!(open(&path, SLOWLY).load::<u64>("a").unwrap(), Some(1));
        checkpoints.write().unwrap();
        assert_eq!(open(&path, SLOWLY).load::<u64>("a").unwrap(), Some(1000));
    }

    #[test]
    fn nothing_is_written_while_nothing_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("positions");
        let mut checkpoints = open(&path, Duration::ZERO);
        checkpoints.save("a", &1u64).unwrap();
        fs::remove_file(&path).unwrap();
        checkpoints.save("a", &1u64).unwrap();
        checkpoints.write().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_makes_no_sense_is_set_aside() {
        let long = format!(r#"{{"version":1,"positions":{{"a":"{}"}}}}"#, "x".repeat(2 << 20));
        for text in ["", "{", r#"{"version":2,"positions":{}}"#, r#"{"version":1}"#, "\0\0\0\0", &long] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("positions");
            fs::write(&path, text).unwrap();
            let (mut checkpoints, told) = Checkpoints::open(&path, Duration::ZERO).unwrap();
            assert!(matches!(told, Some(CheckpointError::Unreadable { .. })), "{text:.20}: {told:?}");
            assert_eq!(fs::read_to_string(directory.path().join("positions.unreadable")).unwrap(), text);
            checkpoints.save("a", &1u64).unwrap();
            assert_eq!(open(&path, Duration::ZERO).load::<u64>("a").unwrap(), Some(1));
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_directory_and_the_file_are_made_for_their_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing/positions");
        open(&path, Duration::ZERO).save("a", &1u64).unwrap();
        assert_eq!(open(&path, Duration::ZERO).load::<u64>("a").unwrap(), Some(1));
        assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
    }

    #[test]
    fn what_cannot_be_written_is_an_error_until_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("no/such/positions");
        let mut checkpoints = open(&path, Duration::ZERO);
        let error = checkpoints.save("a", &1u64).unwrap_err();
        assert!(matches!(error, CheckpointError::Write { .. }), "{error}");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        checkpoints.write().unwrap();
        assert_eq!(open(&path, Duration::ZERO).load::<u64>("a").unwrap(), Some(1));
        assert!(matches!(
            Checkpoints::open(directory.path(), Duration::ZERO),
            Err(CheckpointError::Read { .. })
        ));
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (path, victim) = (directory.path().join("positions"), directory.path().join("victim"));
        fs::write(&victim, "important").unwrap();
        for link in [with_suffix(&path, ".new"), path.clone()] {
            std::os::unix::fs::symlink(&victim, link).unwrap();
        }
        let (mut checkpoints, _) = Checkpoints::open(&path, Duration::ZERO).unwrap();
        checkpoints.save("a", &1u64).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "important");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(open(&path, Duration::ZERO).load::<u64>("a").unwrap(), Some(1));
    }

    #[test]
    fn a_file_over_the_limit_is_set_aside_and_one_within_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("positions");
        let text = r#"{"version":1,"positions":{"a":7}}"#;
        let padded = |size: u64| format!("{text}{}", " ".repeat(size as usize - text.len()));
        fs::write(&path, padded(MAX_BYTES)).unwrap();
        assert_eq!(open(&path, SLOWLY).load::<u64>("a").unwrap(), Some(7));
        fs::write(&path, padded(MAX_BYTES + 1)).unwrap();
        let (checkpoints, told) = Checkpoints::open(&path, SLOWLY).unwrap();
        assert!(matches!(told, Some(CheckpointError::Unreadable { .. })), "{told:?}");
        assert_eq!(checkpoints.load::<u64>("a").unwrap(), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("positions");
        let mut checkpoints = open(&path, SLOWLY);
        (0..MAX_POSITIONS).for_each(|key| checkpoints.save(&key.to_string(), &1u64).unwrap());
        assert!(matches!(checkpoints.save("more", &1u64), Err(CheckpointError::TooMany { .. })));
        checkpoints.save("0", &"x".repeat(2 << 20)).unwrap();
        assert!(matches!(checkpoints.write(), Err(CheckpointError::TooMany { .. })));
    }
}
