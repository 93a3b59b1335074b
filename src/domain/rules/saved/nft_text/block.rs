//! The blocks of a table: chains with their rules, sets with their elements, flowtables, objects.
//! Understands of a rule only what must not be loaded, and which devices it needs.

use super::scanner::{Read, Scanner};
use super::token::{Kind, Token};
use super::{Counts, devices, names, shown};
use crate::domain::rules::{Family, Problem, Reason};

/// Chains in braces inside of chains in braces: nft itself takes 16 levels of jumps.
const MAX_DEPTH: usize = 16;
/// Longer statements are refused: a rule with a set of 100,000 elements has half as many.
const MAX_STATEMENT_TOKENS: usize = 1 << 19;
/// Why a concatenation with parts of bytes is not loaded.
const PARTS: &str = "nft prints concatenations with parts of bytes alike for two rules";

/// A rule.
struct Rule<'a> {
    tokens: Vec<Token<'a>>,
    /// What the chains in its braces hold, themselves included.
    inside: Counts,
    /// Where it ends.
    end: usize,
}

/// What the type of a set says of its elements.
#[derive(Default)]
struct Elements {
    /// Keys that would be names of another machine.
    name: Option<&'static str>,
    /// Whether they are devices.
    are_devices: bool,
}

impl<'a, S: FnMut(Problem)> Scanner<'a, '_, S> {
    /// Reads a chain behind its brace, to the brace that ends it. Returns what it holds, without itself, and its end.
    pub(super) fn chain(&mut self, depth: usize) -> Read<(Counts, usize)> {
        let mut counts = Counts::default();
        let mut is_line_empty = false;
        loop {
            let token = self.need()?;
            let was_line_empty = std::mem::replace(&mut is_line_empty, token.kind == Kind::Newline);
            match token.kind {
                Kind::Newline if was_line_empty => {
                    let what = format!("line {} is empty: a rule that nft could not print", token.line);
                    self.refuse(Reason::TableUnreadable, &what);
                }
                Kind::Newline | Kind::Semicolon => {}
                Kind::Close => return Ok((counts, token.end)),
                Kind::Word("type" | "policy" | "comment" | "device" | "devices" | "flags") if depth == 0 => {
                    let item = self.item_from(token)?;
                    self.name_devices(&item);
                    self.number_priority(&item);
                }
                _ => {
                    let rule = self.rule(token, depth)?;
                    self.seen.rules += 1;
                    if self.is_loaded(token, &rule) {
                        counts.rules += 1 + rule.inside.rules;
                        counts.chains += rule.inside.chains;
                    }
                }
            }
        }
    }

    fn rule(&mut self, first: Token<'a>, depth: usize) -> Read<Rule<'a>> {
        let mut rule = Rule { tokens: Vec::new(), inside: Counts::default(), end: first.end };
        let mut is_list = false;
        let mut token = first;
        loop {
            let before = rule.tokens.last().and_then(Token::word);
            rule.end = token.end;
            match token.kind {
                Kind::Open if matches!(before, Some("jump" | "goto")) && !is_list => {
                    if depth >= MAX_DEPTH {
                        return Err(self.odd("more chains inside of chains than nft takes"));
                    }
                    let (inside, end) = self.chain(depth + 1)?;
                    rule.inside.chains += 1 + inside.chains;
                    rule.inside.rules += inside.rules;
                    rule.end = end;
                }
                Kind::Open if is_list => return Err(self.odd("a list inside of a list")),
                Kind::Open => is_list = true,
                Kind::Close if is_list => is_list = false,
                Kind::Close => return Err(self.odd("a brace that ends nothing")),
                Kind::Semicolon => return Err(self.odd("a semicolon inside of a list")),
                _ => {}
            }
            if token.kind != Kind::Newline {
                rule.tokens.push(token);
            }
            if rule.tokens.len() > MAX_STATEMENT_TOKENS {
                return Err(self.odd("a rule longer than any that nft prints"));
            }
            if !is_list && self.is_at_end()? {
                return Ok(rule);
            }
            token = self.need()?;
        }
    }

    /// Whether the next token ends a statement of a block.
    fn is_at_end(&mut self) -> Read<bool> {
        let next = self.peek()?.map(|token| token.kind);
        Ok(matches!(next, None | Some(Kind::Newline | Kind::Semicolon | Kind::Close)))
    }

    /// Whether a rule can be loaded as it stands; if not, it is told and left out.
    fn is_loaded(&mut self, first: Token<'a>, rule: &Rule<'a>) -> bool {
        let tokens = &rule.tokens;
        let is_xt = |pair: &[Token<'_>]| match pair {
            [xt, kind] => {
                xt.word() == Some("xt") && matches!(kind.word(), Some("match" | "target" | "watcher"))
            }
            _ => false,
        };
        if tokens.windows(2).any(is_xt) {
            let what =
                format!("line {} has a part of x_tables, which nft does not print in full", first.line);
            self.refuse(Reason::TableUnreadable, &what);
        }
        let is_taken = |token: &Token<'_>| token.word().is_some_and(devices::is_taken);
        let doubt = match names::of_rule(tokens) {
            Some(name) => format!("{name} belongs to the machine that wrote it"),
            None if names::has_part_of_byte(tokens) => PARTS.to_owned(),
            None if names::lacks_type(tokens) => {
                "nft before 1.0 leaves out the type of ICMP message it had".to_owned()
            }
            None if devices::are_meant(tokens) && tokens.iter().any(is_taken) => {
                "it names a device by a number that is in use here".to_owned()
            }
            None => {
                self.name_devices(tokens);
                return true;
            }
        };
        self.cut(first.start..rule.end);
        let text = shown(self.text_of(first.start..rule.end));
        let line = first.line;
        let what = format!(
            "line {line}: the rule `{text}` is left out, and those behind it are counted without it: {doubt}"
        );
        self.tell(Reason::UnrenderedRule, what);
        false
    }

    /// Loads `priority dstnat - 5` as a number: nft 1.1 prints names for hooks for which 1.0.6 does not know them.
    fn number_priority(&mut self, chain: &[Token<'a>]) {
        let at = |index: usize| chain.get(index).and_then(Token::word);
        let Some(index) = (0..chain.len()).find(|&index| at(index) == Some("priority")) else { return };
        let named = self.family().zip(at(index + 1)).and_then(|(family, name)| priority(family, name));
        let offset = |index| at(index).and_then(|word| word.parse::<i32>().ok());
        let (number, last) = match (named, at(index + 2)) {
            (None, _) => return,
            (Some(named), Some("+")) => {
                (offset(index + 3).and_then(|offset| named.checked_add(offset)), index + 3)
            }
            (Some(named), Some("-")) => {
                (offset(index + 3).and_then(|offset| named.checked_sub(offset)), index + 3)
            }
            (Some(named), _) => (Some(named), index + 1),
        };
        if let (Some(number), Some(first), Some(last)) = (number, chain.get(index + 1), chain.get(last)) {
            self.replace(first.start..last.end, number.to_string());
        }
    }

    fn name_devices(&mut self, tokens: &[Token<'a>]) {
        if devices::are_meant(tokens) {
            devices::named(tokens).for_each(|name| self.add_device(name));
        }
    }

    /// The tokens up to the end of a statement that holds no chain.
    pub(super) fn item(&mut self) -> Read<Vec<Token<'a>>> {
        let mut tokens = Vec::new();
        while !self.is_at_end()? {
            let token = self.need()?;
            tokens.push(token);
            let mut is_list = token.kind == Kind::Open;
            while is_list {
                let token = self.need()?;
                match token.kind {
                    Kind::Open | Kind::Semicolon => return Err(self.odd("no list where nft prints one")),
                    Kind::Newline => {}
                    kind => {
                        is_list = kind != Kind::Close;
                        tokens.push(token);
                    }
                }
                if tokens.len() > MAX_STATEMENT_TOKENS {
                    return Err(self.odd("a statement longer than any that nft prints"));
                }
            }
        }
        Ok(tokens)
    }

    fn item_from(&mut self, first: Token<'a>) -> Read<Vec<Token<'a>>> {
        let mut tokens = vec![first];
        tokens.extend(self.item()?);
        Ok(tokens)
    }

    /// Reads a set, map or meter behind its brace.
    pub(super) fn set(&mut self, kind: &str) -> Read<()> {
        self.seen.declarations += 1;
        let mut elements = Elements::default();
        let (mut count, mut is_fleeting) = (0, false);
        self.seen.counted = false;
        loop {
            let token = self.need()?;
            match token.kind {
                Kind::Newline | Kind::Semicolon => continue,
                Kind::Close => break,
                Kind::Word("type" | "typeof") => {
                    let item = self.item_from(token)?;
                    elements =
                        Elements { name: names::of_type(&item), are_devices: devices::are_meant(&item) };
                    if names::has_part_of_byte(&item) {
                        self.refuse(Reason::UnrenderedRule, PARTS);
                    }
                }
                Kind::Word("flags") => {
                    let is_told = |token: &Token<'_>| matches!(token.word(), Some("dynamic" | "timeout"));
                    is_fleeting = self.item()?.iter().any(is_told);
                }
                Kind::Word("elements") => count = self.elements(&elements)?,
                Kind::Word(
                    "size" | "timeout" | "gc-interval" | "policy" | "auto-merge" | "comment" | "counter"
                    | "limit" | "quota" | "ct" | "last",
                ) => drop(self.item()?),
                _ => return Err(self.odd("something in a set that nft does not print there")),
            }
        }
        self.add_elements(count);
        if count == 0 {
            self.seen.empty_sets += u64::from(kind == "map" || !is_fleeting);
            self.seen.untold_sets += u64::from(self.seen.counted);
        }
        Ok(())
    }

    /// Reads `= { ELEMENT, … }` and returns how many elements there are.
    fn elements(&mut self, of: &Elements) -> Read<u64> {
        let is_equal = self.need()?.kind == Kind::Symbol(b'=');
        if !is_equal || self.need()?.kind != Kind::Open {
            return Err(self.odd("elements without a list"));
        }
        let (mut count, mut is_begun, mut is_value) = (0u64, false, false);
        loop {
            let token = self.need()?;
            match token.kind {
                Kind::Newline => continue,
                Kind::Close => return Ok(count + u64::from(is_begun)),
                Kind::Open | Kind::Semicolon => return Err(self.odd("an element that nft does not print")),
                Kind::Symbol(b',') => {
                    count += u64::from(is_begun);
                    (is_begun, is_value) = (false, false);
                    continue;
                }
                Kind::Word(":") => is_value = true,
                // how long it still has: elements begin anew, or they would be gone before they are read
                Kind::Word("expires") => {
                    let time = self.need()?;
                    self.cut(token.start..time.end);
                }
                Kind::Word("comment") => drop(self.need()?),
                Kind::Word(word) if of.are_devices && devices::is_taken(word) => {
                    self.refuse(
                        Reason::UnrenderedRule,
                        "a set names a device by a number that is in use here",
                    );
                }
                Kind::Text(name) if of.are_devices && devices::is_name(name) => self.add_device(name),
                _ => {}
            }
            if let Some(what) = of.name.filter(|_| !is_value && is_name(&token)) {
                let why =
                    format!("a set has an element with {what}, which belongs to the machine that wrote it");
                self.refuse(Reason::UnrenderedRule, &why);
            }
            is_begun = true;
        }
    }

    /// Reads a flowtable behind its brace.
    pub(super) fn flowtable(&mut self) -> Read<()> {
        self.seen.declarations += 1;
        loop {
            let token = self.need()?;
            match token.kind {
                Kind::Newline | Kind::Semicolon => {}
                Kind::Close => return Ok(()),
                Kind::Word("hook" | "devices" | "flags" | "counter" | "comment") => {
                    let item = self.item_from(token)?;
                    self.name_devices(&item);
                }
                _ => return Err(self.odd("something in a flowtable that nft does not print there")),
            }
        }
    }

    /// Reads an object behind its brace: words and lists.
    pub(super) fn object(&mut self) -> Read<()> {
        self.seen.declarations += 1;
        loop {
            match self.need()?.kind {
                Kind::Newline | Kind::Semicolon => {}
                Kind::Close => return Ok(()),
                Kind::Word(_) | Kind::Text(_) => drop(self.item()?),
                _ => return Err(self.odd("something in an object that nft does not print there")),
            }
        }
    }
}

/// The number of a priority's name.
///
/// *Source*: `std_prios` and `bridge_std_prios` in `src/rule.c` of nftables; `NF_IP_PRI_*`, `NF_BR_PRI_*`.
fn priority(family: Family, name: &str) -> Option<i32> {
    Some(match (family, name) {
        (Family::Bridge, "dstnat") => -300,
        (Family::Bridge, "filter") => -200,
        (Family::Bridge, "out") => 100,
        (Family::Bridge, "srcnat") => 300,
        (Family::Bridge, _) => return None,
        (_, "raw") => -300,
        (_, "mangle") => -150,
        (_, "dstnat") => -100,
        (_, "filter") => 0,
        (_, "security") => 50,
        (_, "srcnat") => 100,
        _ => return None,
    })
}

/// Whether an element may hold a name here: the words of nft, such as `counter packets 3 bytes 180`, are none.
fn is_name(token: &Token<'_>) -> bool {
    const WORDS: [&str; 15] = [
        ".", ":", "timeout", "expires", "comment", "counter", "packets", "bytes", "limit", "rate", "over",
        "burst", "quota", "used", "last",
    ];
    match token.kind {
        Kind::Word(word) => !names::is_number(word) && !WORDS.contains(&word) && !is_duration(word),
        Kind::Text(_) => true,
        _ => false,
    }
}

/// `1d2h3m4s5ms`, or a rate such as `5/second`.
fn is_duration(word: &str) -> bool {
    let is_in = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'd' | b'h' | b'm' | b's');
    word.starts_with(|first: char| first.is_ascii_digit()) && (word.bytes().all(is_in) || word.contains('/'))
}
