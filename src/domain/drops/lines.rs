//! Cuts a stream of bytes into lines: bounded, and without the holes that a truncated file has.
//! Knows neither where the bytes come from nor what the lines say.
//!
//! A NUL ends a line as a newline does, but a run of NULs is no line: a writer that goes on at its old offset after
//! its file was truncated leaves a hole that reads as NULs, with the rest of a line behind it. Of NULs amid a line each
//! half keeps one, so that neither passes for a whole line.

use memchr::memchr2;

use super::batch::Batch;

/// Where in a line the stream stands.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    limit: usize,
    is_skipping: bool,
    /// Whether NULs come right before, and a line without its end before them.
    is_torn: bool,
}

impl Lines {
    /// Begins with a line; of each line at most `limit` bytes are kept. `is_skipping` if the stream begins within
    /// a line that was cut already.
    pub const fn new(limit: usize, is_skipping: bool) -> Self {
        Self { limit, is_skipping, is_torn: false }
    }

    /// Whether the bytes that come next belong to a line that was cut already.
    pub const fn is_skipping(&self) -> bool {
        self.is_skipping
    }

    /// Moves lines from the front of `bytes` into the batch until that is full, and says how many bytes that took.
    ///
    /// If the batch is not full afterwards, the rest is the beginning of a line, no longer than the limit.
    pub fn split(&mut self, bytes: &[u8], batch: &mut Batch) -> usize {
        let mut rest = bytes;
        while !batch.is_full() && !rest.is_empty() {
            let Some(end) = memchr2(b'\n', 0, rest) else {
                return bytes.len() - self.leave(rest, batch).len();
            };
            let (line, behind) = rest.split_at(end);
            let is_hole = behind.first() == Some(&0);
            let is_line = !(is_hole && line.is_empty());
            if !self.is_skipping && is_line {
                self.push(line, is_hole, batch);
            }
            self.is_torn = is_hole && (is_line || self.is_torn || self.is_skipping);
            self.is_skipping = false;
            rest = behind.get(1..).unwrap_or_default();
        }
        bytes.len() - rest.len()
    }

    /// What remains of a beginning without an end: nothing if it is to be skipped or was just cut.
    fn leave<'a>(&mut self, beginning: &'a [u8], batch: &mut Batch) -> &'a [u8] {
        if !self.is_skipping && beginning.len() <= self.limit {
            return beginning;
        }
        if !self.is_skipping {
            self.push(beginning, false, batch);
            self.is_torn = false;
        }
        self.is_skipping = true;
        &[]
    }

    /// Takes the beginning of a line as the whole: its end will never come.
    pub fn finish(&mut self, beginning: &[u8], batch: &mut Batch) {
        if !self.is_skipping && !beginning.is_empty() {
            self.push(beginning, false, batch);
        }
        self.is_torn = false;
        self.is_skipping = false;
    }

    fn push(&self, line: &[u8], is_before_hole: bool, batch: &mut Batch) {
        let is_cut = line.len() > self.limit;
        batch.cut += u64::from(is_cut);
        let line = line.get(..self.limit).unwrap_or(line);
        // how far a cut line went on is not seen
        let is_before_hole = is_before_hole && !is_cut;
        let nul = |is_torn: bool| if is_torn { &b"\0"[..] } else { b"" };
        match self.is_torn || is_before_hole {
            true => batch.push(&[nul(self.is_torn), line, nul(is_before_hole)].concat(), None),
            false => batch.push(line, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds the pieces as a reader does, and returns the lines and how many were cut.
    fn cut(pieces: &[&[u8]], limit: usize, finish: bool) -> (Vec<String>, u64) {
        let (mut lines, mut batch, mut kept) = (Lines::new(limit, false), Batch::default(), Vec::new());
        for piece in pieces {
            kept.extend_from_slice(piece);
            let used = lines.split(&kept, &mut batch);
            kept.drain(..used);
            assert!(kept.len() <= limit);
        }
        if finish {
            lines.finish(&kept, &mut batch);
        }
        let text = |line: &[u8]| String::from_utf8(line.to_vec()).unwrap();
        (batch.lines().map(|(line, _)| text(line)).collect(), batch.cut)
    }

    #[track_caller]
    fn check(pieces: &[&[u8]], expect: &[&str], cuts: u64) {
        let (lines, cut) = cut(pieces, 8, false);
        assert_eq!((lines.iter().map(String::as_str).collect::<Vec<_>>(), cut), (expect.to_vec(), cuts));
    }

    #[test]
    fn whole_lines_are_moved_and_a_beginning_stays() {
        check(&[b"one\ntwo\n\nthr"], &["one", "two", ""], 0);
        check(&[b"o", b"ne", b"\n", b"two"], &["one"], 0);
        check(&[b"", b"\n"], &[""], 0);
    }

    #[test]
    fn a_long_line_is_cut_once() {
        check(&[b"12345678\n"], &["12345678"], 0);
        check(&[b"123456789\nx\n"], &["12345678", "x"], 1);
        check(&[b"123456789", b"0123456789012345", b"67\nx\n"], &["12345678", "x"], 1);
        check(&[b"12345678", b"9\nx\n"], &["12345678", "x"], 1);
    }

    #[test]
    fn a_hole_ends_a_line_and_is_none() {
        check(&[b"\0\0\0", b"\0tail\nx\n"], &["tail", "x"], 0);
        check(&[b"a\n\0\n"], &["a", ""], 0);
    }

    #[test]
    fn a_hole_amid_a_line_leaves_a_nul_on_both_sides() {
        check(&[b"head\0\0", b"\0tail\nx\n"], &["head\0", "\0tail", "x"], 0);
        check(&[b"a\0b\0c\n"], &["a\0", "\0b\0", "\0c"], 0);
        check(&[b"head\0\nx\n"], &["head\0", "\0", "x"], 0);
        check(&[b"123456789\0x\n"], &["12345678", "\0x"], 1);
        check(&[b"123456789", b"\0x\n"], &["12345678", "\0x"], 1);
        check(&[b"head\n\0\0x\n"], &["head", "x"], 0);
        assert_eq!(cut(&[b"a\0\0b"], 8, true), (vec!["a\0".into(), "\0b".into()], 0));
    }

    /// Found by the property below.
    #[test]
    fn a_hole_right_behind_a_cut_line_makes_no_difference_either() {
        let (before, cut_line) = ([b'\n'; 23], [b'a'; 6]);
        let whole = [&before[..], &cut_line, b"\0"].concat();
        assert_eq!(cut(&[&whole[..29], &whole[29..]], 5, true), cut(&[&whole], 5, true));
    }

    #[test]
    fn a_beginning_is_a_line_when_its_end_will_never_come() {
        assert_eq!(cut(&[b"one\ntw"], 8, true), (vec!["one".into(), "tw".into()], 0));
        assert_eq!(cut(&[b"one\n"], 8, true), (vec!["one".into()], 0));
        assert_eq!(cut(&[b"123456789"], 8, true), (vec!["12345678".into()], 1));
    }

    #[test]
    fn a_stream_may_begin_within_a_line_that_was_cut() {
        let (mut lines, mut batch) = (Lines::new(8, true), Batch::default());
        assert_eq!((lines.split(b"rest", &mut batch), lines.is_skipping()), (4, true));
        assert_eq!((lines.split(b"rest\nx\n", &mut batch), lines.is_skipping()), (7, false));
        assert_eq!((batch.len(), batch.cut), (1, 0));
    }

    #[test]
    fn a_full_batch_takes_no_more() {
        let (mut lines, mut batch) = (Lines::new(8, false), Batch::default());
        let bytes = b"x\n".repeat(10_000);
        assert_eq!(lines.split(&bytes, &mut batch), 2 * crate::domain::drops::batch::MAX_LINES);
        assert_eq!(lines.split(b"more\n", &mut batch), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn how_the_stream_is_cut_into_pieces_makes_no_difference(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(0), Just(b'a'), Just(b'b')], 0..80),
            cuts in proptest::collection::vec(0..80usize, 0..6),
        ) {
            let mut ends: Vec<_> = cuts.into_iter().map(|end| end.min(bytes.len())).collect();
            ends.extend([0, bytes.len()]);
            ends.sort_unstable();
            let pieces: Vec<_> = ends.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(cut(&pieces, 5, true), cut(&[&bytes], 5, true));
        }
    }
}
