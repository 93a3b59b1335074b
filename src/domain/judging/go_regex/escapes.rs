//! What brackets and backslashes mean: sets of characters and single ones.
//! Leaves the sets themselves to `class`.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use super::class;
use super::error::{ErrorKind, SyntaxError};
use super::parser::Parser;

impl Parser {
    /// `[…]`.
    pub(super) fn bracket(&mut self) -> Result<ClassUnicode, SyntaxError> {
        let start = self.at;
        self.at += 1;
        let is_negated = self.peek() == Some('^');
        self.at += usize::from(is_negated);
        let mut ranges: Vec<ClassUnicodeRange> = Vec::new();
        let mut is_first = true;
        while self.peek() != Some(']') || is_first {
            is_first = false;
            let named = match self.posix_class()? {
                Some(named) => Some(named),
                None if self.peek() == Some('\\') => self.class_escape()?,
                None => None,
            };
            match named {
                Some(named) => ranges.extend(named.iter().copied()),
                None => ranges.extend(self.class_range(start)?),
            }
        }
        self.at += 1;
        let mut set = ClassUnicode::new(ranges);
        if self.flags.ignore_case {
            set.case_fold_simple();
        }
        if is_negated {
            set.negate();
        }
        Ok(set)
    }

    /// One character or one range inside `[…]`.
    fn class_range(&mut self, class_start: usize) -> Result<Option<ClassUnicodeRange>, SyntaxError> {
        let start = self.at;
        let low = self.class_char(class_start)?;
        let is_range = self.peek() == Some('-') && self.peek_at(1).is_some_and(|next| next != ']');
        if !is_range {
            return Ok(class::range(low, low));
        }
        self.at += 1;
        let high = self.class_char(class_start)?;
        if high < low {
            return Err(self.error(start, ErrorKind::CharRange(self.text(start))));
        }
        Ok(class::range(low, high))
    }

    fn class_char(&mut self, class_start: usize) -> Result<u32, SyntaxError> {
        match self.peek() {
            None => Err(self.error(class_start, ErrorKind::UnclosedClass)),
            Some('\\') => self.escape(),
            Some(c) => {
                self.at += 1;
                Ok(u32::from(c))
            }
        }
    }

    /// `[:name:]` inside `[…]`; without a later `:]` the `[` is a literal.
    fn posix_class(&mut self) -> Result<Option<ClassUnicode>, SyntaxError> {
        if self.peek() != Some('[') || self.peek_at(1) != Some(':') {
            return Ok(None);
        }
        let Some(length) = self.rest(2).windows(2).position(|pair| pair == [':', ']']) else {
            return Ok(None);
        };
        let start = self.at;
        let name: String = self.rest(2).iter().take(length).collect();
        self.at += length + 4;
        let set = class::posix(&name, self.flags.ignore_case);
        set.map(Some).ok_or_else(|| self.error(start, ErrorKind::UnknownClass(name)))
    }

    /// `\d`, `\pN`, `\p{Name}` and their like.
    pub(super) fn class_escape(&mut self) -> Result<Option<ClassUnicode>, SyntaxError> {
        let Some(letter) = self.peek_at(1) else { return Ok(None) };
        if matches!(letter, 'p' | 'P') {
            return self.unicode_class(letter == 'P').map(Some);
        }
        let set = class::perl(letter, self.flags.ignore_case);
        self.at += if set.is_some() { 2 } else { 0 };
        Ok(set)
    }

    fn unicode_class(&mut self, is_negated: bool) -> Result<ClassUnicode, SyntaxError> {
        let start = self.at;
        self.at += 2;
        let is_braced = self.peek() == Some('{');
        let name: String = match self.peek() {
            Some('{') => self.rest(1).iter().take_while(|&&c| c != '}').collect(),
            other => other.into_iter().collect(),
        };
        let width = name.chars().count() + if is_braced { 2 } else { 0 };
        let set = class::unicode(&name, is_negated, self.flags.ignore_case);
        match set {
            Some(set) if width <= self.rest(0).len() => {
                self.at += width;
                Ok(set)
            }
            _ => Err(self.error(start, ErrorKind::UnknownClass(name))),
        }
    }

    /// A backslash and what follows, as one character.
    pub(super) fn escape(&mut self) -> Result<u32, SyntaxError> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.peek() else {
            return Err(self.error(start, ErrorKind::TrailingBackslash));
        };
        self.at += 1;
        let code = match c {
            '0' => Some(self.octal(0)),
            '1'..='7' if matches!(self.peek(), Some('0'..='7')) => {
                Some(self.octal(u32::from(c) - u32::from('0')))
            }
            'x' => self.hexadecimal(),
            'a' => Some(0x07),
            'f' => Some(0x0c),
            'n' => Some(0x0a),
            'r' => Some(0x0d),
            't' => Some(0x09),
            'v' => Some(0x0b),
            _ => (c.is_ascii() && !c.is_ascii_alphanumeric()).then_some(u32::from(c)),
        };
        code.ok_or_else(|| self.error(start, ErrorKind::UnknownEscape(self.text(start))))
    }

    /// Up to two more octal digits.
    fn octal(&mut self, first: u32) -> u32 {
        let mut code = first;
        for _ in 0..2 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
            code = code * 8 + digit;
            self.at += 1;
        }
        code
    }

    /// `xHH` or `x{H…}`, after the `x`.
    fn hexadecimal(&mut self) -> Option<u32> {
        if self.peek() != Some('{') {
            let (high, low) = (self.hex_digit()?, self.hex_digit()?);
            return Some(high * 16 + low);
        }
        self.at += 1;
        let mut code = self.hex_digit()?;
        while self.peek() != Some('}') {
            code = code * 16 + self.hex_digit()?;
            if code > u32::from(char::MAX) {
                return None;
            }
        }
        self.at += 1;
        Some(code)
    }

    fn hex_digit(&mut self) -> Option<u32> {
        let c = self.peek()?;
        self.at += 1;
        c.to_digit(16)
    }
}
