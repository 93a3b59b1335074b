//! The tokens of nft text, as far as braces, strings, comments and ends of statements need them.
//! Knows no keyword. Finds a string, a comment and a brace where nft's own lexer finds them, and refuses what would make
//! the two disagree: bytes other than printable ASCII outside of strings, a backslash, a string over several lines.
//!
//! *Source*: `src/scanner.l` of nftables 1.0.6 and 1.1: `quotedstring \"[^"]*\"`, `comment #.*$`, which no other rule
//! shares a first byte with.

/// What is wrong with the text at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, 1-based.
    pub line: u64,
    /// What is wrong, as a phrase.
    pub what: &'static str,
}

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A run of letters, digits and `_ - . / : + * %`: keywords, names, numbers, addresses, a lone `.` or `:`.
    Word(&'a str),
    /// A quoted string, without its quotes.
    Text(&'a str),
    /// `{`
    Open,
    /// `}`
    Close,
    /// `;`
    Semicolon,
    /// The end of a line, also CR LF.
    Newline,
    /// `#` to the end of the line, trimmed, without the `#`.
    Comment(&'a str),
    /// Any other byte.
    Symbol(u8),
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub kind: Kind<'a>,
    /// Offsets of its first byte and of the byte behind it.
    pub start: usize,
    pub end: usize,
    /// Its line, 1-based.
    pub line: u64,
}

impl<'a> Token<'a> {
    /// The word it is; nothing for other tokens.
    pub const fn word(&self) -> Option<&'a str> {
        match self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// Splits text into tokens.
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u64,
}

const fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b':' | b'+' | b'*' | b'%')
}

impl<'a> Lexer<'a> {
    /// A lexer at the beginning of this text.
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// The line that is read, 1-based.
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// What is wrong here.
    pub const fn fault(&self, what: &'static str) -> Fault {
        Fault { line: self.line, what }
    }

    /// The next token; nothing at the end.
    ///
    /// # Errors
    /// What nft would read otherwise than we do.
    pub fn next(&mut self) -> Result<Option<Token<'a>>, Fault> {
        let bytes = self.text.as_bytes();
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let rest = bytes.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| blank(byte)).count();
        let rest = bytes.get(self.at..).unwrap_or_default();
        let Some(&first) = rest.first() else { return Ok(None) };
        let (start, line) = (self.at, self.line);
        let (kind, length) = match first {
            b'\n' => (Kind::Newline, 1),
            b'\r' if rest.get(1) == Some(&b'\n') => (Kind::Newline, 2),
            b';' => (Kind::Semicolon, 1),
            b'{' => (Kind::Open, 1),
            b'}' => (Kind::Close, 1),
            b'"' => self.string(rest)?,
            b'#' => {
                let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                (Kind::Comment(self.slice(1, length).trim_ascii()), length)
            }
            byte if is_in_word(byte) => {
                let length = rest.iter().take_while(|&&byte| is_in_word(byte)).count();
                (Kind::Word(self.slice(0, length)), length)
            }
            b'\\' => return Err(self.fault("a backslash outside of a string")),
            b'$' => return Err(self.fault("a variable (`$`)")),
            b' '..=b'~' => (Kind::Symbol(first), 1),
            _ => return Err(self.fault("a byte outside of strings that is no printable ASCII")),
        };
        self.at += length;
        self.line += u64::from(kind == Kind::Newline);
        Ok(Some(Token { kind, start, end: self.at, line }))
    }

    fn string(&self, rest: &[u8]) -> Result<(Kind<'a>, usize), Fault> {
        let inner = rest.get(1..).unwrap_or_default();
        let length = memchr::memchr(b'"', inner).ok_or_else(|| self.fault("a string that does not end"))?;
        let text = self.slice(1, length + 1);
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(self.fault("a string with a control character, or over several lines"));
        }
        Ok((Kind::Text(text), length + 2))
    }

    /// Offsets are those of ASCII bytes or of a quote, so they never split a character.
    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(self.at + from..self.at + to).unwrap_or_default()
    }
}
