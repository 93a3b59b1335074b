//! A pattern for a line that is not allowed, to be pasted into a list.
//! Suggests exactly that line: what may vary is for people to say.

use crate::domain::judging::go_regex::MAX_PATTERN_CHARS;
use crate::domain::rules::text::expectation::{is_of_expectation, port_length};

use super::text::has_control_byte;

/// Names nft gives to chains, sets and maps without one; the number behind is another one after each reload.
///
/// *Source*: nft(8), "anonymous sets"; the kernel's `__set%d`, `__map%d` and nft's `__chain%d`.
const ANONYMOUS: [&str; 3] = ["__chain", "__set", "__map"];

/// An anchored pattern that matches exactly this line, but for the numbers of anonymous chains, sets and maps, and for the ports
/// of an expectation.
///
/// None for a line that no pattern can stand for: one with control bytes, with bytes that are not UTF-8, or with
/// U+FFFD, which Go takes for such a byte; and for one that is too long.
pub fn suggest(line: &[u8]) -> Option<String> {
    let is_expectation = is_of_expectation(line);
    let line_text = std::str::from_utf8(line).ok()?;
    let mut rest = line_text;
    if has_control_byte(line) || rest.contains(char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let mut pattern = String::from("^");
    let mut state = Quoting::default();
    while let Some(c) = rest.chars().next() {
        let name = if state.may_start_name() { anonymous_name(rest) } else { None };
        let before = line_text.get(..line_text.len() - rest.len())?;
        let word = before.rsplit(' ').next().unwrap_or_default();
        let port = if is_expectation && !state.is_quoted { port_length(word, rest) } else { None };
        let taken = match (name, port) {
            (Some((prefix, length)), _) => {
                pattern.push_str(prefix);
                pattern.push_str("[0-9]+");
                length
            }
            (None, Some(length)) => {
                pattern.push_str(r":\d+");
                length
            }
            (None, None) => {
                push_literal(&mut pattern, c);
                c.len_utf8()
            }
        };
        state.step(c);
        rest = rest.get(taken..)?;
    }
    pattern.push('$');
    (pattern.chars().count() <= MAX_PATTERN_CHARS).then_some(pattern)
}

/// The name that starts here: its constant part, and the length of the whole.
fn anonymous_name(rest: &str) -> Option<(&'static str, usize)> {
    ANONYMOUS.into_iter().find_map(|prefix| {
        let tail = rest.strip_prefix(prefix)?;
        let after = tail.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_whole = tail.len() > after.len() && !after.starts_with(is_name_char);
        is_whole.then(|| (prefix, rest.len() - after.len()))
    })
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '\\')
}

fn push_literal(pattern: &mut String, c: char) {
    if r"\.+*?()|[]{}^$".contains(c) {
        pattern.push('\\');
    }
    pattern.push(c);
}

/// Whether the next character is inside a quoted string or a longer name.
#[derive(Default)]
struct Quoting {
    is_quoted: bool,
    is_escaped: bool,
    is_in_name: bool,
}

impl Quoting {
    fn may_start_name(&self) -> bool {
        !self.is_quoted && !self.is_in_name
    }

    fn step(&mut self, c: char) {
        match c {
            _ if self.is_escaped => self.is_escaped = false,
            '\\' if self.is_quoted => self.is_escaped = true,
            '"' => self.is_quoted = !self.is_quoted,
            _ => {}
        }
        self.is_in_name = is_name_char(c);
    }
}
