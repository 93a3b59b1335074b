//! Follows a log file through rotation: by rename, by copy and truncation, by deletion.
//! Hands over lines and where to go on; it neither parses them nor stores that place.
//!
//! A rotated file is read to its end, and those that were rotated after it, before the file itself. When a file was
//! truncated, what had not been read of it is looked for in the copy; what was written between the copy and the
//! truncation is in no file, so each truncation counts as a gap. So does a rotated file that was compressed before it
//! was read. Unnoticed goes what was written, rotated and deleted between two looks, without a trace.
//!
//! An empty file is not opened: nothing tells it from the next one.

mod error;
mod listing;
#[cfg(test)]
mod model;
mod place;
mod reader;
#[cfg(test)]
mod tests;
mod watch;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{AtFlags, CWD};

use crate::domain::drops::batch::{Batch, Status};
pub use error::TailError;
use listing::Listing;
use place::Facts;
pub use place::{TailPlace, TailPosition};
use reader::{Found, Reader};
use watch::Watch;

/// Where to begin when nobody says where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the file's first line.
    Beginning,
    /// With what is written from now on.
    End,
}

/// How a file is read.
#[derive(Clone, Copy, Debug)]
pub struct TailOptions {
    /// Where to begin without a position.
    pub start: Start,
    /// Whether to wait for more at the file's end.
    pub is_following: bool,
    /// How much of a line is kept, in bytes; at most 128 KiB.
    pub line_limit: usize,
}

impl Default for TailOptions {
    /// Follows from the end, lines of 16 KiB.
    fn default() -> Self {
        Self { start: Start::End, is_following: true, line_limit: 16 * 1024 }
    }
}

/// A log file that is being read.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    options: TailOptions,
    state: State,
    watch: Watch,
    /// The file to which the writer may go next.
    next: Option<File>,
}

#[derive(Debug)]
enum State {
    Closed(TailPosition),
    Open(Box<Reader>),
}

impl Tail {
    /// Begins at a position, or where the options say. What cannot be read yet is tried again by [`Tail::read`].
    pub fn open(path: &Path, mut options: TailOptions, position: Option<TailPosition>) -> Self {
        options.line_limit = options.line_limit.clamp(1, reader::MAX_LINE_LIMIT);
        let state = State::Closed(position.unwrap_or(TailPosition::Start));
        let mut tail = Self { path: path.to_owned(), options, state, watch: Watch::default(), next: None };
        if matches!(tail.state, State::Closed(TailPosition::Start)) {
            // now, so that "the end" is the end as it is now; the next read says what went wrong
            let _ = tail.locate(&mut Batch::default());
        }
        tail
    }

    /// Replaces `batch` by the next lines; waits for some until the deadline.
    ///
    /// # Errors
    /// At the deadline, if the file or its directory cannot be read; at once if it does not wait for more.
    pub fn read(&mut self, batch: &mut Batch, deadline: Instant) -> Result<Status, TailError> {
        batch.clear();
        loop {
            let advanced = self.advance(batch, deadline);
            match advanced {
                Err(error) if !self.options.is_following => return Err(error),
                Ok(status) if status != Status::CaughtUp => return Ok(status),
                _ if batch.has_news() => return Ok(Status::CaughtUp),
                _ => {}
            }
            let is_over = Instant::now() >= deadline;
            if is_over || (!self.listen() && !self.watch.wait(deadline)) {
                return advanced;
            }
        }
    }

    /// Where to go on once everything that was handed over is safe.
    pub fn position(&self) -> TailPosition {
        match &self.state {
            State::Closed(position) => position.clone(),
            State::Open(reader) => TailPosition::At(reader.place()),
        }
    }

    fn listen(&mut self) -> bool {
        let current = match &self.state {
            State::Open(reader) => Some(&reader.file),
            State::Closed(_) => None,
        };
        let files: Vec<_> = current.into_iter().chain(&self.next).collect();
        self.watch.listen(&self.path, &files)
    }

    /// Reads until the batch is full or nothing is left.
    fn advance(&mut self, batch: &mut Batch, deadline: Instant) -> Result<Status, TailError> {
        let mut has_read = false;
        loop {
            let State::Open(reader) = &mut self.state else {
                if self.locate(batch)? {
                    continue;
                }
                return Ok(if self.options.is_following { Status::CaughtUp } else { Status::Ended });
            };
            reader.take(batch);
            // an endless line or hole fills no batch
            let is_late = has_read && batch.is_empty() && Instant::now() >= deadline;
            if batch.is_full() || is_late {
                return Ok(Status::Behind);
            }
            let found = reader.fill().map_err(|error| TailError::from_io(&self.path, error))?;
            has_read |= found == Found::More;
            let is_moving = match found {
                Found::More => true,
                Found::CutBack => {
                    batch.gaps += 1;
                    true
                }
                Found::Truncated => self.recover(batch).map(|()| true)?,
                Found::End if !self.options.is_following => {
                    reader.finish(batch);
                    return Ok(Status::Ended);
                }
                Found::End => self.go_on(batch)?,
            };
            if !is_moving {
                return Ok(Status::CaughtUp);
            }
        }
    }

    fn read_from(&mut self, reader: Reader) {
        self.next = None;
        self.state = State::Open(Box::new(reader));
    }

    /// Opens the file in which the position is, or the first behind it; false if there is none yet.
    fn locate(&mut self, batch: &mut Batch) -> Result<bool, TailError> {
        let State::Closed(position) = &self.state else { return Ok(true) };
        let position = position.clone();
        let listing = Listing::read(&self.path)?;
        match position {
            TailPosition::Start => self.start(listing),
            TailPosition::Waiting { since } => self.open_since(since, listing, batch),
            TailPosition::At(place) => {
                if let Some(reader) = self.find(&place, &listing, batch)? {
                    self.read_from(reader);
                    return Ok(true);
                }
                // counted once, whatever may be wrong with the files that come after it
                batch.gaps += 1;
                self.state = State::Closed(TailPosition::Waiting { since: place.modified });
                self.open_since(place.modified, listing, batch)
            }
        }
    }

    fn start(&mut self, listing: Listing) -> Result<bool, TailError> {
        let since = listing.newest().map_or(0, |newest| newest.saturating_add(1));
        match listing.current {
            Some((file, facts)) if facts.size_bytes > 0 && self.options.start == Start::End => {
                let reader = Reader::at_end(file, facts, self.options.line_limit);
                self.read_from(reader.map_err(|error| TailError::from_io(&self.path, error))?);
                Ok(true)
            }
            current => self.open_first(None, current, since),
        }
    }

    /// Opens the first file that was written to at this time or later.
    fn open_since(&mut self, since: i64, listing: Listing, batch: &mut Batch) -> Result<bool, TailError> {
        let successors = listing.since(since);
        let rotated = successors.readable().next().map(|sibling| listing.open(sibling)).transpose()?;
        batch.gaps += successors.unreadable();
        let since = listing.newest().map_or(since, |newest| since.max(newest.saturating_add(1)));
        self.open_first(rotated, listing.current, since)
    }

    /// Opens a rotated file, else the one at the path, else waits for one that was written to since then.
    fn open_first(
        &mut self,
        rotated: Option<(File, Facts)>,
        current: Option<(File, Facts)>,
        since: i64,
    ) -> Result<bool, TailError> {
        let is_empty = current.as_ref().is_some_and(|(_, facts)| facts.size_bytes == 0);
        let (current, empty) = if is_empty { (None, current) } else { (current, None) };
        if let Some((file, facts)) = rotated.or(current) {
            self.read_from(Reader::new(file, facts, self.options.line_limit));
            return Ok(true);
        }
        self.state = State::Closed(TailPosition::Waiting { since });
        let (empty, _) = empty.ok_or_else(|| TailError::Missing { path: self.path.clone() })?;
        self.next = Some(empty);
        Ok(false)
    }

    /// Finds the file of a place, whatever it is called now, or a copy of it.
    fn find(
        &self,
        place: &TailPlace,
        listing: &Listing,
        batch: &mut Batch,
    ) -> Result<Option<Reader>, TailError> {
        let limit = self.options.line_limit;
        let error = |error| TailError::from_io(&self.path, error);
        let renamed = listing.readable().filter(|sibling| sibling.facts.inode == place.inode);
        let renamed = renamed.map(|sibling| listing.open(sibling)).next().transpose()?;
        let current = match &listing.current {
            Some((file, facts)) => Some((file.try_clone().map_err(error)?, *facts)),
            None => None,
        };
        for (file, facts) in current.into_iter().chain(renamed) {
            if place.is_in(&file, &facts).map_err(error)? {
                return Reader::resume(file, facts, place, limit).map(Some).map_err(error);
            }
        }
        for sibling in listing.since(place.modified).readable() {
            let (file, facts) = listing.open(sibling)?;
            if place.is_in_copy(&file, &facts).map_err(error)? {
                batch.gaps += 1;
                let mut reader = Reader::resume(file, facts, place, limit).map_err(error)?;
                reader.is_live = false;
                return Ok(Some(reader));
            }
        }
        Ok(None)
    }

    /// Reads the rest of a truncated file from its copy, or goes on with what was written after it.
    fn recover(&mut self, batch: &mut Batch) -> Result<(), TailError> {
        let State::Open(reader) = &mut self.state else { return Ok(()) };
        let listing = Listing::read(&self.path)?;
        let place = reader.place();
        for sibling in listing.since(place.modified).readable() {
            let (copy, facts) = listing.open(sibling)?;
            if place.is_in_copy(&copy, &facts).map_err(|error| TailError::from_io(&self.path, error))? {
                batch.gaps += 1;
                reader.go_on_in(copy, facts);
                return Ok(());
            }
        }
        batch.gaps += 1;
        reader.finish(batch);
        self.state = State::Closed(TailPosition::Waiting { since: place.modified });
        Ok(())
    }

    /// Goes on with the file that comes after this one; false if this is the last.
    fn go_on(&mut self, batch: &mut Batch) -> Result<bool, TailError> {
        let State::Open(reader) = &mut self.state else { return Ok(true) };
        let at_path = Facts::read(CWD, &self.path, AtFlags::empty());
        if at_path.is_ok_and(|facts| facts.is_same_file(&reader.facts)) {
            return Ok(false);
        }
        let listing = Listing::read(&self.path)?;
        // only now: once its writer was seen to write elsewhere, what is here is all there will be
        let facts = Facts::of(&reader.file).map_err(|error| TailError::from_io(&self.path, error))?;
        if facts.size_bytes > reader.offset {
            return Ok(true);
        }
        let by_name = listing.after(&facts);
        let is_deleted = by_name.is_none();
        let successors = by_name.unwrap_or_else(|| listing.since(facts.modified));
        let rotated = successors.readable().next().map(|sibling| listing.open(sibling)).transpose()?;
        let current_is_empty = listing.current.as_ref().is_none_or(|(_, facts)| facts.size_bytes == 0);
        if reader.is_live && successors.is_empty() && current_is_empty {
            // until its writer writes elsewhere, it may still write here
            self.next = listing.current.map(|(file, _)| file);
            return Ok(false);
        }
        reader.finish(batch);
        batch.gaps += successors.unreadable();
        // others may have been deleted with it
        batch.gaps += u64::from(is_deleted && !successors.is_empty());
        let since = listing.newest().unwrap_or(0).max(facts.modified).saturating_add(1);
        self.open_first(rotated, listing.current, since)
    }
}
