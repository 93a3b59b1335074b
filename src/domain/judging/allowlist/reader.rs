//! From files to patterns that each compile within the limits, and the list of those that do not.
//! Does not match.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::judging::go_regex::GoRegex;

use super::broken::BrokenPattern;
use super::list::{List, MAX_FILE_BYTES, MAX_PATTERNS, Pattern, PatternFile};
use super::program::{self, Members};

/// The most that all patterns of an allowlist together may take, in bytes, for each of the two kinds of text.
const MAX_TOTAL_BYTES: usize = 10 << 20;

/// What naming a Unicode class counts for, in bytes: reading one costs time even where the result is small.
const CLASS_BYTES: usize = 4 << 10;

pub(super) fn read(files: &[PatternFile]) -> (Vec<Pattern>, Vec<BrokenPattern>, BTreeMap<List, Members>) {
    let mut reader = Reader::default();
    for file in files {
        reader.read_file(file);
    }
    (reader.patterns, reader.broken, reader.members)
}

#[derive(Default)]
struct Reader {
    patterns: Vec<Pattern>,
    broken: Vec<BrokenPattern>,
    members: BTreeMap<List, Members>,
    ascii_bytes: usize,
    unicode_bytes: usize,
    is_full: bool,
}

/// Where in a line, and why.
struct Fault {
    column: usize,
    reason: String,
}

impl Reader {
    fn read_file(&mut self, file: &PatternFile) {
        if file.text.len() > MAX_FILE_BYTES {
            let reason = format!("the file is larger than {MAX_FILE_BYTES} bytes; none of it is used");
            self.broken.push(BrokenPattern::new(Some(file.list), (&file.origin, 1, 1), &reason, ""));
            return;
        }
        let origin: Arc<str> = file.origin.as_str().into();
        for (index, line) in file.text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() && !self.is_full {
                self.read_line(file.list, &origin, index + 1, line);
            }
        }
    }

    fn read_line(&mut self, list: List, origin: &Arc<str>, number: usize, line: &[u8]) {
        let result = match self.limit_reached() {
            Some(reason) => {
                self.is_full = true;
                let reason = format!("{reason}: this line and all after it are not used");
                Err(Fault { column: 1, reason })
            }
            None => self.compile(list, line),
        };
        match result {
            Ok(text) => {
                let text = text.into();
                self.patterns.push(Pattern { list, origin: Arc::clone(origin), line: number, text });
            }
            Err(Fault { column, reason }) => {
                let text = String::from_utf8_lossy(line);
                // a full allowlist lacks the patterns of every file behind this line
                let list = (!self.is_full).then_some(list);
                self.broken.push(BrokenPattern::new(list, (origin, number, column), &reason, &text));
            }
        }
    }

    fn limit_reached(&self) -> Option<String> {
        if self.patterns.len() + self.broken.len() >= MAX_PATTERNS {
            return Some(format!("more than {MAX_PATTERNS} patterns"));
        }
        let is_spent = self.ascii_bytes.max(self.unicode_bytes) > MAX_TOTAL_BYTES;
        is_spent.then(|| "the patterns before this one take all the memory that patterns may use".to_owned())
    }

    fn compile<'l>(&mut self, list: List, line: &'l [u8]) -> Result<&'l str, Fault> {
        let text = std::str::from_utf8(line).map_err(|error| {
            let valid = line.get(..error.valid_up_to()).unwrap_or_default();
            let column = String::from_utf8_lossy(valid).chars().count() + 1;
            Fault { column, reason: "a byte that is not UTF-8".to_owned() }
        })?;
        let fault = |reason: &str| Fault { column: 1, reason: reason.to_owned() };
        if text.chars().all(char::is_whitespace) {
            return Err(fault("a line of only white space would allow every rule; remove it"));
        }
        if text.starts_with('\u{feff}') {
            return Err(fault("a byte-order mark, which no rule begins with; save the file without it"));
        }
        self.unicode_bytes += CLASS_BYTES * (text.matches(r"\p").count() + text.matches(r"\P").count());
        let parsed = GoRegex::parse(text)
            .map_err(|error| Fault { column: error.column, reason: error.kind.to_string() })?;
        let id = self.patterns.len();
        let members = self.members.entry(list).or_default();
        if let Some(line) = program::exact_line(&parsed) {
            members.add_exact(line, id);
            return Ok(text);
        }
        let (ascii, unicode) = (program::ascii_bytes(&parsed), program::unicode_bytes(&parsed));
        self.ascii_bytes += ascii.unwrap_or(program::MAX_ASCII_BYTES);
        self.unicode_bytes += unicode.unwrap_or(program::MAX_UNICODE_BYTES);
        if ascii.is_none() || unicode.is_none() {
            return Err(fault("the pattern is too large: repeat less"));
        }
        members.add_regex(parsed.ascii, id);
        Ok(text)
    }
}
