//! The grammar of Go's patterns: one pass over the characters, an explicit stack of open groups, no recursion.
//! Leaves what `[…]` and backslashes mean to `escapes`, and the trees to `expr`.

use regex_syntax::hir::{ClassUnicode, Hir, Look};

use super::error::{ErrorKind, MAX_DEPTH, MAX_PATTERN_CHARS, SyntaxError};
use super::expr::Expr;
use super::tree::GoRegex;
use super::{class, expr};

/// The most that one repeat, or all repeats around one another together, may ask for.
const MAX_REPEAT: u32 = 1000;

pub(super) fn parse(pattern: &str) -> Result<GoRegex, SyntaxError> {
    let chars: Vec<char> = pattern.chars().take(MAX_PATTERN_CHARS + 1).collect();
    if chars.len() > MAX_PATTERN_CHARS {
        return Err(SyntaxError { column: MAX_PATTERN_CHARS + 1, kind: ErrorKind::TooLong });
    }
    Parser { chars, ..Parser::default() }.pattern()
}

/// The flags of `(?ims)`; `U` only changes which of several matches is preferred.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) ignore_case: bool,
    multi_line: bool,
    dot_matches_newline: bool,
}

#[derive(Default)]
struct Group {
    opened_at: usize,
    outer_flags: Flags,
    branches: Vec<Expr>,
    sequence: Vec<Expr>,
}

#[derive(Default)]
pub(super) struct Parser {
    chars: Vec<char>,
    pub(super) at: usize,
    pub(super) flags: Flags,
    outer: Vec<Group>,
    group: Group,
    /// Where the repeat starts that was the last thing read, if it was.
    repeat_at: Option<usize>,
    /// Whether `\B` was read.
    has_not_boundary: bool,
}

impl Parser {
    fn pattern(mut self) -> Result<GoRegex, SyntaxError> {
        while let Some(c) = self.peek() {
            let repeat_at = self.repeat_at.take();
            match c {
                '*' => self.repeat(1, 0, None, repeat_at)?,
                '+' => self.repeat(1, 1, None, repeat_at)?,
                '?' => self.repeat(1, 0, Some(1), repeat_at)?,
                '{' => self.brace(repeat_at)?,
                _ => self.item(c)?,
            }
        }
        if !self.outer.is_empty() {
            return Err(self.error(self.group.opened_at, ErrorKind::UnclosedGroup));
        }
        let Expr { unicode, ascii, .. } = self.group.close();
        let unicode = if self.has_not_boundary { expr::from_a_character_on(unicode) } else { unicode };
        Ok(GoRegex { unicode, ascii })
    }

    fn item(&mut self, c: char) -> Result<(), SyntaxError> {
        match c {
            '(' if self.peek_at(1) == Some('?') => return self.perl_group(),
            '(' => {
                self.open(self.at, self.flags);
                self.at += 1;
            }
            ')' => {
                self.close()?;
                self.at += 1;
            }
            '|' => {
                self.group.end_branch();
                self.at += 1;
            }
            '^' => self.look(if self.flags.multi_line { Look::StartLF } else { Look::Start }, 1),
            '$' => self.look(if self.flags.multi_line { Look::EndLF } else { Look::End }, 1),
            '.' => {
                self.at += 1;
                self.push(Expr::class(class::any(self.flags.dot_matches_newline)));
            }
            '[' => {
                let set = self.bracket()?;
                self.push(Expr::class(set));
            }
            '\\' => return self.backslash(),
            literal => {
                self.at += 1;
                self.literal(u32::from(literal));
            }
        }
        Ok(())
    }

    fn backslash(&mut self) -> Result<(), SyntaxError> {
        match self.peek_at(1) {
            Some('A') => self.look(Look::Start, 2),
            Some('z') => self.look(Look::End, 2),
            Some('b') => self.look(Look::WordAscii, 2),
            Some('B') => {
                self.has_not_boundary = true;
                self.look(Look::WordAsciiNegate, 2);
            }
            Some('Q') => self.quoted(),
            _ => match self.class_escape()? {
                Some(set) => self.push(Expr::class(set)),
                None => {
                    let code = self.escape()?;
                    self.literal(code);
                }
            },
        }
        Ok(())
    }

    /// `\Q…\E`, or to the end: each character stands for itself.
    fn quoted(&mut self) {
        self.at += 2;
        while let Some(c) = self.peek() {
            if c == '\\' && self.peek_at(1) == Some('E') {
                self.at += 2;
                return;
            }
            self.at += 1;
            self.literal(u32::from(c));
        }
    }

    fn look(&mut self, look: Look, width: usize) {
        self.at += width;
        self.push(Expr::leaf(Hir::look(look), Hir::look(look)));
    }

    fn literal(&mut self, code: u32) {
        let mut set = ClassUnicode::new(class::range(code, code));
        if self.flags.ignore_case {
            set.case_fold_simple();
        }
        self.push(Expr::class(set));
    }

    fn push(&mut self, expr: Expr) {
        self.group.sequence.push(expr);
    }

    // === groups ===

    /// `outer_flags` are those that hold again after the group.
    fn open(&mut self, at: usize, outer_flags: Flags) {
        let group = Group { opened_at: at, outer_flags, ..Group::default() };
        self.outer.push(std::mem::replace(&mut self.group, group));
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        let Some(outer) = self.outer.pop() else {
            return Err(self.error(self.at, ErrorKind::UnopenedGroup));
        };
        let group = std::mem::replace(&mut self.group, outer);
        let (at, flags) = (group.opened_at, group.outer_flags);
        let mut expr = group.close();
        expr.depth += 1;
        if expr.depth > MAX_DEPTH {
            return Err(self.error(at, ErrorKind::TooDeep));
        }
        self.flags = flags;
        self.push(expr);
        Ok(())
    }

    /// `(?P<name>`, `(?<name>`, `(?flags)` or `(?flags:`.
    fn perl_group(&mut self) -> Result<(), SyntaxError> {
        match (self.peek_at(2), self.peek_at(3)) {
            (Some('P'), Some('<')) if self.peek_at(4).is_some() => self.named_group(4),
            (Some('<'), Some(_)) => self.named_group(3),
            _ => self.flag_group(),
        }
    }

    fn named_group(&mut self, prefix: usize) -> Result<(), SyntaxError> {
        let start = self.at;
        let name: String = self.rest(prefix).iter().take_while(|&&c| c != '>').collect();
        let end = start + prefix + name.chars().count();
        let is_word = |c: char| c == '_' || c.is_ascii_alphanumeric();
        if end >= self.chars.len() || name.is_empty() || !name.chars().all(is_word) {
            return Err(self.error(start, ErrorKind::GroupName(name)));
        }
        self.open(start, self.flags);
        self.at = end + 1;
        Ok(())
    }

    fn flag_group(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        self.at += 2;
        let outer_flags = self.flags;
        let mut flags = self.flags;
        let (mut value, mut is_flag_due) = (true, false);
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                'i' => flags.ignore_case = value,
                'm' => flags.multi_line = value,
                's' => flags.dot_matches_newline = value,
                'U' => {}
                '-' if value => value = false,
                ':' | ')' if !is_flag_due => {
                    if c == ':' {
                        self.open(start, outer_flags);
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            is_flag_due = c == '-';
        }
        Err(self.error(start, ErrorKind::UnknownGroup(self.text(start))))
    }

    // === repeats ===

    /// A `{` that starts no repeat is a literal.
    fn brace(&mut self, repeat_at: Option<usize>) -> Result<(), SyntaxError> {
        let Some((width, min, max)) = self.counts() else {
            self.at += 1;
            self.literal(u32::from('{'));
            return Ok(());
        };
        let is_valid = min <= MAX_REPEAT && max.is_none_or(|max| max <= MAX_REPEAT && min <= max);
        if !is_valid {
            let start = self.at;
            self.at += width;
            return Err(self.error(start, ErrorKind::RepeatSize(self.text(start))));
        }
        self.repeat(width, min, max, repeat_at)
    }

    /// The width and the counts of `{n}`, `{n,}` or `{n,m}`.
    fn counts(&self) -> Option<(usize, u32, Option<u32>)> {
        let mut ahead = 1;
        let min = self.count(&mut ahead)?;
        let max = match (self.peek_at(ahead)?, self.peek_at(ahead + 1)) {
            (',', Some('}')) => {
                ahead += 1;
                None
            }
            (',', _) => {
                ahead += 1;
                Some(self.count(&mut ahead)?)
            }
            _ => Some(min),
        };
        (self.peek_at(ahead)? == '}').then_some((ahead + 1, min, max))
    }

    /// A decimal number without leading zeros; one that is too large stays too large.
    fn count(&self, ahead: &mut usize) -> Option<u32> {
        let digits = self.rest(*ahead).iter().map_while(|c| c.to_digit(10));
        let (mut length, mut value) = (0, 0_u32);
        for digit in digits {
            length += 1;
            value = value.saturating_mul(10).saturating_add(digit);
        }
        let has_leading_zero = length > 1 && self.peek_at(*ahead) == Some('0');
        *ahead += length;
        (length > 0 && !has_leading_zero).then_some(value)
    }

    fn repeat(
        &mut self,
        width: usize,
        min: u32,
        max: Option<u32>,
        repeat_at: Option<usize>,
    ) -> Result<(), SyntaxError> {
        let start = self.at;
        let is_counted = width > 1;
        self.at += width;
        if self.peek() == Some('?') {
            self.at += 1;
        }
        if let Some(first) = repeat_at {
            return Err(self.error(start, ErrorKind::RepeatedRepeat(self.text(first))));
        }
        let Some(sub) = self.group.sequence.pop() else {
            return Err(self.error(start, ErrorKind::NothingToRepeat(self.text(start))));
        };
        let expr = sub.repeated(min, max, is_counted);
        if is_counted && (min >= 2 || max >= Some(2)) && expr.repeats > MAX_REPEAT {
            return Err(self.error(start, ErrorKind::RepeatSize(self.text(start))));
        }
        if expr.depth > MAX_DEPTH {
            return Err(self.error(start, ErrorKind::TooDeep));
        }
        self.push(expr);
        self.repeat_at = Some(start);
        Ok(())
    }

    // === characters ===

    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    pub(super) fn rest(&self, ahead: usize) -> &[char] {
        self.chars.get(self.at + ahead..).unwrap_or_default()
    }

    /// What was read since `start`.
    pub(super) fn text(&self, start: usize) -> String {
        self.chars.get(start..self.at).unwrap_or_default().iter().collect()
    }

    pub(super) fn error(&self, at: usize, kind: ErrorKind) -> SyntaxError {
        SyntaxError { column: at + 1, kind }
    }
}

impl Group {
    fn end_branch(&mut self) {
        let sequence = std::mem::take(&mut self.sequence);
        self.branches.push(Expr::joined(sequence, Hir::concat));
    }

    fn close(mut self) -> Expr {
        self.end_branch();
        Expr::joined(self.branches, Hir::alternation)
    }
}
