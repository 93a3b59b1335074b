//! Random programs of writing, rotating, deleting and restarting, against a small model of what must be read.
//! Each line must arrive: exactly once without restarts, at least once with them, in order, unless every file that had
//! it was destroyed before it was read; then a gap must be counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::{Start, Tail, TailOptions, TailPosition};
use crate::domain::drops::batch::{Batch, Status};

/// How many rotated files are kept.
const KEPT: u32 = 3;

#[derive(Clone, Debug)]
enum Step {
    Write { lines: u8, has_beginning: bool },
    Rename { creates: bool },
    CopyTruncate { lost: u8, leaves_hole: bool, is_read_between: bool },
    DeleteAndCreate,
    Compress { number: u32 },
    Read,
    Save,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..40u8, any::<bool>()).prop_map(|(lines, has_beginning)| Step::Write { lines, has_beginning }),
        3 => any::<bool>().prop_map(|creates| Step::Rename { creates }),
        2 => (prop_oneof![Just(0), 0..5u8], any::<bool>(), any::<bool>()).prop_map(
            |(lost, leaves_hole, is_read_between)| Step::CopyTruncate { lost, leaves_hole, is_read_between }
        ),
        1 => Just(Step::DeleteAndCreate),
        1 => (1..=KEPT).prop_map(|number| Step::Compress { number }),
        5 => Just(Step::Read),
        2 => Just(Step::Save),
        2 => Just(Step::Restart),
    ]
}

/// What shows that lines were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    None,
    /// Their file, with this inode, is gone or truncated: whose position is in it notices.
    File(u64),
    Compressed,
}

/// The files, what each line's fate may be, and what was read.
struct World {
    directory: tempfile::TempDir,
    clock: SystemTime,
    /// The lines in each file, by inode; one that the reader holds may have no name.
    contents: BTreeMap<u64, BTreeSet<u32>>,
    next_line: u32,
    /// The last line at the path has no end yet.
    has_beginning: bool,
    delivered: BTreeSet<u32>,
    /// Lines in no file any more, and those of them that were lost with a trace.
    destroyed: BTreeSet<u32>,
    traced: BTreeMap<u32, Trace>,
    /// Whether anything but rename happened.
    may_have_gaps: bool,
    /// The last line that was read since the last restart.
    last: Option<u32>,
    /// How long the hole will be with which the next write begins.
    hole: u64,
    /// What lies before the reader's position, and before the saved one.
    passed: BTreeSet<u32>,
    saved: (TailPosition, BTreeSet<u32>),
    gaps: u64,
    tail: Tail,
    /// Files that were truncated since the last read.
    truncated: BTreeSet<u64>,
    /// Whether it was read since the last restart.
    is_open: bool,
}

fn text(line: u32) -> String {
    format!("{line:08} IN=eth0 OUT= SRC=10.0.0.{} PROTO=TCP", line % 250)
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tail = open(directory.path().join("kern.log"), None);
        let saved = (tail.position(), BTreeSet::new());
        Self {
            directory,
            clock: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            contents: BTreeMap::new(),
            next_line: 0,
            has_beginning: false,
            delivered: BTreeSet::new(),
            destroyed: BTreeSet::new(),
            traced: BTreeMap::new(),
            may_have_gaps: false,
            last: None,
            hole: 0,
            passed: BTreeSet::new(),
            saved,
            gaps: 0,
            tail,
            truncated: BTreeSet::new(),
            is_open: true,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("kern.log")
    }

    fn rotated(&self, number: u32) -> PathBuf {
        self.directory.path().join(format!("kern.log.{number}"))
    }

    fn compressed(&self, number: u32) -> PathBuf {
        self.directory.path().join(format!("kern.log.{number}.gz"))
    }

    /// Real rotations are further apart than the steps of a filesystem's clock.
    fn touch(&mut self, file: &File) -> u64 {
        self.clock += Duration::from_millis(1);
        file.set_modified(self.clock).unwrap();
        file.metadata().unwrap().ino()
    }

    fn append(&mut self, text: &str, lines: impl IntoIterator<Item = u32>) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path()).unwrap();
        if !text.is_empty() && file.metadata().unwrap().len() == 0 {
            file.set_len(std::mem::take(&mut self.hole)).unwrap();
        }
        file.write_all(text.as_bytes()).unwrap();
        let inode = self.touch(&file);
        self.contents.entry(inode).or_default().extend(lines);
    }

    fn write(&mut self, count: u8, has_beginning: bool) {
        let mut bytes = String::new();
        if std::mem::take(&mut self.has_beginning) {
            bytes.push_str(" rest\n");
        }
        let lines: Vec<_> = (0..u32::from(count)).map(|line| self.next_line + line).collect();
        self.next_line += u32::from(count);
        lines.iter().for_each(|line| bytes.push_str(&format!("{}\n", text(*line))));
        if has_beginning && count > 0 {
            bytes.pop();
            self.has_beginning = true;
        }
        self.append(&bytes, lines);
    }

    /// The file in which the reader is, or will begin.
    fn position(&self) -> Option<u64> {
        match self.tail.position() {
            TailPosition::At(place) => Some(place.inode),
            _ => None,
        }
    }

    /// A name goes away; its content stays for a reader that has it open.
    fn unlink(&mut self, path: &Path, trace: Trace) {
        let Ok(found) = fs::metadata(path) else { return };
        self.may_have_gaps = true;
        fs::remove_file(path).unwrap();
        let is_position = self.position() == Some(found.ino());
        // one that was truncated unseen and then deleted too is beyond what a reader can tell apart
        if !is_position || !self.is_open || self.truncated.contains(&found.ino()) {
            self.destroy(found.ino(), if is_position { Trace::File(found.ino()) } else { trace });
        }
    }

    fn destroy(&mut self, inode: u64, trace: Trace) {
        let lines = self.contents.remove(&inode).unwrap_or_default();
        let kept: BTreeSet<_> = self.contents.values().flatten().copied().collect();
        let gone = lines.into_iter().filter(|line| !kept.contains(line) && !self.delivered.contains(line));
        let gone: Vec<_> = gone.collect();
        self.destroyed.extend(&gone);
        if trace != Trace::None {
            self.traced.extend(gone.into_iter().map(|line| (line, trace)));
        }
    }

    fn shift(&mut self) {
        self.unlink(&self.rotated(KEPT), Trace::None);
        if fs::remove_file(self.compressed(KEPT)).is_ok() {
            // whoever did not look meanwhile knows nothing of it
            self.traced.clear();
        }
        for number in (1..KEPT).rev() {
            let _ = fs::rename(self.rotated(number), self.rotated(number + 1));
            let _ = fs::rename(self.compressed(number), self.compressed(number + 1));
        }
    }

    fn compress(&mut self, number: u32) {
        let Ok(found) = fs::metadata(self.rotated(number)) else { return };
        fs::write(self.compressed(number), "compressed").unwrap();
        let compressed = OpenOptions::new().append(true).open(self.compressed(number)).unwrap();
        compressed.set_modified(found.modified().unwrap()).unwrap();
        self.unlink(&self.rotated(number), Trace::Compressed);
    }

    fn rename(&mut self, creates: bool) {
        (self.has_beginning, self.hole) = (false, 0);
        if self.path().exists() {
            self.shift();
            fs::rename(self.path(), self.rotated(1)).unwrap();
        }
        if creates {
            self.append("", []);
        }
    }

    fn copy_and_truncate(&mut self, lost: u8, leaves_hole: bool, is_read_between: bool) {
        if !self.path().exists() {
            return;
        }
        self.shift();
        self.may_have_gaps = true;
        fs::copy(self.path(), self.rotated(1)).unwrap();
        let copy = OpenOptions::new().append(true).open(self.rotated(1)).unwrap();
        let inode = self.touch(&copy);
        let own = fs::metadata(self.path()).unwrap().ino();
        let lines = self.contents.get(&own).cloned().unwrap_or_default();
        self.contents.insert(inode, lines);
        self.write(lost, false);
        if is_read_between {
            self.read();
        }
        let file = OpenOptions::new().append(true).open(self.path()).unwrap();
        let size = file.metadata().unwrap().len();
        file.set_len(0).unwrap();
        // a writer without O_APPEND goes on at its old offset
        self.hole = if leaves_hole { size } else { 0 };
        self.touch(&file);
        self.truncated.insert(own);
        // whoever has read nothing of it cannot know that there was more
        let lines = self.contents.get(&own).cloned().unwrap_or_default();
        let is_seen = self.position() == Some(own) && !lines.is_disjoint(&self.delivered);
        self.destroy(own, if is_seen { Trace::File(own) } else { Trace::None });
        self.has_beginning = false;
    }

    fn read(&mut self) {
        let mut batch = Batch::default();
        self.is_open = true;
        self.truncated.clear();
        loop {
            let status = self.tail.read(&mut batch, Instant::now());
            self.gaps += batch.gaps;
            for (line, _) in batch.lines() {
                let line = std::str::from_utf8(line).unwrap();
                let number = line.get(..8).and_then(|number| number.parse().ok());
                // the end of a line whose beginning was delivered with the file before
                let Some(number) = number else { panic!("{line:?} was never written") };
                assert!(line.starts_with(&text(number)), "{line:?} was never written");
                assert!(self.last < Some(number), "{number} came after {:?}", self.last);
                assert!(!self.saved.1.contains(&number), "{number} came again after it was saved");
                self.last = Some(number);
                self.delivered.insert(number);
                self.passed.insert(number);
            }
            if status.is_err() || (status.is_ok_and(|status| status == Status::CaughtUp) && !batch.has_news())
            {
                return;
            }
        }
    }

    fn restart(&mut self) {
        self.tail = open(self.path(), Some(self.saved.0.clone()));
        (self.last, self.is_open) = (None, false);
        self.passed.clone_from(&self.saved.1);
        let names = fs::read_dir(self.directory.path()).unwrap();
        let named: BTreeSet<_> = names.map(|entry| entry.unwrap().metadata().unwrap().ino()).collect();
        // what was read but not saved is read again, if it is still there
        let gone: Vec<_> = self.contents.keys().filter(|inode| !named.contains(inode)).copied().collect();
        let saved = match &self.saved.0 {
            TailPosition::At(place) => Some(place.inode),
            _ => None,
        };
        let trace = |inode| if saved == Some(inode) { Trace::File(inode) } else { Trace::None };
        gone.into_iter().for_each(|inode| self.destroy(inode, trace(inode)));
        self.traced.retain(|_, trace| *trace == Trace::Compressed || saved.map(Trace::File) == Some(*trace));
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Write { lines, has_beginning } => self.write(lines, has_beginning),
            Step::Rename { creates } => self.rename(creates),
            Step::CopyTruncate { lost, leaves_hole, is_read_between } => {
                self.copy_and_truncate(lost, leaves_hole, is_read_between);
            }
            Step::DeleteAndCreate => {
                (self.has_beginning, self.hole) = (false, 0);
                self.unlink(&self.path(), Trace::None);
                self.append("", []);
            }
            Step::Compress { number } => self.compress(number),
            Step::Read => self.read(),
            Step::Save => self.saved = (self.tail.position(), self.passed.clone()),
            Step::Restart => self.restart(),
        }
    }

    fn check_end(&mut self) {
        self.write(1, false);
        self.read();
        self.read();
        let missing: Vec<_> = (0..self.next_line).filter(|line| !self.delivered.contains(line)).collect();
        let unexplained: Vec<_> = missing.iter().filter(|line| !self.destroyed.contains(line)).collect();
        assert!(unexplained.is_empty(), "never read: {unexplained:?}");
        assert!(self.traced.is_empty() || self.gaps > 0, "lost without a gap: {:?}", self.traced);
        assert!(self.gaps == 0 || self.may_have_gaps, "{} gaps where nothing was lost", self.gaps);
    }
}

fn open(path: PathBuf, position: Option<TailPosition>) -> Tail {
    let options = TailOptions { start: Start::Beginning, ..TailOptions::default() };
    Tail::open(&path, options, position)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_arrives_or_a_gap_is_counted(steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.check_end();
    }
}
