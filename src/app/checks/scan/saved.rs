//! Judges saved dumps: iptables-save, ip6tables-save and `nft -j list ruleset`, recognised by content.
//! Has only text to go by: a misprint cannot be seen in it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use super::dump::Generator;
use super::{Scan, native};
use crate::domain::judging::audit::{Audit, Rulebook, TextBudget, conclude};
use crate::domain::rules::saved::iptables_save::{Item, Mode, Parser};
use crate::domain::rules::saved::nft_json;
use crate::domain::rules::{Backend, Family, Problem, Reason};
use crate::domain::words::error_chain::chain_of;

/// Larger files are refused: no node's rules are a gigabyte.
const FILE_LIMIT_BYTES: u64 = 1 << 30;
const PIECE_BYTES: usize = 256 << 10;

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
    /// It is the text of `nft list ruleset`.
    #[error(
        "{name} is the text of `nft list ruleset`, which a comment can forge; save the rules with \
         `nft -j list ruleset` and check that"
    )]
    NftText {
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

/// Judges saved dumps, in order.
///
/// # Errors
/// If one cannot be read, or is none of the forms above.
pub fn files(book: &Rulebook, limit: usize, sources: Vec<Source<'_>>) -> Result<Scan, SavedError> {
    // nothing is compared with a file later: the text of what is allowed need not be kept
    let budget = TextBudget::new(0);
    let mut audit = Audit::new(book, limit, &budget);
    let mut tools = BTreeMap::new();
    for Source { name, family, reader } in sources {
        let mut reader = BufReader::with_capacity(PIECE_BYTES, reader.take(FILE_LIMIT_BYTES + 1));
        file(&mut audit, &mut tools, &name, family, &mut reader)?;
        if reader.get_ref().limit() == 0 {
            return Err(SavedError::TooLarge { name });
        }
    }
    Ok(Scan { outcome: conclude(book, limit, [&audit.seal()]), tools, ..Scan::default() })
}

fn file(
    audit: &mut Audit<'_>,
    tools: &mut BTreeMap<String, String>,
    name: &str,
    family: Family,
    reader: &mut BufReader<impl Read>,
) -> Result<(), SavedError> {
    let read_error = |source| SavedError::Read { name: name.to_owned(), source };
    let head = reader.fill_buf().map_err(read_error)?.trim_ascii_start();
    if head.starts_with(b"{") {
        json(audit, tools, name, reader);
        return Ok(());
    }
    if is_nft_text(head) {
        return Err(SavedError::NftText { name: name.to_owned() });
    }
    let mut dump = SavedDump {
        audit,
        tools,
        name,
        family,
        backend: Backend::Iptables,
        tables: 0,
        entries: 0,
        other: None,
    };
    let mut parser = Parser::new(Mode::Saved);
    loop {
        let piece = reader.fill_buf().map_err(read_error)?;
        if piece.is_empty() {
            break;
        }
        parser.push(piece, &mut |item| dump.take(item));
        let length = piece.len();
        reader.consume(length);
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

fn json(audit: &mut Audit<'_>, tools: &mut BTreeMap<String, String>, name: &str, reader: impl Read) {
    let mut objects = 0u64;
    let parsed = nft_json::parse(reader, &mut |item| {
        match &item {
            nft_json::Item::Metainfo { version } => {
                tools.insert("nft".to_owned(), version.clone());
            }
            nft_json::Item::Table { family, name, .. } => {
                objects += 1;
                audit.table(Backend::Nftables, *family, name);
            }
            _ => objects += 1,
        }
        native::judge(audit, item);
    });
    if let Err(error) = parsed {
        let what = format!("{name} is not a whole answer of `nft -j`: {}", chain_of(&error));
        audit.problem(Problem::new(Reason::MalformedLine, what));
    } else if objects == 0 {
        audit.problem(empty(name));
    }
}

fn empty(name: &str) -> Problem {
    Problem::new(
        Reason::IncompleteDump,
        format!("{name} holds no table: an empty node and a failed dump look alike in a file"),
    )
}

struct SavedDump<'a, 'b> {
    audit: &'a mut Audit<'b>,
    tools: &'a mut BTreeMap<String, String>,
    name: &'a str,
    family: Family,
    backend: Backend,
    tables: u64,
    entries: u64,
    other: Option<String>,
}

impl SavedDump<'_, '_> {
    fn take(&mut self, item: Item<'_>) {
        match item {
            Item::Header(header) => self.header(header),
            Item::Table(name) => {
                self.tables += 1;
                self.audit.table(self.backend, self.family, name);
            }
            Item::Entry(entry) => {
                self.entries += 1;
                self.audit.judge(self.backend, self.family, &entry);
            }
            Item::Remark(remark) if is_warning(remark) => self.audit.problem(Problem::new(
                Reason::TableUnreadable,
                format!("{}: the dump says: {}", self.name, remark.escape_ascii()),
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
            _ => {
                self.other = Some(program.escape_default().to_string());
                return;
            }
        };
        self.backend = match (generator.is_nft, program.contains("-nft-"), program.contains("-legacy-")) {
            (Some(true), ..) | (_, true, _) => Backend::IptablesNft,
            (Some(false), ..) | (_, _, true) => Backend::IptablesLegacy,
            _ => Backend::Iptables,
        };
        self.tools.insert(generator.program, generator.version);
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

/// What the tool says when it left something out.
fn is_warning(remark: &[u8]) -> bool {
    let text = String::from_utf8_lossy(remark);
    text.contains("incompatible") || text.starts_with("# Warning: ") || text.starts_with("# ERROR")
}
