//! The top level of a listing, and its tables. What stands in their blocks is read in `block`.

use std::ops::Range;

use super::token::{Kind, Lexer, Token};
use super::{Counts, Listing, MAX_DEVICES, Table, shown};
use crate::domain::rules::{Family, IPTABLES_TABLES, Problem, Reason};

/// Why a table that iptables-nft manages is not loaded.
const MANAGED: &str =
    "iptables-nft manages it, and nft does not print all of its rules; take iptables-save and ip6tables-save";

/// Reads a listing once, from its beginning to its end.
pub struct Scanner<'a, 's, S> {
    lexer: Lexer<'a>,
    text: &'a str,
    sink: &'s mut S,
    /// A token that was looked at.
    peeked: Option<Option<Token<'a>>>,
    /// nft's remark that iptables-nft manages the next table.
    is_managed: bool,
    open: Option<OpenTable<'a>>,
    pub(super) seen: Seen,
    listing: Listing,
}

/// The table that is read.
#[derive(Default)]
struct OpenTable<'a> {
    family: Option<Family>,
    counts: Counts,
    devices: Vec<&'a str>,
    /// What of its text is not loaded, and what is loaded in its place.
    cuts: Vec<(Range<usize>, String)>,
    /// Why it cannot be loaded.
    refused: Option<(Reason, String)>,
}

/// What the whole text holds, to see what a listing lacks.
#[derive(Debug, Default)]
pub struct Seen {
    pub chains: u64,
    pub rules: u64,
    /// Sets, maps, flowtables and objects.
    pub declarations: u64,
    /// Elements of named sets and maps.
    pub elements: u64,
    /// Maps without elements, and sets that neither packets nor a clock empty.
    pub empty_sets: u64,
    /// Sets and maps of which nft counts elements and prints none.
    pub untold_sets: u64,
    /// Tables that are left out: of what the others lack nothing follows.
    pub left_out: u64,
    /// Whether nft counted elements of the set that is read.
    pub counted: bool,
}

/// A result, or why reading ends.
pub type Read<T> = Result<T, Problem>;

impl<'a, 's, S: FnMut(Problem)> Scanner<'a, 's, S> {
    pub fn new(text: &'a str, sink: &'s mut S) -> Self {
        Self {
            lexer: Lexer::new(text),
            text,
            sink,
            peeked: None,
            is_managed: false,
            open: None,
            seen: Seen::default(),
            listing: Listing::default(),
        }
    }

    /// Reads all of it.
    pub fn listing(mut self) -> Read<Listing> {
        while let Some(token) = self.next()? {
            match token.kind {
                Kind::Newline | Kind::Semicolon => {}
                Kind::Word("table") => self.table(token)?,
                Kind::Word(word) => return Err(self.command(word)),
                _ => return Err(self.odd("neither a table nor a command")),
            }
        }
        if let Some(what) = self.missing() {
            self.tell(Reason::IncompleteDump, what.to_owned());
        }
        Ok(self.listing)
    }

    fn table(&mut self, start: Token<'a>) -> Read<()> {
        let family = self.word()?;
        let Some(family) = Family::from_name(family) else {
            return Err(self.odd("a table without its family, which nft always prints"));
        };
        let name = self.word()?;
        match self.next()?.map(|token| token.kind) {
            Some(Kind::Open) => {}
            None | Some(Kind::Newline | Kind::Semicolon) => {
                let what = "the text is a list of tables, without what they hold";
                return Err(Problem::new(Reason::IncompleteDump, what));
            }
            Some(_) => return Err(self.odd("something behind the name of a table")),
        }
        self.open = Some(OpenTable { family: Some(family), ..OpenTable::default() });
        if std::mem::take(&mut self.is_managed) {
            self.refuse(Reason::TableUnreadable, MANAGED);
        }
        let end = self.table_body(family, name)?;
        let open = self.open.take().unwrap_or_default();
        self.end_of_block()?;
        if let Some((reason, why)) = open.refused {
            self.seen.left_out += 1;
            let what = format!("table {family} {} is left out: {why}", shown(name));
            (self.sink)(Problem::new(reason, what));
            return Ok(());
        }
        copy(self.text, start.start..end, open.cuts, &mut self.listing.text);
        self.listing.tables.push(Table { family, name: name.to_owned(), counts: open.counts });
        self.listing.devices.extend(open.devices.into_iter().map(str::to_owned));
        if self.listing.devices.len() > MAX_DEVICES {
            let what = format!("the text names more than {MAX_DEVICES} devices");
            return Err(Problem::new(Reason::DumpTooLarge, what));
        }
        Ok(())
    }

    /// Returns where the table ends.
    fn table_body(&mut self, family: Family, table: &str) -> Read<usize> {
        loop {
            let token = self.need()?;
            match token.kind {
                Kind::Newline | Kind::Semicolon => continue,
                Kind::Close => return Ok(token.end),
                Kind::Word("comment") => {
                    self.item()?;
                    continue;
                }
                Kind::Word("flags") => {
                    self.table_flags(token)?;
                    continue;
                }
                Kind::Word("chain") => {
                    let name = self.block_name()?;
                    if is_of_iptables(family, table, name) {
                        self.refuse(Reason::TableUnreadable, MANAGED);
                    }
                    let (inside, _) = self.chain(0)?;
                    self.add_chain(inside);
                }
                Kind::Word(kind @ ("set" | "map" | "meter")) => {
                    self.block_name()?;
                    self.set(kind)?;
                }
                Kind::Word("flowtable") => {
                    self.block_name()?;
                    self.flowtable()?;
                }
                Kind::Word("counter" | "quota" | "limit" | "secmark" | "synproxy" | "tunnel") => {
                    self.block_name()?;
                    self.object()?;
                }
                Kind::Word("ct") => {
                    self.word()?;
                    self.block_name()?;
                    self.object()?;
                }
                Kind::Word(word) => return Err(self.command(word)),
                _ => return Err(self.odd("something in a table that nft does not print there")),
            }
            self.end_of_block()?;
        }
    }

    fn add_chain(&mut self, inside: Counts) {
        self.seen.chains += 1;
        if let Some(open) = &mut self.open {
            open.counts.chains += 1 + inside.chains;
            open.counts.rules += inside.rules;
        }
    }

    /// `flags dormant,owner,persist`: what binds the table to the process that loads it is left out.
    fn table_flags(&mut self, start: Token<'a>) -> Read<()> {
        let flags = self.item()?;
        let is_dormant = flags.iter().any(|flag| flag.kind == Kind::Word("dormant"));
        if !is_dormant {
            self.cut(start.start..start.end);
        }
        for flag in flags {
            match flag.kind {
                Kind::Word("dormant") => {}
                Kind::Word("owner" | "persist") | Kind::Symbol(b',') => self.cut(flag.start..flag.end),
                _ => return Err(self.odd("a flag of a table that is not known")),
            }
        }
        Ok(())
    }

    /// What a listing that is whole would have.
    fn missing(&self) -> Option<&'static str> {
        let Seen { chains, rules, declarations, elements, empty_sets, untold_sets, left_out, .. } = self.seen;
        match () {
            () if left_out > 0 => None,
            () if rules == 0 && declarations == 0 && chains > 0 => Some(
                "the text has chains, and not one rule, set or object: this is what `nft list chains` prints",
            ),
            () if rules == 0 && declarations == 0 => Some("the text has tables, and nothing in them"),
            () if untold_sets > 0 => {
                Some("a set has elements that the text leaves out: it was listed with -t")
            }
            () if elements == 0 && empty_sets > 0 => Some(
                "no set and no map of the text has an element: either all are empty, or it was listed with -t (terse)",
            ),
            () => None,
        }
    }

    /// The name of a block, and its brace.
    fn block_name(&mut self) -> Read<&'a str> {
        let name = self.word()?;
        match self.next()?.map(|token| token.kind) {
            Some(Kind::Open) => Ok(name),
            _ => Err(self.odd("the name of a block without a brace")),
        }
    }

    fn end_of_block(&mut self) -> Read<()> {
        match self.next()?.map(|token| token.kind) {
            None | Some(Kind::Newline | Kind::Semicolon) => Ok(()),
            Some(_) => Err(self.odd("something behind the end of a block, on its line")),
        }
    }

    pub(super) fn word(&mut self) -> Read<&'a str> {
        match self.need()?.kind {
            Kind::Word(word) => Ok(word),
            _ => Err(self.odd("no word where nft prints one")),
        }
    }

    /// The next token, which has to be there.
    pub(super) fn need(&mut self) -> Read<Token<'a>> {
        self.next()?.ok_or_else(|| Problem::new(Reason::IncompleteDump, "the text ends inside a table"))
    }

    /// The next token, without taking it.
    pub(super) fn peek(&mut self) -> Read<Option<Token<'a>>> {
        if self.peeked.is_none() {
            self.peeked = Some(self.next()?);
        }
        Ok(self.peeked.flatten())
    }

    /// The next token that is no comment. Comments are not loaded.
    pub(super) fn next(&mut self) -> Read<Option<Token<'a>>> {
        if let Some(peeked) = self.peeked.take() {
            return Ok(peeked);
        }
        loop {
            let token = self.lexer.next().map_err(|fault| {
                Problem::new(Reason::MalformedLine, format!("line {}: {}", fault.line, fault.what))
            })?;
            match token {
                Some(Token { kind: Kind::Comment(comment), start, end, .. }) => {
                    self.comment(comment)?;
                    self.cut(start..end);
                }
                Some(Token { kind: Kind::Newline, start, end, .. }) if end - start > 1 => {
                    self.cut(start..end - 1);
                    return Ok(token);
                }
                token => return Ok(token),
            }
        }
    }

    fn comment(&mut self, comment: &str) -> Read<()> {
        if is_harmless(comment) {
            self.seen.counted |=
                comment.strip_prefix("count ").is_some_and(|count| count.trim_start() != "0");
            return Ok(());
        }
        if comment.starts_with("Warning: table ")
            && comment.ends_with(" is managed by iptables-nft, do not touch!")
        {
            self.is_managed = true;
            return Ok(());
        }
        let line = self.lexer.line();
        let what = format!(
            "line {line} has the comment `# {}`, behind which nft hides what it cannot print",
            shown(comment)
        );
        if self.open.is_some() {
            self.refuse(Reason::TableUnreadable, &what);
            return Ok(());
        }
        Err(Problem::new(Reason::NotADump, what))
    }

    /// Leaves a part of the open table out.
    pub(super) fn cut(&mut self, range: Range<usize>) {
        self.replace(range, String::new());
    }

    /// Loads something else than a part of the open table.
    pub(super) fn replace(&mut self, range: Range<usize>, with: String) {
        if let Some(open) = &mut self.open {
            open.cuts.push((range, with));
        }
    }

    /// The family of the open table.
    pub(super) fn family(&self) -> Option<Family> {
        self.open.as_ref()?.family
    }

    /// Leaves the open table out; the first reason is told.
    pub(super) fn refuse(&mut self, reason: Reason, why: &str) {
        if let Some(open) = &mut self.open {
            open.refused.get_or_insert_with(|| (reason, why.to_owned()));
        }
    }

    /// Notes elements of a named set of the open table.
    pub(super) fn add_elements(&mut self, elements: u64) {
        self.seen.elements += elements;
        if let Some(open) = &mut self.open {
            open.counts.elements += elements;
        }
    }

    /// Notes a device that has to exist.
    pub(super) fn add_device(&mut self, name: &'a str) {
        if let Some(open) = &mut self.open {
            open.devices.push(name);
        }
    }

    pub(super) fn tell(&mut self, reason: Reason, detail: String) {
        (self.sink)(Problem::new(reason, detail));
    }

    /// A part of the text.
    pub(super) fn text_of(&self, part: Range<usize>) -> &'a str {
        self.text.get(part).unwrap_or_default()
    }

    /// The problem of something that nft does not print.
    pub(super) fn odd(&self, what: &str) -> Problem {
        let detail = format!("line {}: {what}: this is no listing of nft", self.lexer.line());
        Problem::new(Reason::MalformedLine, detail)
    }

    fn command(&self, word: &str) -> Problem {
        let detail = format!(
            "line {}: `{}` is a command: the text is a script for nft and not a listing; load it, and check the node or \
             what `nft -j list ruleset` prints then",
            self.lexer.line(),
            shown(word)
        );
        Problem::new(Reason::NotADump, detail)
    }
}

/// The numbers that nft itself writes behind what it lists.
fn is_harmless(comment: &str) -> bool {
    let mut words = comment.split(' ').filter(|word| !word.is_empty());
    let is_number =
        |word: Option<&str>| word.is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    loop {
        match words.next() {
            None => return true,
            Some("handle" | "count") if is_number(words.next()) => {}
            // the owner of a table: a name that its process chose, up to the end of the line
            Some("progname") => return true,
            Some(_) => return false,
        }
    }
}

/// Whether a chain of this name shows that iptables-nft, arptables-nft or ebtables-nft made the table.
fn is_of_iptables(family: Family, table: &str, chain: &str) -> bool {
    let is_table = match family {
        Family::Ip | Family::Ip6 => IPTABLES_TABLES.contains(&table),
        Family::Arp => table == "filter",
        Family::Bridge => matches!(table, "filter" | "nat" | "broute"),
        Family::Inet | Family::Netdev => false,
    };
    let chains = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", "BROUTING"];
    is_table && chains.contains(&chain)
}

/// Copies a part of the text without what was cut from it.
fn copy(text: &str, part: Range<usize>, mut cuts: Vec<(Range<usize>, String)>, out: &mut String) {
    cuts.sort_by_key(|(cut, _)| cut.start);
    let mut from = part.start;
    for (cut, instead) in cuts {
        if cut.start >= from {
            out.push_str(text.get(from..cut.start).unwrap_or_default());
            out.push(' ');
            out.push_str(&instead);
        }
        from = from.max(cut.end);
    }
    out.push_str(text.get(from..part.end).unwrap_or_default());
    out.push('\n');
}
