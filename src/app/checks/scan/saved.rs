//! Judges saved dumps: iptables-save, ip6tables-save and `nft list ruleset`, as JSON or as text, recognised by content.
//! Has only text to go by: a misprint cannot be seen in it.

mod text;

use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use super::Scan;
use super::dump::Generator;
use super::unit::Units;
use crate::domain::judging::audit::{Audit, Rulebook, TextBudget, conclude};
use crate::domain::judging::report::Evidence;
use crate::domain::rules::saved::iptables_save::{Item, Mode, Parser};
use crate::domain::rules::saved::nft_json::NativeLine;
use crate::domain::rules::saved::{nft_json, nft_text};
use crate::domain::rules::text::native::contents;
use crate::domain::rules::{Backend, Entry, Family, IPTABLES_TABLES, Problem, Reason};
use crate::domain::words::cut;
use crate::domain::words::error_chain::chain_of;

/// Larger files are refused: no node's rules are a gigabyte.
const FILE_LIMIT_BYTES: u64 = 1 << 30;
const PIECE_BYTES: usize = 256 << 10;
/// What is shown of a file in a message.
const SHOWN_BYTES: usize = 300;

/// A saved dump that cannot be judged at all.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// It could not be read.
    #[error("reading {name}")]
    Read {
        /// The file, or `standard input`.
        name: String,
        /// What read(2) said.
        source: io::Error,
    },
    /// It is so large that it was not read to its end.
    #[error("{name} is larger than {} GiB, and no node's rules are: save the rules, and nothing else", FILE_LIMIT_BYTES >> 30)]
    TooLarge {
        /// The file, or `standard input`.
        name: String,
    },
    /// It is text of nft, and so long that nft would not load it either.
    #[error("{name} is more than {} MiB of nft's text; save the rules with `nft -j list ruleset`", nft_text::MAX_TEXT_BYTES >> 20)]
    TextTooLarge {
        /// The file, or `standard input`.
        name: String,
    },
    /// It has lines, and none of them begins a table.
    #[error(
        "{name} is no dump: no line begins a table (`*filter`); save the rules with iptables-save, not `iptables -S`"
    )]
    NoDump {
        /// The file, or `standard input`.
        name: String,
    },
    /// It holds a NUL byte.
    #[error("{name} is no dump but a binary file: it has a NUL byte")]
    Binary {
        /// The file, or `standard input`.
        name: String,
    },
    /// It begins a table that iptables does not have.
    #[error(
        "{name} is no dump of iptables: it has a table {table:?}, and iptables has filter, nat, mangle, raw and security"
    )]
    OtherTable {
        /// The file, or `standard input`.
        name: String,
        /// The beginning of what it calls a table.
        table: String,
    },
    /// It is the dump of another program.
    #[error(
        "{name} was written by {program}; this program checks iptables-save, ip6tables-save and `nft -j`"
    )]
    OtherProgram {
        /// The file, or `standard input`.
        name: String,
        /// The program its header names.
        program: String,
    },
}

/// One saved dump.
pub struct Source<'a> {
    /// The file's name, for messages.
    pub name: String,
    /// The family of its rules, unless its header says another.
    pub family: Family,
    /// Its text.
    pub reader: Box<dyn Read + 'a>,
}

/// Judges saved dumps, in order, and tells what the verdict rests on. Loading text may take `timeout`, and so may reading it
/// then.
///
/// # Errors
/// If one cannot be read, or is none of the forms above.
pub fn files(
    book: &Rulebook,
    limit: usize,
    timeout: Duration,
    sources: Vec<Source<'_>>,
) -> Result<(Scan, Evidence), SavedError> {
    // nothing is compared with a file later: the text of what is allowed need not be kept
    let budget = TextBudget::new(0);
    let settings = text::Settings { book, limit, budget: &budget, timeout };
    let mut audit = Audit::new(book, limit, &budget);
    let mut loaded = Vec::new();
    let count = sources.len();
    for Source { name, family, reader } in sources {
        let mut reader = BufReader::with_capacity(PIECE_BYTES, reader.take(FILE_LIMIT_BYTES + 1));
        if is_nft_text(head(&name, &mut reader)?) {
            loaded.push(nft_text_of(&mut audit, settings, &name, reader)?);
            continue;
        }
        file(&mut audit, &name, family, &mut reader)?;
        if reader.get_ref().limit() == 0 {
            return Err(SavedError::TooLarge { name });
        }
    }
    let evidence = if loaded.len() == count { Evidence::Namespace } else { Evidence::Text };
    let readings = loaded.iter().flat_map(Units::values).map(|unit| &unit.reading);
    let outcome = conclude(book, limit, readings.chain([&audit.seal()]));
    Ok((Scan { outcome, ..Scan::default() }, evidence))
}

/// The beginning of a dump, without blanks before it.
fn head<'r>(name: &str, reader: &'r mut BufReader<impl Read>) -> Result<&'r [u8], SavedError> {
    let read_error = |source| SavedError::Read { name: name.to_owned(), source };
    Ok(reader.fill_buf().map_err(read_error)?.trim_ascii_start())
}

fn nft_text_of(
    audit: &mut Audit<'_>,
    settings: text::Settings<'_>,
    name: &str,
    reader: impl Read,
) -> Result<Units, SavedError> {
    let mut bytes = Vec::new();
    reader
        .take(nft_text::MAX_TEXT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| SavedError::Read { name: name.to_owned(), source })?;
    if bytes.len() > nft_text::MAX_TEXT_BYTES {
        return Err(SavedError::TextTooLarge { name: name.to_owned() });
    }
    Ok(text::read(settings, &bytes, &mut |Problem { reason, detail }| {
        audit.problem(Problem::new(reason, format!("{name}: {detail}")));
    }))
}

fn file(
    audit: &mut Audit<'_>,
    name: &str,
    family: Family,
    reader: &mut BufReader<impl Read>,
) -> Result<(), SavedError> {
    let read_error = |source| SavedError::Read { name: name.to_owned(), source };
    if head(name, reader)?.starts_with(b"{") {
        json(audit, name, reader);
        return Ok(());
    }
    let mut dump = SavedDump {
        audit,
        name,
        family,
        backend: Backend::Iptables,
        tables: 0,
        entries: 0,
        other: None,
        other_table: None,
    };
    let mut parser = Parser::new(Mode::Saved);
    loop {
        let piece = reader.fill_buf().map_err(read_error)?;
        if piece.is_empty() {
            break;
        }
        if piece.contains(&0) {
            return Err(SavedError::Binary { name: name.to_owned() });
        }
        parser.push(piece, &mut |item| dump.take(item));
        let length = piece.len();
        reader.consume(length);
        if let Some(table) = dump.other_table {
            return Err(SavedError::OtherTable { name: name.to_owned(), table });
        }
    }
    parser.finish(&mut |item| dump.take(item));
    dump.end()
}

/// `table ip filter {` and what else an nft script begins with.
fn is_nft_text(head: &[u8]) -> bool {
    let first = head
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .find(|line| !line.is_empty() && !line.starts_with(b"#"))
        .unwrap_or_default();
    [&b"table "[..], b"add ", b"flush ", b"delete ", b"define ", b"include ", b"create ", b"destroy "]
        .iter()
        .any(|word| first.starts_with(word))
}

fn json(audit: &mut Audit<'_>, name: &str, reader: impl Read) {
    let mut objects = 0u64;
    let parsed = nft_json::parse_file(reader, &mut |item| {
        match &item {
            nft_json::Item::Table { family, name, .. } => {
                objects += 1;
                audit.table(Backend::Nftables, *family, name);
            }
            _ => objects += 1,
        }
        match item {
            nft_json::Item::Problem(Problem { reason, detail }) => {
                audit.problem(Problem::new(reason, format!("{name}: {detail}")));
            }
            item => judge(audit, item),
        }
    });
    if let Err(error) = parsed {
        let what = format!("{name} is not a whole answer of `nft -j`: {}", chain_of(&error));
        audit.problem(Problem::new(Reason::MalformedLine, what));
    } else if objects == 0 {
        audit.problem(empty(name));
    }
}

/// Judges one thing that nft shows.
fn judge(audit: &mut Audit<'_>, item: nft_json::Item) {
    match item {
        nft_json::Item::Line(line) => judge_line(audit, &line),
        nft_json::Item::SetElements { family, table, set, count, hash } => {
            let line = contents::line(family, table.as_bytes(), set.as_bytes(), (count, hash));
            audit.set_elements(family, &table, &set, line.as_bytes(), count);
        }
        nft_json::Item::Problem(problem) => audit.problem(problem),
        nft_json::Item::Table { .. } | nft_json::Item::Chain { .. } => {}
    }
}

fn judge_line(audit: &mut Audit<'_>, line: &NativeLine) {
    let entry = Entry {
        kind: line.kind,
        table: &line.table,
        chain: line.chain.as_deref(),
        position: line.position,
        line: &line.line,
    };
    if !line.has_xt {
        return audit.judge(Backend::Nftables, line.family, &entry);
    }
    audit.count(Backend::Nftables, line.family, &entry);
    audit.problem(Problem::new(
        Reason::UnrenderedRule,
        format!(
            "rule {} of chain {} has an x_tables part that nft does not show in full: {}",
            line.position.unwrap_or(0),
            line.chain.as_deref().unwrap_or("?").escape_default(),
            line.line.escape_ascii(),
        ),
    ));
}

fn empty(name: &str) -> Problem {
    Problem::new(
        Reason::IncompleteDump,
        format!("{name} holds no table: an empty node and a failed dump look alike in a file"),
    )
}

struct SavedDump<'a, 'b> {
    audit: &'a mut Audit<'b>,
    name: &'a str,
    family: Family,
    backend: Backend,
    tables: u64,
    entries: u64,
    other: Option<String>,
    other_table: Option<String>,
}

impl SavedDump<'_, '_> {
    fn take(&mut self, item: Item<'_>) {
        match item {
            Item::Header(header) => self.header(header),
            Item::Table(name) => {
                if !IPTABLES_TABLES.contains(&name) {
                    self.other_table.get_or_insert_with(|| cut::to_bytes(name, SHOWN_BYTES));
                }
                self.tables += 1;
                self.audit.table(self.backend, self.family, name);
            }
            Item::Entry(entry) => {
                self.entries += 1;
                self.audit.judge(self.backend, self.family, &entry);
            }
            Item::Remark(remark) if is_warning(remark) => self.audit.problem(Problem::new(
                Reason::TableUnreadable,
                format!("{}: the dump says: {}", self.name, shown(remark)),
            )),
            Item::Remark(_) | Item::Commit => {}
            Item::Problem(Problem { reason, detail }) => {
                self.audit.problem(Problem::new(reason, format!("{}: {detail}", self.name)));
            }
        }
    }

    fn header(&mut self, header: &[u8]) {
        let Some(generator) = Generator::parse(header) else { return };
        let program = generator.program.as_str();
        self.family = match program {
            _ if program.starts_with("ip6tables") => Family::Ip6,
            _ if program.starts_with("iptables") => Family::Ip,
            // both families' iptables-nft-save of 1.8.2 and before: the option says which
            "xtables-save" => self.family,
            _ => {
                self.other = Some(cut::to_bytes(&program.escape_default().to_string(), SHOWN_BYTES));
                return;
            }
        };
        self.backend = match (generator.is_nft, program.contains("-nft-"), program.contains("-legacy-")) {
            (Some(true), ..) | (_, true, _) => Backend::IptablesNft,
            _ if program == "xtables-save" => Backend::IptablesNft,
            (Some(false), ..) | (_, _, true) => Backend::IptablesLegacy,
            _ => Backend::Iptables,
        };
    }

    fn end(self) -> Result<(), SavedError> {
        if let Some(program) = self.other {
            return Err(SavedError::OtherProgram { name: self.name.to_owned(), program });
        }
        if self.tables == 0 && self.entries > 0 {
            return Err(SavedError::NoDump { name: self.name.to_owned() });
        }
        if self.tables == 0 {
            self.audit.problem(empty(self.name));
        }
        Ok(())
    }
}

fn shown(text: &[u8]) -> String {
    cut::to_bytes(&text.escape_ascii().to_string(), SHOWN_BYTES)
}

/// What the tool says when it left something out.
fn is_warning(remark: &[u8]) -> bool {
    let text = String::from_utf8_lossy(remark);
    text.contains("incompatible") || text.starts_with("# Warning: ") || text.starts_with("# ERROR")
}
