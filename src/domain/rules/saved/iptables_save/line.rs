//! One line of a dump: where it ends, its tokens, and whether its quotes stand where quotes may.
//! Knows the options of iptables-extensions(8) whose values are printed in quotes, and no other option.

use super::mode::Mode;
use crate::domain::rules::Kind;

/// Options whose value iptables prints in quotes when it holds more than letters, digits, `-` and `_`.
///
/// *Source*: the `save` functions of `extensions/*.c`, iptables 1.8.9 (`xtables_save_string` or `"%s"`).
const QUOTED_OPTIONS: [&[u8]; 19] = [
    b"--comment",
    b"--log-prefix",
    b"--nflog-prefix",
    b"--ulog-prefix",
    b"--string",
    b"--hex-string",
    b"--helper",
    b"--timeout",
    b"--label",
    b"--u32",
    b"--bytecode",
    b"--object-pinned",
    b"--path",
    b"--selctx",
    b"--nfacct-name",
    b"--led-trigger-id",
    b"--genre",
    b"--name",
    b"--set-label",
];

/// Where a line ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At this newline (or at the end of the text, where that was asked for).
    At(usize),
    /// The text has no newline yet.
    More,
    /// A quoted value is open at the end of the text.
    Unclosed,
}

/// Finds the newline that ends the first line of `text`; with `eof` the text's end is one too.
///
/// A newline inside a quoted value does not end a line, because iptables prints comments as they are.
pub(super) fn end_of_line(text: &[u8], eof: bool) -> End {
    let mut from = 0;
    loop {
        let rest = text.get(from..).unwrap_or_default();
        let end = match memchr::memchr(b'\n', rest) {
            Some(end) => from + end,
            None if eof => text.len(),
            None => return End::More,
        };
        let line = text.get(..end).unwrap_or_default();
        if !is_rule(line) || memchr::memchr(b'"', line).is_none() || scan(line) != Quotes::Open {
            return End::At(end);
        }
        if end == text.len() {
            return End::Unclosed;
        }
        from = end + 1;
    }
}

fn is_rule(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start(), [b'-' | b'[', ..])
}

#[derive(Debug, PartialEq, Eq)]
enum Quotes {
    Fine,
    /// A quoted value of a known option does not end.
    Open,
    /// A quote stands where none may.
    Misplaced,
}

fn scan(line: &[u8]) -> Quotes {
    let mut walk = Tokens { rest: line, after: Position::Other, open: false, misplaced: false };
    walk.by_ref().for_each(drop);
    match walk {
        Tokens { open: true, .. } => Quotes::Open,
        Tokens { misplaced: true, .. } => Quotes::Misplaced,
        _ => Quotes::Fine,
    }
}

/// What is wrong with a rule's text; none for a line that iptables can have printed.
pub(super) fn fault(line: &[u8]) -> Option<&'static str> {
    if memchr::memchr(b'"', line).is_some() && scan(line) != Quotes::Fine {
        return Some("a quote where no value can be quoted");
    }
    None
}

#[derive(Clone, Copy)]
enum Position {
    /// Behind an option whose value may be quoted.
    Quotable,
    /// Behind another long option: a quoted value is believed if it ends on the same line.
    LongOption,
    Other,
}

struct Tokens<'a> {
    rest: &'a [u8],
    after: Position,
    open: bool,
    misplaced: bool,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let quoted = self.rest.first() == Some(&b'"');
        let end = match (self.after, quoted) {
            (Position::Quotable, true) => self.quoted_end().unwrap_or_else(|| {
                self.open = true;
                self.rest.len()
            }),
            (Position::LongOption, true) => {
                let line = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
                self.quoted_end().filter(|&end| end <= line).unwrap_or_else(|| self.plain_end())
            }
            _ => self.plain_end(),
        };
        let (token, rest) = self.rest.split_at(end);
        self.rest = match rest {
            [] => rest,
            [_, tail @ ..] => tail,
        };
        self.after = match token {
            option if QUOTED_OPTIONS.contains(&option) => Position::Quotable,
            [b'-', b'-', ..] => Position::LongOption,
            _ => Position::Other,
        };
        Some(token)
    }
}

impl Tokens<'_> {
    fn plain_end(&mut self) -> usize {
        let end = memchr::memchr(b' ', self.rest).unwrap_or(self.rest.len());
        let token = self.rest.get(..end).unwrap_or_default();
        self.misplaced |= memchr::memchr(b'"', token).is_some();
        end
    }

    /// The end of the quoted value at the front, if it is closed and a blank, or the end of the line, follows.
    fn quoted_end(&self) -> Option<usize> {
        let mut at = 1;
        loop {
            at += memchr::memchr2(b'"', b'\\', self.rest.get(at..)?)?;
            match self.rest.get(at) {
                Some(b'\\') => at += 2,
                _ => break,
            }
        }
        match self.rest.get(at + 1..)? {
            // the last is the end of a line with CR LF
            [] | [b' ', ..] | [b'\r'] => Some(at + 1),
            _ => None,
        }
    }
}

/// `NAME POLICY [packets:bytes]`, behind the colon; a kept file may leave the counters out.
pub(super) fn chain_declaration(text: &[u8], mode: Mode) -> Option<(&[u8], &[u8])> {
    let mut words = text.split(|&byte| byte == b' ').filter(|word| mode == Mode::Live || !word.is_empty());
    let (name, policy, counters) = (words.next()?, words.next()?, words.next());
    let counted = match counters {
        Some(counters) => counters_len(counters) == Some(counters.len()),
        None => mode == Mode::Saved,
    };
    let known = is_policy(policy) || policy == b"-";
    (counted && known && !name.is_empty() && words.next().is_none()).then_some((name, policy))
}

fn is_policy(word: &[u8]) -> bool {
    matches!(word, b"ACCEPT" | b"DROP" | b"RETURN" | b"QUEUE")
}

/// `-P NAME POLICY` or `-N NAME`.
pub(super) fn listed_declaration(line: &[u8]) -> Option<(Kind, &[u8])> {
    let mut words = line.split(|&byte| byte == b' ');
    let (option, name, policy) = (words.next()?, words.next()?, words.next());
    let kind = match (option, policy) {
        (b"-P", Some(policy)) if is_policy(policy) => Kind::Policy,
        (b"-N", None) => Kind::Chain,
        _ => return None,
    };
    (!name.is_empty() && words.next().is_none()).then_some((kind, name))
}

/// The rule behind `[packets:bytes] `, as `iptables-save -c` prints it.
pub(super) fn without_counters(line: &[u8]) -> Option<&[u8]> {
    let rest = line.get(counters_len(line)?..)?;
    rest.strip_prefix(b" ")
}

fn counters_len(text: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b']', text)?;
    let inner = text.get(..end)?.strip_prefix(b"[")?;
    let colon = memchr::memchr(b':', inner)?;
    let (packets, bytes) = inner.split_at(colon);
    let digits = |number: &[u8]| !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    (digits(packets) && digits(bytes.get(1..)?)).then_some(end + 1)
}
